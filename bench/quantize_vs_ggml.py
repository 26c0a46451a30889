#!/usr/bin/env python3
"""Our quantizers beside ggml's on the same rows: error (root mean square, and with the weights of an
importance matrix), equality of bytes, speed of one core. Run from the repository root:

    python3 bench/quantize_vs_ggml.py [TYPE…]    # needs: pip install llama-cpp-python gguf numpy; gcc

Prints one markdown row per type and distribution; exits 1 when our error is above 1.01 of ggml's, or
when bytes that must be equal are not."""
import ctypes
import glob
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import needed  # a package that is missing is said in one line
import llama_cpp
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T

TYPES = sys.argv[1:] or ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
                         "Q6_K", "MXFP4"]
EQUAL = {"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"}
ROWS, COLS = 256, 4096
F32P = ctypes.POINTER(ctypes.c_float)


def ours():
    so = os.path.join(tempfile.mkdtemp(), "libquantize.so")
    src = glob.glob("src/tensor/ref/quantize*.c") + [
        "src/tensor/ref/dequant.c", "src/tensor/dtype.c", "src/tensor/tensor.c"]
    subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O3", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC",
                    "-Isrc", "-o", so, *src, "-lm"], check=True)
    lib = ctypes.CDLL(so)
    lib.dequant_run.restype = None
    return lib


def ggml():
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    lib = ctypes.CDLL(str(folder / "libggml-base.so"))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    return lib


def pointer(a):
    return a.ctypes.data_as(F32P)


def quantize_ggml(lib, name, x, imatrix):
    elems, size = GGML_QUANT_SIZES[T[name]]
    out = np.zeros(x.size // elems * size, np.uint8)
    begin = time.perf_counter()
    lib.ggml_quantize_chunk(ctypes.c_int(T[name]), pointer(x), out.ctypes.data_as(ctypes.c_void_p),
                            ctypes.c_int64(0), ctypes.c_int64(x.shape[0]),
                            ctypes.c_int64(x.shape[1]), pointer(imatrix) if imatrix is not None else None)
    return out, time.perf_counter() - begin


def quantize_ours(lib, name, x, imatrix):
    elems, size = GGML_QUANT_SIZES[T[name]]
    out = np.zeros((x.shape[0], x.shape[1] // elems * size), np.uint8)
    kind = our_type(lib, name)
    importance = pointer(imatrix) if imatrix is not None else None
    begin = time.perf_counter()
    for row, dst in zip(x, out):
        rc = lib.quantize_run(kind, pointer(row), dst.ctypes.data_as(ctypes.c_void_p),
                              ctypes.c_size_t(row.size), importance)
        assert rc == 0
    return out.ravel(), time.perf_counter() - begin


def our_type(lib, name):
    kind = ctypes.c_int()
    lib.dtype_from_name.restype = ctypes.c_bool
    assert lib.dtype_from_name(name.encode(), ctypes.byref(kind))
    return kind


def dequantize(lib, name, data, shape):
    out = np.zeros(shape, np.float32)
    lib.dequant_run(our_type(lib, name), data.ctypes.data_as(ctypes.c_void_p), pointer(out),
                    ctypes.c_size_t(out.size))
    return out


def inputs():
    rng = np.random.default_rng(7)
    normal = rng.standard_normal((ROWS, COLS)).astype(np.float32) * 0.02
    heavy = (rng.standard_t(3, (ROWS, COLS)) * 0.02).astype(np.float32)
    brain = (normal.view(np.uint32) & 0xFFFF0000).view(np.float32)
    return {"normal": normal, "heavy-tailed": heavy, "normal, bf16": brain}


def error(x, y, weight):
    return float(np.sqrt(np.mean(weight * (x.astype(np.float64) - y) ** 2)))


def main():
    a, b = ours(), ggml()
    rng = np.random.default_rng(8)
    imatrix = (rng.standard_normal(COLS) ** 2 + 0.05).astype(np.float32)
    bad = []
    print("| type | data | importance | error ours | error ggml | ratio | equal bytes | ours Mw/s | ggml Mw/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in TYPES:
        for data, x in inputs().items():
            for use in (None, imatrix):
                if use is not None and (data != "heavy-tailed" or name in ("Q8_0", "MXFP4")):
                    continue
                qa, ta = quantize_ours(a, name, x, use)
                qb, tb = quantize_ggml(b, name, x, use)
                weight = np.ones(COLS) if use is None else use / use.mean()
                ea = error(x, dequantize(a, name, qa, x.shape), weight)
                eb = error(x, dequantize(a, name, qb, x.shape), weight)
                same = float(np.mean(qa == qb))
                print(f"| {name} | {data} | {'yes' if use is not None else 'no'} | {ea:.4e} | {eb:.4e} |"
                      f" {ea / eb:.4f} | {100 * same:.2f}% | {x.size / ta / 1e6:.0f} |"
                      f" {x.size / tb / 1e6:.0f} |", flush=True)
                if ea > 1.01 * eb or (use is None and name in EQUAL and same != 1):
                    bad.append(f"{name} {data}")
    if bad:
        sys.exit("not as good as it must be: " + ", ".join(bad))


main()
