#!/usr/bin/env python3
"""PyTorch's side of bench/train_speed.py: the training step of a recipe's model on the CPU. By hand:

    python3 bench/train_pytorch.py recipes/fathom-nano.ini [--threads 2] [--steps 5] [--update]

Prints one line of JSON: median tokens/s of steps that are forward and backward of one micro batch (micro_sequences
rows of context random tokens), the floating-point operations per second that count (the formula of
src/train/trainflops.h), and with --update the seconds of an update and the tokens/s of whole steps (`sequences` rows
and an update). --on-demand: prints {"ready": …} and one such line for every line it reads.

Models: model_type deepseek_v3 (multi-head latent attention; experts, or dense without them; one multi-token-prediction
layer) and llama (grouped-query attention). Same shapes, parameters and losses as ours.

Numbers: weights that products read, activations, their gradients and the residual stream are bfloat16; masters of the
weights, sums of gradients over micro batches and the optimiser's state float32. (Ours keeps the residual stream, its
gradient and all sums into weight gradients in float32.)

What was fastest on the machine of docs/measurements.md, and is the default: torch.compile layer by layer, attention
written out for it (--eager: scaled_dot_product_attention); tokens sorted by expert, a product per expert into one result (--experts loop; the
others: bmm, padded to the longest; grouped_mm, torch's own); gathers in both directions instead of scatters; all
logits of a micro batch at once in a compiled loss; memory that stays with the process (the environment is set and
the script starts itself again). --eager runs without
torch.compile.

Needs torch 2.10 or newer, gcc or clang for torch.compile."""
import needed  # noqa: F401  first: says which package is missing
import argparse
import configparser
import json
import math
import os
import statistics
import sys
import time

# glibc gives large blocks back to the kernel at once, and every step would fault them in again.
KEEP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}
if __name__ == "__main__" and not set(KEEP) <= set(os.environ):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP})

import torch
import torch.nn.functional as F
from torch import nn

BF16 = torch.bfloat16


class Recipe:
    def __init__(self, path, overrides):
        ini = configparser.ConfigParser(inline_comment_prefixes=(";",))
        with open(path) as f:
            ini.read_file(f)
        for o in overrides:
            key, value = o.split("=", 1)
            ini.set(*key.split(".", 1), value)
        model = ini["model"]
        size = lambda key, default=0: int(float(model.get(key, default)))
        self.kind = model["model_type"]
        self.vocab, self.d, self.layers = size("vocab_size"), size("hidden_size"), size("num_hidden_layers")
        self.ff, self.heads = size("intermediate_size"), size("num_attention_heads")
        self.kv_heads = size("num_key_value_heads", self.heads)
        self.eps, self.theta = float(model.get("rms_norm_eps", 1e-6)), float(model.get("rope_theta", 10000))
        self.mla = self.kind == "deepseek_v3"
        self.q_rank, self.rank = size("q_lora_rank"), size("kv_lora_rank")
        self.nope, self.rope = size("qk_nope_head_dim"), size("qk_rope_head_dim")
        self.v = size("v_head_dim") if self.mla else size("head_dim", self.d // self.heads)
        self.qk = self.nope + self.rope if self.mla else self.v
        self.experts, self.chosen = size("n_routed_experts"), size("num_experts_per_tok")
        self.shared, self.expert_ff = size("n_shared_experts"), size("moe_intermediate_size")
        self.dense = size("first_k_dense_replace") if self.experts else self.layers + 1
        self.scale = float(model.get("routed_scaling_factor", 1))
        self.mtp, self.tied = size("num_nextn_predict_layers"), model.getboolean("tie_word_embeddings", False)
        number = lambda section, key, default: float(ini.get(section, key, fallback=default))
        self.context = int(number("data", "context", 512))
        self.rows = int(number("run", "micro_sequences", 16))
        self.sequences = int(number("schedule", "sequences", 128))
        self.mtp_weight, self.balance = number("loss", "mtp", 0.3), number("loss", "balance", 1e-4)
        self.lr, self.decay = number("optimizer", "lr", 0.02), number("optimizer", "weight_decay", 0.1)
        self.muon = ini.get("optimizer", "matrices", fallback="muon") == "muon"
        if self.kind not in ("deepseek_v3", "llama") or self.mtp > 1:
            sys.exit(f"{path}: deepseek_v3 and llama are written here, with one MTP layer at most")


def flops_per_token(r, model):
    """As src/train/trainflops.h counts."""
    active = 0
    for name, p in model.named_parameters():
        if name not in ("embed", "head"):
            active += p.numel() * (r.chosen / r.experts if ".experts." in name else 1)
    head = r.vocab * r.d * (1 + r.mtp)
    attention = (r.layers + r.mtp) * r.heads * (r.qk + r.v) * r.context / 2
    return 6 * (active + head + attention)


def weight(*shape):
    return nn.Parameter(torch.randn(*shape) / math.sqrt(shape[-1]))


def ones(n):
    return nn.Parameter(torch.ones(n))


def norm(x, w, eps):
    return F.rms_norm(x, w.shape, w, eps)


def rotate(x, angles):
    """x [S, L, heads, n]; angles [2, L, 1, n / 2]: cosines and sines."""
    a, b = x.chunk(2, -1)
    cos, sin = angles
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def attend(q, k, v, future):
    """[S, L, heads, n] each; future [L, L] is -inf where a row may not look. Written out, as torch.compile makes of
    this something nearly twice as fast, forward and backward, as scaled_dot_product_attention is on a CPU."""
    n, groups = q.shape[-1], q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k.repeat_interleave(groups, 2), v.repeat_interleave(groups, 2)))
    if future is None:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        out = ((q @ k.transpose(2, 3)).float() * n ** -0.5 + future).softmax(-1).to(v.dtype) @ v
    return out.transpose(1, 2).flatten(2)


