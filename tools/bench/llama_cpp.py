"""Compares `shardscope bench` with llama.cpp (`llama-bench`, CPU) on the very same weights, round by round.

Makes a checkpoint with random weights in the shape of Qwen2-0.5B plus InternViT-300M and writes its decoder as GGUF:
float32 and bfloat16 as they are, 8 and 4 bits by `llama-quantize --pure`, so that every matrix is in that format (left
to itself it would keep the head in 8 bits). Then both programs take turns: a prompt of 300 tokens, 64 tokens decoded
behind it, and 64 decoded behind nothing ("first"). Each is warm when it is timed. Prints medians and ratios (above 1:
Shardscope is faster).

llama.cpp runs as is fastest for it on a CPU: flash attention for the prompt and none for decoding, its cache in
float16, its weights repacked (its default), its own parallel regions with as many threads.

llama.cpp comes with the source package of llama-cpp-python; only two of its programs are needed:

    pip install torch transformers==5.23.0 safetensors numpy gguf cmake ninja
    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python
    tar xzf llama_cpp_python-*.tar.gz
    cmake -S llama_cpp_python-*/vendor/llama.cpp -B llama -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \\
        -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \\
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF
    ninja -C llama llama-bench llama-quantize
    cargo build --release
    python tools/bench/llama_cpp.py --llama llama/bin --types f32 bf16 q8_0 q4_0

`--keep FOLDER` keeps the weights for the next time (10 GB for all four types).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import torch
from safetensors import safe_open

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from turns import make_checkpoint, print_table, shardscope_rounds  # noqa: E402

# Name of the type: type of the checkpoint it is made from.
TYPES = {"f32": "f32", "bf16": "bf16", "q8_0": "bf16", "q4_0": "bf16"}
DECODER = "language_model."


def checkpoint(folder, dtype):
    """The folder of a checkpoint, written where it isn't there yet."""
    path = folder / f"checkpoint-{dtype}"
    if not path.exists():
        part = folder / "checkpoint.part"
        make_checkpoint(part, dtype)
        part.rename(path)
    return path


def decoder(folder, llama, name):
    """The file of a checkpoint's decoder in one type, written where it isn't there yet."""
    path = folder / f"decoder-{name}.gguf"
    part = folder / "decoder.part"
    if not path.exists():
        if name == TYPES[name]:
            write_gguf(checkpoint(folder, name), part, name)
        else:
            source = decoder(folder, llama, TYPES[name])
            command = [llama / "llama-quantize", "--pure", source, part, name]
            subprocess.run(command, check=True, capture_output=True)
        part.rename(path)
    return path


def write_gguf(folder, path, dtype):
    """A decoder as GGUF: matrices in the type of the checkpoint, everything else in float32, as llama.cpp asks. There is
    no vocabulary but its size: nothing reads or writes text here."""
    config = json.loads((folder / "config.json").read_text())["text_config"]
    layers, rope = config["num_hidden_layers"], config["rope_parameters"]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("random weights")
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type({"f32": gguf.LlamaFileType.ALL_F32, "bf16": gguf.LlamaFileType.MOSTLY_BF16}[dtype])
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config["vocab_size"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, layers)
    with safe_open(folder / "model.safetensors", "pt") as file:
        for stored in file.keys():
            if not stored.startswith(DECODER):
                continue
            name = names.get_name(stored.removeprefix(DECODER), try_suffixes=(".weight", ".bias"))
            tensor = file.get_tensor(stored)
            if tensor.ndim == 2 and dtype == "bf16":
                bits = tensor.view(torch.uint8).numpy()
                writer.add_tensor(name, bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
            else:
                writer.add_tensor(name, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_bench(arguments, path, *settings):
    """Seconds of the tests of one `llama-bench`, by their prompt, new tokens and depth."""
    command = [
        arguments.llama / "llama-bench", "-m", path, *settings, "-t", str(arguments.threads),
        "-ctk", "f16", "-ctv", "f16", "-r", "1", "-o", "json",
    ]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return {(t["n_prompt"], t["n_gen"], t["n_depth"]): t["avg_ns"] / 1e9 for t in json.loads(result.stdout)}


def llama_round(arguments, path):
    """Seconds for the prompt, and for tokens decoded behind it and behind nothing, each with what is fastest for it."""
    prompt, new = arguments.prompt_tokens, arguments.new_tokens
    taken_in = llama_bench(arguments, path, "-p", str(prompt), "-n", "0", "-fa", "on")
    made = llama_bench(arguments, path, "-p", "0", "-n", str(new), "-d", f"0,{prompt}", "-fa", "off")
    return dict(prefill=taken_in[prompt, 0, 0], decode=made[0, new, prompt], first=made[0, new, 0])


def shardscope_round(arguments, folder, name):
    """The same by `shardscope bench`. `llama-bench` warms up: of the prompt the second round of a process counts, and
    before the first token is decoded behind nothing a prompt of one token has touched all weights."""
    settings = arguments.program, folder, name, arguments.threads
    behind = shardscope_rounds(*settings, arguments.prompt_tokens, arguments.new_tokens, rounds=2)[-1]
    first = shardscope_rounds(*settings, 1, arguments.new_tokens)[0]
    return dict(prefill=behind["prefill"], decode=behind["decode"], first=first["decode"])


def compare(arguments, folder, name, ours_in):
    """Both programs in turn on one type; `ours_in` is the type that Shardscope holds its weights in."""
    stored = checkpoint(folder, TYPES[name])
    path = decoder(folder, arguments.llama, name)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(shardscope_round(arguments, stored, ours_in))
        theirs.append(llama_round(arguments, path))
    beside = "" if name == ours_in else f" beside {ours_in}"
    print(f"{name}{beside}, {arguments.threads} threads, median of {arguments.rounds} interleaved rounds")
    prompt, new = arguments.prompt_tokens, arguments.new_tokens
    print_table("llama.cpp", dict(prefill=prompt, decode=new, first=new), ours, theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="target/release/shardscope")
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of llama-bench and llama-quantize")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--four-bits", default="q4_0", help="type of Shardscope that is put beside q4_0")
    parser.add_argument("--keep", type=pathlib.Path, help="folder in which the weights stay")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=300)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = arguments.keep or pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.types:
            compare(arguments, folder, name, arguments.four_bits if name == "q4_0" else name)


if __name__ == "__main__":
    main()
