"""Golden vectors for the reference ops: tests/golden/ops/*.bin, read by test_ref.c.

Each file is a run of arrays: uint32 count, then count float32, little endian. PyTorch and
transformers compute the results, in float64 where their code allows.
Run: python tools/golden/ops.py
"""
import pathlib
import struct

import torch
import torch.nn.functional as F
from transformers.models.deepseek_v2.modeling_deepseek_v2 import apply_rotary_emb
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

OUT = pathlib.Path("tests/golden/ops")
torch.manual_seed(20240507)


def write(name, *arrays):
    with open(OUT / (name + ".bin"), "wb") as f:
        for a in arrays:
            a = a.detach().to(torch.float32).contiguous().flatten()
            f.write(struct.pack("<I", a.numel()))
            f.write(a.numpy().tobytes())


def rand(*shape):
    return torch.randn(*shape).to(torch.float32).to(torch.float64)


def rmsnorm():
    x, norm = rand(3, 37), LlamaRMSNorm(37, eps=1e-6)
    norm.weight.data = rand(37).to(torch.float32)
    write("rmsnorm", x, norm.weight, norm(x.to(torch.float32)))


def rope():
    """5 tokens from position 1000, 3 heads of 16: x, freqs, interleaved result, half result."""
    x = rand(5, 3, 16)
    freqs = (10000.0 ** (-torch.arange(0, 16, 2, dtype=torch.float64) / 16)).to(torch.float32)
    angle = torch.outer(torch.arange(1000, 1005, dtype=torch.float64), freqs.to(torch.float64))
    heads_first = x.permute(1, 0, 2).unsqueeze(0)  # [1, heads, tokens, dim]
    pairs = torch.polar(torch.ones_like(angle), angle).unsqueeze(0)
    f32 = heads_first.to(torch.float32)
    interleaved, _ = apply_rotary_emb(f32, f32, pairs.to(torch.complex64))
    cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    half, _ = apply_rotary_pos_emb(heads_first, heads_first, cos.unsqueeze(0), sin.unsqueeze(0))
    write("rope", x, freqs, interleaved[0].permute(1, 0, 2), half[0].permute(1, 0, 2))


def attention(name, heads, kv_heads, k_dim, v_dim, keys, queries):
    """The last `queries` of `keys` positions; q [T, H, k], k [S, G, k], v [S, G, v], out."""
    q, k, v = rand(queries, heads, k_dim), rand(keys, kv_heads, k_dim), rand(keys, kv_heads, v_dim)
    if name == "attention_absorbed":
        v = k[:, :, :v_dim]
    scale = 1.7 / k_dim**0.5
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    out = F.scaled_dot_product_attention(q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1),
                                         attn_mask=mask, scale=scale, enable_gqa=True)
    write(name, torch.tensor([scale]), q, k, v, out.transpose(0, 1))


def swiglu():
    gate, up = rand(101) * 20, rand(101)
    write("swiglu", gate, up, F.silu(gate) * up)


def matmul():
    x, w = rand(4, 33), rand(7, 33)
    write("matmul", x, w, F.linear(x, w))


rmsnorm()
rope()
attention("attention_gqa", 6, 2, 16, 16, 21, 5)
attention("attention_mla", 3, 3, 24, 16, 19, 19)
attention("attention_absorbed", 4, 1, 40, 32, 17, 2)
swiglu()
matmul()
