#!/usr/bin/env python3
"""What each weight type and each CPU level's kernels cost in accuracy, as the Markdown tables of docs/numerics.md.

    python3 bench/accuracy_table.py SmolLM2-135M-Instruct.Q4_1.gguf TEXT [--bytes 6000] [--types q8_0,q4_k]
        [--levels avx2,avx512,amx] [--ways prompt,answer] [--fathom build/fathom] [--keep FOLDER]

The model is brought to float32 and to 768 columns (bench/widen_smollm2.py: the same function, but every block type
fits), then quantised to every type by `fathom quantize`, and to FP8 by the script. Judged by `fathom eval
--perplexity --against`, on the first --bytes of TEXT, in overlapping windows of 512 tokens of which 384 are scored:

1. the type: its weights against the float32 weights, both in float32 arithmetic;
2. the kernels: each level as users run it (fast mode, keys and values in bf16), against float32 arithmetic on the
   same weights; prompts read 512 tokens at a time, answers one token at a time.

Needs torch and safetensors. Half an hour on two cores; each run's numbers appear on stderr as they come."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import needed  # a package that is missing is said in one line
import safetensors  # widen_smollm2.py needs these two: better known now than after minutes
import torch

TYPES = "f32 f16 bf16 fp8 q8_0 q6_k q5_k q5_1 q5_0 q4_k q4_1 q4_0 mxfp4 q3_k q2_k".split()
WAYS = {"prompt": [], "answer": ["--chunk", "1"]}


def run(args, *words, cpu=None):
    env = dict(os.environ, **({"FATHOM_CPU": cpu} if cpu else {}))
    return subprocess.run([args.fathom, *map(str, words)], check=True, capture_output=True, text=True, env=env).stdout


def judge(args, model, reference, *options, cpu=None):
    out = run(args, "eval", model, "--perplexity", args.cut, "--against", reference, "--context", 512, "--stride", 384,
              "--json", *options, cpu=cpu)
    return json.loads(out)


def widen(args, folder):
    """The wide float32 model, and its FP8 form, as folders."""
    here = pathlib.Path(__file__).parent
    run(args, "convert", args.model, folder / "narrow", "--type", "f32")
    for name, more in ("f32", []), ("fp8", ["--fp8"]):
        subprocess.run([sys.executable, here / "widen_smollm2.py", folder / "narrow", folder / name, *more], check=True)


def make(args, folder, name):
    if name in ("f32", "fp8"):
        return folder / name
    target = folder / f"{name}.gguf"
    if not target.exists():
        run(args, "quantize", folder / "f32", target, name)
    return target


def percent(r):
    return f"{100 * (r['ratio'] - 1):+.2f}% ± {100 * r['ratio_error']:.2f}"


def small(x):
    return "0" if x < 5e-9 else f"{x:.6f}" if x < 0.001 else f"{x:.4f}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--bytes", type=int, default=6000)
    p.add_argument("--types", default=",".join(TYPES))
    p.add_argument("--levels", default="avx2,avx512,amx")
    p.add_argument("--ways", default="prompt,answer")
    p.add_argument("--fathom", default="build/fathom")
    p.add_argument("--keep", help="a folder for the models, which may hold them already")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(args.keep or tmp)
        folder.mkdir(exist_ok=True)
        args.cut = pathlib.Path(tmp) / "text"
        args.cut.write_bytes(pathlib.Path(args.text).read_bytes()[:args.bytes])
        if not (folder / "fp8").exists():
            widen(args, folder)
        exact = ["--deterministic", "--kv-type", "f32"]
        rows_type, rows_kernel = [], []
        for name in args.types.split(","):
            model = make(args, folder, name)
            r = judge(args, model, folder / "f32", *exact, cpu="avx2")
            rows_type.append(f"| {name} | {r['perplexity']:.4f} | {percent(r)} | {small(r['kl'])} | "
                             f"{100 * r['same_best']:.1f}% |")
            print(rows_type[-1], file=sys.stderr, flush=True)
            for level in args.levels.split(","):
                cells = []
                for way in args.ways.split(","):
                    k = judge(args, model, model, *WAYS[way], cpu=level)
                    cells += [percent(k), small(k["kl"]), small(k["logprob_rms"]), f"{100 * k['same_best']:.1f}%"]
                rows_kernel.append(f"| {name} | {level} | " + " | ".join(cells) + " |")
                print(rows_kernel[-1], file=sys.stderr, flush=True)
        r = judge(args, make(args, folder, "f32"), folder / "f32", "--deterministic", "--kv-type", "bf16", cpu="avx2")
        print(f"{r['tokens']} tokens. Keys and values in bf16 alone (float32 weights and arithmetic): perplexity "
              f"{percent(r)}, KL {small(r['kl'])}.\n")
        print("| weights | perplexity | against f32 | KL | same best token |\n|---|---|---|---|---|")
        print("\n".join(rows_type))
        ways = args.ways.split(",")
        print("\n| weights | level |" + "".join(f" {w}: perplexity | KL | rms | same best |" for w in ways))
        print("|---" * (2 + 4 * len(ways)) + "|")
        print("\n".join(rows_kernel))


main()
