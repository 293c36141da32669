"""Makes the demonstration's question table and the reference answers to some of it.

    python make_dataset.py CHECKPOINT --out FOLDER

`dataset.tsv`      400 questions about 90 images of the easy-VQA test split, in the VLMEvalKit form: 300 as they are and
                   100 with shuffled options, drawn with a fixed seed and without looking at any answer of the model;
`reference.jsonl`  for 40 of its rows: the prompt as text and ids (image tokens expanded), the greedy answer as ids and
                   text, and by how much each id's float32 logit exceeds the next best.
"""

import argparse
import base64
import csv
import io
import json
import random
from pathlib import Path

import torch

import data
from checkpoint import load_checkpoint
from evaluate import answer_all, phrasings, read_table, test_split

SEED = 7
IMAGES = 90
PLAIN = {"color": 65, "shape": 65, "yes/no": 170}
LETTERED = {"color": 40, "shape": 30, "yes/no": 30}
REFERENCES = {"open": 14, "yes/no": 13, "multiple-choice": 13}
COLUMNS = ["index", "image", "question", "A", "B", "C", "D", "answer", "category", "question_type", "split"]


def draw_rows():
    rows = test_split()
    images = set(random.sample(sorted({row["image"] for row in rows}), IMAGES))
    rows = [row for row in rows if row["image"] in images]
    questions = data.Questions()
    drawn = []
    for kind in PLAIN:
        fitting = [n for n, row in enumerate(rows) if row["category"].startswith(kind.replace("/", ""))]
        chosen = random.sample(fitting, PLAIN[kind] + LETTERED[kind])
        for n in chosen[: PLAIN[kind]]:
            drawn.append((n, {**rows[n], "question_type": "yes/no" if kind == "yes/no" else "open"}))
        for n in chosen[PLAIN[kind] :]:
            options = questions.options(kind, rows[n]["answer"])
            drawn.append((n, {**rows[n], "question_type": "multiple-choice", **dict(zip("ABCD", options)),
                              "answer": "ABCD"[options.index(rows[n]["answer"])]}))
    return [row for _, row in sorted(drawn, key=lambda pair: pair[0])]  # in the order of the test split


def write_table(rows, path):
    """Every field quoted; an image is written once, later rows about it hold the index of the row that has it."""
    first = {}
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", delimiter="\t",
                               quoting=csv.QUOTE_ALL, lineterminator="\n")
        file.write("\t".join(f'"{c}"' for c in COLUMNS) + "\n")
        for index, row in enumerate(rows):
            encoded = base64.b64encode(row["image"]).decode()
            image = first.setdefault(encoded, index)
            table.writerow({**row, "index": index, "split": "test", "image": encoded if image == index else image})


def write_references(model, tokenizer, rows, path):
    prompts = data.Prompts(tokenizer)
    style = {"open": "short", "yes/no": "plain", "multiple-choice": "letter"}
    chosen = []
    for kind, count in REFERENCES.items():
        chosen += random.sample([n for n, row in enumerate(rows) if row["question_type"] == kind], count)
    with open(path, "w", encoding="utf-8") as file:
        for index in sorted(chosen):
            row = rows[index]
            question = phrasings(row)[style[row["question_type"]]]
            image = data.load_image(io.BytesIO(row["image"]))[None]
            text, prompt_ids, ids, margins = answer_all(model, prompts, image, [(0, question)], details=True)[0]
            file.write(json.dumps({
                "index": index, "question_type": row["question_type"], "question": question,
                "prompt": data.before() + question + data.AFTER, "prompt_ids": prompt_ids, "ids": ids, "text": text,
                "answer": row["answer"], "margins": [round(m, 4) for m in margins]}, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    random.seed(SEED)
    torch.set_num_threads(2)
    options.out.mkdir(parents=True, exist_ok=True)
    write_table(draw_rows(), options.out / "dataset.tsv")
    write_references(*load_checkpoint(options.checkpoint), read_table(options.out / "dataset.tsv"),
                     options.out / "reference.jsonl")


if __name__ == "__main__":
    main()
