#!/usr/bin/env python3
"""Golden vectors of the forward pass: tiny random checkpoints and what transformers computes from them.

Writes tests/golden/model/NAME/: config.json, the weights (safetensors), expected.bin, and for some a
model.gguf of the same weights. expected.bin, little-endian: int32 n_tokens, n_layers, hidden, vocab;
int32 tokens[n_tokens]; float32 [n_layers + 1][n_tokens][hidden] (the output of every layer, then of the
final norm); float32 logits [n_tokens][vocab].

Run by hand: python3 tools/golden/model.py [NAME ...]; needs torch, transformers 5, safetensors, gguf.
Weights are rounded to the stored type first, then everything is computed in float32 with eager attention.
Checked here: routing is never decided by less than 1e-4, so that float rounding cannot flip an expert;
the softmax scale of YaRN models holds mscale squared; dropped groups are masked with -inf.
"""
import json
import math
import pathlib
import struct
import sys

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "model"
N_TOKENS = 24
FP8_MAX = 448.0

V2 = dict(kind="V2", vocab_size=120, hidden_size=40, intermediate_size=64, moe_intermediate_size=18,
          num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=32,
          q_lora_rank=None, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12, n_routed_experts=8,
          n_shared_experts=2, num_experts_per_tok=3, first_k_dense_replace=1, n_group=1, topk_group=1,
          topk_method="greedy", routed_scaling_factor=1.0, norm_topk_prob=False,
          max_position_embeddings=256)
V3 = dict(kind="V3", vocab_size=131, hidden_size=40, intermediate_size=56, moe_intermediate_size=14,
          num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=24,
          q_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16, n_routed_experts=16,
          n_shared_experts=1, num_experts_per_tok=4, first_k_dense_replace=1, n_group=4, topk_group=2,
          routed_scaling_factor=2.5, norm_topk_prob=True, max_position_embeddings=256,
          num_nextn_predict_layers=0)
DENSE = dict(vocab_size=150, hidden_size=48, intermediate_size=72, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64,
            beta_fast=32, beta_slow=1, mscale=0.707, mscale_all_dim=0.707)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=8192)
PLAIN = dict(rope_type="default", rope_theta=10000.0)

# name: (seed, config, options). options: dtype of the stored weights, gguf flavour, shards, mtp, old_style
# (rope_scaling and rope_theta as before transformers 5).
FIXTURES = {
    "v2-lite": (1, dict(V2, rope_parameters=YARN), dict(gguf="joined", dtype="bf16", old_style=True)),
    "v2-groups": (2, dict(V2, rope_parameters=PLAIN, q_lora_rank=24, n_routed_experts=12, n_group=4,
                          topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=16.0,
                          n_shared_experts=1, num_experts_per_tok=4, vocab_size=97), dict(dtype="bf16")),
    "v2-gain": (3, dict(V2, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.5), n_shared_experts=0,
                        num_attention_heads=5, num_key_value_heads=5, num_experts_per_tok=1,
                        n_routed_experts=4, first_k_dense_replace=0), dict(dtype="f16")),
    "v3": (4, dict(V3, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0)),
           dict(gguf="split", dtype="bf16", old_style=True)),
    "v3-mtp": (5, dict(V3, rope_parameters=PLAIN, num_hidden_layers=2, n_shared_experts=2, n_group=1,
                       topk_group=1, num_nextn_predict_layers=1, kv_lora_rank=20, qk_rope_head_dim=4,
                       num_attention_heads=2, num_key_value_heads=2, n_routed_experts=9,
                       hidden_size=34), dict(dtype="f32", shards=3, mtp=True)),
    "v3-tied": (6, dict(V3, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0), q_lora_rank=None,
                        tie_word_embeddings=True, n_routed_experts=8, n_group=2, topk_group=1,
                        num_experts_per_tok=2, num_hidden_layers=2, n_shared_experts=0),
                dict(gguf="split", dtype="f16")),
    "v3-fp8": (7, dict(V3, rope_parameters=PLAIN, hidden_size=160, num_hidden_layers=2,
                       first_k_dense_replace=1, n_routed_experts=4, n_group=2, topk_group=1,
                       num_experts_per_tok=2, kv_lora_rank=136, q_lora_rank=40, num_attention_heads=3,
                       num_key_value_heads=3, intermediate_size=140, vocab_size=97), dict(dtype="fp8")),
    "llama3": (8, dict(DENSE, kind="Llama", rope_parameters=LLAMA3), dict(gguf="llama", dtype="bf16")),
    "llama-tied": (9, dict(DENSE, kind="Llama", rope_parameters=PLAIN, num_key_value_heads=1, head_dim=20,
                           tie_word_embeddings=True, vocab_size=97), dict(gguf="llama", dtype="f32")),
    "qwen2": (10, dict(DENSE, kind="Qwen2", rope_parameters=dict(rope_type="default", rope_theta=1e6),
                       rms_norm_eps=1e-5), dict(gguf="qwen2", dtype="bf16", old_style=True)),
    "qwen2-yarn": (11, dict(DENSE, kind="Qwen2", num_key_value_heads=4, num_hidden_layers=3,
                            rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=4.0,
                                                 original_max_position_embeddings=64)),
                   dict(gguf="qwen2", dtype="f16")),
}


