"""The built-in checkpoint in the Hugging Face layout, for servers that read no other (`transformers serve`).

usage: python hf_layout.py assets/demo/checkpoint OUT
needs: torch, safetensors, transformers
"""

import json
import re
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

RENAMED = [
    (r"^mlp1\.0\.", "model.multi_modal_projector.layer_norm."),
    (r"^mlp1\.1\.", "model.multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "model.multi_modal_projector.linear_2."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^vision_model\.embeddings\.class_embedding$", "model.vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "model.vision_tower.embeddings.patch_embeddings.projection."),
    (r"^vision_model\.embeddings\.position_embedding$", "model.vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.encoder\.layers\.", "model.vision_tower.encoder.layer."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls1$", ".lambda_1"),
    (r"\.ls2$", ".lambda_2"),
]

# Equal to the template internvl2_5, for text and images.
CHAT = (
    "{%- if messages[0]['role'] != 'system' -%}<|im_start|>system\nSYSTEM<|im_end|>\n{% endif -%}"
    "{%- for message in messages -%}<|im_start|>{{ message['role'] + '\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] in ('image', 'image_url') -%}{{ '<IMG_CONTEXT>\n' }}"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"


def renamed(name):
    for pattern, to in RENAMED:
        name = re.sub(pattern, to, name)
    return name


def tensors(source):
    for name, tensor in load_file(source / "model.safetensors").items():
        qkv = re.match(r"^(vision_model\.encoder\.layers\.\d+)\.attn\.qkv\.(weight|bias)$", name)
        if qkv:
            for part, piece in zip("qkv", tensor.chunk(3, dim=0)):
                yield renamed(f"{qkv[1]}.attention.{part}_proj.{qkv[2]}"), piece.contiguous()
        else:
            yield renamed(name), tensor


def main(source, out):
    source, out = Path(source), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    old = json.loads((source / "config.json").read_text())
    vision, text = old["vision_config"], old["llm_config"]
    side, patch = vision["image_size"], vision["patch_size"]
    tokens = int((side // patch) ** 2 * old["downsample_ratio"] ** 2)
    added = json.loads((source / "added_tokens.json").read_text())
    config = {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "dtype": "float32",
        "downsample_ratio": old["downsample_ratio"],
        "image_seq_length": tokens,
        "image_token_id": added["<IMG_CONTEXT>"],
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": False,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "text_config": {key: value for key, value in text.items() if key not in ("architectures", "torch_dtype")},
        "vision_config": {
            "model_type": "internvl_vision",
            "attention_bias": vision["qkv_bias"],
            "hidden_act": vision["hidden_act"],
            "hidden_size": vision["hidden_size"],
            "image_size": [side, side],
            "intermediate_size": vision["intermediate_size"],
            "layer_norm_eps": vision["layer_norm_eps"],
            "norm_type": vision["norm_type"],
            "num_attention_heads": vision["num_attention_heads"],
            "num_channels": 3,
            "num_hidden_layers": vision["num_hidden_layers"],
            "patch_size": [patch, patch],
            "use_absolute_position_embeddings": True,
            "use_mask_token": False,
            "use_mean_pooling": True,
            "use_qk_norm": vision["qk_normalization"],
        },
    }
    processor = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "processor_class": "InternVLProcessor",
        "crop_to_patches": True,
        "min_patches": old["min_dynamic_patch"],
        "max_patches": old["max_dynamic_patch"],
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }
    template = CHAT.replace("SYSTEM", SYSTEM)
    tokenizer = json.loads((source / "tokenizer_config.json").read_text())
    tokenizer |= {
        "processor_class": "InternVLProcessor",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<quad>",
        "extra_special_tokens": {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<quad>",
        },
    }
    write = lambda name, value: (out / name).write_text(json.dumps(value, ensure_ascii=False, indent=1))
    write("config.json", config)
    write("preprocessor_config.json", processor)
    write("processor_config.json", {"processor_class": "InternVLProcessor", "image_seq_length": tokens})
    write("tokenizer_config.json", tokenizer)
    write("generation_config.json", {"eos_token_id": text["eos_token_id"], "do_sample": False, "max_new_tokens": 64})
    (out / "chat_template.jinja").write_text(template)
    for name in ("tokenizer.json", "added_tokens.json", "special_tokens_map.json"):
        shutil.copy(source / name, out / name)
    save_file({name: tensor.float() for name, tensor in tensors(source)}, out / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main(*sys.argv[1:])
