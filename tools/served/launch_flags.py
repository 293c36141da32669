"""Looks up every option and variable that `shardscope plan --launch` writes in the engines themselves.

    pip download --no-deps -d wheels vllm sglang lmdeploy xllamacpp
    python tools/served/launch_flags.py target/debug/shardscope wheels

Reads the wheels without installing them: an option is known where the engine's argument parser declares it, by its name or as
a field of the dataclass that the parser is made from; llama.cpp's are looked for in the library of the xllamacpp wheel. Ends
with 1 where one is not found. What an option means is for a person to read in the file that is named.
"""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ENGINES = {
    # engine: (package, files that declare options)
    "vllm": ("vllm", r"vllm/(engine/arg_utils|entrypoints/.*cli_args)\.py$"),
    "sglang": ("sglang", r"sglang/srt/(server_args|arg_groups/fields/\w+)\.py$"),
    "lmdeploy": ("lmdeploy", r"lmdeploy/cli/\w+\.py$"),
    "llama.cpp": ("xllamacpp", r"\.so$"),
}
# Of the system, of Ray or of CUDA, not of the engine.
ELSEWHERE = {"CUDA_VISIBLE_DEVICES", "--head", "--address"}
DEVICES = ["sim:8xA100-40GB", "sim:1xH100", "sim:2x(8xA100-40GB)"]


def written(program, engine):
    """Options and variables of the commands of several plans; of rpc-server none, which no wheel holds."""
    found = set()
    for devices in DEVICES:
        words = [program, "plan", "--checkpoint", "InternVL3-78B", "--devices", devices, "--dtype", "bf16"]
        plan = json.loads(subprocess.check_output([*words, "--launch", engine, "--json"]))
        for line in (line for script in plan["launch"]["scripts"] for line in script["lines"]):
            if line.startswith("#") or "rpc-server" in line or " ray start " in line:
                continue
            found |= set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line)) | set(re.findall(r"\b([A-Z][A-Z_]+)=", line))
    return sorted(found - ELSEWHERE)


def declared(wheel, files, name):
    """The file that declares an option or reads a variable."""
    quoted = re.compile(rb"[\"']" + re.escape(name.encode()) + rb"[\"']")
    field = re.compile(rb"^    " + name.lstrip("-").replace("-", "_").encode() + rb"\s*:", re.M)
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            if entry.endswith(".so") and re.search(files, entry):
                if b"\0" + name.encode() + b"\0" in archive.read(entry):
                    return entry
            elif name.startswith("--") and re.search(files, entry):
                text = archive.read(entry)
                if quoted.search(text) or field.search(text):
                    return entry
            elif not name.startswith("--") and entry.endswith(".py"):
                text = archive.read(entry)
                if quoted.search(text) and b"getenv" in text:
                    return entry
    return None


def main(program, wheels):
    missing = 0
    for engine, (package, files) in ENGINES.items():
        wheel = next(Path(wheels).glob(f"{package}-*.whl"), None)
        if wheel is None:
            print(f"{engine}: no wheel of {package} in {wheels}")
            missing += 1
            continue
        print(f"{engine}: {wheel.name}")
        for name in written(program, engine):
            where = declared(wheel, files, name)
            missing += where is None
            print(f"  {name:32} {where or 'NOT FOUND'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