def build(config):
    config = dict(config)
    kind = config.pop("kind")
    base = {"V2": "DeepseekV2", "V3": "DeepseekV3"}.get(kind, kind)
    cls = getattr(transformers, base + "Config")(**config)
    cls._attn_implementation = "eager"
    model = getattr(transformers, base + "ForCausalLM")(cls)
    model.set_experts_implementation("eager") if "Deepseek" in base else None
    return model.float().eval(), base


def randomise(model, generator):
    """Weights large enough for routing and attention to matter."""
    for name, p in list(model.named_parameters()) + list(model.named_buffers()):
        if "inv_freq" in name or p.numel() == 0:
            continue
        noise = torch.randn(p.shape, generator=generator)
        if "e_score_correction_bias" in name:
            p.data = noise * 0.3
        elif "norm" in name:
            p.data = 1 + 0.2 * noise
        elif name.endswith("bias"):
            p.data = 0.3 * noise
        elif "embed_tokens" in name:
            p.data = noise
        elif name.endswith("mlp.gate.weight"):
            p.data = noise * 2 / math.sqrt(p.shape[-1])
        else:
            p.data = noise * 1.3 / math.sqrt(p.shape[-1])


def checkpoint(model):
    """The state dict under the names of released checkpoints: one tensor per expert and projection."""
    out = {}
    for name, t in model.state_dict().items():
        if t.numel() == 0 or (name == "lm_head.weight" and model.config.tie_word_embeddings):
            continue
        if name.endswith("experts.gate_up_proj"):
            half = t.shape[1] // 2
            for e in range(t.shape[0]):
                prefix = name.replace("gate_up_proj", f"{e}.")
                out[prefix + "gate_proj.weight"] = t[e, :half]
                out[prefix + "up_proj.weight"] = t[e, half:]
        elif name.endswith("experts.down_proj"):
            for e in range(t.shape[0]):
                out[name.replace("down_proj", f"{e}.down_proj.weight")] = t[e]
        else:
            out[name] = t
    return out


def load_back(model, tensors):
    """Puts rounded weights into the model."""
    state = model.state_dict()
    for name, t in state.items():
        if t.numel() == 0:
            continue
        if name.endswith("experts.gate_up_proj"):
            prefix = name[: -len("gate_up_proj")]
            for e in range(t.shape[0]):
                t[e] = torch.cat([tensors[f"{prefix}{e}.gate_proj.weight"].float(),
                                  tensors[f"{prefix}{e}.up_proj.weight"].float()])
        elif name.endswith("experts.down_proj"):
            prefix = name[: -len("down_proj")]
            for e in range(t.shape[0]):
                t[e] = tensors[f"{prefix}{e}.down_proj.weight"].float()
        elif name == "lm_head.weight" and model.config.tie_word_embeddings:
            t.copy_(tensors["model.embed_tokens.weight"].float())
        else:
            t.copy_(tensors[name].float())
    model.load_state_dict(state)


def keep_f32(name):
    return "e_score_correction_bias" in name


def is_fp8(name, t):
    return t.dim() == 2 and "embed" not in name and "lm_head" not in name and "mlp.gate.weight" not in name


def quantise_fp8(t):
    """e4m3 with one f32 scale per 128x128 block; returns weight, scale, and the weight it stands for."""
    rows, cols = t.shape
    scale = torch.zeros((rows + 127) // 128, (cols + 127) // 128)
    w8 = torch.zeros(rows, cols, dtype=torch.float8_e4m3fn)
    back = torch.zeros(rows, cols)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            r, c = slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128)
            scale[i, j] = t[r, c].abs().max() / FP8_MAX
            w8[r, c] = (t[r, c] / scale[i, j]).to(torch.float8_e4m3fn)
            back[r, c] = w8[r, c].float() * scale[i, j]
    return w8, scale, back


