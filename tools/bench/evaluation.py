"""Compares a whole evaluation by `shardscope eval` with the same one by transformers, asked one question after
another as VLMEvalKit does: picture read and cut to one tile of 448 pixels, `generate`, a short answer.

Both use the same random weights in the shape of Qwen2-0.5B plus InternViT-300M, and the same tokenizer. Shardscope's time is the whole process with start and loading; of
transformers only the questions count.

    pip install torch transformers==5.23.0 safetensors numpy pillow
    cargo build --release
    python tools/bench/evaluation.py --dtype bf16 --questions 3
"""

import argparse
import base64
import csv
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import torch
from PIL import Image
from transformers import AutoTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from turns import TORCH_TYPE, make_checkpoint  # noqa: E402

DEMO = pathlib.Path(__file__).parents[2] / "assets/demo"
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|unused{i}|>" for i in range(19)), "<img>", "</img>",
    "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
]
FIRST_SPECIAL = 151643
CHAT = (
    "{%- for message in messages -%}<|im_start|>{{ message['role'] + '\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] in ('image', 'image_url') -%}{{ '<IMG_CONTEXT>\n' }}"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


def make_tokenizer(folder):
    """The built-in model's tokenizer, grown to Qwen2's size: a word for every further token."""
    tokenizer = json.loads((DEMO / "checkpoint/tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"Ġw{i}": i for i in range(len(vocabulary), FIRST_SPECIAL)}
    plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    tokenizer["added_tokens"] = [
        dict(id=FIRST_SPECIAL + i, content=content, **plain) for i, content in enumerate(SPECIAL)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = dict(
        tokenizer_class="Qwen2Tokenizer", eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token=None,
        clean_up_tokenization_spaces=False, chat_template=CHAT,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def questions(count):
    """Questions of the built-in dataset about a picture each: nothing is gained by knowing a picture already."""
    csv.field_size_limit(1 << 30)
    with open(DEMO / "dataset.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if len(row["image"]) > 64]
    return [(row["index"], base64.b64decode(row["image"])) for row in rows[:count]]


def by_shardscope(arguments, folder, session, asked):
    command = [
        arguments.program, "eval", "--checkpoint", str(folder), "--dataset", "built-in", "--dtype", arguments.dtype,
        "--ids", ",".join(index for index, _ in asked), "--max-tiles", "1", "--max-new-tokens", str(arguments.new_tokens),
        "--batch", str(arguments.in_flight), "--threads", str(arguments.threads), "--session", str(session), "--json",
    ]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    lines = (session / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    return seconds, {answer["index"]: answer for answer in map(json.loads, lines)}


def by_transformers(arguments, model, tokenizer, asked, prompts):
    mean, spread = numpy.array([0.485, 0.456, 0.406]), numpy.array([0.229, 0.224, 0.225])
    answers = {}
    start = time.perf_counter()
    for index, picture in asked:
        image = Image.open(io.BytesIO(picture)).convert("RGB").resize((448, 448), Image.BICUBIC)
        pixels = (numpy.asarray(image, dtype=numpy.float64) / 255 - mean) / spread
        pixels = torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=model.dtype)
        text = prompts[index].replace("<IMG_CONTEXT>", f"<img>{'<IMG_CONTEXT>' * 256}</img>")
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, pixel_values=pixels, do_sample=False, max_new_tokens=arguments.new_tokens,
                eos_token_id=FIRST_SPECIAL + 2, pad_token_id=FIRST_SPECIAL,
            )
        answers[index] = ids.shape[1], out[0, ids.shape[1]:].tolist()
    return time.perf_counter() - start, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="target/release/shardscope")
    parser.add_argument("--dtype", choices=TORCH_TYPE, default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=8)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    asked = questions(arguments.questions)
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        checkpoint = folder / "checkpoint"
        model = make_checkpoint(checkpoint, arguments.dtype)
        make_tokenizer(checkpoint)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        for number in range(arguments.rounds):
            seconds, answers = by_shardscope(arguments, checkpoint, folder / f"session{number}", asked)
            prompts = {index: answer["prompt"] for index, answer in answers.items()}
            peer_seconds, peer_answers = by_transformers(arguments, model, tokenizer, asked, prompts)
            ours.append(seconds)
            theirs.append(peer_seconds)
            ratios.append(peer_seconds / seconds)
            got = {index: (answer["prompt_tokens"], answer["output_ids"]) for index, answer in answers.items()}
            assert all(got[index][0] == tokens for index, (tokens, _) in peer_answers.items()), "not the same prompts"
            same = sum(got[index] == answer for index, answer in peer_answers.items())
    per_minute = lambda seconds: 60 * arguments.questions / statistics.median(seconds)
    print(
        f"{arguments.dtype}, {arguments.threads} threads, {arguments.questions} questions of {arguments.new_tokens} tokens, "
        f"{arguments.in_flight} in flight, median of {arguments.rounds} interleaved rounds"
    )
    print(f"shardscope {per_minute(ours):.1f} questions/min, transformers {per_minute(theirs):.1f}")
    print(f"ratio {statistics.median(ratios):.2f}  ({' '.join(f'{ratio:.2f}' for ratio in ratios)})")
    tokens, first = next(iter(peer_answers.values()))
    print(f"{same} of {arguments.questions} answers are the same, token by token; the first: {first}, after {tokens} tokens")


if __name__ == "__main__":
    main()
