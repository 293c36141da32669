"""Compares `shardscope bench` with transformers (PyTorch, CPU) on the very same weights, round by round.

Makes a checkpoint with random weights in the shape of Qwen2-0.5B plus InternViT-300M (about 3.8 GB in float32), then
lets both programs take turns: one vision tile, a prompt of 300 tokens, 64 tokens decoded with the cache. Prints
medians and ratios (above 1: Shardscope is faster).

    pip install torch transformers==5.23.0 safetensors numpy
    cargo build --release
    python tools/bench/compare.py --program target/release/shardscope --dtype f32
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from turns import TORCH_TYPE, make_checkpoint, median, print_table, shardscope_rounds  # noqa: E402


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="target/release/shardscope")
    parser.add_argument("--dtype", choices=TORCH_TYPE, default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=300)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    counts = dict(tiles=1, prefill=arguments.prompt_tokens, decode=arguments.new_tokens)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = make_checkpoint(folder, arguments.dtype)
        transformers_round(model, 8, 2)  # warm-up
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours += shardscope_rounds(
                arguments.program, folder, arguments.dtype, arguments.threads, counts["prefill"], counts["decode"]
            )
            theirs.append(transformers_round(model, counts["prefill"], counts["decode"]))
    print(f"{arguments.dtype}, {arguments.threads} threads, median of {arguments.rounds} interleaved rounds")
    print_table("transformers", counts, ours, theirs)
    print(f"shardscope loads in {median(ours, 'load'):.2f} s, peak memory {median(ours, 'peak') / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
