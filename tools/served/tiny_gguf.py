"""The decoder of the built-in checkpoint as a GGUF file, for llama.cpp's servers: it sees no pictures, so its answers are
babble, but prompts, streaming and token counts are real.

usage: python tiny_gguf.py assets/demo/checkpoint OUT.gguf
needs: gguf, numpy, safetensors, torch
"""

import json
import sys
from pathlib import Path

import gguf
from safetensors.torch import load_file

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
# Equal to the template internvl2_5, for text.
SYSTEM = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}<|im_start|>system\nSYSTEM<|im_end|>\n{% endif -%}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    # A line feed at a template's own end would be taken off.
    "{{ '<|im_start|>assistant\n' }}"
).replace("SYSTEM", SYSTEM)


def main(source, out):
    source = Path(source)
    config = json.loads((source / "config.json").read_text())["llm_config"]
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    writer = gguf.GGUFWriter(out, "qwen2")
    writer.add_name("shardscope built-in decoder")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    words = {index: word for word, index in tokenizer["model"]["vocab"].items()}
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    tokens, kinds = [], []
    for index in range(config["vocab_size"]):
        tokens.append(special.get(index, words.get(index, f"[PAD{index}]")))
        known = gguf.TokenType.NORMAL if index in words else gguf.TokenType.UNUSED
        kinds.append(gguf.TokenType.CONTROL if index in special else known)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    for name, tensor in load_file(source / "model.safetensors").items():
        name = name.removeprefix("language_model.")
        if name in NAMES:
            to = NAMES[name]
        elif name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            to = f"blk.{layer}.{LAYER[rest]}"
        else:
            continue
        writer.add_tensor(to, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
