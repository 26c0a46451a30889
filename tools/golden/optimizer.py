"""Golden values for the optimizer: tests/golden/optimizer/steps.json, read by test_optimizer.c.

Three runs of three steps over the parameters of a tiny model: Muon with Nesterov's momentum and clipping, Muon
without either, AdamW for everything. Values and gradients are multiples of 2^-26 from a linear congruential
generator, so that the test makes the same. Muon and AdamW are written out here in numpy, float64, and compared
with torch.optim.AdamW and torch.optim.Muon (which multiplies in bfloat16: within 3%) before anything is written.
Run: python tools/golden/optimizer.py
"""
import json
import pathlib

import numpy as np
import torch

OUT = pathlib.Path("tests/golden/optimizer/steps.json")
GROUPS = ["matrices", "embeddings", "head", "routers", "vectors"]
COEFFICIENTS = 3.4445, -4.7750, 2.0315
LR_SCALES = [1, 0.5, 0.25]

# name, group (None: left alone), matrices, rows and columns of each; in the model's order
LAYER = [("attn_norm", "vectors", 1, 1, 6), ("attn_q", "matrices", 1, 10, 6), ("attn_kv_a_mqa", "matrices", 1, 6, 6),
         ("attn_kv_a_norm", "vectors", 1, 1, 4), ("attn_k_b", "matrices", 2, 4, 3), ("attn_v_b", "matrices", 2, 3, 4),
         ("attn_output", "matrices", 1, 6, 6), ("ffn_norm", "vectors", 1, 1, 6)]
DENSE = [("ffn_gate", "matrices", 1, 5, 6), ("ffn_up", "matrices", 1, 5, 6), ("ffn_down", "matrices", 1, 6, 5)]
MOE = [("ffn_gate_inp", "routers", 1, 4, 6), ("exp_probs_b", None, 1, 1, 4), ("ffn_gate_exps", "matrices", 4, 3, 6),
       ("ffn_up_exps", "matrices", 4, 3, 6), ("ffn_down_exps", "matrices", 4, 6, 3), ("ffn_gate_shexp", "matrices", 1, 3, 6),
       ("ffn_up_shexp", "matrices", 1, 3, 6), ("ffn_down_shexp", "matrices", 1, 6, 3)]


def parameters():
    def named(layer, items):
        for stem, *rest in items:
            yield (f"blk.{layer}.{stem}.{'bias' if stem == 'exp_probs_b' else 'weight'}", *rest)

    return [("token_embd.weight", "embeddings", 1, 11, 6), *named(0, LAYER + DENSE), *named(1, LAYER + MOE),
            ("output_norm.weight", "vectors", 1, 1, 6), ("output.weight", "head", 1, 11, 6)]


class Numbers:
    """Multiples of 2^-23 in [-1, 1)."""

    def __init__(self, seed):
        self.state = seed

    def array(self, shape):
        out = np.empty(int(np.prod(shape)))
        for i in range(out.size):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            out[i] = (self.state >> 40) * 2.0**-23 - 1
        return out.reshape(shape)


def orthogonalise(u, steps, eps):
    a, b, c = COEFFICIENTS
    x = u / max(np.linalg.norm(u), eps)
    x = x.T if u.shape[0] > u.shape[1] else x
    for _ in range(steps):
        g = x @ x.T
        x = a * x + (b * g + c * g @ g) @ x
    return x.T if u.shape[0] > u.shape[1] else x


def muon(value, grad, state, rule, options, rate):
    momentum = options["muon_momentum"]
    m = state.setdefault("momentum", np.zeros_like(value))
    m[:] = momentum * m + grad
    u = grad + momentum * m if options["muon_nesterov"] else m
    d = 0.2 * np.sqrt(max(value.shape)) * orthogonalise(u, options["muon_steps"], rule["eps"])
    value *= 1 - rate * rule["weight_decay"]
    value -= rate * d
    return d


def adamw(value, grad, state, rule, rate, t):
    m, v = state.setdefault("m", np.zeros_like(value)), state.setdefault("v", np.zeros_like(value))
    m[:] = rule["beta1"] * m + (1 - rule["beta1"]) * grad
    v[:] = rule["beta2"] * v + (1 - rule["beta2"]) * grad**2
    d = m / (1 - rule["beta1"]**t) / (np.sqrt(v / (1 - rule["beta2"]**t)) + rule["eps"])
    value *= 1 - rate * rule["weight_decay"]
    value -= rate * d
    return d


