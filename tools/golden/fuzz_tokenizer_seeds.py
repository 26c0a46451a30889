#!/usr/bin/env python3
"""Writes the first inputs of tests/fuzz/fuzz_tokenizer.c into tests/fuzz/seeds/tokenizer: small vocabularies
with the pre-tokenizers of tests/golden/tokenizer, each with a text."""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "tests")
OUT = os.path.join(ROOT, "fuzz", "seeds", "tokenizer")
TEXT = "Hi 12 don't\n\n  \u4f60\u597d\u3002 e\u0301 <|im_start|><\uff5cUser\uff5c><think> \U0001f600".encode() + b"\xff\xc3 end"

os.makedirs(OUT, exist_ok=True)
for name in sorted(os.listdir(os.path.join(ROOT, "golden", "tokenizer"))):
    with open(os.path.join(ROOT, "golden", "tokenizer", name, "tokenizer.json")) as f:
        t = json.load(f)
    letters = "abdehiknortu'12\u0120\u010a\u00e4\u00bd\u0142"
    vocab = {c: i for i, c in enumerate(letters)}
    merges = []
    for pair in ["H i", "i n", "t h", "th e", "d o", "\u0120 e", "e n", "en d", "1 2", "\u010a \u010a", "\u00e4 \u00bd"]:
        left, right = pair.split(" ")
        if left in vocab and right in vocab:
            vocab[left + right] = len(vocab)
            merges.append(pair.split(" ") if name == "llama-bpe" else pair)
    added = []
    for a in t["added_tokens"]:
        added.append({"id": len(vocab) + len(added), "content": a["content"], "special": a["special"]})
    small = {"normalizer": t["normalizer"], "pre_tokenizer": t["pre_tokenizer"], "added_tokens": added,
             "model": {"type": "BPE", "ignore_merges": name == "llama-bpe", "vocab": vocab, "merges": merges},
             "bos_token": added[0]["content"], "eos_token_id": [1]}
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(json.dumps(small, ensure_ascii=False, separators=(",", ":")).encode() + b"\0" + TEXT)
