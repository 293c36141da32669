"""easy-VQA as training material: images, labels, questions, the phrasings of a prompt, and the tokenizer."""

import random

import easy_vqa
import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from model import TOKENS_PER_TILE, VISION

SHAPES = ["circle", "rectangle", "triangle"]
COLORS = ["black", "blue", "brown", "gray", "green", "red", "teal", "yellow"]

# --- images -----------------------------------------------------------------------------------------------------

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 255
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 255


def load_image(file):
    """One tile of the original preprocessing, before normalisation: uint8 [3, 112, 112]."""
    side = VISION["image"]
    image = Image.open(file).convert("RGB").resize((side, side), Image.BICUBIC)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def normalise(images):
    return (images.float() - MEAN) / STD


def augment(images):
    """Mirror, shift by up to 10 pixels (repeating the edge) and add a little noise: no answer depends on these."""
    side, reach = images.shape[-1], 10
    padded = torch.nn.functional.pad(images.float(), (reach,) * 4, mode="replicate")
    out = []
    for image in padded:
        x, y = torch.randint(0, 2 * reach + 1, (2,)).tolist()
        image = image[:, y : y + side, x : x + side]
        out.append(image.flip(-1) if torch.rand(()) < 0.5 else image)
    return normalise(torch.stack(out) + torch.randn(len(out), 3, side, side) * 2)


def tiles(images, columns, rows):
    """[n, 3, 112, 112] -> [n, tiles, 3, 112, 112]: what the original preprocessing makes of large pictures.

    The picture enlarged to a grid of tiles, row by row, and last the whole as a thumbnail; just the picture for 1 x 1.
    """
    if columns * rows == 1:
        return images[:, None]
    side = images.shape[-1]
    large = torch.nn.functional.interpolate(images, (side * rows, side * columns), mode="bicubic", antialias=True)
    parts = large.unflatten(-1, (columns, side)).unflatten(-3, (rows, side)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    return torch.cat([parts, images[:, None]], dim=1)


# --- labels and questions ---------------------------------------------------------------------------------------

def subject(question):
    """The shape or colour a yes/no question asks for, and whether it asks for its absence."""
    words = question.rstrip("?").split()
    return next(w for w in words if w in SHAPES + COLORS), "not" in words or "no" in words


def train_split():
    """Images, and for each what the train questions tell about it: a shape and a colour, or None."""
    texts, answers, ids = easy_vqa.get_train_questions()
    possible = {i: (set(SHAPES), set(COLORS)) for i in set(ids)}
    for text, answer, i in zip(texts, answers, ids):
        word, present = answer, True
        if answer in ("yes", "no"):
            word, negated = subject(text)
            present = (answer == "yes") != negated
        values = possible[i][0 if word in SHAPES else 1]
        values.intersection_update({word}) if present else values.discard(word)
    only = lambda values: next(iter(values)) if len(values) == 1 else None
    paths = easy_vqa.get_train_image_paths()
    order = sorted(possible)
    return torch.stack([load_image(paths[i]) for i in order]), [tuple(map(only, possible[i])) for i in order]


def question_bank():
    """The distinct train questions by kind: yes/no, shape and colour (these two may name what they do not ask)."""
    bank = {"yes/no": [], "shape": [], "color": []}
    for text, answer in sorted(set(zip(*easy_vqa.get_train_questions()[:2]))):
        kind = "yes/no" if answer in ("yes", "no") else "shape" if answer in SHAPES else "color"
        if text not in bank[kind]:
            bank[kind].append(text)
    return bank


CASUAL = {
    "shape": ["shape?", "which shape is it?", "what shape is it?", "what is the shape?", "what shape do you see?"],
    "color": ["color?", "colour?", "which color is it?", "what color is it?", "what is the color?",
              "what colour is it?"],
    "yes/no": [text for word in SHAPES for text in (f"is it a {word}?", f"{word}?", f"do you see a {word}?")]
    + [text for word in COLORS for text in (f"is it {word}?", f"{word}?", f"is the shape {word}?")],
    "both": ["what is it?", "what is this?", "what do you see?", "what is in the image?", "describe the image.",
             "describe the image"],
}

SHORT = " Answer the question using a single word or phrase."
YES_NO = " Please answer yes or no." + SHORT
LETTER = "\nAnswer with the option's letter from the given choices directly."


class Questions:
    """Draws questions about an image with a known shape and colour, with their answers."""

    def __init__(self):
        self.bank = question_bank()

    def draw(self, kind, label):
        """A question of `kind` that suits the image and has a known answer, else None."""
        shape, color = label
        casual = kind == "both" or random.random() < 0.15
        for _ in range(20):
            text = random.choice((CASUAL if casual else self.bank)[kind])
            if kind == "yes/no":
                word, negated = subject(text)
                truth = shape if word in SHAPES else color
                if truth is None or (word != truth and random.random() < 0.6):  # as many yes as no
                    continue
                answer = "yes" if (word == truth) != negated else "no"
            elif kind == "both":
                answer = shape and color and f"a {color} {shape}"
            else:
                answer, other = (shape, color) if kind == "shape" else (color, shape)
                named = [w for w in text.rstrip("?").split() if w in SHAPES + COLORS]
                if named and named != [other]:
                    continue
            if answer:
                text = text if casual and random.random() < 0.5 else text[0].upper() + text[1:]
                return text, answer
        return None

    def options(self, kind, answer):
        """Two to four different options, shuffled, among them the answer."""
        pool = {"yes/no": ["yes", "no"], "shape": SHAPES, "color": COLORS}[kind]
        wrong = random.sample([w for w in pool if w != answer], min(len(pool) - 1, random.choice([1, 2, 3, 3, 3])))
        return random.sample([answer, *wrong], 1 + len(wrong))

    def phrase(self, style, label):
        """(text of the user's turn after the image, answer) in one of four styles, or None if nothing is known."""
        kind = random.choices(["yes/no", "shape", "color"], [2, 1, 1])[0]
        if style == "plain" and random.random() < 0.06:
            kind = "both"
        drawn = self.draw(kind, label)
        if drawn is None:
            return None
        text, answer = drawn
        if style == "short":
            text += random.choice(["\n" + SHORT[1:]] * 2 + ([SHORT, YES_NO, YES_NO] if kind == "yes/no" else [SHORT]))
        elif style == "letter":
            options = self.options(kind, answer)
            letter = "ABCD"[options.index(answer)]
            change = random.choice([str, str, str.capitalize])
            text += "".join(f"\n{x}. {change(o)}" for x, o in zip("ABCD", options))
            text += LETTER if random.random() < 0.9 else ""
            answer = letter
        return text, answer


# --- prompt and tokenizer ---------------------------------------------------------------------------------------

SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
STOP = "<|im_end|>"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>",
           "<ref>", "</ref>", "<box>", "</box>"]



