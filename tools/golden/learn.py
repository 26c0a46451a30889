#!/usr/bin/env python3
"""Golden gradients: tiny models written here in float64 PyTorch, their losses, and the gradient of every parameter.

Writes tests/golden/learn/NAME/config.json, in the form of a Hugging Face folder's, and case.safetensors:
    param/NAME        F32, the parameters under the names and shapes of src/model/inventory.h
    grad/NAME         F64, the gradient by each, but for the selection bias, which has none
    tokens, targets, positions   I32 [sequences, context]; several documents in a row
    scales            F64 [token, mtp, balance, z_loss]: the loss that was differentiated is
                      sum * token + mtp_sum * mtp + balance_sum * balance
    losses            F64 [sum, mtp_sum, balance_sum, n, mtp_n]
    autocast          F64 [worst, mean] of |g - grad| / |grad| over all gradients g that PyTorch computes in float32
                      under torch.autocast(bfloat16): what bfloat16 costs elsewhere

and, for TRAINED, steps-RULES.safetensors: 20 steps of torch.optim.AdamW and torch.optim.Muon in float64 from there:
    rules             F64 [5, 6]: of matrices, embeddings, head, routers, vectors: muon, lr, weight_decay, beta1,
                      beta2, eps
    options           F64 [muon_momentum, muon_nesterov, muon_steps, clip]
    lr_scales         F64 [20], what all rates of a step are multiplied by
    tokens, targets, positions   I32 [20, sequences, context]
    losses, grad_norms           F64 [20], before each step; the norm before clipping
    autocast                     F64 [20], the losses in float32 under torch.autocast(bfloat16)

The definitions are those of src/model/learnmodel.h and learnrouter.h. Outside truth, checked at every run: the
logits, and the gradients of the next-token loss alone, equal those of transformers' DeepseekV3ForCausalLM,
DeepseekV2ForCausalLM, LlamaForCausalLM and GPT2LMHeadModel to 1e-9, once their float32 steps are made float64. transformers has no
multi-token prediction and no balance loss: those follow the DeepSeek-V3 paper alone.

Tokens are drawn until every routing decision is clear (MARGIN), so that bfloat16 chooses the same experts; those of
training too, by the weights of their step.
Run by hand: python3 tools/golden/learn.py [NAME ...]; needs torch, transformers 5, safetensors.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "learn"
SEQUENCES, CONTEXT = 2, 12
T = SEQUENCES * CONTEXT
EPS = 1e-6
MARGIN = 0.04  # of sigmoid scores times 4, or of the logarithm of softmax scores: in units of router logits

DEEPSEEK = dict(vocab_size=37, hidden_size=24, intermediate_size=20, moe_intermediate_size=7, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=2, kv_lora_rank=14, q_lora_rank=None, qk_nope_head_dim=8,
                qk_rope_head_dim=4, v_head_dim=6, n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2,
                first_k_dense_replace=1, n_group=1, topk_group=1, max_position_embeddings=64, rms_norm_eps=EPS,
                rope_parameters=dict(rope_type="default", rope_theta=100.0), tie_word_embeddings=False)
V3 = dict(DEEPSEEK, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", norm_topk_prob=True,
          routed_scaling_factor=2.5, num_nextn_predict_layers=0)
V2 = dict(DEEPSEEK, architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", norm_topk_prob=False,
          topk_method="greedy", routed_scaling_factor=1.5)
LLAMA = dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=37, hidden_size=24,
             intermediate_size=31, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
             max_position_embeddings=64, rms_norm_eps=EPS, tie_word_embeddings=False,
             rope_parameters=dict(rope_type="default", rope_theta=100.0))
GPT2 = dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", vocab_size=37, n_embd=24, n_layer=2, n_head=6,
            n_positions=16, n_inner=None, activation_function="gelu_new", layer_norm_epsilon=1e-5,
            tie_word_embeddings=True, attn_pdrop=0.0, embd_pdrop=0.0,
            resid_pdrop=0.0, bos_token_id=0, eos_token_id=0)

# name: (seed, config, lengths of the documents of each row, scales: token, mtp, balance, z_loss)
CASES = {
    "v3": (1, dict(V3, q_lora_rank=10, num_nextn_predict_layers=1), [[5, 4, 3], [12]], (1 / T, 0.3 / T, 0.01, 1e-3)),
    "v3-groups": (2, dict(V3, n_group=3, topk_group=2, n_routed_experts=9, num_experts_per_tok=3, num_hidden_layers=3,
                          first_k_dense_replace=1, n_shared_experts=2, moe_intermediate_size=5, rope_interleave=False),
                  [[12], [7, 5]], (1 / T, 0, 0.02, 0)),
    "v3-tied": (3, dict(V3, tie_word_embeddings=True, num_nextn_predict_layers=1, norm_topk_prob=False,
                        first_k_dense_replace=0, num_hidden_layers=1), [[1, 8, 3], [2, 10]], (0.3, 0.2, 0.1, 1e-2)),
    "v2": (4, V2, [[12], [6, 6]], (1 / T, 0, 0.01, 0)),
    "llama": (5, LLAMA, [[12], [4, 8]], (1 / T, 0, 0, 1e-4)),
    "llama-tied": (6, dict(LLAMA, tie_word_embeddings=True, num_key_value_heads=1, num_attention_heads=3, head_dim=8),
                   [[3, 3, 6], [12]], (1 / T, 0, 0, 0)),
    "gpt2": (7, GPT2, [[12], [5, 7]], (1 / T, 0, 0, 1e-4)),
}

# Twenty steps each of this case: matrices, embeddings, head, routers, vectors by (muon, lr, weight_decay, beta1,
# beta2, eps); and muon_momentum, muon_nesterov, muon_steps, clip.
TRAINED, STEPS = "v3", 20
ADAMW = (0, 0.003, 0.1, 0.9, 0.95, 1e-8)
RULES = {
    "adamw": ((ADAMW, (0, 0.004, 0.1, 0.9, 0.95, 1e-8), (0, 0.005, 0.05, 0.9, 0.95, 1e-8),
               (0, 0.004, 0.02, 0.8, 0.9, 1e-8), (0, 0.003, 0.0, 0.9, 0.95, 1e-8)), (0.95, 1, 5, 0)),
    "muon": (((1, 0.005, 0.1, 0, 0, 1e-7), ADAMW, ADAMW, (0, 0.004, 0.02, 0.8, 0.9, 1e-8),
              (0, 0.003, 0.0, 0.9, 0.95, 1e-8)), (0.9, 1, 5, 2.0)),
}


def f32(x):
    """A number as our config holds it."""
    return float(np.float32(x))


class Model:
    """The forward pass over parameters `p`, by GGUF names."""

    def __init__(self, c):
        self.c = c
        self.mla = bool(c.get("kv_lora_rank"))
        self.experts = c.get("n_routed_experts", 0)
        self.v3 = c["model_type"] == "deepseek_v3"
        self.heads = c["num_attention_heads"]
        dim = c["qk_rope_head_dim"] if self.mla else c["head_dim"]
        theta = c["rope_parameters"]["rope_theta"]
        self.freqs = torch.tensor([f32(theta ** (-2 * i / dim)) for i in range(dim // 2)], dtype=torch.float64)
        self.scale = f32(1 / math.sqrt(c["qk_nope_head_dim"] + dim if self.mla else dim))
        self.interleaved = self.mla and c.get("rope_interleave", True)
        self.margin = math.inf

    def shapes(self):
        """Every parameter, in file order."""
        c, d, out = self.c, self.c["hidden_size"], {}
        out["token_embd.weight"] = (c["vocab_size"], d)
        for i in range(c["num_hidden_layers"] + c.get("num_nextn_predict_layers", 0)):
            at = f"blk.{i}."
            out[at + "attn_norm.weight"] = (d,)
            out.update({at + n: s for n, s in (self.mla_shapes() if self.mla else self.gqa_shapes()).items()})
            out[at + "ffn_norm.weight"] = (d,)
            out.update({at + n: s for n, s in self.ffn_shapes(i).items()})
            if i >= c["num_hidden_layers"]:
                out.update({at + "nextn.eh_proj.weight": (d, 2 * d), at + "nextn.enorm.weight": (d,),
                            at + "nextn.hnorm.weight": (d,), at + "nextn.shared_head_norm.weight": (d,)})
        out["output_norm.weight"] = (d,)
        if not c["tie_word_embeddings"]:
            out["output.weight"] = (c["vocab_size"], d)
        return out

    def mla_shapes(self):
        c, d, h = self.c, self.c["hidden_size"], self.heads
        rank, nope, rope, v = c["kv_lora_rank"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
        out = {"attn_q.weight": (h * (nope + rope), d)}
        if c["q_lora_rank"]:
            out = {"attn_q_a.weight": (c["q_lora_rank"], d), "attn_q_a_norm.weight": (c["q_lora_rank"],),
                   "attn_q_b.weight": (h * (nope + rope), c["q_lora_rank"])}
        out.update({"attn_kv_a_mqa.weight": (rank + rope, d), "attn_kv_a_norm.weight": (rank,),
                    "attn_k_b.weight": (h, rank, nope), "attn_v_b.weight": (h, v, rank),
                    "attn_output.weight": (d, h * v)})
        return out

    def gqa_shapes(self):
        d, n = self.c["hidden_size"], self.heads * self.c["head_dim"]
        kv = self.c["num_key_value_heads"] * self.c["head_dim"]
        return {"attn_q.weight": (n, d), "attn_k.weight": (kv, d), "attn_v.weight": (kv, d),
                "attn_output.weight": (d, n)}

    def ffn_shapes(self, i):
        c, d = self.c, self.c["hidden_size"]
        if not self.is_moe(i):
            ff = c["intermediate_size"]
            return {"ffn_gate.weight": (ff, d), "ffn_up.weight": (ff, d), "ffn_down.weight": (d, ff)}
        e, ff = self.experts, c["moe_intermediate_size"]
        shared = c["n_shared_experts"] * ff
        out = {"ffn_gate_inp.weight": (e, d)}
        if self.v3:
            out["exp_probs_b.bias"] = (e,)
        out.update({"ffn_gate_exps.weight": (e, ff, d), "ffn_up_exps.weight": (e, ff, d),
                    "ffn_down_exps.weight": (e, d, ff), "ffn_gate_shexp.weight": (shared, d),
                    "ffn_up_shexp.weight": (shared, d), "ffn_down_shexp.weight": (d, shared)})
        return out

    def is_moe(self, i):
        return self.experts and i >= self.c["first_k_dense_replace"]

    @staticmethod
    def rms(x, weight):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + f32(EPS)) * weight

    def rotate(self, x, positions):
        """x [S, L, heads, dim]; pairs are neighbours, or halves apart."""
        angle = positions[..., None].double() * self.freqs
        cos, sin = angle.cos()[:, :, None], angle.sin()[:, :, None]
        half = x.shape[-1] // 2
        a, b = (x[..., 0::2], x[..., 1::2]) if self.interleaved else (x[..., :half], x[..., half:])
        a, b = a * cos - b * sin, a * sin + b * cos
        return (torch.stack([a, b], -1).flatten(-2) if self.interleaved else torch.cat([a, b], -1)).to(x.dtype)

    def attend(self, q, k, v, mask):
        k = k.repeat_interleave(q.shape[2] // k.shape[2], 2)
        v = v.repeat_interleave(q.shape[2] // v.shape[2], 2)
        scores = torch.einsum("sthc,suhc->shtu", q, k) * self.scale
        return torch.einsum("shtu,suhc->sthc", (scores + mask.to(scores.dtype)).softmax(-1), v).flatten(2)

    def latent_attention(self, p, h, positions, mask):
        c = self.c
        if c["q_lora_rank"]:
            q = self.rms(h @ p("attn_q_a").T, p("attn_q_a_norm")) @ p("attn_q_b").T
        else:
            q = h @ p("attn_q").T
        q = q.unflatten(-1, (self.heads, -1))
        nope = c["qk_nope_head_dim"]
        q = torch.cat([q[..., :nope], self.rotate(q[..., nope:], positions)], -1)
        latent, rope = (h @ p("attn_kv_a_mqa").T).split([c["kv_lora_rank"], c["qk_rope_head_dim"]], -1)
        latent = self.rms(latent, p("attn_kv_a_norm"))
        rope = self.rotate(rope[:, :, None], positions).expand(-1, -1, self.heads, -1)
        k = torch.cat([torch.einsum("str,hrn->sthn", latent, p("attn_k_b")), rope], -1)
        v = torch.einsum("str,hvr->sthv", latent, p("attn_v_b"))
        return self.attend(q, k, v, mask) @ p("attn_output").T

    def grouped_attention(self, p, h, positions, mask):
        q, k, v = [(h @ p(n).T).unflatten(-1, (-1, self.c["head_dim"])) for n in ("attn_q", "attn_k", "attn_v")]
        out = self.attend(self.rotate(q, positions), self.rotate(k, positions), v, mask)
        return out @ p("attn_output").T

    def note_margin(self, choice, k):
        """How far the k-th best is from the next one."""
        if k < choice.shape[-1]:
            best = choice.detach().sort(-1, descending=True)[0]
            self.margin = min(self.margin, float((best[..., k - 1] - best[..., k]).min()))

    def choose(self, scores, bias):
        """The experts of each token; of noaux_tc, within the groups whose best two are best."""
        c, choice = self.c, scores.detach() + bias
        scaled = choice * 4 if self.v3 else choice.log()
        if c["n_group"] > 1:
            groups = choice.unflatten(-1, (c["n_group"], -1)).topk(2, -1)[0].sum(-1)
            self.note_margin(groups * 4, c["topk_group"])
            kept = torch.zeros_like(groups).scatter(-1, groups.topk(c["topk_group"], -1)[1], 1)
            off = kept.repeat_interleave(self.experts // c["n_group"], -1) == 0
            choice, scaled = choice.masked_fill(off, -math.inf), scaled.masked_fill(off, -math.inf)
        self.note_margin(scaled, c["num_experts_per_tok"])
        return choice.topk(c["num_experts_per_tok"], -1)[1]

    def moe(self, p, h):
        """Shared and routed experts; and the sum of the sequences' balance losses."""
        c = self.c
        logits = h @ p("ffn_gate_inp").T
        scores = logits.sigmoid() if self.v3 else logits.softmax(-1)
        chosen = self.choose(scores, p("exp_probs_b", "bias") if self.v3 else 0)
        picked = torch.zeros_like(scores).scatter(-1, chosen, 1)
        weights = scores * picked
        if c["norm_topk_prob"]:
            weights = weights / weights.sum(-1, keepdim=True)
        weights = weights * f32(c["routed_scaling_factor"])
        y = self.swiglu(h, p("ffn_gate_shexp"), p("ffn_up_shexp"), p("ffn_down_shexp"))
        gate, up, down = p("ffn_gate_exps"), p("ffn_up_exps"), p("ffn_down_exps")
        for e in range(self.experts):
            y = y + weights[..., e, None] * self.swiglu(h, gate[e], up[e], down[e])
        frequency = picked.mean(1) * self.experts / c["num_experts_per_tok"]
        share = (scores / scores.sum(-1, keepdim=True)).mean(1)
        return y, (frequency * share).sum()

    @staticmethod
    def swiglu(h, gate, up, down):
        return (F.silu(h @ gate.T) * (h @ up.T)) @ down.T

    def layer(self, params, i, x, positions, mask):
        def p(stem, suffix="weight"):
            return params[f"blk.{i}.{stem}.{suffix}"]
        attention = self.latent_attention if self.mla else self.grouped_attention
        x = x + attention(p, self.rms(x, p("attn_norm")), positions, mask)
        h = self.rms(x, p("ffn_norm"))
        if self.is_moe(i):
            y, balance = self.moe(p, h)
            return x + y, balance
        return x + self.swiglu(h, p("ffn_gate"), p("ffn_up"), p("ffn_down")), 0

    def head(self, params, output):
        return output @ params["token_embd.weight" if self.c["tie_word_embeddings"] else "output.weight"].T

    def trunk(self, params, tokens, positions):
        """The output after the final norm, and the balance losses."""
        mask, balance = document_mask(positions), 0
        x = params["token_embd.weight"][tokens]
        for i in range(self.c["num_hidden_layers"]):
            x, b = self.layer(params, i, x, positions, mask)
            balance = balance + b
        return self.rms(x, params["output_norm.weight"]), balance

    def further(self, params, output, targets, positions):
        """Multi-token prediction: the normed output one token further, and its layer's balance loss."""
        i = self.c["num_hidden_layers"]
        embedded = params["token_embd.weight"][targets.clamp(min=0)]
        both = torch.cat([self.rms(embedded, params[f"blk.{i}.nextn.enorm.weight"]),
                          self.rms(output, params[f"blk.{i}.nextn.hnorm.weight"])], -1)
        x = both @ params[f"blk.{i}.nextn.eh_proj.weight"].T
        x, balance = self.layer(params, i, x, positions, document_mask(positions))
        return self.rms(x, params[f"blk.{i}.nextn.shared_head_norm.weight"]), balance

    def losses(self, params, batch, z_loss):
        """[sum, mtp_sum, balance_sum], n, mtp_n."""
        tokens, targets, positions = batch
        self.margin = math.inf
        output, balance = self.trunk(params, tokens, positions)
        total, n = predict(self.head(params, output), targets, z_loss)
        mtp, mtp_n = torch.zeros((), dtype=torch.float64), 0
        if self.c.get("num_nextn_predict_layers"):
            output, b = self.further(params, output, targets, positions)
            balance = balance + b
            mtp, mtp_n = predict(self.head(params, output), look_further(targets, positions), z_loss)
        return [total, mtp, torch.as_tensor(balance, dtype=torch.float64)], n, mtp_n


