"""Checks a checkpoint against the InternVL and Qwen2 tokenizer of transformers, on the rows of a reference file.

    python verify.py CHECKPOINT DATASET.tsv REFERENCE.jsonl
"""

import argparse
import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, InternVLConfig, InternVLForConditionalGeneration, Qwen2Config
from transformers import InternVLVisionConfig

import data
from checkpoint import load_checkpoint
from evaluate import read_table

NAMES = [  # original name -> name in transformers
    (r"^vision_model\.embeddings\.class_embedding$", "vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "vision_tower.embeddings.patch_embeddings.projection."),
    (r"^vision_model\.encoder\.layers\.", "vision_tower.encoder.layer."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.attn\.(q|k|v)_proj\.", r".attention.\1_proj."),
    (r"\.norm1\.", ".layernorm_before."), (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls1$", ".lambda_1"), (r"\.ls2$", ".lambda_2"),
    (r"^mlp1\.0\.", "multi_modal_projector.layer_norm."), (r"^mlp1\.1\.", "multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "multi_modal_projector.linear_2."),
    (r"^(vision_tower|multi_modal_projector)", r"model.\1"), (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.lm_head\.", "lm_head."),
]


def transformers_model(folder):
    c = json.loads((folder / "config.json").read_text())
    v, t = c["vision_config"], c["llm_config"]
    ids = json.loads((folder / "added_tokens.json").read_text())
    vision = InternVLVisionConfig(
        **{k: v[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                             "hidden_act", "norm_type", "layer_norm_eps")},
        image_size=[v["image_size"]] * 2, patch_size=[v["patch_size"]] * 2, attention_bias=v["qkv_bias"],
        use_qk_norm=v["qk_normalization"], use_mean_pooling=True, use_absolute_position_embeddings=True)
    text = Qwen2Config(**{k: t[k] for k in (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "intermediate_size", "hidden_act", "rope_theta", "rms_norm_eps", "max_position_embeddings",
        "tie_word_embeddings")})
    config = InternVLConfig(vision_config=vision, text_config=text, image_token_id=ids["<IMG_CONTEXT>"],
                            image_seq_length=data.TOKENS_PER_TILE, tie_word_embeddings=False)
    config._attn_implementation = "eager"
    model = InternVLForConditionalGeneration(config).float().eval()
    weights = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        parts = {name: tensor}
        if ".attn.qkv." in name:
            parts = {name.replace("qkv", f"{x}_proj"): part for x, part in zip("qkv", tensor.chunk(3))}
        for name, tensor in parts.items():
            for old, new in NAMES:
                name = re.sub(old, new, name)
            weights[name] = tensor.float()
    model.load_state_dict(weights)  # strict: no name may be missing or left over
    return model


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "dataset", "reference"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    theirs, tokenizer = transformers_model(options.checkpoint), AutoTokenizer.from_pretrained(options.checkpoint)
    ours, ours_tokenizer = load_checkpoint(options.checkpoint)
    prompts, rows = data.Prompts(ours_tokenizer), read_table(options.dataset)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    start, worst, same, n = len(prompts.before()), 0.0, 0, 0
    for line in options.reference.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        picture = Image.open(io.BytesIO(rows[row["index"]]["image"])).convert("RGB").resize((112, 112), Image.BICUBIC)
        pixels = torch.from_numpy(((np.asarray(picture, np.float32) / 255 - mean) / std).transpose(2, 0, 1))[None]
        ids = tokenizer(row["prompt"])["input_ids"]
        assert ids == row["prompt_ids"] == ours_tokenizer.encode(row["prompt"]).ids
        out = theirs.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                              pixel_values=pixels, max_new_tokens=8, do_sample=False, eos_token_id=prompts.stop_id,
                              pad_token_id=prompts.pad_id)[0, len(ids):].tolist()
        whole = torch.tensor([ids + row["ids"]])
        a = theirs(input_ids=whole, pixel_values=pixels, attention_mask=torch.ones_like(whole)).logits[0, start:]
        cache = ours.read_images(prompts.before(), prompts.image_id, pixels[:, None])
        b = ours.language_model.lm_head(ours.read_text(cache, torch.tensor([0]), whole[:, start:]))[0]
        worst = max(worst, (a - b).abs().max().item())
        n, same = n + 1, same + (out == row["ids"])
    print(f"{n} prompts: token ids equal; largest difference of a logit {worst:.2e}; same greedy ids {same}")
    assert worst < 1e-3 and same == n


if __name__ == "__main__":
    main()
