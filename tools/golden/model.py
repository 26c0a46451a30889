#!/usr/bin/env python3
"""Golden vectors of the forward pass: tiny random checkpoints and what transformers computes from them.

Writes tests/golden/model/NAME/: config.json, the weights (safetensors), expected.bin, model.gguf with the
same weights, and for FP8 folders twin/, the same folder with every FP8 weight multiplied out. The GGUF
files are written here with the gguf package, independently of `fathom convert`. expected.bin,
little-endian: int32 n_tokens, n_layers, hidden, vocab; int32 tokens[n_tokens]; float32
[n_layers + 1][n_tokens][hidden] (the output of every layer, then of the final norm); float32 logits
[n_tokens][vocab]. mtp.bin, of checkpoints with a multi-token-prediction layer: int32 n, hidden, vocab, guess;
float32 [n][hidden] its normed output for each token but the last, float32 logits [n][vocab], and [vocab]: the
logits when the last output goes through the layer again with the token `guess`, the likeliest of the last row.

Run by hand: python3 tools/golden/model.py [NAME ...]; needs torch, transformers 5, safetensors, gguf.
Weights are rounded to the stored type first, then everything is computed in float32 with eager attention.
Tokens are drawn so that every routing decision is clear (see MARGIN): rounding, even bfloat16's, sends no
token to another expert, and what tests measure is arithmetic. Checked here: the softmax scale of YaRN
models holds mscale squared; dropped groups are masked with -inf.

No model.gguf: v2-gain (mscale differs from mscale_all_dim; GGUF has one key for both, and `convert`
refuses), v3-softmax (keys for neither softmax with a selection bias nor half-split rotation in MLA), and
v3-fp8 (large; tests convert it, the smaller FP8 fixtures have one). Not in transformers, followed from the
official code instead: softmax scores with a selection bias (v3-softmax).
"""
import copy
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
# The same classes, smaller, for several seeds and odd shapes.
LITTLE = dict(vocab_size=53, hidden_size=27, intermediate_size=23, moe_intermediate_size=9, num_attention_heads=3,
              num_key_value_heads=3, kv_lora_rank=15, qk_nope_head_dim=7, qk_rope_head_dim=4, v_head_dim=5,
              n_routed_experts=6, num_experts_per_tok=2)
V2S, V3S = dict(V2, **LITTLE), dict(V3, **LITTLE, q_lora_rank=11, n_group=2, topk_group=1, routed_scaling_factor=1.7)
DENSES = dict(DENSE, vocab_size=53, intermediate_size=31)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64,
            beta_fast=32, beta_slow=1, mscale=0.707, mscale_all_dim=0.707)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=8192)
PLAIN = dict(rope_type="default", rope_theta=10000.0)
YARN40 = dict(YARN, factor=40.0, mscale=1.0, mscale_all_dim=1.0)

# The least distance between an expert (or group) that is chosen and the next one that is not: of softmax
# scores in their logarithm, of sigmoid scores times 4 (the logistic function's steepest slope is 1/4), so
# that it is a distance between router logits either way.
MARGIN = 0.2