class Latent(nn.Module):
    """Multi-head latent attention."""
    def __init__(self, r):
        super().__init__()
        self.r = r
        if r.q_rank:
            self.q_a, self.q_norm = weight(r.q_rank, r.d), ones(r.q_rank)
        self.q, self.kv_a = weight(r.heads * r.qk, r.q_rank or r.d), weight(r.rank + r.rope, r.d)
        self.kv_norm, self.kv_b = ones(r.rank), weight(r.heads * (r.nope + r.v), r.rank)
        self.o = weight(r.d, r.heads * r.v)

    def forward(self, h, angles, future):
        r, (s, n, _) = self.r, h.shape
        q = norm(F.linear(h, self.q_a), self.q_norm, r.eps) if r.q_rank else h
        q = F.linear(q, self.q).view(s, n, r.heads, r.qk)
        latent, shared = F.linear(h, self.kv_a).split([r.rank, r.rope], -1)
        kv = F.linear(norm(latent, self.kv_norm, r.eps), self.kv_b).view(s, n, r.heads, r.nope + r.v)
        shared = rotate(shared[:, :, None], angles).expand(s, n, r.heads, r.rope)
        q = torch.cat([q[..., :r.nope], rotate(q[..., r.nope:], angles)], -1)
        return F.linear(attend(q, torch.cat([kv[..., :r.nope], shared], -1), kv[..., r.nope:], future), self.o)


class Grouped(nn.Module):
    """Grouped-query attention."""
    def __init__(self, r):
        super().__init__()
        self.r = r
        self.qkv, self.o = weight((r.heads + 2 * r.kv_heads) * r.v, r.d), weight(r.d, r.heads * r.v)

    def forward(self, h, angles, future):
        r, (s, n, _) = self.r, h.shape
        q, k, v = F.linear(h, self.qkv).view(s, n, -1, r.v).split([r.heads, r.kv_heads, r.kv_heads], 2)
        return F.linear(attend(rotate(q, angles), rotate(k, angles), v, future), self.o)


class Ffn(nn.Module):
    def __init__(self, d, ff):
        super().__init__()
        self.gate_up, self.down = weight(2 * ff, d), weight(d, ff)

    def forward(self, h):
        gate, up = F.linear(h, self.gate_up).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.down)


# ---- Products of experts: rows ends[e - 1] to ends[e] are expert e's. ----

