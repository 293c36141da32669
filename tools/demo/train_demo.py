"""Trains the demonstration checkpoint: a real InternVL, but small, that answers questions about easy-VQA's pictures.

    pip install -r requirements.txt
    python train_demo.py --out CHECKPOINT
    python evaluate.py CHECKPOINT
    python make_dataset.py CHECKPOINT --out FOLDER
    python verify.py CHECKPOINT FOLDER/dataset.tsv FOLDER/reference.jsonl

The images and questions come with the package `easy-vqa` (MIT licence): 64 x 64 pictures of one shape in one colour
on a pale ground. Only its train split is used here, and 200 of its 4,000 images only for validation.

Stage 1 (2,500 steps of 64 images): the vision tower and the projector learn to see. A throw-away linear head on the
mean image token names shape and colour. Without this stage the language model first learns which answers are likely
and then takes very long to look at the picture.

Stage 2 (4,500 steps of 16 images, nine questions each): everything learns to answer in the prompt of the template
internvl2_5, in the phrasings that evaluations use: the question alone, with a request for a short answer or for yes
or no, and as multiple choice with shuffled options, answered by the letter. All questions about an image share its
part of the prompt, so that it is computed once. Every eighth step enlarges the images to a grid of tiles with a
thumbnail.

Two CPU cores with bfloat16 instructions need 45 minutes, or twice that when other programs use them too; the
environment variable OMP_WAIT_POLICY=PASSIVE is then a great help. Weights are trained in float32 and rounded to
bfloat16 when saved. The random seed is fixed; another number of threads or version of torch gives slightly other
weights.
"""

import argparse
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import data
from checkpoint import save_checkpoint
from evaluate import answer_all
from model import InternVL

SEED = 2024
HELD_OUT = 200  # train images kept for validation
STYLES = {"plain": 3, "short": 3, "letter": 3}  # questions of each phrasing per image and step
TILED = 8  # every so many steps the images are enlarged, so that prompts of several tiles are understood too
GRIDS = [(2, 2), (3, 3), (2, 1), (1, 2), (3, 2), (2, 3), (4, 3), (3, 4)]


def seed():
    torch.manual_seed(SEED)
    random.seed(SEED)


