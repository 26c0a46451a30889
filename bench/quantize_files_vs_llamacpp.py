#!/usr/bin/env python3
"""GGUF files that `fathom quantize` writes beside those llama.cpp writes from the same file: does
llama.cpp open ours, do the tensors have the same types, and how do the two perplexities compare there.

    python3 bench/quantize_files_vs_llamacpp.py MODEL.gguf TEXT [TYPE…]

needs: pip install llama-cpp-python gguf numpy; build/fathom. MODEL may be of any type; it is brought to
f32 first. Prints one markdown row per type; exits 1 when a type differs, or when our perplexity is more
than 1% above llama.cpp's."""
import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

import needed  # a package that is missing is said in one line
import gguf
import llama_cpp
import numpy as np

FTYPES = {
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "q6_k": llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    "q5_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M, "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "q4_k_s": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S, "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "q3_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M, "q2_k": llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K,
    "bf16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
}
CONTEXT, CHUNKS = 512, 6


def types(path):
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


def perplexity(path, text):
    llama = llama_cpp.Llama(path, n_ctx=CONTEXT, logits_all=True, verbose=False, n_threads=2, n_threads_batch=2)
    ids = llama.tokenize(text, add_bos=False)
    total, count = 0.0, 0
    for c in range(min(CHUNKS, len(ids) // CONTEXT)):
        chunk = ids[c * CONTEXT:(c + 1) * CONTEXT]
        llama.reset()
        llama.eval(chunk)
        logits = np.array(llama.scores[:CONTEXT - 1], np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        total -= logprobs[np.arange(CONTEXT - 1), chunk[1:]].sum()
        count += CONTEXT - 1
    llama.close()
    return float(np.exp(total / count))


def quantize_llamacpp(source, target, name):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = FTYPES[name]
    params.nthread = 2
    rc = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params))
    assert rc == 0, name


def fathom(*args):
    program = os.environ.get("FATHOM_BUILD", "build") + "/fathom"
    subprocess.run([program, *args], check=True, stdout=subprocess.DEVNULL)


def main():
    model, text_path = sys.argv[1:3]
    names = sys.argv[3:] or list(FTYPES)
    text = pathlib.Path(text_path).read_bytes()
    bad = []
    silent = llama_cpp.llama_log_callback(lambda *a: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p())
    with tempfile.TemporaryDirectory() as tmp:
        f32, ours, theirs = f"{tmp}/f32.gguf", f"{tmp}/ours.gguf", f"{tmp}/theirs.gguf"
        fathom("convert", model, f32, "--type", "f32")
        print(f"f32: perplexity {perplexity(f32, text):.4f}", flush=True)
        print("| type | MB ours | MB llama.cpp | other tensor types | perplexity ours | llama.cpp | ratio |")
        print("|---|---|---|---|---|---|---|")
        for name in names:
            fathom("quantize", f32, ours, name)
            quantize_llamacpp(f32, theirs, name)
            a, b = types(ours), types(theirs)
            other = sorted({f"{n.split('.')[-2]}: {a[n]} / {b[n]}" for n in b if a.get(n) != b[n]})
            pa, pb = perplexity(ours, text), perplexity(theirs, text)
            size = [pathlib.Path(p).stat().st_size / 1e6 for p in (ours, theirs)]
            print(f"| {name} | {size[0]:.1f} | {size[1]:.1f} | {'; '.join(other) or 'none'} | {pa:.4f} |"
                  f" {pb:.4f} | {pa / pb:.4f} |", flush=True)
            if set(a) != set(b) or pa > 1.01 * pb:
                bad.append(name)
    if bad:
        sys.exit("not as good as it must be: " + ", ".join(bad))


main()
