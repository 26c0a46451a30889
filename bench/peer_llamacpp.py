#!/usr/bin/env python3
"""llama.cpp's side of `fathom bench --compare llama.cpp`, through the llama-cpp-python package; the program
carries this text and hands it to python3. By hand:

    python3 bench/peer_llamacpp.py MODEL.gguf THREADS CHUNK

Needs llama-cpp-python (pip install llama-cpp-python); LLAMA_CPP_LIB_PATH names a folder with another build of
llama.cpp's libraries. gcc 12 miscompiles llama.cpp's AMX tile set-up: build with clang.

Talks in lines of JSON. First it prints {"peer": …, "version": …, "system": …} or {"error": …}. Then for each line
    {"kind": "prefill", "tokens": 512}
    {"kind": "decode", "tokens": 32, "depth": 4096, "batch": 4}
it prepares that test (reads `depth` random tokens, runs once uncounted) and prints {"ready": true}; for each
{"kind": "once"} it runs the test and prints {"tokens_per_s": …}. Ends with its stdin. Tokens are
random; sampling is not timed; logits of the last token are made, as llama.cpp's own llama-bench does."""
import ctypes
import json
import os
import random
import sys
import time


def say(**message):
    print(json.dumps(message), flush=True)


def available_bytes():
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


class Peer:
    def __init__(self, lib, path, threads, chunk):
        self.lib, self.threads, self.chunk = lib, threads, chunk
        self.ctx = self.batch = None
        self.silent = lib.llama_log_callback(lambda level, text, user: None)
        lib.llama_log_set(self.silent, ctypes.c_void_p(0))
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        # A copy in memory instead of a mapping: most weights are repacked anyway, and it is faster so.
        if available_bytes() > 2 * os.path.getsize(path) + (1 << 30):
            if hasattr(params, "load_mode"):
                params.load_mode = 0  # LLAMA_LOAD_MODE_NONE
            else:
                params.use_mmap = False
        self.model = lib.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot open {path}")
        self.n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        random.seed(1)

    def memory_keep(self, n):
        """Forgets every sequence's positions from n on."""
        memory = self.lib.llama_get_memory(self.ctx)
        for s in range(self.n_seq):
            self.lib.llama_memory_seq_rm(memory, s, n, -1)

    def run(self, n_tokens, sequences, first):
        """One llama_decode of n_tokens per sequence, from position `first` on; the last token's logits."""
        b, i = self.batch, 0
        for s in sequences:
            for t in range(n_tokens):
                b.token[i] = random.randrange(self.n_vocab)
                b.pos[i] = first + t
                b.n_seq_id[i] = 1
                b.seq_id[i][0] = s
                b.logits[i] = t + 1 == n_tokens
                i += 1
        b.n_tokens = i
        start = time.perf_counter()  # filling the batch from Python is not the peer's time
        if self.lib.llama_decode(self.ctx, b) != 0:
            raise RuntimeError("llama_decode failed")
        self.lib.llama_synchronize(self.ctx)
        return time.perf_counter() - start

    def read(self, n, first):
        seconds = 0.0
        for done in range(0, n, self.chunk):
            seconds += self.run(min(self.chunk, n - done), [0], first + done)
        return seconds

    def prepare(self, kind, tokens, depth=0, batch=1):
        lib = self.lib
        if self.ctx:
            lib.llama_batch_free(self.batch)
            lib.llama_free(self.ctx)
        self.kind, self.tokens, self.depth, self.n_seq = kind, tokens, depth, batch
        cp = lib.llama_context_default_params()
        cp.n_ctx = (depth + tokens + 32) * batch
        cp.n_batch = cp.n_ubatch = max(self.chunk, batch)
        cp.n_seq_max = batch
        cp.n_threads = cp.n_threads_batch = self.threads
        self.ctx = lib.llama_init_from_model(self.model, cp)
        if not self.ctx:
            raise RuntimeError("llama.cpp makes no context of %d positions" % cp.n_ctx)
        self.batch = lib.llama_batch_init(max(self.chunk, batch), 0, 1)
        if depth:
            self.read(depth, 0)
            for s in range(1, batch):
                lib.llama_memory_seq_cp(lib.llama_get_memory(self.ctx), 0, s, -1, -1)
        self.once()

    def once(self):
        self.memory_keep(self.depth)
        if self.kind == "prefill":
            seconds = self.read(self.tokens, self.depth)
        else:
            seconds = sum(self.run(1, range(self.n_seq), self.depth + i) for i in range(self.tokens))
        return self.tokens * self.n_seq / seconds


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        import llama_cpp
        path, threads, chunk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        peer = Peer(llama_cpp, path, threads, chunk) if path else None  # "" asks only who is here
        system = llama_cpp.llama_print_system_info().decode().strip()
    except Exception as e:  # whatever it is, the other side has to be told
        say(error=f"{type(e).__name__}: {e}")
        return
    say(peer="llama-cpp-python", version=llama_cpp.__version__, system=system)
    for line in sys.stdin:
        try:
            order = json.loads(line)
            if order["kind"] == "once":
                say(tokens_per_s=peer.once())
            else:
                peer.prepare(**order)
                say(ready=True)
        except Exception as e:
            say(error=f"{type(e).__name__}: {e}")


main()