class Gpt2(Model):
    """GPT-2's class, by the names of GGUF."""

    def __init__(self, c):
        self.c, self.heads, self.experts, self.mla = c, c["n_head"], 0, False
        self.scale = f32(1 / math.sqrt(c["n_embd"] // c["n_head"]))
        self.margin = math.inf

    def shapes(self):
        c, d = self.c, self.c["n_embd"]
        out = {"token_embd.weight": (c["vocab_size"], d), "position_embd.weight": (c["n_positions"], d)}
        linear = {"attn_qkv": (3 * d, d), "attn_output": (d, d), "ffn_up": (4 * d, d), "ffn_down": (d, 4 * d)}
        for i in range(c["n_layer"]):
            for name in ("attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down"):
                shape = linear.get(name, (d,))
                out[f"blk.{i}.{name}.weight"], out[f"blk.{i}.{name}.bias"] = shape, shape[:1]
        out["output_norm.weight"] = out["output_norm.bias"] = (d,)
        return out

    def norm(self, params, name, x):
        return F.layer_norm(x, x.shape[-1:], params[name + ".weight"], params[name + ".bias"],
                            f32(self.c["layer_norm_epsilon"]))

    def trunk(self, params, tokens, positions):
        mask = document_mask(positions)
        x = params["token_embd.weight"][tokens] + params["position_embd.weight"][positions]
        for i in range(self.c["n_layer"]):
            def linear(name, h):
                return h @ params[f"blk.{i}.{name}.weight"].T + params[f"blk.{i}.{name}.bias"]
            qkv = linear("attn_qkv", self.norm(params, f"blk.{i}.attn_norm", x)).chunk(3, -1)
            q, k, v = [t.unflatten(-1, (self.heads, -1)) for t in qkv]
            x = x + linear("attn_output", self.attend(q, k, v, mask))
            h = linear("ffn_up", self.norm(params, f"blk.{i}.ffn_norm", x))
            x = x + linear("ffn_down", F.gelu(h, approximate="tanh"))
        return self.norm(params, "output_norm", x), 0


def model_of(c):
    return (Gpt2 if c["model_type"] == "gpt2" else Model)(c)


def document_mask(positions):
    """0 where row t may look at u, else -inf: [S, 1, L, L]."""
    t = torch.arange(positions.shape[1])
    first = t - positions
    seen = (t[None, None, :] <= t[None, :, None]) & (t[None, None, :] >= first[:, :, None])
    return torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -math.inf)[:, None]


def predict(logits, targets, z_loss):
    lse = logits.logsumexp(-1)
    each = lse - logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0] + f32(z_loss) * lse * lse
    return (each * (targets >= 0)).sum(), int((targets >= 0).sum())


