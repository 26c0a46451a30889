#!/usr/bin/env python3
"""Whose greedy answers are right? Fathom and llama.cpp beside the exact answer: the same GGUF file's weights,
dequantised by the gguf package, computed by PyTorch in float64 (transformers' Llama or Qwen2 class).

    python3 bench/answers_vs_exact.py model.gguf [--tokens 64] [--fathom build/fathom] [--skip-f32]

needs: pip install torch transformers accelerate gguf llama-cpp-python numpy. Compared over five prompts, plain text:
  exact              float64
  fathom exact ways  deterministic, keys and values f32, at FATHOM_CPU=ref (--ref) and avx2: float32 rounding only
  fathom as it comes fast mode, keys and values bf16, the best CPU level
  llama.cpp          its own kernels: activations rounded to 8 bits per 32 values, keys and values f16
  llama.cpp, f32     the same weights written out as float32, so that it rounds no activations to 8 bits
Where an answer leaves the exact one: how far apart the exact logits of the two tokens are, and by how much
that engine's rounding moves such differences there, in the root mean square over all pairs of the exact ten
best tokens. "Rounding" is a gap below twice that.

--write FILE writes the exact answers instead, one "PROMPT<tab>id,id,…" a line: tests/golden/smollm2/answers.tsv,
which tests/e2e/smollm2.sh holds fathom to.

Then the first token after a chat prompt: the best ten log-probabilities of each.
Exits 1 when an exact way of fathom's leaves the exact answer, or another engine leaves it by more than rounding."""
import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TQDM_DISABLE", "1")

import needed  # a package that is missing is said in one line
import gguf
import llama_cpp
import numpy as np
import torch
import transformers

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived",
    "def fibonacci(n):\n",
    "The three laws of thermodynamics state that",
    "Q: What is 17 + 25?\nA:",
]
CHAT = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")


class Exact:
    """transformers in float64 on the file's weights."""

    def __init__(self, path):
        path = pathlib.Path(path)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").double().eval()
        self.check_weights(path)

    def check_weights(self, path):
        """The tensors that transformers loaded are those of the file, up to the order of rotary rows."""
        mine = {"token_embd.weight": self.model.model.embed_tokens.weight}
        for i, layer in enumerate(self.model.model.layers):
            mine.update({f"blk.{i}.{n}.weight": getattr(layer.mlp, p).weight for n, p in
                         (("ffn_gate", "gate_proj"), ("ffn_up", "up_proj"), ("ffn_down", "down_proj"))})
        for t in gguf.GGUFReader(path).tensors:
            if t.name in mine:
                file = gguf.quants.dequantize(t.data, t.tensor_type)
                assert np.array_equal(file, mine[t.name].detach().numpy().astype(np.float32)), t.name

    def logits(self, ids):
        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0].numpy()

    def greedy(self, ids, n, stop):
        out, cache, feed = [], None, ids
        with torch.no_grad():
            for _ in range(n):
                step = self.model(torch.tensor([feed]), past_key_values=cache, use_cache=True)
                cache, token = step.past_key_values, int(step.logits[0, -1].argmax())
                out.append(token)
                if token == stop:
                    break
                feed = [token]
        return out


class Fathom:
    """One way of running the program."""

    def __init__(self, args, level, *flags):
        self.args, self.flags, self.answer = args, list(flags), []
        self.env = dict(os.environ, **({"FATHOM_CPU": level} if level else {}))

    def call(self, *words):
        return subprocess.run([self.args.fathom, *words, *self.flags], check=True, capture_output=True,
                              text=True, env=self.env).stdout

    def greedy(self, prompt, n):
        said = json.loads(self.call("run", self.args.model, "--raw", "--prompt", prompt, "--temperature", "0",
                                    "--repeat-penalty", "1", "--allow-loops", "--max-tokens", str(n),
                                    "--logprobs", "20", "--json"))
        self.answer = said["logprobs"]
        return said["tokens"]

    def row(self, at, exact):
        """Log-probabilities of the 20 best of token `at` of the last answer as a row; nan elsewhere."""
        row = np.full(len(exact), np.nan)
        for t in self.answer[at]["top"]:
            row[t["id"]] = t["logprob"]
        return row

    def logits(self, ids):
        with tempfile.NamedTemporaryFile(suffix=".npy") as f:
            self.call("eval", self.args.model, "--logits-out", f.name, "--tokens", ",".join(map(str, ids)))
            return np.load(f.name)


class Llama:
    def __init__(self, path):
        self.llm = llama_cpp.Llama(str(path), n_ctx=512, n_batch=512, logits_all=True, verbose=False)

    def ids(self, text, special=False):
        return self.llm.tokenize(text.encode(), add_bos=not special, special=special)

    def greedy(self, prompt, n):
        out, self.answer = [], []
        feed = self.ids(prompt)
        self.llm.reset()
        while len(out) < n and (not out or out[-1] != self.llm.token_eos()):
            self.llm.eval(feed)
            self.answer.append(self.llm.scores[self.llm.n_tokens - 1].copy())
            feed = [int(self.answer[-1].argmax())]
            out += feed
        return out

    def row(self, at, exact):
        return self.answer[at]

    def logits(self, ids):
        self.llm.reset()
        self.llm.eval(ids)
        return self.llm.scores[: len(ids)]


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), None if len(a) == len(b) else min(len(a), len(b)))