def store(tensors, dtype):
    """The tensors as stored, and as values."""
    kind = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "fp8": torch.bfloat16}[dtype]
    stored, values = {}, {}
    for name, t in tensors.items():
        t = t.float().contiguous()
        if keep_f32(name):
            stored[name] = values[name] = t
        elif dtype == "fp8" and is_fp8(name, t):
            stored[name], scale, values[name] = quantise_fp8(t)
            stored[name + "_scale_inv"] = scale
        else:
            stored[name] = t.to(kind).contiguous()
            values[name] = stored[name].float()
    return stored, values


def mtp_tensors(stored, config, generator):
    """A plausible MTP layer after the last one: a copy of that, plus its own tensors."""
    layers, d = config.num_hidden_layers, config.hidden_size
    last, extra = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    out = {extra + n[len(last):]: t.clone() for n, t in stored.items() if n.startswith(last)}
    for name, shape in {"embed_tokens.weight": (config.vocab_size, d), "enorm.weight": (d,),
                        "hnorm.weight": (d,), "eh_proj.weight": (d, 2 * d), "shared_head.norm.weight": (d,),
                        "shared_head.head.weight": (config.vocab_size, d)}.items():
        out[extra + name] = torch.randn(shape, generator=generator)
    return out


def run(model, tokens):
    layers, margins = [], []

    def routed(module, args, result):
        logits, _, chosen = result
        margins.append(routing_margin(module, logits, chosen))

    hooks = [l.register_forward_hook(lambda m, a, r: layers.append(r[0] if isinstance(r, tuple) else r))
             for l in model.model.layers]
    hooks += [l.mlp.gate.register_forward_hook(routed) for l in model.model.layers
              if hasattr(l.mlp, "experts")]
    hooks.append(model.model.norm.register_forward_hook(lambda m, a, r: layers.append(r)))
    with torch.no_grad():
        logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
    for h in hooks:
        h.remove()
    return [l.reshape(len(tokens), -1) for l in layers], logits, min(margins, default=1.0)


def routing_margin(gate, logits, chosen):
    """How far the last chosen expert is ahead of the first one left out, groups included."""
    bias = getattr(gate, "e_score_correction_bias", None)
    scores = logits.softmax(-1) if bias is None else logits.sigmoid() + bias
    margin = 1.0
    for s, ids in zip(scores, chosen):
        if gate.num_group and gate.num_group > 1 and getattr(gate, "topk_method", "") != "greedy":
            groups = s.view(gate.num_group, -1)
            g = groups.topk(2, -1)[0].sum(-1) if bias is not None else groups.max(-1).values
            order = g.sort(descending=True)[0]
            margin = min(margin, float(order[gate.topk_group - 1] - order[gate.topk_group]))
            keep = g.topk(gate.topk_group)[1]
            mask = torch.full_like(groups, -math.inf)
            mask[keep] = 0
            s = (groups + mask).flatten()
        assert set(s.topk(gate.top_k)[1].tolist()) == set(ids.tolist()), "routing is not as published"
        order = s.sort(descending=True)[0]
        if gate.top_k < len(order):
            margin = min(margin, float(order[gate.top_k - 1] - order[gate.top_k]))
    return margin


def check_scale(model):
    rope = model.config.rope_parameters
    for layer in model.model.layers:
        attention = layer.self_attn
        if hasattr(attention, "kv_lora_rank") and rope["rope_type"] == "yarn":
            m = 0.1 * rope["mscale_all_dim"] * math.log(rope["factor"]) + 1
            assert abs(attention.scaling - attention.qk_head_dim ** -0.5 * m * m) < 1e-9


def write_config(path, model, base, config, options):
    c = {k: v for k, v in config.items() if k != "kind"}
    c["architectures"] = [base + "ForCausalLM"]
    c["model_type"] = model.config.model_type
    c["hidden_act"] = "silu"
    c.setdefault("rms_norm_eps", 1e-6)
    c.setdefault("tie_word_embeddings", False)
    if base.startswith("Deepseek"):
        c["scoring_func"] = "sigmoid" if base == "DeepseekV3" else "softmax"
        c.setdefault("topk_method", "noaux_tc")
    if options.get("old_style"):
        rope = dict(c.pop("rope_parameters"))
        c["rope_theta"] = rope.pop("rope_theta")
        rope["type"] = rope.pop("rope_type")
        c["rope_scaling"] = None if rope["type"] == "default" else rope
    if options["dtype"] == "fp8":
        c["quantization_config"] = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic",
                                        weight_block_size=[128, 128])
    (path / "config.json").write_text(json.dumps(c, indent=1) + "\n")