# name: (seed, config, options). options: dtype of the stored weights (fp8-ue8m0: block scales are powers of
# two), gguf flavour, shards, mtp, old_style (rope_scaling and rope_theta as before transformers 5), twin (type
# of an FP8 folder's twin), scoring.
FIXTURES = {
    "v2-lite": (1, dict(V2, rope_parameters=YARN), dict(gguf="joined", dtype="bf16", old_style=True)),
    "v2-groups": (2, dict(V2, rope_parameters=PLAIN, q_lora_rank=24, n_routed_experts=12, n_group=4,
                          topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=16.0,
                          n_shared_experts=1, num_experts_per_tok=4, vocab_size=97),
                  dict(gguf="split", dtype="bf16")),
    "v2-gain": (3, dict(V2, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.5), n_shared_experts=0,
                        num_attention_heads=5, num_key_value_heads=5, num_experts_per_tok=1,
                        n_routed_experts=4, first_k_dense_replace=0), dict(dtype="f16")),
    "v3": (4, dict(V3, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0)),
           dict(gguf="split", dtype="bf16", old_style=True)),
    "v3-mtp": (5, dict(V3, rope_parameters=PLAIN, num_hidden_layers=2, n_shared_experts=2, n_group=1,
                       topk_group=1, num_nextn_predict_layers=1, kv_lora_rank=20, qk_rope_head_dim=4,
                       num_attention_heads=2, num_key_value_heads=2, n_routed_experts=9,
                       hidden_size=34), dict(gguf="split", dtype="f32", shards=3, mtp=True)),
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

    "v2-lite-b": (21, dict(V2S, rope_parameters=PLAIN, n_shared_experts=1, first_k_dense_replace=2,
                           n_routed_experts=5), dict(gguf="split", dtype="f16")),
    "v2-lite-c": (22, dict(V2S, rope_parameters=dict(YARN, factor=40.0), n_shared_experts=0, num_attention_heads=1,
                           num_key_value_heads=1, first_k_dense_replace=0, num_experts_per_tok=1, hidden_size=33,
                           num_hidden_layers=2, kv_lora_rank=17), dict(gguf="joined", dtype="f32")),
    "v2-lite-d": (23, dict(V2S, rope_parameters=dict(YARN40, beta_fast=16, beta_slow=2), tie_word_embeddings=True,
                           n_routed_experts=4, num_experts_per_tok=4, routed_scaling_factor=0.6, v_head_dim=9),
                  dict(gguf="joined", dtype="bf16")),
    "v2-groups-b": (24, dict(V2S, rope_parameters=YARN, q_lora_rank=11, n_routed_experts=9, n_group=3, topk_group=1,
                             topk_method="group_limited_greedy", routed_scaling_factor=16.0, num_experts_per_tok=3,
                             n_shared_experts=2), dict(gguf="split", dtype="bf16", old_style=True)),
    "v2-groups-c": (25, dict(V2S, rope_parameters=YARN40, q_lora_rank=13, n_routed_experts=8, n_group=4, topk_group=3,
                             topk_method="group_limited_greedy", routed_scaling_factor=2.0, num_experts_per_tok=5,
                             n_shared_experts=0, first_k_dense_replace=2, num_attention_heads=5,
                             num_key_value_heads=5, hidden_size=35), dict(gguf="split", dtype="f16")),
    "v2-groups-d": (26, dict(V2S, rope_parameters=PLAIN, n_routed_experts=6, n_group=6, topk_group=2,
                             topk_method="group_limited_greedy", first_k_dense_replace=0, n_shared_experts=1,
                             num_hidden_layers=2, kv_lora_rank=31), dict(gguf="split", dtype="f32")),
    "v3-b": (27, dict(V3S, rope_parameters=PLAIN, norm_topk_prob=False, n_shared_experts=2, first_k_dense_replace=0,
                      hidden_size=31, num_hidden_layers=2), dict(gguf="split", dtype="bf16")),
    "v3-c": (28, dict(V3S, rope_parameters=YARN40, q_lora_rank=None, n_group=1, topk_group=1, n_routed_experts=7,
                      num_experts_per_tok=7, first_k_dense_replace=2), dict(gguf="split", dtype="f32")),
    "v3-d": (29, dict(V3S, rope_parameters=dict(YARN40, factor=8.0), n_group=4, topk_group=3, n_routed_experts=12,
                      num_experts_per_tok=5, n_shared_experts=0, num_attention_heads=5, num_key_value_heads=5,
                      qk_rope_head_dim=6, v_head_dim=11), dict(gguf="split", dtype="bf16", old_style=True)),
    "v3-softmax": (30, dict(V3S, rope_parameters=PLAIN, norm_topk_prob=False, rope_interleave=False,
                            num_hidden_layers=2), dict(dtype="bf16", scoring="softmax")),
    "v3-fp8-b": (31, dict(V3S, rope_parameters=YARN40, hidden_size=134, num_hidden_layers=2, n_routed_experts=4,
                          moe_intermediate_size=6), dict(gguf="split", dtype="fp8-ue8m0", twin="bf16")),
    "v3-fp8-c": (32, dict(V3S, rope_parameters=PLAIN, q_lora_rank=None, hidden_size=36, kv_lora_rank=130,
                          num_hidden_layers=2, n_shared_experts=2, num_attention_heads=2, num_key_value_heads=2),
                 dict(gguf="split", dtype="fp8", twin="f32")),
    "llama-b": (33, dict(DENSES, kind="Llama", rope_parameters=dict(LLAMA3, factor=32.0), num_attention_heads=3,
                         num_key_value_heads=1, hidden_size=21, head_dim=10, tie_word_embeddings=True),
                dict(gguf="llama", dtype="f16")),
    "llama-c": (34, dict(DENSES, kind="Llama", rope_parameters=dict(PLAIN, rope_type="linear", factor=4.0),
                         num_attention_heads=6, num_key_value_heads=3, hidden_size=30, head_dim=8,
                         num_hidden_layers=3, rms_norm_eps=1e-5), dict(gguf="llama", dtype="bf16")),
    "llama-d": (35, dict(DENSES, kind="Llama", rope_parameters=dict(PLAIN, rope_theta=1e5), num_attention_heads=9,
                         num_key_value_heads=3, hidden_size=36, tie_word_embeddings=True),
                dict(gguf="llama", dtype="bf16", old_style=True)),
    "qwen2-b": (36, dict(DENSES, kind="Qwen2", rope_parameters=PLAIN, num_attention_heads=7, num_key_value_heads=1,
                         hidden_size=42, tie_word_embeddings=True), dict(gguf="qwen2", dtype="f32")),
    "qwen2-c": (37, dict(DENSES, kind="Qwen2", rope_parameters=dict(PLAIN, rope_theta=1e6), num_attention_heads=3,
                         num_key_value_heads=3, hidden_size=30, num_hidden_layers=3),
                dict(gguf="qwen2", dtype="bf16")),
    "qwen2-d": (38, dict(DENSES, kind="Qwen2", num_attention_heads=6, num_key_value_heads=2, hidden_size=24,
                         rope_parameters=dict(rope_type="yarn", rope_theta=1e6, factor=2.0, beta_fast=16,
                                              original_max_position_embeddings=32)),
                dict(gguf="qwen2", dtype="f16", old_style=True)),
}


