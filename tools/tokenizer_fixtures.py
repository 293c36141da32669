"""Makes the folders under tests/fixtures/tokenizer that hold sentencepiece models, with the ids and texts that the
slow tokenizers of transformers 4.49 give for them.

    python -m venv venv && venv/bin/pip install transformers==4.49.0 sentencepiece protobuf
    venv/bin/python tools/tokenizer_fixtures.py [FOLDER]

Takes a few seconds; the same input gives the same files.
"""
import io
import json
import random
import sys
from pathlib import Path

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AddedToken, LlamaTokenizer, LlamaTokenizerFast, PreTrainedTokenizer, PreTrainedTokenizerFast

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/fixtures/tokenizer")

NINE = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]

ENGLISH = """
What is the colour of the shape in the picture? Answer with the option's letter from the given choices directly.
The quick brown fox jumps over the lazy dog, and the dog doesn't mind at all.
How many people are standing behind the table? There're three of them; two wear hats.
Is there a red circle above the blue square? Answer yes or no.
Graph the function f(x) = 3x^2 - 2x + 1 for x between -5 and 5.
A. French B. American C. Japanese D. Brazilian E. None of the above
She said: "It's 12:45, we've got 15 minutes left!" - and they're gone.
def area(width, height):\n    return width * height\n
for (int i = 0; i < 10; i++) { sum += values[i]; }
SELECT name, price FROM fruit WHERE price > 3.50 ORDER BY name;
The image shows a chart of the monthly sales of apples, oranges and pears in 2021, 2022 and 2023.
Please read the text in the image and describe the scene in one sentence.
The answer is B because the angle between both lines is 90 degrees.
""".strip().split("\n")

CHINESE = """
你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。
你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。
图片中有几个人？请直接回答选项的字母。
请描述这张图片的内容，并说明左边的物体是什么颜色。
今天天气很好，我们一起去公园散步吧！
这道题的答案是选项乙，因为两条直线互相垂直。
根据图表，二〇二三年的销售额比二〇二二年增长了百分之十五。
""".strip().split("\n")

FURTHER = ["emoji 😀👍🏽 and 👨‍👩‍👧", "naïve café façade ÅÄÖ", "Ελληνικά и русский", "日本語のテキスト", "한국어", "العربية",
           "ﬁne ½ ㎏ Ⅷ", "zero\u200bwidth", "combining e\u0301 and \u212b", "\ufffd", "𠮷野家", "a\u00a0b\u3000c"]


def corpus():
    """A few thousand lines put together from the sentences, so that the trainer has something to count."""
    choose = random.Random(1)
    for _ in range(3000):
        yield " ".join(choose.choice(ENGLISH + CHINESE) for _ in range(choose.randint(1, 3)))


def train(**options):
    model = io.BytesIO()
    settings = dict(vocab_size=900, character_coverage=0.998, byte_fallback=True, split_digits=True,
                    normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
                    allow_whitespace_only_pieces=True, minloglevel=2)
    spm.SentencePieceTrainer.train(sentence_iterator=corpus(), model_writer=model, **(settings | options))
    return model.getvalue()


def texts(specials):
    """Whole prompts, the sentences, what is hard, and random mixtures."""
    choose = random.Random(2)
    hard = ["", " ", "  ", "\n", "\n\n", "\t", " a", "a ", "  a  b   c ", "\n a", "a\n\nb", "\r\n", "a" * 40, "▁", "a▁b", " ▁a",
            "<", "<|", "<|im_", "<img", "</img", "<IMG_CONTEXT", "<0x0A>", "<unk>", "<s>", "</s>", "x<s>y", "[UNUSED_TOKEN_1]",
            "A [UNUSED_TOKEN_2]B", "word<unk>word", "1234567890", "3.14159", "http://example.org/a?b=c&d=e%20f"]
    rows = hard + ENGLISH + CHINESE + FURTHER
    for system, question in [(CHINESE[0], ENGLISH[0]), (CHINESE[1], CHINESE[2]), (" ", " leading"), ("", "")]:
        for start, end, newline in [("<|im_start|>", "<|im_end|>", ""), ("<|im_start|>", "<|im_end|>", "\n")]:
            image = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>\n"
            rows.append(f"{start}system\n{system}{end}{newline}{start}user\n{image}{question}{end}{newline}{start}assistant\n")
        rows.append(f"<|system|>\n{system}<|end|><|user|>\n{image}{question}<|end|><|assistant|>\n")
    parts = ENGLISH + CHINESE + FURTHER + hard + specials * 2 + [" ", "  ", "\n", " \n ", ".", " .", ",", "'s", "n't"]
    for _ in range(170):
        row = ""
        for _ in range(choose.randint(1, 6)):
            part = choose.choice(parts)
            start = choose.randrange(len(part)) if len(part) > 30 else 0
            row += part[start:start + 30]
        rows.append(row)
    return list(dict.fromkeys(rows))