def look_further(targets, positions):
    """The target after each target, where that is of the same document and row; else -1."""
    out = torch.full_like(targets, -1)
    goes_on = (positions[:, 1:] == positions[:, :-1] + 1) & (targets[:, :-1] >= 0)
    out[:, :-1] = torch.where(goes_on, targets[:, 1:], -1)
    return out


def randomise(model, generator):
    out = {}
    for name, shape in model.shapes().items():
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        fan_in = shape[1] if "attn_k_b" in name else shape[-1]
        if "exp_probs_b" in name:
            value = 0.1 * noise
        elif name.endswith(".bias"):
            value = 0.2 * noise
        elif len(shape) == 1:
            value = 1 + 0.2 * noise
        elif name in ("token_embd.weight", "position_embd.weight"):
            value = noise
        else:
            value = noise * (2 if "ffn_gate_inp" in name else 1.2) / math.sqrt(fan_in)
        out[name] = value.float().double()
    return out


def draw_batch(documents, vocab, generator):
    """Tokens at random; a document's last target is a token or, every second time, none."""
    stream = torch.randint(vocab, (SEQUENCES, CONTEXT + 1), generator=generator)
    tokens, targets = stream[:, :-1].clone(), stream[:, 1:].clone()
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in documents])
    for s, row in enumerate(documents):
        for i, end in enumerate(np.cumsum(row)):
            if i % 2 == 0:
                targets[s, end - 1] = -1
    return tokens, targets, positions


