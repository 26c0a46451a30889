#!/usr/bin/env python3
"""Compares the perplexity of a text under fathom and under llama.cpp (through the llama-cpp-python package)
on one GGUF file. Run by hand, never by CI:

    python3 bench/perplexity_vs_llamacpp.py model.gguf text.txt [--context 512] [--chunks 8]

Both sides use windows of --context tokens, the second half scored, keys and values in f16. Exits 1 when they
differ by more than 0.5%. Answers, token by token, have their own judge: answers_vs_exact.py."""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import needed  # a package that is missing is said in one line
import llama_cpp
import numpy as np

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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--fathom", default="build/fathom")
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--chunks", type=int, default=8)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--deterministic", action="store_true")
    args = p.parse_args()
    llm = llama_cpp.Llama(args.model, n_ctx=max(args.context, 512), n_batch=512, logits_all=True,
                          n_threads=args.threads or None, verbose=False)
    sys.exit(0 if compare_perplexity(args, llm) else 1)


if __name__ == "__main__":
    main()
