#!/usr/bin/env python3
"""Writes tests/golden/dequant/<type>.bin: random blocks of every GGUF block type and their values as
the Python package `gguf` (ggml's own reference in numpy) computes them. Run by hand:

    python tools/golden/dequant.py        # needs: pip install gguf numpy

File: u32 number of values, u32 bytes of blocks, the blocks, the values as float32."""
import pathlib
import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/dequant"
# byte offsets of the half-precision factors inside a block
HALVES = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": [],
}
VALUES = 768


def blocks(rng, name):
    elems, size = GGML_QUANT_SIZES[T[name]]
    b = rng.integers(0, 256, (VALUES // elems, size), dtype=np.uint8)
    for at in HALVES[name]:
        h = (rng.standard_normal(len(b)) * 0.1).astype(np.float16)
        h[0] = np.float16(6e-7)  # a subnormal
        h[1] = 0
        b[:, at:at + 2] = h.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        b[:, 0] = rng.integers(100, 140, len(b))
        b[:4, 0] = [0, 1, 2, 250]
    return b


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for name in HALVES:
        b = blocks(rng, name)
        v = dequantize(b, T[name]).astype(np.float32).ravel()
        data = struct.pack("<II", v.size, b.size) + b.tobytes() + v.tobytes()
        (OUT / f"{name.lower()}.bin").write_bytes(data)


main()