class InternLM2(PreTrainedTokenizer):
    """What the checkpoint's own tokenization_internlm2.py does, in its effect: sentencepiece for every stretch, and
    a clean-up of every decoded stretch."""
    prefixed = False
    cleans = True
    spaces = True

    def __init__(self, vocab_file, add_bos_token=True, **options):
        self.add_bos_token = add_bos_token
        self.sp = spm.SentencePieceProcessor(model_file=vocab_file)
        super().__init__(**options)

    @property
    def vocab_size(self):
        return self.sp.get_piece_size()

    def get_vocab(self):
        return {self.sp.id_to_piece(i): i for i in range(self.vocab_size)} | self.added_tokens_encoder

    def _tokenize(self, text):
        return self.sp.encode(text, out_type=str)

    def _convert_token_to_id(self, token):
        return self.sp.piece_to_id(token)

    def _convert_id_to_token(self, index):
        return self.sp.id_to_piece(index)

    def build_inputs_with_special_tokens(self, ids, pair=None):
        return ([self.bos_token_id] if self.add_bos_token else []) + ids

    def convert_tokens_to_string(self, tokens):
        if self.prefixed:
            tokens = [tokens[0].removeprefix("▁")] + tokens[1:]
        text, stretch, after = "", [], False
        for place, token in enumerate(tokens):
            if token in self.all_special_tokens:
                text += (" " if self.spaces and not after else "") + self.sp.decode(stretch) + token
                stretch, after = [], True
            else:
                stretch.append(token)
                after = False
        text += self.sp.decode(stretch)
        return self.clean_up_tokenization(text) if self.cleans else text


class InternLM3(InternLM2):
    """The same for InternLM3: no clean-up of its own, a space at the beginning dropped."""
    prefixed = True
    cleans = False
    spaces = False


def write(name, model, kind, config, added):
    """A checkpoint's tokenizer folder and expected.jsonl beside it."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    decoder = {str(i): dict(content=token.content, lstrip=token.lstrip, normalized=token.normalized, rstrip=token.rstrip,
                            single_word=False, special=token.special) for i, token in sorted(added.items())}
    special = [token.content for token in added.values() if token.special and token.content not in ("<unk>", "<s>", "</s>")]
    config = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>", clean_up_tokenization_spaces=False,
                  additional_special_tokens=special) | config
    written = config | {"added_tokens_decoder": decoder}
    (folder / "tokenizer_config.json").write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n")
    (folder / "added_tokens.json").write_text(json.dumps({t.content: i for i, t in added.items() if i >= size(model)}, indent=1) + "\n")
    options = {k: v for k, v in config.items() if k not in ("tokenizer_class", "auto_map")}
    tokenizer = kind(vocab_file=str(folder / "tokenizer.model"), added_tokens_decoder=added, **options)
    choose = random.Random(3)
    everything = list(range(size(model))) + list(added)
    with open(folder / "expected.jsonl", "w") as out:
        for text in texts([token.content for token in added.values()]):
            ids = tokenizer(text)["input_ids"]
            out.write(row(tokenizer, ids, text) + "\n")
        for _ in range(150):
            ids = [choose.choice(everything) for _ in range(choose.randint(1, 16))]
            out.write(row(tokenizer, ids) + "\n")
    print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes")


def row(tokenizer, ids, text=None):
    both = [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (True, False)] if ids else ["", ""]
    return json.dumps(({"text": text} if text is not None else {}) | {"ids": ids, "decoded": both[0], "with_special": both[1]},
                      ensure_ascii=False)


def write_fast(name, tokenizer, special):
    """The same for a tokenizer that is one tokenizer.json."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    for other in ["tokenizer.model", "special_tokens_map.json"]:
        (folder / other).unlink(missing_ok=True)
    choose = random.Random(4)
    with open(folder / "expected.jsonl", "w") as out:
        for text in texts(special)[::2]:
            out.write(row(tokenizer, tokenizer(text)["input_ids"], text) + "\n")
        for _ in range(80):
            out.write(row(tokenizer, [choose.randrange(len(tokenizer)) for _ in range(choose.randint(1, 16))]) + "\n")
    print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes")


def size(model):
    return len(proto.ModelProto.FromString(model).pieces)


def changed(model, **normalizer):
    parsed = proto.ModelProto.FromString(model)
    for key, value in normalizer.items():
        setattr(parsed.normalizer_spec, key, value)
    return parsed.SerializeToString()