# ---- transformers, in float64. ----

class Float64Torch:
    """torch, whose float32 and bfloat16 are float64."""
    float32 = float = bfloat16 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def to_hf(model, p):
    """Our parameters under the names of Hugging Face, experts in one tensor as transformers 5 keeps them."""
    c, out = model.c, {"model.embed_tokens.weight": p["token_embd.weight"], "model.norm.weight": p["output_norm.weight"]}
    out["lm_head.weight"] = p["token_embd.weight" if c["tie_word_embeddings"] else "output.weight"]
    plain = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "attn_q_a": "self_attn.q_a_proj", "attn_q_a_norm": "self_attn.q_a_layernorm",
             "attn_q_b": "self_attn.q_b_proj", "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
             "attn_kv_a_norm": "self_attn.kv_a_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
             "ffn_up_shexp": "mlp.shared_experts.up_proj", "ffn_down_shexp": "mlp.shared_experts.down_proj",
             "ffn_gate_inp": "mlp.gate"}
    for i in range(c["num_hidden_layers"]):
        at, to = f"blk.{i}.", f"model.layers.{i}."
        for ours, theirs in plain.items():
            if at + ours + ".weight" in p:
                out[f"{to}{theirs}.weight"] = p[at + ours + ".weight"]
        if model.mla:
            both = torch.cat([p[at + "attn_k_b.weight"].transpose(1, 2), p[at + "attn_v_b.weight"]], 1)
            out[to + "self_attn.kv_b_proj.weight"] = both.flatten(0, 1)
        if model.is_moe(i):
            gate, up = p[at + "ffn_gate_exps.weight"], p[at + "ffn_up_exps.weight"]
            out[to + "mlp.experts.gate_up_proj"] = torch.cat([gate, up], 1)
            out[to + "mlp.experts.down_proj"] = p[at + "ffn_down_exps.weight"]
        if at + "exp_probs_b.bias" in p:
            out[to + "mlp.gate.e_score_correction_bias"] = p[at + "exp_probs_b.bias"]
    return out


