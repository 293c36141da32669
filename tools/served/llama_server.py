"""Starts llama.cpp's own server (as the wheel of xllamacpp holds it) with a model, until it is ended.

    pip install xllamacpp
    python tools/served/llama_server.py MODEL.gguf 8001 [MMPROJ.gguf]
"""

import signal
import sys

import xllamacpp


def main(model, port, mmproj=None):
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = int(port)
    params.n_parallel = 4
    params.n_ctx = 16384
    if mmproj:
        params.mmproj.path = mmproj
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main(*sys.argv[1:])
