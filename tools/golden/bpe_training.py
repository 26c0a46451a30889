#!/usr/bin/env python3
"""What the `tokenizers` library learns from a small text: tests/golden/bpetraining/text.txt (made up, fixed
seed: words whose frequencies follow Zipf's law, digits, punctuation, accents, Chinese, an emoji) and
merges.txt, one merge a line in the library's spelling. test_bpetrainer.c reads both.

    tools/golden/bpe_training.py"""
import json
import os
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden")
OUT = os.path.join(GOLDEN, "bpetraining")
SPECIALS = ["<a>", "<b>", "<c>"]


def text():
    r = random.Random(20)
    syllables = [c + v + e for c in "b d f g h k l m n p r s t v w".split() for v in "aeiou" for e in ["", "n", "r", "s"]]
    words = ["".join(r.choices(syllables, k=r.choice([1, 1, 2, 2, 3]))) for _ in range(900)]
    words += ["café", "naïve", "Ångström", "你好", "世界", "don't", "it's", "3.14", "2026", "😀"]
    weights = [1 / (1 + i) for i in range(len(words))]
    lines = []
    for _ in range(220):
        line = r.choices(words, weights, k=r.randint(4, 24))
        line[0] = line[0].capitalize()
        if r.random() < 0.4:
            line.insert(r.randrange(len(line)), str(r.randint(0, 9999)))
        lines.append(" ".join(line) + r.choice([".", ".", "!", "?", " …", '."']))
        if r.random() < 0.2:
            lines.append("")
    return "\n".join(lines) + "\n"


def main():
    os.makedirs(OUT, exist_ok=True)
    sample = text()
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = Tokenizer.from_file(os.path.join(GOLDEN, "tokenizer", "deepseek-coder", "tokenizer.json")).pre_tokenizer
    t.train_from_iterator([sample], trainers.BpeTrainer(vocab_size=900, min_frequency=2, special_tokens=SPECIALS,
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                       show_progress=False))
    model = json.loads(t.to_str())["model"]
    with open(os.path.join(OUT, "text.txt"), "w", encoding="utf-8", newline="\n") as f:
        f.write(sample)
    with open(os.path.join(OUT, "merges.txt"), "w", encoding="utf-8", newline="\n") as f:
        for left, right in model["merges"]:
            f.write(f"{left} {right}\n")


main()