def gpt2_logits(model, p, tokens, positions):
    config = transformers.GPT2Config(**model.c)
    config._attn_implementation = "eager"
    hf = transformers.GPT2LMHeadModel(config).double().eval()
    plain = {"attn_norm": "ln_1", "ffn_norm": "ln_2"}
    turned = {"attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_up": "mlp.c_fc",
              "ffn_down": "mlp.c_proj"}
    weights = {"transformer.wte.weight": p["token_embd.weight"], "lm_head.weight": p["token_embd.weight"],
               "transformer.wpe.weight": p["position_embd.weight"]}
    for end in ("weight", "bias"):
        weights[f"transformer.ln_f.{end}"] = p[f"output_norm.{end}"]
        for i in range(model.c["n_layer"]):
            for ours, theirs in {**plain, **turned}.items():
                t = p[f"blk.{i}.{ours}.{end}"]
                weights[f"transformer.h.{i}.{theirs}.{end}"] = t.T if t.dim() == 2 else t
    assert set(dict(hf.named_parameters())) | {"lm_head.weight"} == set(weights)
    inputs = dict(input_ids=tokens, position_ids=positions, attention_mask=document_mask(positions), use_cache=False)
    return torch.func.functional_call(hf, weights, (), inputs).logits


def hf_logits(model, p, tokens, positions):
    c = model.c
    if c["model_type"] == "gpt2":
        return gpt2_logits(model, p, tokens, positions)
    base = c["architectures"][0][:-len("ForCausalLM")]
    config = getattr(transformers, base + "Config")(**c)
    config._attn_implementation = "eager"
    hf = getattr(transformers, base + "ForCausalLM")(config)
    if model.experts:
        hf.set_experts_implementation("eager")
    hf = hf.double().eval()
    hf.model.rotary_emb.inv_freq = model.freqs
    for layer in hf.model.layers:
        layer.self_attn.scaling = model.scale
    weights = to_hf(model, p)
    names = {n for n, t in hf.state_dict().items() if t.numel()}
    assert names == set(weights), names ^ set(weights)
    module, single = sys.modules[type(hf).__module__], torch.Tensor.float
    module.torch, torch.Tensor.float = Float64Torch(), torch.Tensor.double
    inputs = dict(input_ids=tokens, position_ids=positions, attention_mask=document_mask(positions), use_cache=False)
    try:
        return torch.func.functional_call(hf, weights, (), inputs).logits
    finally:
        module.torch, torch.Tensor.float = torch, single