def softmax_router(gate):
    """The official router with score_func "softmax": scores are softmax, the bias only selects."""
    def forward(x):
        logits = x.view(-1, gate.hidden_dim).float() @ gate.weight.float().T
        scores = logits.softmax(-1)
        groups = (scores + gate.e_score_correction_bias).view(len(logits), gate.num_group, -1)
        kept = groups.topk(2, -1)[0].sum(-1).topk(gate.topk_group, -1)[1]
        mask = torch.full_like(groups[..., 0], -math.inf).scatter(1, kept, 0.0)
        chosen = (groups + mask[..., None]).flatten(1).topk(gate.top_k, -1)[1]
        return logits, scores.gather(1, chosen) * gate.routed_scaling_factor, chosen
    gate.forward = forward
    gate.softmax = True


def build(config, options):
    config = dict(config)
    kind = config.pop("kind")
    base = {"V2": "DeepseekV2", "V3": "DeepseekV3"}.get(kind, kind)
    cls = getattr(transformers, base + "Config")(**config)
    cls._attn_implementation = "eager"
    model = getattr(transformers, base + "ForCausalLM")(cls)
    model.set_experts_implementation("eager") if "Deepseek" in base else None
    if options.get("scoring") == "softmax":
        for layer in model.model.layers:
            softmax_router(layer.mlp.gate) if hasattr(layer.mlp, "gate") else None
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


def quantise_fp8(t, powers_of_two):
    """e4m3 with one f32 scale per 128x128 block; returns weight, scale, and the weight it stands for."""
    rows, cols = t.shape
    scale = torch.zeros((rows + 127) // 128, (cols + 127) // 128)
    w8 = torch.zeros(rows, cols, dtype=torch.float8_e4m3fn)
    back = torch.zeros(rows, cols)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            r, c = slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128)
            scale[i, j] = t[r, c].abs().max() / FP8_MAX
            if powers_of_two:
                scale[i, j] = 2.0 ** math.ceil(math.log2(scale[i, j]))
            w8[r, c] = (t[r, c] / scale[i, j]).to(torch.float8_e4m3fn)
            back[r, c] = w8[r, c].float() * scale[i, j]
    return w8, scale, back


# transformers views pairs of a slice as complex numbers, which odd widths do not allow in place.
v2 = transformers.models.deepseek_v2.modeling_deepseek_v2
v2_rotate = v2.apply_rotary_emb
v2.apply_rotary_emb = lambda q, k, angles: v2_rotate(q.contiguous(), k.contiguous(), angles)

KINDS = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def store(tensors, dtype):
    """The tensors as stored, and as values."""
    kind = KINDS["bf16" if dtype.startswith("fp8") else dtype]
    stored, values = {}, {}
    for name, t in tensors.items():
        t = t.float().contiguous()
        if keep_f32(name):
            stored[name] = values[name] = t
        elif dtype.startswith("fp8") and is_fp8(name, t):
            stored[name], scale, values[name] = quantise_fp8(t, dtype == "fp8-ue8m0")
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


