#!/usr/bin/env python3
"""Writes the first inputs of the format fuzzers to tests/fuzz/seeds/{gguf,safetensors,json}/.

Usage: tools/golden/fuzz_format_seeds.py [OUT]. Needs only the standard library; the output does not depend on the machine.
"""
import json
import os
import struct
import sys

OUT = sys.argv[1] if len(sys.argv) > 1 else "tests/fuzz/seeds"


def put(kind, name, data):
    os.makedirs(os.path.join(OUT, kind), exist_ok=True)
    with open(os.path.join(OUT, kind, name), "wb") as f:
        f.write(data)


def u32(v):
    return struct.pack("<I", v)


def u64(v):
    return struct.pack("<Q", v)


def string(s):
    s = s.encode()
    return u64(len(s)) + s


SCALARS = {0: b"\x01", 1: b"\xff", 2: b"\x02\x00", 3: b"\xfe\xff", 4: u32(7), 5: u32(2**32 - 1), 6: struct.pack("<f", 0.5),
           7: b"\x01", 8: string("text"), 10: u64(9), 11: u64(2**64 - 2), 12: struct.pack("<d", 1e-6)}
# ggml id: (values per block, bytes per block)
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66), 20: (32, 18), 26: (1, 4),
          30: (1, 2), 39: (32, 17), 40: (64, 36)}


def gguf(keys, tensors, align=32, version=3):
    head = b"GGUF" + u32(version) + u64(len(tensors)) + u64(len(keys))
    for name, (kind, value) in keys.items():
        head += string(name) + u32(kind) + value
    data = b""
    for name, (shape, kind) in tensors.items():
        values, size = BLOCKS[kind]
        n = 1
        for d in shape:
            n *= d
        data += bytes(-len(data) % align)
        head += string(name) + u32(len(shape)) + b"".join(map(u64, shape)) + u32(kind) + u64(len(data))
        data += bytes(range(256)) * (n // values * size // 256) + bytes(n // values * size % 256)
    return head + bytes(-len(head) % align) + data


def array(kind, values):
    return 9, u32(kind) + u64(len(values)) + b"".join(values)


put("gguf", "empty", gguf({}, {}))
put("gguf", "scalars", gguf({f"k{t}": (t, v) for t, v in SCALARS.items()}, {}))
put("gguf", "arrays", gguf({f"a{t}": array(t, [v, v]) for t, v in SCALARS.items()}, {}, version=2))
put("gguf", "types", gguf({}, {f"t{t}": ((b, 1, 2), t) for t, (b, _) in BLOCKS.items()}))
put("gguf", "unaligned", gguf({"general.alignment": (4, u32(1))}, {"a": ((3,), 1), "b": ((2, 2), 0)}, align=1))
put("gguf", "split", gguf({"split.no": (2, b"\0\0"), "split.count": (2, b"\2\0")}, {"a": ((4,), 0)}))
put("gguf", "llama", gguf({
    "general.architecture": (8, string("llama")), "llama.block_count": (4, u32(1)),
    "tokenizer.ggml.tokens": array(8, [string("a"), string("b")]),
    "tokenizer.ggml.token_type": array(5, [u32(1), u32(3)])},
    {"token_embd.weight": ((32, 2), 8), "blk.0.attn_norm.weight": ((32,), 0)}))


def safetensors(header, data, pad=0):
    text = json.dumps(header, separators=(",", ":")).encode() + b" " * pad
    return u64(len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


put("safetensors", "empty", safetensors({}, b""))
put("safetensors", "two", safetensors({"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 2], 0, 16),
                                       "b": entry("BF16", [3], 16, 22)}, bytes(22), pad=3))
sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E8M0": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
         "U8": 1, "BOOL": 1}
every, at = {}, 0
for name, size in sizes.items():
    every[name.lower()] = entry(name, [1, 3], at, at + 3 * size)
    at += 3 * size
put("safetensors", "types", safetensors(every, bytes(range(at))))
put("safetensors", "scalar", safetensors({"s": entry("I64", [], 0, 8)}, bytes(8)))

put("json", "config", json.dumps({
    "model_type": "deepseek_v3", "hidden_size": 7168, "rms_norm_eps": 1e-06, "tie_word_embeddings": False,
    "rope_scaling": {"type": "yarn", "factor": 40}, "eos": None, "big": 10**30, "list": [[], {}, [1, -2.5e3]]}).encode())
put("json", "escapes", b'["\\u00e9\\ud83d\\ude00\\n\\"\\\\\\/", "\xc3\xa9\xf0\x9f\x98\x80", "", 0, -0, 1E+2, true]')