def tokens(start, texts, **options):
    flags = dict(lstrip=False, rstrip=False, normalized=False, special=True) | options
    return {start + i: AddedToken(text, **flags) for i, text in enumerate(texts)}


def main():
    basis = tokens(0, ["<unk>", "<s>", "</s>"])

    # InternLM2: unused pieces at the end of the model take other names.
    unused = [f"[UNUSED_TOKEN_{i}]" for i in range(6)]
    model = train(model_type="bpe", user_defined_symbols=unused)
    n = size(model)
    ids = {p.piece: i for i, p in enumerate(proto.ModelProto.FromString(model).pieces)}
    named = {ids[unused[i]]: AddedToken(text, normalized=False, special=True)
             for i, text in [(3, "<|plugin|>"), (4, "<|im_end|>"), (5, "<|im_start|>")]}
    added = basis | named | tokens(n, NINE) | tokens(n + 9, ["<tool>"], special=False)
    config = dict(tokenizer_class="InternLM2Tokenizer", add_bos_token=True)
    write("internlm2", model, InternLM2, config, added)
    write("internlm2-plain", changed(model, add_dummy_prefix=False), InternLM2, config, added)
    write("internlm3", model, InternLM3, dict(tokenizer_class="InternLM3Tokenizer", add_bos_token=True), added)

    # Yi: a LlamaTokenizer of the older behaviour, no token before the text, chat tokens in the model itself.
    model = train(model_type="bpe", user_defined_symbols=["<|endoftext|>", "<|im_end|>", "<|im_start|>"], vocab_size=700)
    config = dict(tokenizer_class="LlamaTokenizer", add_bos_token=False, legacy=True)
    write("yi", model, LlamaTokenizer, config, basis | tokens(size(model), NINE))

    # Phi3: the newer behaviour, tokens that eat the white space after them.
    model = train(model_type="bpe", vocab_size=700)
    n = size(model)
    chat = ["<|endoftext|>", "<|assistant|>", "<|step|>", "<|system|>", "<|end|>", "<|user|>"]
    added = basis | tokens(n, chat, rstrip=True) | tokens(n + len(chat), NINE)
    config = dict(tokenizer_class="LlamaTokenizer", add_bos_token=True, legacy=False)
    write("phi3", model, LlamaTokenizer, config, added)
    config["clean_up_tokenization_spaces"] = True
    write("phi3-eating", model, LlamaTokenizer, config,
          basis | tokens(n, chat, rstrip=True, lstrip=True) | tokens(n + len(chat), NINE))

    # A unigram model with a normalization table, superfluous spaces removed, no bytes to fall back to.
    rules = OUT / "rules.tsv"
    OUT.mkdir(parents=True, exist_ok=True)
    rules.write_text("".join("%s\t%s\n" % (" ".join("%X" % ord(c) for c in a), " ".join("%X" % ord(c) for c in b))
                             for a, b in [("ﬁ", "fi"), ("½", "1⁄2"), ("㎏", "kg"), ("\t", " "), ("\n", " "), ("\u3000", " "),
                                          ("e\u0301", "é"), ("\u200b", ""), ("Ⅷ", "VIII"), ("AB", "ab")]))
    model = train(model_type="unigram", vocab_size=320, byte_fallback=False, normalization_rule_tsv=str(rules),
                  remove_extra_whitespaces=True, user_defined_symbols=["[UNUSED_TOKEN_1]"])
    rules.unlink()
    config = dict(tokenizer_class="LlamaTokenizer", add_bos_token=True, legacy=True)
    write("unigram", model, LlamaTokenizer, config, basis | tokens(size(model), ["<|im_start|>", "<|im_end|>"] + NINE))

    # Llama 3: tokenizer.json alone, whose post-processor puts a token before the text; decoded text is cleaned up.
    words = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
             r"|\s+(?!\S)|\s+")
    inner = Tokenizer(models.BPE(ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"] + NINE
    inner.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    begin = inner.token_to_id("<|begin_of_text|>")
    inner.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", begin)])])
    write_fast("llama3", PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>", clean_up_tokenization_spaces=True,
        additional_special_tokens=special[2:]), special)

    # A LlamaTokenizer turned into tokenizer.json, whose decoder looks at neighbours.
    tokenizer = LlamaTokenizerFast(vocab_file=str(OUT / "yi/tokenizer.model"), add_bos_token=True, legacy=True,
                                   from_slow=True, add_prefix_space=True, clean_up_tokenization_spaces=False)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=True) for text in NINE], special_tokens=True)
    write_fast("llama-fast", tokenizer, NINE + ["<|im_start|>", "<|im_end|>"])


main()
