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


# Whole models, as small as they can be: one layer, eight wide. The shapes of the safetensors ones are
# those tests/fuzz/fuzz_safetensors.c writes its config.json for.
class Values:
    """Reproducible weights between -1 and 1."""
    state = 1

    def floats(self, n):
        out = []
        for _ in range(n):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            out.append((self.state >> 40) / 2**23 - 1)
        return out


def weight_bytes(values, shape, kind):
    n = 1
    for d in shape:
        n *= d
    floats = [1.0] * n if len(shape) == 1 else values.floats(n)
    if kind == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in floats)
    if kind == "F8_E4M3":  # sign and mantissa of the value, exponents near one
        return bytes((0x80 if v < 0 else 0) | 0x28 | int(abs(v) * 15.9) for v in floats)
    if kind == "Q8_0":
        return b"".join(b"\x00\x1c" + bytes(int(v * 127) % 256 for v in floats[i:i + 32]) for i in range(0, n, 32))
    return b"".join(struct.pack("<f", v) for v in floats)


MLA = {"attn_norm": ["input_layernorm", 8], "attn_q_a": ["self_attn.q_a_proj", 4, 8],
       "attn_q_a_norm": ["self_attn.q_a_layernorm", 4], "attn_q_b": ["self_attn.q_b_proj", 12, 4],
       "attn_kv_a_mqa": ["self_attn.kv_a_proj_with_mqa", 6, 8], "attn_kv_a_norm": ["self_attn.kv_a_layernorm", 4],
       "attn_kv_b": ["self_attn.kv_b_proj", 16, 4], "attn_output": ["self_attn.o_proj", 8, 8],
       "ffn_norm": ["post_attention_layernorm", 8]}
MOE_HF = {"mlp.gate": [2, 8], "mlp.gate.e_score_correction_bias": [2], "mlp.shared_experts.gate_proj": [4, 8],
          "mlp.shared_experts.up_proj": [4, 8], "mlp.shared_experts.down_proj": [8, 4],
          **{f"mlp.experts.{e}.{m}_proj": [8, 4] if m == "down" else [4, 8] for e in (0, 1)
             for m in ("gate", "up", "down")}}
MOE_GGUF = {"ffn_gate_inp.weight": [2, 8], "exp_probs_b.bias": [2], "ffn_gate_shexp.weight": [4, 8],
            "ffn_up_shexp.weight": [4, 8], "ffn_down_shexp.weight": [8, 4], "ffn_gate_exps.weight": [2, 4, 8],
            "ffn_up_exps.weight": [2, 4, 8], "ffn_down_exps.weight": [2, 8, 4]}


def gqa(d, kv, ff):
    return {"attn_norm": ["input_layernorm", d], "attn_q": ["self_attn.q_proj", d, d],
            "attn_k": ["self_attn.k_proj", kv, d], "attn_v": ["self_attn.v_proj", kv, d],
            "attn_output": ["self_attn.o_proj", d, d], "ffn_norm": ["post_attention_layernorm", d],
            "ffn_gate": ["mlp.gate_proj", ff, d], "ffn_up": ["mlp.up_proj", ff, d],
            "ffn_down": ["mlp.down_proj", d, ff]}


def hf_model(tensors, fp8):
    values, header, data = Values(), {}, b""
    for name, shape in tensors.items():
        quantised = fp8 and len(shape) == 2 and "layers" in name and "mlp.gate.weight" not in name
        kind = "F8_E4M3" if quantised else "BF16" if fp8 else "F32"
        for n, s, k in [(name, shape, kind)] + ([(name + "_scale_inv", [1, 1], "F32")] if quantised else []):
            raw = weight_bytes(values, s, k)
            header[n] = entry(k, s, len(data), len(data) + len(raw))
            data += raw
    return safetensors(header, data)