def mtp_expected(model, values, tokens, hidden):
    """The multi-token-prediction layer (DeepSeek-V3 paper, section 2.2), which transformers does not run: from
    the main model's normed output h_i and the next token t_{i+1},
        h'_i = eh_proj [RMSNorm(Emb(t_{i+1})); RMSNorm(h_i)],
    the embedding first as in the released weights, then a decoder layer over the h', a norm and a head of its
    own. Also one step more, as drafting does: the last output and its likeliest token once again."""
    layers, eps = model.config.num_hidden_layers, model.config.rms_norm_eps
    w = {n.split(".", 3)[3]: t for n, t in values.items() if n.startswith(f"model.layers.{layers}.")}
    rms = lambda x, weight: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight
    decoder = copy.deepcopy(model.model)
    decoder.config.num_hidden_layers = 1
    decoder.layers = torch.nn.ModuleList([decoder.layers[-1]])  # mtp_tensors: its weights are this layer's
    decoder.norm = torch.nn.Identity()

    def run(h, ids):
        joined = torch.cat([rms(w["embed_tokens.weight"][ids], w["enorm.weight"]), rms(h, w["hnorm.weight"])], -1)
        x = decoder(inputs_embeds=(joined @ w["eh_proj.weight"].T)[None], use_cache=False).last_hidden_state[0]
        x = rms(x, w["shared_head.norm.weight"])
        return x, x @ w["shared_head.head.weight"].T

    with torch.no_grad():
        x, logits = run(hidden[:-1], torch.tensor(tokens[1:]))
        guess = logits[-1].argmax().item()
        _, more = run(torch.cat([hidden[:-1], x[-1:]]), torch.tensor(tokens[1:] + [guess]))
    return guess, x, logits, more[-1]


def write_mtp(path, guess, x, logits, more):
    with open(path, "wb") as f:
        f.write(struct.pack("<4i", *x.shape, logits.shape[1], guess))
        for t in (x, logits, more):
            f.write(t.float().numpy().astype("<f4").tobytes())


def observed(model, batch):
    """Every layer's output, the logits, and each token's routing margin: [batch, tokens]."""
    layers, margins = [], [torch.ones(batch.shape)]

    def routed(module, args, result):
        logits, _, chosen = result
        margins.append(routing_margin(module, logits, chosen).view(batch.shape))

    hooks = [l.register_forward_hook(lambda m, a, r: layers.append(r[0] if isinstance(r, tuple) else r))
             for l in model.model.layers]
    hooks += [l.mlp.gate.register_forward_hook(routed) for l in model.model.layers
              if hasattr(l.mlp, "experts")]
    hooks.append(model.model.norm.register_forward_hook(lambda m, a, r: layers.append(r)))
    with torch.no_grad():
        logits = model(batch, use_cache=False).logits
    for h in hooks:
        h.remove()
    return layers, logits, torch.stack(margins).min(0).values


def choose_tokens(model, vocab, generator):
    """A random sequence in which every token's routing is clear: at each place the first of the vocabulary,
    in random order, that has the margin."""
    tokens = torch.zeros(0, dtype=torch.long)
    for _ in range(N_TOKENS):
        order = torch.randperm(vocab, generator=generator)
        batch = torch.cat([tokens.repeat(vocab, 1), order[:, None]], 1)
        good = (observed(model, batch)[2][:, -1] >= MARGIN).nonzero()
        assert len(good), "no token is routed clearly; another seed is needed"
        tokens = batch[good[0, 0]]
    return tokens.tolist()


def run(model, tokens):
    layers, logits, margins = observed(model, torch.tensor([tokens]))
    return [l.reshape(len(tokens), -1) for l in layers], logits[0], float(margins.min())


def last_ahead(values, k, measure):
    """How far the k-th largest of each row is ahead of the next one."""
    if k >= values.shape[-1]:
        return torch.ones(len(values))
    order = values.sort(-1, descending=True)[0]
    return measure(order[:, k - 1]) - measure(order[:, k])


