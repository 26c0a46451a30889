#!/usr/bin/env python3
"""Writes tests/golden/quantize/blocks.bin: rows of floats and the blocks ggml's quantizers make of
them. Run by hand:

    python tools/golden/quantize.py       # needs: pip install llama-cpp-python gguf numpy

File: u32 number of values n, n float32, n float32 importance; then for every type of TYPES in order
u32 bytes and the blocks without importance, u32 bytes and the blocks with it."""
import ctypes
import pathlib
import struct

import llama_cpp
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "MXFP4"]
VALUES = 2048


def rows():
    rng = np.random.default_rng(3)
    x = rng.standard_t(4, VALUES) * 0.02
    x[256:512] = np.round(rng.standard_normal(256) * 8) / 64  # many ties
    x[512:544] = 0
    x[544:576] = -0.5
    x[576:608] = np.abs(x[576:608])
    x[608:640] *= 1e-6
    x[640:672] *= 10
    x[768:1024] *= 1e4
    importance = rng.standard_normal(VALUES) ** 2 + 0.05
    return x.astype(np.float32), importance.astype(np.float32)


def main():
    lib = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib/libggml-base.so"))
    f32 = ctypes.POINTER(ctypes.c_float)
    x, importance = rows()
    data = struct.pack("<I", VALUES) + x.tobytes() + importance.tobytes()
    for name in TYPES:
        elems, size = GGML_QUANT_SIZES[T[name]]
        for use in (None, importance.ctypes.data_as(f32)):
            out = np.zeros(VALUES // elems * size, np.uint8)
            lib.ggml_quantize_chunk(
                ctypes.c_int(T[name]), x.ctypes.data_as(f32), out.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int64(0), ctypes.c_int64(1), ctypes.c_int64(VALUES), use)
            data += struct.pack("<I", out.size) + out.tobytes()
    folder = ROOT / "tests/golden/quantize"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blocks.bin").write_bytes(data)


main()