def check_against_transformers(model, p, batch):
    """Logits, and the gradients of the loss of next tokens."""
    tokens, targets, positions = batch
    ours = model.head(p, model.trunk(p, tokens, positions)[0])
    theirs = hf_logits(model, p, tokens, positions)
    used = [t for n, t in p.items() if t.requires_grad and f"blk.{model.c.get('num_hidden_layers')}." not in n]
    gradients = [torch.autograd.grad(predict(logits, targets, 1e-3)[0], used) for logits in (ours, theirs)]
    far = float((ours - theirs).detach().abs().max())
    for a, b in zip(*gradients):
        far = max(far, float((a - b).norm() / b.norm()))
    assert far < 1e-9, f"transformers computes something else: {far}"
    return far


def autocast_distance(model, p, batch, scales):
    """Worst and mean distance of the gradients when PyTorch's own bfloat16 computes them."""
    narrow = {n: t.detach().float().requires_grad_(t.requires_grad) for n, t in p.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.losses(narrow, batch, scales[3])[0]
    sum(t * s for t, s in zip(terms, scales)).backward()
    far = [float((narrow[n].grad.double() - t.grad).norm() / t.grad.norm()) for n, t in p.items() if t.requires_grad]
    return max(far), sum(far) / len(far)


# ---- Training. ----

def rule_of(name, tied):
    """The number of a parameter's rule."""
    if name in ("token_embd.weight", "output.weight"):
        return 1 if tied or name.startswith("token") else 2
    if "ffn_gate_inp" in name:
        return 3
    return 4 if "norm" in name else 0


def optimizers(matrices, config, rules, options):
    """Each 2-D matrix by itself, as Muon takes them. matrices: {name: [leaf, ...]}."""
    momentum, nesterov, steps, _ = options
    adamw, muon = [], []
    for i, (is_muon, lr, decay, beta1, beta2, eps) in enumerate(rules):
        leaves = [t for n, ts in matrices.items() for t in ts
                  if t.requires_grad and rule_of(n, config["tie_word_embeddings"]) == i]
        if is_muon:
            muon.append(dict(params=leaves, lr=lr, weight_decay=decay, eps=eps, momentum=momentum,
                             nesterov=bool(nesterov), ns_steps=steps, adjust_lr_fn="match_rms_adamw"))
        else:
            adamw.append(dict(params=leaves, lr=lr, weight_decay=decay, betas=(beta1, beta2), eps=eps))
    return [torch.optim.AdamW(adamw)] + ([torch.optim.Muon(muon)] if muon else [])


def draw_lines(documents, vocab, generator):
    """A batch with something to learn: each token is three times the last one and one, mostly."""
    tokens, targets, positions = draw_batch(documents, vocab, generator)
    for t in range(CONTEXT):
        follows = (torch.rand(SEQUENCES, generator=generator) < 0.8) & (targets[:, t] >= 0)
        targets[:, t] = torch.where(follows, (3 * tokens[:, t] + 1) % vocab, targets[:, t])
        if t + 1 < CONTEXT:
            tokens[:, t + 1] = torch.where(positions[:, t + 1] > 0, targets[:, t], tokens[:, t + 1])
    return tokens, targets, positions


def train(name, start, batches, warmup, rules_name, narrow):
    """Losses and gradient norms of all steps; narrow: float32 and autocast's bfloat16, else float64. Batches that
    are not there yet are drawn and added, with clear routing at that step."""
    seed, config, documents, scales = CASES[name]
    generator = torch.Generator().manual_seed(1000 + seed)
    rules, options = RULES[rules_name]
    model, kind = Model(config), torch.float32 if narrow else torch.float64
    matrices = {n: [m.to(kind, copy=True).requires_grad_("exp_probs_b" not in n) for m in (t if t.dim() == 3 else [t])]
                for n, t in start.items()}
    used = [t for ts in matrices.values() for t in ts if t.requires_grad]
    groups = optimizers(matrices, config, rules, options)
    rates = [[g["lr"] for g in o.param_groups] for o in groups]
    losses, norms = [], []
    for step, factor in enumerate(warmup):
        p = {n: torch.stack(ts) if start[n].dim() == 3 else ts[0] for n, ts in matrices.items()}
        if step == len(batches):
            batches.append(clear_batch(model, p, documents, scales[3], generator, draw_lines))
        batch = batches[step]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
            terms = model.losses(p, batch, scales[3])[0]
        loss = sum(t * s for t, s in zip(terms, scales))
        gradients = torch.autograd.grad(loss, used)
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
        for t, g in zip(used, gradients):
            t.grad = g * (min(1.0, options[3] / norm) if options[3] else 1.0)
        for o, lrs in zip(groups, rates):
            for group, lr in zip(o.param_groups, lrs):
                group["lr"] = lr * factor
            o.step()
        losses.append(float(loss.detach()))
        norms.append(norm)
    return losses, norms


def train_exactly(*args):
    torch.optim._muon.torch = Float64Torch()
    try:
        return train(*args, False)
    finally:
        torch.optim._muon.torch = torch


def make_steps(name, rules_name):
    start = randomise(Model(CASES[name][1]), torch.Generator().manual_seed(CASES[name][0]))
    warmup, batches = [min(1.0, (i + 1) / 5) for i in range(STEPS)], []
    losses, norms = train_exactly(name, start, batches, warmup, rules_name)
    autocast, _ = train(name, start, batches, warmup, rules_name, True)
    out = int_tensors(*(torch.stack(x) for x in zip(*batches)))
    for key, value in dict(rules=RULES[rules_name][0], options=RULES[rules_name][1], lr_scales=warmup, losses=losses,
                           grad_norms=norms, autocast=autocast).items():
        out[key] = torch.tensor(value, dtype=torch.float64)
    save_file(out, OUT / name / f"steps-{rules_name}.safetensors")
    apart = [abs(a / b - 1) for a, b in zip(autocast, losses)]
    print(f"{name:12s} {rules_name}: loss {losses[0]:.3f} to {losses[-1]:.3f}, norms {min(norms):.2f} to "
          f"{max(norms):.2f}; autocast: loss off by {max(apart):.4f}, mean {sum(apart) / STEPS:.4f}")


# ---- Writing. ----

def leaves(p):
    return {n: t.clone().requires_grad_("exp_probs_b" not in n) for n, t in p.items()}


def clear_batch(model, p, documents, z_loss, generator, draw):
    for _ in range(5000):
        batch = draw(documents, model.c["vocab_size"], generator)
        with torch.no_grad():
            model.losses(p, batch, z_loss)
        if model.margin >= MARGIN:
            return batch
    raise SystemExit("no batch whose routing is clear")


def int_tensors(tokens, targets, positions):
    return {"tokens": tokens.int(), "targets": targets.int(), "positions": positions.int()}


def make(name):
    seed, config, documents, scales = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    model = model_of(config)
    start = randomise(model, generator)
    batch = clear_batch(model, start, documents, scales[3], generator, draw_batch)
    margin, p = model.margin, leaves(start)
    far = check_against_transformers(model, p, batch)
    terms, n, mtp_n = model.losses(p, batch, scales[3])
    sum(t * s for t, s in zip(terms, scales)).backward()
    out = {f"param/{k}": t.detach().float() for k, t in p.items()}
    out.update({f"grad/{k}": t.grad for k, t in p.items() if t.requires_grad})
    out.update(int_tensors(*batch))
    autocast = autocast_distance(model, p, batch, scales)
    out["autocast"] = torch.tensor(autocast, dtype=torch.float64)
    out["scales"] = torch.tensor(scales, dtype=torch.float64)
    out["losses"] = torch.tensor([*(float(t.detach()) for t in terms), n, mtp_n], dtype=torch.float64)
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(out, path / "case.safetensors")
    size = sum(f.stat().st_size for f in path.iterdir())
    print(f"{name:12s} {size // 1024:4d} KiB, {sum(t.numel() for t in p.values())} values, "
          f"losses {', '.join(f'{float(t.detach()):.3f}' for t in terms)}, routing margin {margin:.3f}, "
          f"{far:.1e} from transformers; autocast: worst {autocast[0]:.3f}, mean {autocast[1]:.3f}")


if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        make(case)
        for rules in RULES if case == TRAINED else []:
            make_steps(case, rules)
