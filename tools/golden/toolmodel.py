#!/usr/bin/env python3
"""Makes tests/golden/toolmodel: tests/golden/thinkmodel, whose vocabulary has the tokens of DeepSeek's tool calls as
well, with random embeddings: it knows nothing of tools, and must write calls where a grammar wants them.
Usage, in the root of the repository: tools/golden/toolmodel.py"""
import json
import pathlib
import random
import struct

FROM, TO = pathlib.Path("tests/golden/thinkmodel"), pathlib.Path("tests/golden/toolmodel")
MARKS = ["<\uff5ctool\u2581%s\uff5c>" % name for name in (
    "calls\u2581begin", "calls\u2581end", "call\u2581begin", "call\u2581end", "sep",
    "outputs\u2581begin", "outputs\u2581end", "output\u2581begin", "output\u2581end")]
random.seed(5)
TO.mkdir(exist_ok=True)

tokenizer = json.loads((FROM / "tokenizer.json").read_text())
config = json.loads((FROM / "config.json").read_text())
last = tokenizer["added_tokens"][-1]
size = last["id"] + 1
for i, mark in enumerate(MARKS):
    tokenizer["added_tokens"].append(last | {"id": size + i, "content": mark})
config |= {"vocab_size": size + len(MARKS)}
(TO / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
(TO / "config.json").write_text(json.dumps(config, indent=1) + "\n")
(TO / "tokenizer_config.json").write_bytes((FROM / "tokenizer_config.json").read_bytes())

data = (FROM / "model.safetensors").read_bytes()
(n,) = struct.unpack("<Q", data[:8])
header, tensors = json.loads(data[8:8 + n]), {}
for name, about in header.items():
    if name != "__metadata__":
        begin, end = about["data_offsets"]
        tensors[name] = data[8 + n + begin:8 + n + end]
name = "model.embed_tokens.weight"
width = header[name]["shape"][1]
tensors[name] += b"".join(struct.pack("<e", random.gauss(0, 0.05)) for _ in range(len(MARKS) * width))
header[name]["shape"][0] += len(MARKS)
at = 0
for name, bytes_ in tensors.items():
    header[name]["data_offsets"] = [at, at + len(bytes_)]
    at += len(bytes_)
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(TO / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))