def gguf_model(keys, tensors, kind="F32"):
    values, head, data = Values(), b"", b""
    for name, shape in tensors.items():
        k = kind if len(shape) == 2 and shape[-1] % 32 == 0 else "F32"
        data += bytes(-len(data) % 32)
        head += string(name) + u32(len(shape)) + b"".join(map(u64, shape[::-1]))
        head += u32({"F32": 0, "Q8_0": 8, "BF16": 30}[k]) + u64(len(data))
        data += weight_bytes(values, shape, k)
    start = b"GGUF" + u32(3) + u64(len(tensors)) + u64(len(keys))
    start += b"".join(string(n) + u32(t) + v for n, (t, v) in keys.items()) + head
    return start + bytes(-len(start) % 32) + data


def count(v):
    return 4, u32(v)


def keys(arch, d, kv, **more):
    text = {"general.architecture": (8, string(arch))}
    sizes = {"block_count": count(1), "embedding_length": count(d), "context_length": count(64),
             "attention.head_count": count(2), "attention.head_count_kv": count(kv), **more}
    return {**text, **{f"{arch}.{k}": v for k, v in sizes.items()}}


TOKENS = ["a", "b", "\u0120", "c", "ab", "<|e|>", "d", "e"]
TOKENIZER = {"tokenizer.ggml.model": (8, string("gpt2")), "tokenizer.ggml.pre": (8, string("qwen2")),
             "tokenizer.ggml.tokens": array(8, [string(t) for t in TOKENS]),
             "tokenizer.ggml.token_type": array(5, [u32(3 if t[0] == "<" else 1) for t in TOKENS]),
             "tokenizer.ggml.merges": array(8, [string("a b")]), "tokenizer.ggml.eos_token_id": count(5)}


def layer(parts):
    return {f"blk.0.{n}.weight": shape for n, (_, *shape) in parts.items()}


def hf_layer(parts):
    return {f"model.layers.0.{n}.weight": shape for n, *shape in parts.values()}


def ends(d, head=True):
    return {"token_embd.weight": [8, d]}, {"output_norm.weight": [d], **({"output.weight": [8, d]} if head else {})}


first, last = ends(8)
put("gguf", "model-v3", gguf_model(
    keys("deepseek2", 8, 2, **{
        "feed_forward_length": count(8), "attention.q_lora_rank": count(4), "attention.kv_lora_rank": count(4),
        "attention.key_length": count(6), "attention.value_length": count(4), "rope.dimension_count": count(2),
        "expert_count": count(2), "expert_used_count": count(1), "expert_shared_count": count(1),
        "expert_feed_forward_length": count(4), "leading_dense_block_count": count(0),
        "expert_gating_func": count(2), "expert_weights_scale": (6, struct.pack("<f", 2.5)),
        "expert_weights_norm": (7, b"\1"), "rope.scaling.type": (8, string("yarn")),
        "rope.scaling.factor": (6, struct.pack("<f", 4)), "rope.scaling.original_context_length": count(16),
        "rope.scaling.yarn_log_multiplier": (6, struct.pack("<f", 0.1))}),
    {**first, **layer(MLA), **{f"blk.0.{n}": s for n, s in MOE_GGUF.items()}, **last}))
put("gguf", "model-llama", gguf_model(keys("llama", 8, 1, feed_forward_length=count(8)),
                                      {**first, "rope_freqs.weight": [2], **layer(gqa(8, 4, 8)), **last}))
first, last = ends(32, head=False)
bias = {f"blk.0.attn_{n}.bias": [32] for n in "qkv"}
put("gguf", "model-qwen2", gguf_model({**keys("qwen2", 32, 2, feed_forward_length=count(32)), **TOKENIZER},
                                      {**first, **layer(gqa(32, 32, 32)), **bias, **last}, "Q8_0"))

outside = {"model.embed_tokens.weight": [8, 8], "model.norm.weight": [8]}
put("safetensors", "model-llama", hf_model({**outside, **hf_layer(gqa(8, 4, 8))}, False))
moe = {f"model.layers.0.{n}" + ("" if n.endswith("bias") else ".weight"): s for n, s in MOE_HF.items()}
put("safetensors", "model-v3", hf_model({**outside, "lm_head.weight": [8, 8], **hf_layer(MLA), **moe}, True))