def run(options):
    numbers = Numbers(options["seed"])
    # each matrix by itself; the balance draws numbers too
    values = {name: numbers.array((n, rows, cols)) * (0.25 if group == "vectors" else 1) + (group == "vectors")
              for name, group, n, rows, cols in parameters()}
    states, reports = {}, []
    for t, lr_scale in enumerate(LR_SCALES, 1):
        grads = {name: numbers.array((n, rows, cols)) * 0.125 for name, _, n, rows, cols in parameters()}
        learns = {name: group for name, group, *_ in parameters() if group}
        norm = np.sqrt(sum((grads[name]**2).sum() for name in learns))
        factor = options["clip"] / norm if 0 < options["clip"] < norm else 1.0
        squares, sizes = dict.fromkeys(GROUPS, 0.0), dict.fromkeys(GROUPS, 0)
        for name, group in learns.items():
            rule = options["rules"][group]
            for i, value in enumerate(values[name]):
                state, rate = states.setdefault((name, i), {}), rule["lr"] * lr_scale
                grad = grads[name][i] * factor
                d = (muon(value, grad, state, rule, options, rate) if rule["muon"] else
                     adamw(value, grad, state, rule, rate, t))
                squares[group] += (d**2).sum()
                sizes[group] += d.size
        reports.append({"grad_norm": norm, "clip_factor": factor,
                        "update_rms": [np.sqrt(squares[g] / sizes[g]) for g in GROUPS]})
    return {**options, "lr_scales": LR_SCALES, "reports": reports,
            "values": {name: v.flatten().tolist() for name, v in values.items()}}


def rule(is_muon, lr, weight_decay, beta1=0.9, beta2=0.95, eps=1e-8):
    return {"muon": is_muon, "lr": lr, "weight_decay": weight_decay, "beta1": beta1, "beta2": beta2, "eps": eps}


def options(name, seed, matrices, **rest):
    rules = {"matrices": matrices, "embeddings": rule(False, 0.01, 0), "head": rule(False, 0.005, 0.1, 0.8, 0.99),
             "routers": rule(False, 0.003, 0.2, eps=1e-20), "vectors": rule(False, 0.02, 0)}
    return {"name": name, "seed": seed, "rules": rules, "muon_momentum": 0.95, "muon_nesterov": True,
            "muon_steps": 5, "clip": 0, **rest}


def compare_with_torch():
    numbers = Numbers(77)
    for shape in [(6, 10), (10, 6)]:
        start, grads = numbers.array(shape), [numbers.array(shape) for _ in range(4)]
        for is_muon in (False, True):
            r = rule(is_muon, 0.02, 0.1, eps=1e-7)
            mine, state = start.copy(), {}
            theirs = torch.nn.Parameter(torch.tensor(start))
            if is_muon:
                o = torch.optim.Muon([theirs], lr=r["lr"], weight_decay=r["weight_decay"], momentum=0.95, nesterov=True,
                                     eps=r["eps"], ns_steps=5, adjust_lr_fn="match_rms_adamw")
            else:
                o = torch.optim.AdamW([theirs], lr=r["lr"], weight_decay=r["weight_decay"], betas=(r["beta1"], r["beta2"]),
                                      eps=r["eps"])
            for t, g in enumerate(grads, 1):
                theirs.grad = torch.tensor(g)
                o.step()
                if is_muon:
                    muon(mine, g, state, r, {"muon_momentum": 0.95, "muon_nesterov": True, "muon_steps": 5}, r["lr"])
                else:
                    adamw(mine, g, state, r, r["lr"], t)
            error = np.abs(mine - theirs.detach().numpy()).max() / np.abs(mine - start).max()
            print(f"{'Muon' if is_muon else 'AdamW'} {shape}: differs from torch by {error:.1e} of the change")
            assert error < (0.03 if is_muon else 1e-12)


compare_with_torch()
cases = [run(options("muon-nesterov-clip", 1, rule(True, 0.02, 0.1, eps=1e-7), clip=0.75)),
         run(options("muon-plain", 2, rule(True, 0.03, 0, eps=1e-7), muon_momentum=0.9, muon_nesterov=False, muon_steps=3)),
         run(options("adamw", 3, rule(False, 0.01, 0.1)))]
OUT.parent.mkdir(exist_ok=True)
OUT.write_text(json.dumps({"cases": cases}, indent=0).replace(",\n", ", ").replace("}, ", "},\n") + "\n")
print(f"{OUT}: {OUT.stat().st_size} bytes")