def before(tiles=1):
    """The prompt up to the question."""
    image = "<img>" + "<IMG_CONTEXT>" * (TOKENS_PER_TILE * tiles) + "</img>\n"
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{image}"


QWEN2_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def train_tokenizer():
    """A byte-level BPE in which every word of the prompts is one token and any other text is some tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    texts = [SYSTEM, "system\n", "user\n", "assistant\n", SHORT, YES_NO, LETTER]
    for bank in (question_bank(), CASUAL):
        texts += [t for kind in sorted(bank) for text in bank[kind] for t in (text, text[0].upper() + text[1:])]
    words = SHAPES + COLORS + ["yes", "no"]
    texts += [form + tail for w in words for c in (w, w.capitalize()) for form in (c, f"A. {c}") for tail in ("", "\n")]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    return tokenizer


class Prompts:
    """Turns the parts of a prompt into token ids."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.image_id, self.stop_id, self.pad_id = map(tokenizer.token_to_id, ["<IMG_CONTEXT>", STOP, "<|endoftext|>"])

    def before(self, tiles=1):
        return self.tokenizer.encode(before(tiles)).ids

    def encode(self, text, answer=""):
        """Ids of the rest of the prompt, and of the answer with its stop token."""
        ids = self.tokenizer.encode(text + AFTER).ids
        return ids, self.tokenizer.encode(answer + STOP).ids

    def pad(self, rows):
        """On the right, where a causal model does not look."""
        longest = max(map(len, rows))
        return torch.tensor([row + [self.pad_id] * (longest - len(row)) for row in rows])
