#!/usr/bin/env python3
"""Writes src/text/unicodetable.c: the general categories L, M, N, P, S and the property White_Space of
every code point, as seen by the regex engine of the `tokenizers` package (0.23: Unicode 16.0). The
splits models were trained with come from that engine, so it is asked itself, one code point at a time.

Usage: unicode_classes.py > src/text/unicodetable.c
"""
from tokenizers import Regex, pre_tokenizers

CLASSES = [("LETTER", r"\p{L}"), ("MARK", r"\p{M}"), ("NUMBER", r"\p{N}"),
           ("PUNCT", r"\p{P}"), ("SYMBOL", r"\p{S}"), ("SPACE", r"\s")]
SEPARATOR = "\ue000"  # private use: in none of the classes
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    out = set()
    for i in range(0, len(POINTS), 20000):
        text = "".join(SEPARATOR + chr(c) for c in POINTS[i:i + 20000])
        for piece, _ in split.pre_tokenize_str(text):
            if len(piece) == 1 and piece != SEPARATOR:
                out.add(ord(piece))
    return out


def main():
    cls = [0] * 0x110000
    for k, (_, pattern) in enumerate(CLASSES):
        for c in members(pattern):
            assert cls[c] == 0, hex(c)
            cls[c] = k + 1
    runs = [(0, cls[0])]
    for c in range(1, 0x110000):
        if cls[c] != runs[-1][1]:
            runs.append((c, cls[c]))
    first = []  # page -> index of the run that holds the page's first code point
    k = 0
    for page in range(0x1100):
        while k + 1 < len(runs) and runs[k + 1][0] <= page << 8:
            k += 1
        first.append(k)
    first.append(len(runs) - 1)
    print("/* text/unicodetable.c: see unicodeclass.h. Unicode 16.0, written by")
    print(" * tools/golden/unicode_classes.py; not edited by hand. */")
    print('#include "text/unicodetable.h"\n')
    print("/* Runs of equal class: first code point << 3 | enum unicodeclass. */")
    print(f"const uint32_t unicodetable_runs[{len(runs)}] = {{")
    for i in range(0, len(runs), 9):
        print("    " + " ".join(f"0x{c << 3 | k:x}," for c, k in runs[i:i + 9]))
    print("};\n")
    print("/* By code point >> 8: the run that holds the first code point of the page. */")
    print(f"const uint16_t unicodetable_pages[{len(first)}] = {{")
    for i in range(0, len(first), 15):
        print("    " + " ".join(f"{k}," for k in first[i:i + 15]))
    print("};")
    print("\nconst uint8_t unicodetable_ascii[128] = {")
    for i in range(0, 128, 32):
        print("    " + " ".join(f"{k}," for k in cls[i:i + 32]))
    print("};")


main()