def optimiser(modules, peak, warm_up, steps):
    """AdamW without decay for vectors (norms, biases, layer scales); linear warm-up, then cosine to zero."""
    parameters = [p for m in modules for p in m.parameters()]
    groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.05},
              {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
    shape = lambda s: min(1, (s + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * min(1, s / steps)))
    return adam, torch.optim.lr_scheduler.LambdaLR(adam, shape), parameters


def update(loss, adam, schedule, parameters):
    adam.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    adam.step()
    schedule.step()


def batches(count, size):
    """Indices of `count` things, shuffled, in batches of `size`, for ever."""
    while True:
        order = torch.randperm(count)
        yield from (order[i : i + size] for i in range(0, count - size + 1, size))


def train_vision(model, images, labels, steps, log):
    """Stage 1: a throw-away linear head names shape and colour from the mean image token."""
    shapes, colors = len(data.SHAPES), len(data.COLORS)
    head = torch.nn.Linear(model.mlp1[3].out_features, shapes + colors)
    index = lambda names, label: -100 if label is None else names.index(label)  # -100: no loss
    targets = torch.tensor([[index(data.SHAPES, s), index(data.COLORS, c)] for s, c in labels])
    adam, schedule, parameters = optimiser([model.vision_model, model.mlp1, head], 1e-3, 100, steps)
    total, stream = torch.zeros(2), batches(len(images), 64)
    for step in range(1, steps + 1):
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            logits = head(model.image_tokens(data.augment(images[batch])).mean(1)).float()
        losses = torch.stack([F.cross_entropy(part, target) for part, target in
                              zip(logits.split([shapes, colors], 1), targets[batch].T)])
        update(losses.sum(), adam, schedule, parameters)
        total += losses.detach()
        if step % 100 == 0:
            log(f"vision {step}/{steps}: loss shape {total[0] / 100:.3f}, color {total[1] / 100:.3f}")
            total.zero_()


def questions_loss(model, prompts, cache, drawn):
    """Mean loss over the answers; `drawn` holds (image, text, answer)."""
    rows, ids, answers = zip(*((row, *prompts.encode(text, answer)) for row, text, answer in drawn))
    states = model.read_text(cache, torch.tensor(rows), prompts.pad([i + a[:-1] for i, a in zip(ids, answers)]))
    where = [(n, len(i) - 1 + k, token) for n, (i, a) in enumerate(zip(ids, answers)) for k, token in enumerate(a)]
    n, position, target = torch.tensor(where).T
    return F.cross_entropy(model.language_model.lm_head(states[n, position]).float(), target)


def train_all(model, prompts, images, labels, steps, log, every, checkpoint):
    """Stage 2: all of the model learns to answer, several questions per image so that it is read only once."""
    adam, schedule, parameters = optimiser([model], 1e-3, 200, steps)
    questions, stream, total = data.Questions(), batches(len(images), 16), torch.zeros(len(STYLES))
    for step in range(1, steps + 1):
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            grid = random.choice(GRIDS) if step % TILED == 0 else (1, 1)
            pixels = data.tiles(data.augment(images[batch]), *grid)
            cache = model.read_images(prompts.before(pixels.shape[1]), prompts.image_id, pixels)
            losses = []
            for style, count in STYLES.items():
                drawn = [(row, questions.phrase(style, labels[i])) for row, i in enumerate(batch) for _ in range(count)]
                drawn = [(row, *question) for row, question in drawn if question]
                losses.append(questions_loss(model, prompts, cache, drawn))
        update(sum(losses) / len(losses), adam, schedule, parameters)
        total += torch.stack(losses).detach()
        if step % 100 == 0:
            log(f"all {step}/{steps}: loss " + ", ".join(f"{s} {t:.3f}" for s, t in zip(STYLES, total / 100)))
            total.zero_()
        if step % every == 0 or step == steps:
            checkpoint(step)


def validation(model, prompts, images, labels, count=4):
    """Share of right answers on held-out train images, by style."""
    state, questions, result = random.getstate(), data.Questions(), {}
    random.seed(0)
    for style in STYLES:
        drawn = [(i, questions.phrase(style, label)) for i, label in enumerate(labels) for _ in range(count)]
        drawn = [(i, *question) for i, question in drawn if question]
        given = answer_all(model, prompts, images, [(i, text) for i, text, _ in drawn])
        result[style] = sum(g == a for g, (_, _, a) in zip(given, drawn)) / len(drawn)
        given = answer_all(model, prompts, images, [(i, text) for i, text, _ in drawn[::4]], grid=(2, 2))
        result[style + " on tiles"] = sum(g == a for g, (_, _, a) in zip(given, drawn[::4])) / len(drawn[::4])
    random.setstate(state)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--vision-steps", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--every", type=int, default=500, help="validate and save every so many steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vision", type=Path, help="stage 1 weights: read if there, else written")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    seed()
    start = time.time()
    log = lambda text: print(f"[{time.time() - start:6.0f} s] {text}", flush=True)

    tokenizer = data.train_tokenizer()
    prompts = data.Prompts(tokenizer)
    images, labels = data.train_split()
    model = InternVL(tokenizer.get_vocab_size())
    log(f"{sum(p.numel() for p in model.parameters()):,} parameters, {tokenizer.get_vocab_size()} tokens")

    def checkpoint(step):
        accuracy = validation(model, prompts, images[-HELD_OUT:], labels[-HELD_OUT:])
        log(f"held-out images at step {step}: " + ", ".join(f"{s} {a:.2%}" for s, a in accuracy.items()))
        save_checkpoint(model, tokenizer, options.out)

    if options.vision and options.vision.exists():
        model.load_state_dict(torch.load(options.vision))
    else:
        train_vision(model, images[:-HELD_OUT], labels[:-HELD_OUT], options.vision_steps, log)
        if options.vision:
            torch.save(model.state_dict(), options.vision)
    seed()  # again, so that the second stage is the same whether or not the first has just run
    train_all(model, prompts, images[:-HELD_OUT], labels[:-HELD_OUT], options.steps, log, options.every, checkpoint)


if __name__ == "__main__":
    main()
