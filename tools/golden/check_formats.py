#!/usr/bin/env python3
"""Reads files that Fathom wrote with the reference Python readers, and files those wrote with Fathom.

Usage, after `make`: PYTHON tools/golden/check_formats.py   (needs numpy, gguf, safetensors, torch)

Builds tools/golden/write_samples.c against build/libfathom.a, lets it write sample.gguf and sample.safetensors,
opens both with the gguf and safetensors packages and compares every key, shape and byte with what the C
program says it wrote. Then the other way round: the packages write files with random values and
`fathom inspect --json --tensors` must list the same tensors. Prints one line per check; exits 1 on a difference.
"""
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

BUILD = os.environ.get("FATHOM_BUILD", "build")
FAILED = []


def check(name, good):
    print(("ok    " if good else "WRONG ") + name)
    if not good:
        FAILED.append(name)


def pattern(seed, n):
    """The bytes write_samples.c fills tensor number `seed` with."""
    return ((np.arange(n, dtype=np.uint64) * 37 + seed * 11 + 1) & 0x3f).astype(np.uint8)


def ours_read_by_them(folder):
    flags = subprocess.run(["pkg-config", "--libs", "jansson", "libsodium"], capture_output=True, text=True, check=True)
    program = os.path.join(folder, "write_samples")
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-Isrc", "-o", program, "tools/golden/write_samples.c",
                    f"{BUILD}/libfathom.a", *flags.stdout.split(), "-lm"], check=True)
    subprocess.run([program, folder], check=True)

    reader = gguf.GGUFReader(os.path.join(folder, "sample.gguf"))
    fields = reader.fields
    check("gguf: general.architecture", fields["general.architecture"].contents() == "llama")
    check("gguf: u32", fields["llama.block_count"].contents() == 7)
    check("gguf: f32", fields["llama.eps"].contents() == np.float32(1e-5))
    check("gguf: bool", fields["tokenizer.ggml.add_bos_token"].contents() is True)
    check("gguf: strings", fields["tokenizer.ggml.tokens"].contents() == ["a", "", "\u0120the"])
    check("gguf: i32 array", fields["tokenizer.ggml.token_type"].contents() == [-3, 0, 7])
    check("gguf: f32 array", fields["limits"].contents() == [0.5, -1.0])
    types = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
             "MXFP4", "I32"]
    check("gguf: number of tensors", len(reader.tensors) == len(types))
    for i, (t, name) in enumerate(zip(reader.tensors, types)):
        raw = np.asarray(t.data).view(np.uint8).reshape(-1)
        check(f"gguf: tensor {t.name}", t.name == f"t.{name.lower()}" and t.tensor_type.name == name and
              t.shape.tolist() == [256, 3, 2] and np.array_equal(raw, pattern(i, t.n_bytes)))

    dtypes = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
              "f8_e4m3": torch.float8_e4m3fn, "i64": torch.int64, "i32": torch.int32, "i16": torch.int16,
              "i8": torch.int8, "u8": torch.uint8}
    with safe_open(os.path.join(folder, "sample.safetensors"), framework="pt") as f:
        check("safetensors: metadata", f.metadata() == {"format": "pt"})
        check("safetensors: names", sorted(f.keys()) == sorted(dtypes))
        for i, (name, dtype) in enumerate(dtypes.items()):
            t = f.get_tensor(name)
            raw = t.contiguous().view(torch.uint8).numpy().reshape(-1)
            check(f"safetensors: tensor {name}", t.dtype == dtype and list(t.shape) == [3, 5] and
                  np.array_equal(raw, pattern(i, raw.size)))


def inspect(path):
    out = subprocess.run([f"{BUILD}/fathom", "inspect", path, "--json", "--tensors"], capture_output=True, check=True)
    return json.loads(out.stdout)


def theirs_read_by_us(folder):
    rng = np.random.default_rng(5)
    path = os.path.join(folder, "theirs.gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("k.u32", 7)
    writer.add_uint64("k.u64", 2**40)
    writer.add_int32("k.i32", -7)
    writer.add_float64("k.f64", 0.1)
    writer.add_string("k.text", "caf\u00e9")
    writer.add_array("k.list", [1, 2, 3])
    arrays = {"a": rng.standard_normal((4, 64)).astype(np.float32), "b": rng.standard_normal((3, 2, 32)).astype(np.float16)}
    for name, a in arrays.items():
        writer.add_tensor(name, a)
    writer.add_tensor("q", gguf.quants.quantize(arrays["a"], gguf.GGMLQuantizationType.Q8_0),
                      raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    doc = inspect(path)
    config = doc["config"]
    check("inspect: keys", (config["k.u32"], config["k.u64"], config["k.i32"], config["k.f64"], config["k.text"],
                            config["k.list"]) == (7, 2**40, -7, 0.1, "caf\u00e9", [1, 2, 3]))
    check("inspect: gguf tensors", [(t["name"], t["dtype"], t["shape"]) for t in doc["tensors"]] ==
          [("a", "f32", [4, 64]), ("b", "f16", [3, 2, 32]), ("q", "q8_0", [4, 64])])
    with open(path, "rb") as f:
        whole = f.read()
    t = doc["tensors"][1]
    check("inspect: offsets", whole[t["offset"]:t["offset"] + t["bytes"]] == arrays["b"].tobytes())

    path = os.path.join(folder, "theirs.safetensors")
    tensors = {"x": torch.randn(3, 5).bfloat16(), "y": torch.arange(7), "z": torch.tensor(2.5)}
    save_file(tensors, path, metadata={"format": "pt"})
    doc = inspect(path)
    check("inspect: safetensors", {t["name"]: (t["dtype"], t["shape"]) for t in doc["tensors"]} ==
          {"x": ("bf16", [3, 5]), "y": ("i64", [7]), "z": ("f32", [1])})


with tempfile.TemporaryDirectory() as work:
    ours_read_by_them(work)
    theirs_read_by_us(work)
print(f"{len(FAILED)} wrong")
sys.exit(bool(FAILED))
