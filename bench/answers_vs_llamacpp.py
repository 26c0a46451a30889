#!/usr/bin/env python3
"""Compares fathom with llama.cpp (through the llama-cpp-python package) on one GGUF file: perplexity of a
text and greedy continuations, token by token. Run by hand, never by CI:

    python bench/answers_vs_llamacpp.py model.gguf text.txt [--context 512] [--chunks 8] [--tokens 64]

Perplexity: both sides use windows of --context tokens, the second half scored. Greedy: at the first token
that differs, fathom's plain reference (float32, no rounding of activations) gives the exact logits; the
difference counts as rounding when the two candidates are closer there than four times the root mean
square by which llama.cpp's logits miss the exact ones there. Exits 1 when perplexity differs by
more than 0.5% or a greedy difference is no rounding."""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived",
    "def fibonacci(n):\n",
    "The three laws of thermodynamics state that",
    "Q: What is 17 + 25?\nA:",
]


def fathom_json(args, *words):
    command = [args.fathom, *words, "--kv-type", "f16"]
    if args.threads:
        command += ["--threads", str(args.threads)]
    if args.deterministic:
        command += ["--deterministic"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def log_softmax_at(row, token):
    top = row.max()
    return row[token] - top - math.log(np.exp((row - top).astype(np.float64)).sum())


def llama_perplexity(llm, text, context, chunks):
    ids = llm.tokenize(text, add_bos=True, special=False)
    total, count = 0.0, 0
    for c in range(min(chunks, len(ids) // context)):
        window = ids[c * context : (c + 1) * context]
        llm.reset()
        llm.eval(window)
        for i in range(context // 2, context - 1):
            total -= log_softmax_at(llm.scores[i], window[i + 1])
            count += 1
    return math.exp(total / count), count, ids


def compare_perplexity(args, llm):
    text = pathlib.Path(args.text).read_bytes()
    want, count, ids = llama_perplexity(llm, text, args.context, args.chunks)
    used = ids[: args.context * min(args.chunks, len(ids) // args.context)]
    with tempfile.NamedTemporaryFile(suffix=".txt") as f:
        f.write(llm.detokenize(used))
        f.flush()
        got = fathom_json(args, "eval", args.model, "--perplexity", f.name, "--context",
                          str(args.context), "--json")
    off = got["perplexity"] / want - 1
    print(f"perplexity  llama.cpp {want:.4f} over {count} tokens, fathom {got['perplexity']:.4f} over "
          f"{got['tokens']}: {100 * off:+.3f}%")
    return abs(off) < 0.005 and got["tokens"] == count


def exact_logits(args, ids):
    """The last row, computed by the reference ops."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as f:
        subprocess.run([args.fathom, "eval", args.model, "--logits-out", f.name, "--tokens",
                        ",".join(map(str, ids)), "--kv-type", "f32", "--deterministic"],
                       check=True, capture_output=True, env={**os.environ, "FATHOM_CPU": "ref"})
        return np.load(f.name)[-1]


def compare_greedy(args, llm, prompt):
    got = fathom_json(args, "run", args.model, "--raw", "--prompt", prompt, "--temperature", "0",
                      "--repeat-penalty", "1", "--allow-loops", "--max-tokens", str(args.tokens), "--json")["tokens"]
    ids = llm.tokenize(prompt.encode(), add_bos=True, special=False)
    llm.reset()
    llm.eval(ids)
    for i, token in enumerate(got):
        row = llm.scores[llm.n_tokens - 1]
        best = int(row.argmax())
        if best != token:
            exact = exact_logits(args, ids + got[:i])
            miss = row - exact
            noise = float((miss - miss.mean()).std())
            gap = abs(float(exact[best] - exact[token]))
            right = "fathom" if exact[token] > exact[best] else "llama.cpp"
            print(f"greedy      {prompt[:30]!r}: equal for {i} of {len(got)}, then fathom {token} and "
                  f"llama.cpp {best}; exactly they are {gap:.3f} apart, {right} is right, llama.cpp's "
                  f"rounding there is {noise:.3f} rms")
            return gap < 4 * noise
        llm.eval([token])
    print(f"greedy      {prompt[:30]!r}: all {len(got)} equal")
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--fathom", default="build/fathom")
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--chunks", type=int, default=8)
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--deterministic", action="store_true")
    args = p.parse_args()
    llm = llama_cpp.Llama(args.model, n_ctx=max(args.context, 512), n_batch=512, logits_all=True,
                          n_threads=args.threads or None, verbose=False)
    good = compare_perplexity(args, llm)
    for prompt in PROMPTS:
        good = compare_greedy(args, llm, prompt) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
