#!/usr/bin/env python3
"""The tiny checkpoints of tests/golden/model, converted by `fathom convert`, opened in llama.cpp: are the
logits there those that transformers computed?

    python3 bench/gguf_opens_in_llamacpp.py [CLASS…]

needs: pip install llama-cpp-python numpy; build/fathom. Exits 1 when one differs by more than 2% of its
row's largest logit (llama.cpp keeps keys and values as f16)."""
import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

import needed  # a package that is missing is said in one line
import llama_cpp
import numpy as np

FATHOM = os.environ.get("FATHOM_BUILD", "build") + "/fathom"
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "tests/golden/model"
CLASSES = ["llama3", "llama-tied", "llama-b", "llama-c", "llama-d", "qwen2", "qwen2-b", "qwen2-c", "qwen2-d",
           "qwen2-yarn", "v2-lite", "v2-groups", "v3", "v3-b", "v3-d", "v3-fp8", "v3-fp8-b", "v3-mtp", "v3-tied"]
# What llama.cpp itself does otherwise: shown, not counted.
KNOWN = {
    "v2-lite": "llama.cpp knows models without q_lora_rank by their 27 layers; this one has fewer",
    "v3-tied": "llama.cpp knows models without q_lora_rank by their 27 layers; this one has fewer",
    "v3-d": "llama.cpp wants the tensors of shared experts; this one has none",
    "v2-groups": "llama.cpp scores expert groups by their best two, as V3 does; V2 takes the best one",
}


def golden(name):
    data = (GOLDEN / name / "expected.bin").read_bytes()
    n, layers, hidden, vocab = np.frombuffer(data, np.int32, 4)
    tokens = np.frombuffer(data, np.int32, n, 16)
    logits = np.frombuffer(data, np.float32, n * vocab, 16 + 4 * n + 4 * (layers + 1) * n * hidden)
    return tokens, logits.reshape(n, vocab)


def logits(path, tokens, vocab):
    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        return None
    cp = llama_cpp.llama_context_default_params()
    cp.n_ctx, cp.n_batch, cp.n_threads, cp.n_threads_batch = 256, 256, 1, 1
    ctx = llama_cpp.llama_init_from_model(model, cp)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, t in enumerate(tokens):
        batch.token[i], batch.pos[i] = int(t), i
        batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
    assert llama_cpp.llama_decode(ctx, batch) == 0
    out = np.stack([np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(ctx, i), (vocab,)).copy()
                    for i in range(len(tokens))])
    llama_cpp.llama_free(ctx)
    llama_cpp.llama_model_free(model)
    return out


def main():
    lines = []
    log = llama_cpp.llama_log_callback(lambda level, text, user: lines.append(text.decode()))
    llama_cpp.llama_log_set(log, ctypes.c_void_p())
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        for name in sys.argv[1:] or CLASSES:
            out = f"{tmp}/{name}.gguf"
            subprocess.run([FATHOM, "convert", str(GOLDEN / name), out, "--type", "f32"],
                           check=True, stdout=subprocess.DEVNULL)
            tokens, want = golden(name)
            lines.clear()
            got = logits(out, tokens, want.shape[1])
            d = np.inf
            if got is None:
                print(f"{name}: not opened: {''.join(lines[-3:]).strip()}")
            else:
                d = float((np.abs(got - want).max(1) / np.abs(want).max(1)).max())
                print(f"{name}: logits differ by {d:.2e}", flush=True)
            if not d < 0.02 and name in KNOWN:
                print(f"    ({KNOWN[name]})", flush=True)
            elif not d < 0.02:
                bad.append(name)
    if bad:
        sys.exit("not equal: " + ", ".join(bad))


main()
