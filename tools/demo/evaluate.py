"""Measures a checkpoint on the easy-VQA test split (or on table files in the VLMEvalKit form).

    python evaluate.py CHECKPOINT [TABLE.tsv ...] [--out MEASURED.json]

Answers are greedy, computed in float32 from the stored bfloat16 weights, one question at a time as far as the model
can tell.  A table is asked in the phrasing that suits each row: multiple-choice rows with their options and the request
for a letter; all others once as they are and once with a request for a short answer, and yes/no rows also with
"Please answer yes or no."  Answers are compared without regard to case.
"""

import argparse
import base64
import collections
import csv
import io
import json
from pathlib import Path

import easy_vqa
import torch

import data
from checkpoint import load_checkpoint


@torch.no_grad()
def answer_all(model, prompts, images, asked, grid=(1, 1), longest=8, details=False):
    """Greedy answers to `asked` = [(index into the uint8 `images`, text of the question)].

    With `details`, each answer is (text, token ids of the prompt, of the answer, gap of the best two logits per token).
    Questions are batched; each sees only its own image and its own text.
    """
    result = [None] * len(asked)
    order = sorted(range(len(asked)), key=lambda n: asked[n][0])
    for chunk in (order[i : i + 256] for i in range(0, len(order), 256)):
        seen = sorted({asked[n][0] for n in chunk})
        pixels = data.tiles(data.normalise(images[seen]), *grid)
        before = prompts.before(pixels.shape[1])
        cache = model.read_images(before, prompts.image_id, pixels)
        row = {image: i for i, image in enumerate(seen)}
        ids = {n: prompts.encode(asked[n][1])[0] for n in chunk}
        said, gaps = ({n: [] for n in chunk} for _ in range(2))
        waiting = chunk
        for _ in range(longest):
            texts = [ids[n] + said[n] for n in waiting]
            states = model.read_text(cache, torch.tensor([row[asked[n][0]] for n in waiting]), prompts.pad(texts))
            last = states[torch.arange(len(texts)), torch.tensor([len(t) - 1 for t in texts])]
            best = model.language_model.lm_head(last).topk(2)
            for n, tokens, logits in zip(waiting, best.indices.tolist(), best.values.tolist()):
                said[n].append(tokens[0])
                gaps[n].append(logits[0] - logits[1])
            waiting = [n for n in waiting if said[n][-1] != prompts.stop_id]
            if not waiting:
                break
        for n in chunk:
            text = prompts.tokenizer.decode(said[n]).strip()
            result[n] = (text, before + ids[n], said[n], gaps[n]) if details else text
    return result


def test_split():
    """The test split as table rows; `image` is the content of the file."""
    images = {i: Path(path).read_bytes() for i, path in easy_vqa.get_test_image_paths().items()}
    return [{"image": images[i], "question": text[0].upper() + text[1:], "answer": answer,
             "category": category(text, answer)} for text, answer, i in zip(*easy_vqa.get_test_questions())]


def category(text, answer):
    if answer in ("yes", "no"):
        return "yesno-shape" if data.subject(text)[0] in data.SHAPES else "yesno-color"
    return "shape" if answer in data.SHAPES else "color"


def read_table(path):
    """Rows of a table file, whose `image` is base64 text or the index of an earlier row."""
    csv.field_size_limit(10**9)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    images = {}
    for row in rows:
        images[row["index"]] = row["image"] = images.get(row["image"]) or base64.b64decode(row["image"])
    return rows


def phrasings(row):
    """The texts in which a row is asked, by name."""
    options = [f"\n{letter}. {row[letter]}" for letter in "ABCD" if row.get(letter)]
    if options:
        return {"letter": row["question"] + "".join(options) + data.LETTER}
    texts = {"plain": row["question"], "short": row["question"] + "\n" + data.SHORT[1:]}
    if row["answer"].lower() in ("yes", "no"):
        texts["short, same line"] = row["question"] + data.SHORT
        texts["yes or no"] = row["question"] + data.YES_NO
    return texts


def measure(model, prompts, rows, grid=(1, 1)):
    """{phrasing: {category: [right, asked]}}, with a category "all"."""
    files = sorted({row["image"] for row in rows})
    images, place = torch.stack([data.load_image(io.BytesIO(f)) for f in files]), {f: i for i, f in enumerate(files)}
    asked = [(name, place[row["image"]], text, row) for row in rows for name, text in phrasings(row).items()]
    given = answer_all(model, prompts, images, [(image, text) for _, image, text, _ in asked], grid)
    counts = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    for (name, _, _, row), answer in zip(asked, given):
        for group in (row["category"], "all"):
            counts[name][group][0] += answer.lower() == row["answer"].lower()
            counts[name][group][1] += 1
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tables", type=Path, nargs="*")
    parser.add_argument("--grid", type=int, nargs=2, default=(1, 1), metavar=("COLUMNS", "ROWS"),
                        help="enlarge the images to so many tiles (and a thumbnail)")
    parser.add_argument("--out", type=Path, help="also write the counts as JSON")
    options = parser.parse_args()
    model, tokenizer = load_checkpoint(options.checkpoint)
    prompts = data.Prompts(tokenizer)
    sources = {table.name: read_table(table) for table in options.tables} or {"easy-VQA test split": test_split()}
    counts = {name: measure(model, prompts, rows, options.grid) for name, rows in sources.items()}
    for name, by_phrasing in counts.items():
        for phrasing, by_category in by_phrasing.items():
            for group, (right, asked) in sorted(by_category.items()):
                print(f"{name:24} {phrasing:18} {group:12} {right:5} of {asked:5}  {right / asked:.2%}")
    if options.out:
        options.out.write_text(json.dumps(counts, indent=2) + "\n")


if __name__ == "__main__":
    main()
