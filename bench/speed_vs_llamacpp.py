#!/usr/bin/env python3
"""Fathom against llama.cpp on the same GGUF file, in turn, in one run.

    pip install llama-cpp-python     (built with clang: gcc 12 miscompiles its AMX tile set-up)
    python bench/speed_vs_llamacpp.py model.gguf [--fathom build/fathom] [--rounds 5]
        [--prompt 512] [--steps 32] [--depth 0] [--threads 2]

LLAMA_CPP_LIB_PATH names a folder with another build of llama.cpp's libraries. The peer copies the file
into memory instead of mapping it, as it repacks most weights anyway: it is faster so.

Each round measures Fathom, then the peer; the medians and the ratio of medians are printed, because a
shared machine's speed drifts between minutes. Both read random tokens; sampling is not timed.
"""
import argparse
import ctypes
import json
import random
import statistics
import subprocess
import time

import needed  # a package that is missing is said in one line
import llama_cpp


class Peer:
    """llama.cpp through its C API, as its own llama-bench drives it."""

    def __init__(self, path, threads, context, chunk):
        llama_cpp.llama_backend_init()
        silent = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
        self._silent = silent
        params = llama_cpp.llama_model_default_params()
        params.load_mode = 0  # LLAMA_LOAD_MODE_NONE
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot open {path}")
        cp = llama_cpp.llama_context_default_params()
        cp.n_ctx, cp.n_batch, cp.n_ubatch = context, chunk, chunk
        cp.n_threads = cp.n_threads_batch = threads
        self.ctx = llama_cpp.llama_init_from_model(self.model, cp)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.chunk = chunk

    def tokens(self, n):
        return (llama_cpp.llama_token * n)(*[random.randrange(self.n_vocab) for _ in range(n)])

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.ctx), True)

    def read(self, n):
        for start in range(0, n, self.chunk):
            now = min(self.chunk, n - start)
            ids = self.tokens(now)  # kept alive: the batch only points at it
            batch = llama_cpp.llama_batch_get_one(ids, now)
            if llama_cpp.llama_decode(self.ctx, batch) != 0:
                raise SystemExit("llama.cpp: decode failed")
        llama_cpp.llama_synchronize(self.ctx)

    def prefill(self, n):
        self.clear()
        start = time.perf_counter()
        self.read(n)
        return n / (time.perf_counter() - start)

    def decode(self, steps, depth):
        self.clear()
        if depth:
            self.read(depth)
        start = time.perf_counter()
        for _ in range(steps):
            self.read(1)
        return steps / (time.perf_counter() - start)


def fathom(args, prompt, steps):
    command = [args.fathom, "bench", args.model, "--json", "--runs", "1", "--threads", str(args.threads),
               "--prompt", str(prompt), "--steps", str(steps), "--depth", str(args.depth)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {t["name"]: t for t in json.loads(out)["tests"]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--fathom", default="build/fathom")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--steps", type=int, default=32)
    p.add_argument("--depth", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()

    random.seed(1)
    peer = Peer(args.model, args.threads, max(args.prompt, args.depth + args.steps) + 64, 512)
    info = llama_cpp.llama_print_system_info().decode()
    print("peer: llama-cpp-python", llama_cpp.__version__, "|", info.strip())
    peer.prefill(args.prompt)  # warm up
    ours = {"prefill": [], "decode": []}
    theirs = {"prefill": [], "decode": []}
    for r in range(args.rounds):
        for test in fathom(args, args.prompt, args.steps).values():
            ours["prefill" if test["name"].startswith("pp") else "decode"].append(test["tokens_per_s"])
        theirs["prefill"].append(peer.prefill(args.prompt))
        theirs["decode"].append(peer.decode(args.steps, args.depth))
        print(f"round {r + 1}: " + "  ".join(
            f"{k}: fathom {ours[k][-1]:.2f} llama.cpp {theirs[k][-1]:.2f}" for k in ours), flush=True)
    for k in ours:
        a, b = statistics.median(ours[k]), statistics.median(theirs[k])
        print(f"{k:8} fathom {a:9.2f} ({min(ours[k]):.2f}-{max(ours[k]):.2f})  "
              f"llama.cpp {b:9.2f} ({min(theirs[k]):.2f}-{max(theirs[k]):.2f})  ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