def routing_margin(gate, logits, chosen):
    """How far the last chosen expert is ahead of the first one left out, groups included; see MARGIN."""
    bias = getattr(gate, "e_score_correction_bias", None)
    sigmoid = bias is not None and not getattr(gate, "softmax", False)
    scores = logits.sigmoid() if sigmoid else logits.softmax(-1)
    measure = torch.log if bias is None else lambda x: 4 * x
    choice = scores if bias is None else scores + bias
    margin = torch.ones(len(choice))
    if gate.num_group and gate.num_group > 1 and getattr(gate, "topk_method", "") != "greedy":
        groups = choice.view(len(choice), gate.num_group, -1)
        score = groups.max(-1).values if bias is None else groups.topk(2, -1)[0].sum(-1)
        margin = last_ahead(score, gate.topk_group, measure)
        mask = torch.full_like(score, -math.inf).scatter(1, score.topk(gate.topk_group, -1)[1], 0.0)
        choice = (groups + mask[..., None]).flatten(1)
    assert torch.equal(choice.topk(gate.top_k)[1].sort()[0], chosen.sort()[0]), "routing is not as published"
    if bias is None:
        choice = choice.clamp(min=1e-30)
    return torch.minimum(margin, last_ahead(choice, gate.top_k, measure))


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
        c["scoring_func"] = options.get("scoring", "sigmoid" if base == "DeepseekV3" else "softmax")
        c.setdefault("topk_method", "noaux_tc")
    if options.get("old_style"):
        rope = dict(c.pop("rope_parameters"))
        c["rope_theta"] = rope.pop("rope_theta")
        rope["type"] = rope.pop("rope_type")
        c["rope_scaling"] = None if rope["type"] == "default" else rope
    if options["dtype"].startswith("fp8"):
        c["quantization_config"] = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic",
                                        weight_block_size=[128, 128])
        if options["dtype"] == "fp8-ue8m0":
            c["quantization_config"]["scale_fmt"] = "ue8m0"
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


def write_twin(path, values, config_path, kind):
    """The folder again, its FP8 weights multiplied out; everything else as stored."""
    path.mkdir()
    config = json.loads(config_path.read_text())
    del config["quantization_config"]
    (path / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    out = {n: v if keep_f32(n) else v.to(kind if is_fp8(n, v) else torch.bfloat16) for n, v in values.items()}
    assert all(torch.equal(out[n].float(), v) for n, v in values.items()), "the twin's type is too narrow"
    save_file({n: t.contiguous() for n, t in out.items()}, path / "model.safetensors")


# ---- GGUF ----

LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_a_proj.weight": "attn_q_a.weight", "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight", "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight", "self_attn.kv_b_proj.weight": "attn_kv_b.weight",
    "self_attn.o_proj.weight": "attn_output.weight", "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    **{f"{p}.weight": f"nextn.{p}.weight" for p in ("eh_proj", "enorm", "hnorm", "embed_tokens")},
    **{f"shared_head.{p}.weight": f"nextn.shared_head_{p}.weight" for p in ("head", "norm")},
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
    mtp = getattr(c, "num_mtp_layers", 0) if w.arch == "deepseek2" else 0
    u32(key("block_count"), c.num_hidden_layers + mtp)
    if mtp:
        u32(key("nextn_predict_layers"), mtp)
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
        f32(key("rope.scaling.yarn_beta_fast"), rope.get("beta_fast", 32))
        f32(key("rope.scaling.yarn_beta_slow"), rope.get("beta_slow", 1))
    if rope["rope_type"] == "linear":
        w.add_string(key("rope.scaling.type"), "linear")
        f32(key("rope.scaling.factor"), rope["factor"])
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
        if narrow and options["dtype"] in ("bf16", "fp8-ue8m0"):
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
    generator = torch.Generator().manual_seed(seed)
    model, base = build(config, options)
    randomise(model, generator)
    stored, values = store(checkpoint(model), options["dtype"])
    load_back(model, values)
    check_scale(model)
    tokens = choose_tokens(model, config["vocab_size"], generator)
    layers, logits, margin = run(model, tokens)
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    for old in path.rglob("*.*"):
        old.unlink()
    if (path / "twin").exists():
        (path / "twin").rmdir()
    write_config(path, model, base, config, options)
    if options.get("mtp"):
        extra = mtp_tensors(stored, model.config, generator)
        stored.update(extra)
        values.update({n: t.float() for n, t in extra.items()})
        write_mtp(path / "mtp.bin", *mtp_expected(model, values, tokens, layers[-1]))
    write_weights(path, stored, options.get("shards", 1))
    if "twin" in options:
        write_twin(path / "twin", values, path / "config.json", KINDS[options["twin"]])
    if "gguf" in options:
        write_gguf(path, model, values, options)
    with open(path / "expected.bin", "wb") as f:
        f.write(struct.pack("<4i", N_TOKENS, len(layers) - 1, config["hidden_size"], config["vocab_size"]))
        f.write(struct.pack(f"<{N_TOKENS}i", *tokens))
        for t in layers + [logits]:
            f.write(t.float().numpy().astype("<f4").tobytes())
    size = sum(p.stat().st_size for p in path.rglob("*.*"))
    print(f"{name:12s} {size // 1024:5d} KiB, routing margin {margin:.2f}, "
          f"logits {float(logits.abs().mean()):.2f} mean, {float(logits.abs().max()):.2f} max")


if __name__ == "__main__":
    torch.manual_seed(0)
    for fixture in sys.argv[1:] or FIXTURES:
        make(fixture)