def write_weights(path, stored, shards):
    if shards == 1:
        save_file(stored, path / "model.safetensors")
        return
    names, where = sorted(stored), {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = names[i::shards]
        save_file({n: stored[n] for n in part}, path / file)
        where.update({n: file for n in part})
    (path / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": where}, indent=1) + "\n")


# ---- GGUF ----

LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_a_proj.weight": "attn_q_a.weight", "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight", "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight", "self_attn.kv_b_proj.weight": "attn_kv_b.weight",
    "self_attn.o_proj.weight": "attn_output.weight", "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    **{f"self_attn.{p}_proj.{k}": f"attn_{p}.{k}" for p in "qkv" for k in ("weight", "bias")},
    **{f"mlp.{p}_proj.weight": f"ffn_{p}.weight" for p in ("gate", "up", "down")},
    **{f"mlp.shared_experts.{p}_proj.weight": f"ffn_{p}_shexp.weight" for p in ("gate", "up", "down")},
}
GLOBAL_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight"}


def permute(t, heads):
    """Rows of each head from half-split to interleaved rotary pairs."""
    return t.reshape(heads, 2, t.shape[0] // heads // 2, *t.shape[1:]).swapaxes(1, 2).reshape(t.shape)


def gguf_tensors(values, config, flavour):
    """name → (array, may be 16 bit)"""
    out, experts = {}, {}
    for name, t in values.items():
        a = t.numpy()
        if name in GLOBAL_NAMES:
            out[GLOBAL_NAMES[name]] = a
            continue
        _, _, n, rest = name.split(".", 3)
        if rest.startswith("mlp.experts."):
            _, _, e, p, _ = rest.split(".")
            experts.setdefault((n, p.split("_")[0]), {})[int(e)] = a
            continue
        if flavour == "llama" and rest in ("self_attn.q_proj.weight", "self_attn.k_proj.weight"):
            a = permute(a, config.num_attention_heads if ".q_" in rest else config.num_key_value_heads)
        if flavour == "split" and rest == "self_attn.kv_b_proj.weight":
            per_head = a.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
            out[f"blk.{n}.attn_k_b.weight"] = per_head[:, : config.qk_nope_head_dim].swapaxes(1, 2)
            out[f"blk.{n}.attn_v_b.weight"] = per_head[:, config.qk_nope_head_dim:]
            continue
        out[f"blk.{n}.{LAYER_NAMES[rest]}"] = a
    for (n, p), by_id in experts.items():
        out[f"blk.{n}.ffn_{p}_exps.weight"] = np.stack([by_id[e] for e in range(len(by_id))])
    rope = config.rope_parameters
    if flavour == "llama" and rope["rope_type"] == "llama3":
        inv = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].numpy()
        plain = 1 / rope["rope_theta"] ** (np.arange(0, config.head_dim, 2) / config.head_dim)
        out["rope_freqs.weight"] = (plain / inv).astype(np.float32)
    return out


def gguf_keys(w, c, flavour):
    key = lambda s: f"{w.arch}.{s}"
    rope = c.rope_parameters
    u32, f32 = w.add_uint32, w.add_float32
    u32(key("block_count"), c.num_hidden_layers)
    u32(key("context_length"), c.max_position_embeddings)
    u32(key("embedding_length"), c.hidden_size)
    u32(key("feed_forward_length"), c.intermediate_size)
    u32(key("attention.head_count"), c.num_attention_heads)
    f32(key("attention.layer_norm_rms_epsilon"), c.rms_norm_eps)
    f32(key("rope.freq_base"), rope["rope_theta"])
    u32(key("vocab_size"), c.vocab_size)
    if rope["rope_type"] == "yarn":
        w.add_string(key("rope.scaling.type"), "yarn")
        f32(key("rope.scaling.factor"), rope["factor"])
        u32(key("rope.scaling.original_context_length"), rope["original_max_position_embeddings"])
    if w.arch != "deepseek2":
        u32(key("attention.head_count_kv"), c.num_key_value_heads)
        if w.arch == "llama":
            head = c.head_dim
            u32(key("rope.dimension_count"), head)
            u32(key("attention.key_length"), head)
            u32(key("attention.value_length"), head)
        return
    if rope["rope_type"] == "yarn":
        f32(key("rope.scaling.yarn_log_multiplier"), 0.1 * rope["mscale_all_dim"])
    qk = c.qk_nope_head_dim + c.qk_rope_head_dim
    u32(key("rope.dimension_count"), c.qk_rope_head_dim)
    u32(key("attention.kv_lora_rank"), c.kv_lora_rank)
    if c.q_lora_rank:
        u32(key("attention.q_lora_rank"), c.q_lora_rank)
    if flavour == "joined":  # as files were written before latent caches: no _mla keys, no groups
        u32(key("attention.head_count_kv"), c.num_attention_heads)
        u32(key("attention.key_length"), qk)
        u32(key("attention.value_length"), c.v_head_dim)
    else:
        u32(key("attention.head_count_kv"), 1)
        u32(key("attention.key_length"), c.kv_lora_rank + c.qk_rope_head_dim)
        u32(key("attention.value_length"), c.kv_lora_rank)
        u32(key("attention.key_length_mla"), qk)
        u32(key("attention.value_length_mla"), c.v_head_dim)
        u32(key("expert_group_count"), c.n_group)
        u32(key("expert_group_used_count"), c.topk_group)
        u32(key("expert_gating_func"), 2 if "V3" in c.__class__.__name__ else 1)
    u32(key("leading_dense_block_count"), c.first_k_dense_replace)
    u32(key("expert_count"), c.n_routed_experts)
    u32(key("expert_used_count"), c.num_experts_per_tok)
    u32(key("expert_shared_count"), c.n_shared_experts)
    u32(key("expert_feed_forward_length"), c.moe_intermediate_size)
    f32(key("expert_weights_scale"), c.routed_scaling_factor)
    w.add_bool(key("expert_weights_norm"), bool(c.norm_topk_prob))


def write_gguf(path, model, values, options):
    flavour = options["gguf"]
    arch = flavour if flavour in ("llama", "qwen2") else "deepseek2"
    w = gguf.GGUFWriter(path / "model.gguf", arch)
    gguf_keys(w, model.config, flavour)
    for name, a in gguf_tensors(values, model.config, flavour).items():
        a = np.ascontiguousarray(a, dtype=np.float32)
        narrow = a.ndim > 1 and "ffn_gate_inp" not in name
        if narrow and options["dtype"] == "bf16":
            w.add_tensor(name, gguf.quants.quantize(a, gguf.GGMLQuantizationType.BF16),
                         raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            w.add_tensor(name, a.astype(np.float16) if narrow and options["dtype"] == "f16" else a)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make(name):
    seed, config, options = FIXTURES[name]
    margin = 0
    while margin < 1e-4:  # the first of seed, seed + 100, … whose routing is never close
        generator = torch.Generator().manual_seed(seed)
        model, base = build(config)
        randomise(model, generator)
        stored, values = store(checkpoint(model), options["dtype"])
        load_back(model, values)
        check_scale(model)
        tokens = torch.randint(0, config["vocab_size"], (N_TOKENS,), generator=generator).tolist()
        layers, logits, margin = run(model, tokens)
        seed += 100
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    for old in path.iterdir():
        old.unlink()
    write_config(path, model, base, config, options)
    if options.get("mtp"):
        stored.update(mtp_tensors(stored, model.config, generator))
    write_weights(path, stored, options.get("shards", 1))
    if "gguf" in options:
        write_gguf(path, model, values, options)
    with open(path / "expected.bin", "wb") as f:
        f.write(struct.pack("<4i", N_TOKENS, len(layers) - 1, config["hidden_size"], config["vocab_size"]))
        f.write(struct.pack(f"<{N_TOKENS}i", *tokens))
        for t in layers + [logits]:
            f.write(t.float().numpy().astype("<f4").tobytes())
    size = sum(p.stat().st_size for p in path.iterdir())
    print(f"{name:12s} {size // 1024:5d} KiB, routing margin {margin:.1e}, "
          f"logits {float(logits.abs().mean()):.2f} mean, {float(logits.abs().max()):.2f} max")


if __name__ == "__main__":
    torch.manual_seed(0)
    for fixture in sys.argv[1:] or FIXTURES:
        make(fixture)
