"""What the comparisons share: a checkpoint with random weights in the shape of Qwen2-0.5B plus InternViT-300M, a round
of `shardscope bench` on it, and the table of two programs that took turns.

Alone it writes that checkpoint, about 3.8 GB in float32 and half of it in bfloat16; with --decoder one that is hardly
more than the decoder, its head tied and a single block of vision, 1 GB in bfloat16:

    pip install torch transformers==5.23.0 safetensors numpy
    python tools/bench/turns.py FOLDER bf16
"""

import argparse
import json
import statistics
import subprocess

import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration

TORCH_TYPE = {"f32": torch.float32, "bf16": torch.bfloat16}


def make_checkpoint(folder, dtype, decoder=False):
    """Random weights of the benchmark's shape, or of hardly more than its decoder, saved in the Hugging Face layout."""
    config = InternVLConfig(
        vision_config=dict(
            hidden_size=1024, num_hidden_layers=1 if decoder else 24, num_attention_heads=16, intermediate_size=4096,
            image_size=[448, 448], patch_size=[14, 14], norm_type="layer_norm", attention_bias=True,
            use_qk_norm=False, use_mean_pooling=True,
        ),
        text_config=dict(
            model_type="qwen2", hidden_size=896, num_hidden_layers=24, num_attention_heads=14,
            num_key_value_heads=2, intermediate_size=4864, vocab_size=151674, rope_theta=1e6,
            max_position_embeddings=32768, tie_word_embeddings=decoder,
        ),
        image_token_id=151667, image_seq_length=256, tie_word_embeddings=decoder,
    )
    torch.manual_seed(0)
    model = InternVLForConditionalGeneration(config).to(TORCH_TYPE[dtype]).eval()
    model.save_pretrained(folder)
    return model


def shardscope_rounds(program, folder, dtype, threads, prompt_tokens, new_tokens, rounds=1):
    """Seconds for one tile, the prompt, and the decoded tokens of each round of one `shardscope bench`; with the
    seconds of loading and the peak of memory in bytes."""
    command = [
        program, "bench", "--checkpoint", str(folder), "--dtype", dtype, "--rounds", str(rounds), "--json",
        "--prompt-tokens", str(prompt_tokens), "--new-tokens", str(new_tokens), "--threads", str(threads),
    ]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return [timed | dict(load=result["load_seconds"], peak=result["peak_bytes"]) for timed in result["rounds"]]


def median(rounds, what):
    """The median of one quantity over rounds."""
    return statistics.median(timed[what] for timed in rounds)


def print_table(peer, counts, ours, theirs):
    """Things a second by both programs and their ratio, for each quantity and how many things it is in a round."""
    print(f"{'':12} {'shardscope':>14} {peer:>14} {'ratio':>7}  (ratio by round)")
    for what, count in counts.items():
        a, b = median(ours, what), median(theirs, what)
        by_round = " ".join(f"{their[what] / our[what]:.2f}" for our, their in zip(ours, theirs))
        print(f"{what:12} {count / a:12.3f}/s {count / b:12.3f}/s {b / a:7.2f}  ({by_round})", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Writes the benchmark's checkpoint with random weights.")
    parser.add_argument("folder")
    parser.add_argument("dtype", choices=TORCH_TYPE)
    parser.add_argument("--decoder", action="store_true", help="hardly more than the decoder")
    arguments = parser.parse_args()
    make_checkpoint(arguments.folder, arguments.dtype, arguments.decoder)


if __name__ == "__main__":
    main()