def pair_noise(row, exact):
    """Root mean square of (difference of two logits here) - (the same exactly), over pairs of the ten best."""
    miss = (row - exact)[np.argsort(exact)[-10:]]
    miss = miss[~np.isnan(miss)]
    return float(np.sqrt(np.mean([(a - b) ** 2 for a, b in itertools.combinations(miss, 2)])))


def explain(exact, row, mine, right):
    """A line about tokens `mine` (chosen) and `right` (exact), and whether rounding explains it."""
    gap, noise = float(exact[right] - exact[mine]), pair_noise(row, exact)
    shift = float((row - exact)[mine] - (row - exact)[right])
    return gap < 2 * noise, (f"exact logits of {right} and {mine} {gap:.3f} apart, moved here by {shift:.3f}; "
                             f"rounding moves pairs by {noise:.3f} rms")


def compare_answers(args, exact, engines, must_equal):
    good, counts = True, {name: 0 for name in engines}
    for prompt in PROMPTS:
        ids = engines["llama.cpp"].ids(prompt)
        truth = exact.greedy(ids, args.tokens, engines["llama.cpp"].llm.token_eos())
        print(f"{prompt[:40]!r}: {len(truth)} tokens", flush=True)
        for name, engine in engines.items():
            got = engine.greedy(prompt, args.tokens)
            at = first_difference(got, truth)
            if at is None:
                counts[name] += 1
                print(f"  {name:28s} equal", flush=True)
                continue
            there = exact.logits(ids + truth[:at])[-1]
            close, text = explain(there, engine.row(at, there), got[at], truth[at])
            good = good and close and name not in must_equal
            verdict = "rounding" if close else "MORE THAN ROUNDING"
            print(f"  {name:28s} equal for {at}, then {verdict}: {text}", flush=True)
    print("equal to the exact answer to its end: " + ", ".join(f"{n} {c} of {len(PROMPTS)}" for n, c in counts.items()))
    return good


def write_answers(path, exact, tokenizer, n):
    lines = []
    for prompt in PROMPTS:
        ids = exact.greedy(tokenizer.ids(prompt), n, tokenizer.llm.token_eos())
        lines.append(prompt.replace("\n", "\\n") + "\t" + ",".join(map(str, ids)))
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def compare_chat(exact, engines, tokenizer):
    ids = tokenizer.ids(CHAT, special=True)
    rows = {"exact": exact.logits(ids)[-1]}
    for name, engine in engines.items():
        rows[name] = engine.logits(ids)[-1]
    logp = {n: r - r.max() - np.log(np.exp(r.astype(np.float64) - r.max()).sum()) for n, r in rows.items()}
    best = np.argsort(rows["exact"])[::-1][:10]
    words = [tokenizer.llm.detokenize([int(t)], special=True).decode(errors="replace") for t in best]
    print(f"after the chat prompt ({len(ids)} tokens), log-probabilities:")
    print("  " + " " * 28 + "".join(f"{w!r:>10}" for w in words))
    for name, p in logp.items():
        kl = float((np.exp(logp["exact"]) * (logp["exact"] - p)).sum())
        print(f"  {name:28s}" + "".join(f"{p[t]:10.3f}" for t in best) + f"   KL {kl:.6f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--fathom", default="build/fathom")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--ref", action="store_true", help="also the reference ops (minutes)")
    p.add_argument("--skip-f32", action="store_true", help="leave out llama.cpp on float32 weights")
    p.add_argument("--write", metavar="FILE", help="write the exact answers and compare nothing")
    args = p.parse_args()
    exact = Exact(args.model)
    if args.write:
        return write_answers(args.write, exact, Llama(args.model), args.tokens)
    must = {}
    for level in (["ref"] if args.ref else []) + ["avx2"]:
        must[f"fathom {level}, exact"] = Fathom(args, level, "--deterministic", "--kv-type", "f32")
    engines = dict(must)
    engines["fathom deterministic"] = Fathom(args, None, "--deterministic")
    engines["fathom as it comes"] = Fathom(args, None)
    engines["llama.cpp"] = Llama(args.model)
    with tempfile.TemporaryDirectory() as tmp:
        if not args.skip_f32:
            subprocess.run([args.fathom, "quantize", args.model, f"{tmp}/f32.gguf", "f32"], check=True,
                           capture_output=True)
            engines["llama.cpp, f32"] = Llama(f"{tmp}/f32.gguf")
        good = compare_answers(args, exact, engines, must)
        compare_chat(exact, engines, engines["llama.cpp"])
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
