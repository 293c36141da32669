"""Writes and reads the model in the original (GitHub) InternVL layout, with bfloat16 weights."""

import json
import shutil

import torch
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from data import SPECIAL, STOP
from model import TEXT, VISION, InternVL

CONTEXT = 4096
PAD = "<|endoftext|>"


def config(token_id):
    v, t = VISION, TEXT
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "template": "internvl2_5",
        "force_image_size": v["image"],
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "dynamic_image_size": True,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 12,
        "use_thumbnail": True,
        "pad2square": False,
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "hidden_size": t["hidden"],
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "image_size": v["image"],
            "patch_size": v["patch"],
            "num_channels": 3,
            "hidden_size": v["hidden"],
            "num_hidden_layers": v["layers"],
            "num_attention_heads": v["heads"],
            "intermediate_size": v["intermediate"],
            "hidden_act": "gelu",
            "norm_type": "layer_norm",
            "layer_norm_eps": v["eps"],
            "qkv_bias": True,
            "qk_normalization": False,
            "attention_dropout": 0.0,
            "dropout": 0.0,
            "drop_path_rate": 0.0,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "use_flash_attn": False,
            "torch_dtype": "bfloat16",
        },
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "vocab_size": max(token_id.values()) + 1,
            "hidden_size": t["hidden"],
            "num_hidden_layers": t["layers"],
            "num_attention_heads": t["heads"],
            "num_key_value_heads": t["kv_heads"],
            "intermediate_size": t["intermediate"],
            "hidden_act": "silu",
            "rope_theta": t["theta"],
            "rope_scaling": None,
            "rms_norm_eps": t["eps"],
            "max_position_embeddings": CONTEXT,
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": t["layers"],
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "bos_token_id": token_id[PAD],
            "eos_token_id": token_id[STOP],
            "pad_token_id": token_id[PAD],
            "tie_word_embeddings": False,
            "use_cache": True,
            "torch_dtype": "bfloat16",
        },
    }


def save_checkpoint(model, tokenizer, folder):
    """Replaces `folder` only when all files of the new one are complete."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    special = {t: ids[t] for t in SPECIAL}
    names = {"eos_token": STOP, "pad_token": PAD, "additional_special_tokens": [t for t in SPECIAL if t != PAD]}
    flags = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    files = {
        "config": config(ids),
        "generation_config": {"eos_token_id": ids[STOP], "pad_token_id": ids[PAD], "do_sample": False},
        "added_tokens": special,
        "special_tokens_map": names,
        "tokenizer_config": {
            "tokenizer_class": "Qwen2Tokenizer",
            "model_max_length": CONTEXT,
            "add_bos_token": False,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": False,
            "errors": "replace",
            "bos_token": None,
            "unk_token": None,
            **names,
            "added_tokens_decoder": {str(i): {"content": t, **flags} for t, i in special.items()},
        },
    }
    new = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name, content in files.items():
        (new / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    tokenizer.save(str(new / "tokenizer.json"))
    weights = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
    (new / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def load_checkpoint(folder):
    """The model, its bfloat16 weights now in float32, and the tokenizer."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = InternVL(tokenizer.get_vocab_size())
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    return model, tokenizer
