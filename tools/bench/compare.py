"""Compares `shardscope bench` with transformers (PyTorch, CPU) on the very same weights, round by round.

Makes a checkpoint with random weights in the shape of Qwen2-0.5B plus InternViT-300M (about 3.8 GB in float32), then
lets both programs take turns: one vision tile, a prompt of 300 tokens, 64 tokens decoded with the cache. Prints
medians and ratios (above 1: Shardscope is faster).

    pip install torch transformers==5.23.0 safetensors numpy
    cargo build --release
    python tools/bench/compare.py --program target/release/shardscope --dtype f32
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration

TORCH_TYPE = {"f32": torch.float32, "bf16": torch.bfloat16}


def make_checkpoint(folder, dtype):
    """Random weights of the benchmark's shape, saved in the Hugging Face layout."""
    config = InternVLConfig(
        vision_config=dict(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            image_size=[448, 448], patch_size=[14, 14], norm_type="layer_norm", attention_bias=True,
            use_qk_norm=False, use_mean_pooling=True,
        ),
        text_config=dict(
            model_type="qwen2", hidden_size=896, num_hidden_layers=24, num_attention_heads=14,
            num_key_value_heads=2, intermediate_size=4864, vocab_size=151674, rope_theta=1e6,
            max_position_embeddings=32768, tie_word_embeddings=False,
        ),
        image_token_id=151667, image_seq_length=256, tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = InternVLForConditionalGeneration(config).to(TORCH_TYPE[dtype]).eval()
    model.save_pretrained(folder)
    return model


def transformers_round(model, prompt_tokens, new_tokens):
    """Seconds for one tile, the prompt, and the decoded tokens."""
    vocabulary = model.config.text_config.vocab_size
    token = lambda i: i * 7919 % vocabulary
    pixels = torch.rand(1, 3, 448, 448, dtype=model.dtype) * 2 - 1
    ids = torch.tensor([[token(i) for i in range(prompt_tokens)]])
    with torch.inference_mode():
        start = time.perf_counter()
        model.get_image_features(pixel_values=pixels)
        tile = time.perf_counter() - start
        embedded = model.get_input_embeddings()(ids)
        start = time.perf_counter()
        out = model(inputs_embeds=embedded, use_cache=True, logits_to_keep=1)
        prefill = time.perf_counter() - start
        cache = out.past_key_values
        start = time.perf_counter()
        for i in range(new_tokens):
            step = torch.tensor([[token(i)]])
            out = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
        decode = time.perf_counter() - start
    return dict(tiles=tile, prefill=prefill, decode=decode)


def shardscope_round(arguments, folder):
    """The same by `shardscope bench`, in a process of its own."""
    command = [
        arguments.program, "bench", "--checkpoint", folder, "--dtype", arguments.dtype, "--rounds", "1", "--json",
        "--prompt-tokens", str(arguments.prompt_tokens), "--new-tokens", str(arguments.new_tokens),
        "--threads", str(arguments.threads),
    ]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result["rounds"][0] | dict(load=result["load_seconds"], peak=result["peak_bytes"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="target/release/shardscope")
    parser.add_argument("--dtype", choices=TORCH_TYPE, default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=300)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = make_checkpoint(folder, arguments.dtype)
        transformers_round(model, 8, 2)  # warm-up
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(shardscope_round(arguments, folder))
            theirs.append(transformers_round(model, arguments.prompt_tokens, arguments.new_tokens))
    median = lambda rounds, what: statistics.median(r[what] for r in rounds)
    print(f"{arguments.dtype}, {arguments.threads} threads, median of {arguments.rounds} interleaved rounds")
    print(f"{'':8} {'shardscope':>14} {'transformers':>14} {'ratio':>7}  (ratio by round)")
    counts = dict(tiles=1, prefill=arguments.prompt_tokens, decode=arguments.new_tokens)
    for what, count in counts.items():
        a, b = median(ours, what), median(theirs, what)
        by_round = " ".join(f"{t[what] / o[what]:.2f}" for o, t in zip(ours, theirs))
        print(f"{what:8} {count / a:12.3f}/s {count / b:12.3f}/s {b / a:7.2f}  ({by_round})")
    print(f"shardscope loads in {median(ours, 'load'):.2f} s, peak memory {median(ours, 'peak') / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