@torch.library.custom_op("peer::by_expert", mutates_args=())
def by_expert(x: torch.Tensor, w: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Rows of x times their expert's w[e] [N, K], transposed."""
    out, begin = x.new_empty(x.shape[0], w.shape[1]), 0
    for w_e, end in zip(w.unbind(), ends.tolist()):
        torch.mm(x[begin:end], w_e.t(), out=out[begin:end])
        begin = end
    return out


@torch.library.custom_op("peer::by_expert_weights", mutates_args=())
def by_expert_weights(d: torch.Tensor, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Each expert's rows of d, transposed, times its rows of x."""
    out, begin = x.new_empty(ends.shape[0], d.shape[1], x.shape[1]), 0
    for out_e, end in zip(out.unbind(), ends.tolist()):
        torch.mm(d[begin:end].t(), x[begin:end], out=out_e)
        begin = end
    return out


@by_expert.register_fake
def _(x, w, ends):
    return x.new_empty(x.shape[0], w.shape[1])


@by_expert_weights.register_fake
def _(d, x, ends):
    return x.new_empty(ends.shape[0], d.shape[1], x.shape[1])


def by_expert_backward(ctx, d):
    x, w, ends = ctx.saved_tensors
    return by_expert(d, w.transpose(1, 2), ends), by_expert_weights(d, x, ends), None


by_expert.register_autograd(by_expert_backward,
                            setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))


class Places:
    """Where the rows of experts are: sorted by expert, each expert's number rounded up to a multiple of ROUND. oneDNN
    makes a kernel for every shape it meets, 3 ms each: lengths as they come would cost more than the products."""
    ROUND = 32

    def __init__(self, chosen, experts):
        n, self.k = chosen.numel(), chosen.shape[1]
        ids, order = chosen.reshape(-1).sort(stable=True)
        real = torch.searchsorted(ids, torch.arange(experts), right=True)
        counts = real.diff(prepend=real.new_zeros(1))
        rounded = (counts + self.ROUND - 1) // self.ROUND * self.ROUND
        self.ends = rounded.cumsum(0)
        at = torch.arange(n) + (self.ends - rounded - real + counts)[ids]
        self.choice = torch.full((n + experts * self.ROUND,), n).scatter_(0, at, order)  # n: none
        self.token = (self.choice // self.k).clamp(max=chosen.shape[0] - 1)
        self.place = torch.empty_like(order).scatter_(0, order, at)


class Dispatch(torch.autograd.Function):
    """Rows of tokens in the order of experts; back, every token adds up its own: gathers, no scatter."""
    @staticmethod
    def forward(ctx, h, token, place, k):
        ctx.save_for_backward(place)
        ctx.k = k
        return h[token]

    @staticmethod
    def backward(ctx, d):
        (place,) = ctx.saved_tensors
        return d[place].view(-1, ctx.k, d.shape[1]).sum(1), None, None, None


class Combine(torch.autograd.Function):
    """Back, rows that are nobody's get 0, so that they add nothing to weights."""
    @staticmethod
    def forward(ctx, y, weights, token, choice, place):
        ctx.save_for_backward(y, weights, token, choice, place)
        return (y[place].view(*weights.shape, -1) * weights[..., None]).sum(1)

    @staticmethod
    def backward(ctx, d):
        y, weights, token, choice, place = ctx.saved_tensors
        dy = d[token] * F.pad(weights.reshape(-1), (0, 1))[choice][:, None]
        dweights = (y[place].view(*weights.shape, -1) * d[:, None]).sum(-1)
        return dy, dweights, None, None, None


class Experts(nn.Module):
    def __init__(self, r, how):
        super().__init__()
        self.r, self.how = r, how
        self.gate_up, self.down = weight(r.experts, 2 * r.expert_ff, r.d), weight(r.experts, r.d, r.expert_ff)

    def forward(self, h, weights, chosen):
        p = Places(chosen, self.r.experts)
        x = Dispatch.apply(h, p.token, p.place, p.k)
        return Combine.apply(self.products(x, p.ends), weights, p.token, p.choice, p.place)

    def products(self, x, ends):
        if self.how == "grouped_mm":
            offs = ends.int()
            gate, up = F.grouped_mm(x, self.gate_up.transpose(1, 2), offs=offs).chunk(2, -1)
            return F.grouped_mm(F.silu(gate) * up, self.down.transpose(1, 2), offs=offs)
        if self.how == "bmm":
            return self.batched(x, ends)
        gate, up = by_expert(x, self.gate_up, ends).chunk(2, -1)
        return by_expert(F.silu(gate) * up, self.down, ends)

    def batched(self, x, ends):
        """One batched product, every expert's rows filled up to the most that one has."""
        counts = ends.diff(prepend=ends.new_zeros(1))
        most, used = int(counts.max()), int(ends[-1])
        expert = torch.repeat_interleave(torch.arange(len(ends)), counts, output_size=used)
        slot = torch.arange(used) - (ends - counts)[expert] + expert * most
        rows = x.new_zeros(len(ends) * most, x.shape[1]).index_copy(0, slot, x[:used]).view(len(ends), most, -1)
        gate, up = torch.bmm(rows, self.gate_up.transpose(1, 2)).chunk(2, -1)
        y = torch.bmm(F.silu(gate) * up, self.down.transpose(1, 2)).flatten(0, 1)[slot]
        return F.pad(y, (0, 0, 0, len(x) - used))  # rows that are nobody's


class Mixture(nn.Module):
    def __init__(self, r, how):
        super().__init__()
        self.r = r
        self.router, self.experts = weight(r.experts, r.d), Experts(r, how)
        self.register_buffer("bias", torch.zeros(r.experts), persistent=False)
        self.alongside = Ffn(r.d, r.shared * r.expert_ff)

    def forward(self, h):
        r, s = self.r, h.shape[0]
        scores = F.linear(h, self.router).float().sigmoid()
        chosen = (scores.detach() + self.bias).topk(r.chosen, -1, sorted=False).indices
        weights = scores.gather(-1, chosen)
        weights = weights / weights.sum(-1, keepdim=True) * r.scale
        load = torch.zeros(s, r.experts).scatter_add_(1, chosen.flatten(1), torch.ones(1).expand(s, chosen[0].numel()))
        load = load * (r.experts / (r.chosen * h.shape[1]))
        balance = ((scores / scores.sum(-1, keepdim=True)).mean(1) * load).sum()
        flat = h.flatten(0, 1)
        y = self.experts(flat, weights.flatten(0, 1).to(h.dtype), chosen.flatten(0, 1))
        return y.view_as(h) + self.alongside(h), balance


class Layer(nn.Module):
    def __init__(self, r, i, how):
        super().__init__()
        self.r, self.moe = r, i >= r.dense
        self.attention_norm, self.ffn_norm = ones(r.d), ones(r.d)
        self.attention = Latent(r) if r.mla else Grouped(r)
        self.ffn = Mixture(r, how) if self.moe else Ffn(r.d, r.ff)

    def forward(self, x, angles, future):
        x = x + self.attention(norm(x, self.attention_norm, self.r.eps), angles, future)
        h = self.ffn(norm(x, self.ffn_norm, self.r.eps))
        return (x + h[0], h[1]) if self.moe else (x + h, x.new_zeros((), dtype=torch.float32))


def head_loss(output, w, targets):
    logits = F.linear(output.flatten(0, 1), w).float()
    return F.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="sum")


class Model(nn.Module):
    def __init__(self, r, how, compiled):
        super().__init__()
        self.r = r
        self.embed = weight(r.vocab, r.d)
        if not r.tied:
            self.head = weight(r.vocab, r.d)
        self.layers = nn.ModuleList(Layer(r, i, how) for i in range(r.layers + r.mtp))
        self.norm = ones(r.d)
        if r.mtp:
            self.join, self.embed_norm, self.hidden_norm, self.mtp_norm = weight(r.d, 2 * r.d), ones(r.d), ones(r.d), ones(r.d)
        n = r.rope if r.mla else r.v
        angle = torch.arange(r.context)[:, None, None] * r.theta ** (-torch.arange(0, n, 2) / n)
        self.register_buffer("angles", torch.stack([angle.cos(), angle.sin()]), persistent=False)
        self.head_loss, self.future = head_loss, None
        if compiled:
            self.future = torch.full((r.context, r.context), -math.inf).triu(1)
            for layer in self.layers:
                layer.compile(dynamic=False)
            self.head_loss = torch.compile(head_loss, dynamic=False)

    def forward(self, tokens, targets):
        """The loss of the micro batch, and that of next tokens alone; both sums."""
        r, w = self.r, self.embed if self.r.tied else self.head
        x, balance = F.embedding(tokens, self.embed), 0.0
        for layer in self.layers[:r.layers]:
            x, b = layer(x, self.angles, self.future)
            balance = balance + b
        output = norm(x, self.norm, r.eps)
        first = loss = self.head_loss(output, w, targets)
        if r.mtp:
            further = F.pad(targets[:, 1:], (0, 1), value=-1)
            both = torch.cat([norm(F.embedding(targets, self.embed), self.embed_norm, r.eps),
                              norm(output, self.hidden_norm, r.eps)], -1)
            x, b = self.layers[r.layers](F.linear(both, self.join), self.angles, self.future)
            balance = balance + b
            loss = loss + r.mtp_weight * self.head_loss(norm(x, self.mtp_norm, r.eps), w, further)
        return loss + r.balance * r.context * balance, first


# ---- The update: AdamW, and Muon for the matrices of layers, stacks of them at once. ----

def orthogonal(g, steps=5):
    """Newton-Schulz in bfloat16, [n, rows, cols]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(BF16)
    turned = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2).contiguous() if turned else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if turned else x


class Update:
    def __init__(self, r, model):
        self.r, self.work, self.names = r, list(model.parameters()), [n for n, _ in model.named_parameters()]
        self.master = [p.detach().clone().float() for p in self.work]
        self.sums = [torch.zeros_like(m) for m in self.master]
        is_matrix = [p.dim() > 1 and n not in ("embed", "head") and "router" not in n
                     for n, p in zip(self.names, self.work)]
        self.muon = [i for i, m in enumerate(is_matrix) if m and r.muon]
        rest = [i for i in range(len(self.work)) if i not in self.muon]
        self.momentum = {i: torch.zeros_like(self.master[i]) for i in self.muon}
        for i in rest:
            self.master[i].grad = self.sums[i]
        self.adamw = torch.optim.AdamW([self.master[i] for i in rest], lr=3e-3, betas=(0.9, 0.95), weight_decay=0,
                                       fused=True)

    def collect(self):
        torch._foreach_add_(self.sums, [p.grad for p in self.work])
        for p in self.work:
            p.grad = None

    @torch.no_grad()
    def step(self):
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self.sums)))
        torch._foreach_mul_(self.sums, (1 / (total + 1e-6)).clamp(max=1))
        self.adamw.step()
        for i in self.muon:
            m, p = self.momentum[i].lerp_(self.sums[i], 0.05), self.master[i]
            gate_up = "gate_up" in self.names[i]
            shape = (-1, p.shape[-2] // (2 if gate_up else 1), p.shape[-1])
            d = orthogonal(self.sums[i].lerp(m, 0.95).view(shape))
            p.mul_(1 - self.r.lr * self.r.decay).add_(d.reshape(p.shape), alpha=-self.r.lr * 0.2 * math.sqrt(max(shape[1:])))
        torch._foreach_copy_(self.work, self.master)
        torch._foreach_zero_(self.sums)


class Bench:
    def __init__(self, a):
        torch.set_num_threads(a.threads)
        torch.manual_seed(1)
        self.r = r = Recipe(a.recipe, a.set)
        self.model = Model(r, a.experts, not a.eager)
        self.flops = flops_per_token(r, self.model)
        angles = self.model.angles
        self.model.to(BF16).angles = angles.to(BF16)
        for m in self.model.modules():
            if isinstance(m, Mixture):
                m.bias = m.bias.float()
        self.update = Update(r, self.model)
        self.tokens = r.rows * r.context

    def micro(self):
        stream = torch.randint(self.r.vocab, (self.r.rows, self.r.context + 1))
        begun = time.perf_counter()
        loss, first = self.model(stream[:, :-1].contiguous(), stream[:, 1:].contiguous())
        (loss / self.tokens).backward()
        self.update.collect()
        took = time.perf_counter() - begun
        self.loss = float(first.detach()) / self.tokens
        return took

    def measure(self, steps, update):
        took = statistics.median(self.micro() for _ in range(steps))
        out = dict(tokens_per_s=self.tokens / took, flops_per_s=self.flops * self.tokens / took, step_s=took,
                   loss=self.loss)
        if update:
            begun = time.perf_counter()
            self.update.step()
            out["update_s"] = time.perf_counter() - begun
            whole = took * self.r.sequences / self.r.rows + out["update_s"]
            out["whole_tokens_per_s"] = self.r.sequences * self.r.context / whole
        return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipe")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--update", action="store_true")
    p.add_argument("--eager", action="store_true")
    p.add_argument("--on-demand", action="store_true")
    p.add_argument("--experts", choices=["loop", "bmm", "grouped_mm"], default="loop")
    p.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="over what the recipe says")
    p.add_argument("--profile", action="store_true", help="where a step's time goes")
    a = p.parse_args()
    bench = Bench(a)
    bench.micro()
    bench.micro()  # compiled, and memory is there
    if a.update:
        bench.update.step()
    if a.profile:
        with torch.profiler.profile() as prof:
            bench.micro()
        print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=60))
    elif a.on_demand:
        print(json.dumps(dict(ready=True, torch=torch.__version__, flops_per_token=bench.flops)), flush=True)
        for _ in sys.stdin:
            print(json.dumps(bench.measure(a.steps, a.update)), flush=True)
    else:
        print(json.dumps(dict(bench.measure(a.steps, a.update), flops_per_token=bench.flops)))


if __name__ == "__main__":
    main()
