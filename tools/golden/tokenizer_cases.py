#!/usr/bin/env python3
"""Trains one small byte-level BPE for each pre-tokenizer with the `tokenizers` library and writes
tests/golden/tokenizer/NAME/tokenizer.json, its tokenizer_config.json and cases.bin: hard strings with
the ids the library gives them. test_tokenizer_golden.c reads them.

With a folder that holds a full tokenizer.json it writes cases for that one instead, over many more
strings, among them every code point in several contexts:
    tokenizer_cases.py --full DIR CASES && FATHOM_TOKENIZER_DIR=DIR FATHOM_TOKENIZER_CASES=CASES \
        build/tests/text/test_tokenizer_golden

With the folder of tools/get_vocabularies.sh it writes the hard strings' ids under the full DeepSeek
vocabularies, tests/golden/tokenizer/full/NAME.bin:
    tokenizer_cases.py --hard build/vocabularies

cases.bin, little-endian: "FTC1", u32 cases, u32 bytes of an id (2 or 4), then for each case u32 length,
the text, u8 whether added tokens are matched, u32 number of ids, the ids."""
import json
import os
import random
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import hardstrings

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "..", "tests", "golden", "tokenizer")

LETTERS = ""
for part in """41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386
388-38A 38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF
1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D
1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107
210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184
2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF
FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2
118A0-118DF 1E900-1E943""".split():
    LETTERS += "-".join(chr(int(x, 16)) for x in part.split("-"))
ASIAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def splits(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


DIGITS = pre_tokenizers.Digits(individual_digits=True)
V3 = splits(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" "\r\n" r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[" "\r\n" r"]*|\s*[" "\r\n" r"]+|\s+(?!\S)|\s+") + [BYTES]
KINDS = {
    "deepseek-llm": splits("[\r\n]", r"\s?[" + LETTERS + "]+",
                           r"\s?[!-/:-~" + "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
                           r"\s+$", ASIAN) + [DIGITS, BYTES],
    "deepseek-coder": splits("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", ASIAN) + [DIGITS, BYTES],
    "deepseek-v3": V3,
    "qwen2": splits(WORDS % "") + [BYTES],
    "llama-bpe": splits(WORDS % "{1,3}") + [BYTES],
    "smollm": [DIGITS, GPT2],
    "gpt-2": [GPT2],
}

DEEPSEEK = ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<\uff5c\u2581pad\u2581\uff5c>",
            "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<think>", "</think>"]
LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# name: (added tokens, how many of them are special, bos, eos)
ADDED = {
    "deepseek-llm": (DEEPSEEK[:2], 2, 0, 1),
    "deepseek-coder": (DEEPSEEK[:3], 3, 0, 1),
    "deepseek-v3": (DEEPSEEK, 3, 0, 1),
    "qwen2": (CHATML + ["<|im_", "<|im_start|>x"], 3, None, 2),
    "llama-bpe": (LLAMA, 5, 0, 4),
    "smollm": (CHATML, 3, 1, 2),
    "gpt-2": (CHATML[:1], 1, 0, 0),
}


def training_text():
    """Made-up prose in several scripts and code: enough repeats to learn merges from."""
    rng = random.Random(7)
    heads = "re con pro un dis in ex sub trans over".split()
    stems = "form act port struct press mit sist vert fer duct model token train deep seek think".split()
    tails = ["", "s", "ed", "ing", "ion", "er", "able", "'s", "'t", "ly"]
    other = ("\u0442\u043e \u0447\u0442\u043e \u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u043a\u0430\u043a caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u03bb\u03cc\u03b3\u03bf\u03c2 \u03ba\u03b1\u03b9 \uc548\ub155 \ud55c\uad6d\uc5b4 \u0645\u0631\u062d\u0628\u0627 "
             "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \U0001f600 \U0001f44d\U0001f3fd").split()
    han = "\u6211\u4eec\u4f60\u597d\u4e16\u754c\u6a21\u578b\u6df1\u5ea6\u6c42\u7d22\u4e2d\u6587\u662f\u7684\u4e86\u5728\u6709\u548c\u4eba\u8fd9"
    kana = "\u3053\u3093\u306b\u3061\u306f\u306e\u3092\u306b\u304c\u30ab\u30bf\u30ca\u30fc"
    code = ["    return x;\n", "for (int i = 0; i < n; i++) {\n", "}\n\n", "def f(self, x):\n", "\tif a == b:\n",
            "#include <stdio.h>\r\n", "();\n", "__init__", " = [1, 2, 3]\n", "// ---- \n", "        "]
    for _ in range(4000):
        words = []
        for _ in range(rng.randint(3, 14)):
            k = rng.random()
            if k < 0.6:
                words.append(rng.choice(heads) * (rng.random() < 0.6) + rng.choice(stems) + rng.choice(tails))
            elif k < 0.7:
                words.append(rng.choice(other))
            elif k < 0.78:
                words.append("".join(rng.choice(han) for _ in range(rng.randint(1, 6))) + rng.choice(["", "\u3002", "\uff0c"]))
            elif k < 0.83:
                words.append("".join(rng.choice(kana) for _ in range(rng.randint(1, 5))))
            elif k < 0.9:
                words.append(str(rng.randint(0, 10 ** rng.randint(1, 7))))
            else:
                words.append(rng.choice(code))
        yield rng.choice([" ", "  ", " "]).join(words) + rng.choice([".", "!\n", "...\n\n", "?", "\n", ";\r\n", ""])


def write_cases(path, tokenizer, strings, added):
    rng = random.Random(3)
    # Surrounded, doubled and cut short: what decides about matching added tokens.
    strings = list(strings) + [f"{s}x{t} {s[:-1]}{t}{t}\n" for s in added for t in added[:3]]
    narrow = tokenizer.get_vocab_size() < 65536
    # encode() always matches added tokens, so cases without matching are texts that hold none.
    cases = []
    for s in strings:
        ids = tokenizer.encode(s, add_special_tokens=False).ids
        cases.append((s, 1, ids))
        if not any(a in s for a in added) and rng.random() < 0.2:
            cases.append((s, 0, ids))
    with open(path, "wb") as f:
        f.write(b"FTC1" + struct.pack("<II", len(cases), 2 if narrow else 4))
        for s, special, ids in cases:
            b = s.encode()
            f.write(struct.pack("<I", len(b)) + b + struct.pack("<BI", special, len(ids)))
            f.write(struct.pack("<%d%s" % (len(ids), "H" if narrow else "I"), *ids))
    return len(cases)


def small(name):
    added, n_special, bos, eos = ADDED[name]
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(KINDS[name]) if len(KINDS[name]) > 1 else KINDS[name][0]
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2500, special_tokens=[AddedToken(a, special=True, normalized=False) for a in added[:n_special]],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(training_text(), trainer)
    tokenizer.add_tokens([AddedToken(a, special=False, normalized=False) for a in added[n_special:]])
    folder = os.path.join(OUT, name)
    os.makedirs(folder, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    if name != "llama-bpe":  # merges stay pairs in this one and are "left right" in the others
        data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        json.dump(data, f, ensure_ascii=False, separators=(",", ":"))
    config = {"add_bos_token": name in ("deepseek-llm", "deepseek-v3", "llama-bpe"), "bos_token": None if bos is None else added[bos],
              "eos_token": {"__type": "AddedToken", "content": added[eos]}}
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump(config, f, ensure_ascii=False)
    # Read back: what the file says is what counts.
    again = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    n = write_cases(os.path.join(folder, "cases.bin"), again, hardstrings.hard_strings(), added)
    print(name, again.get_vocab_size(), "tokens", n, "cases")


def open_full(folder):
    with open(os.path.join(folder, "tokenizer.json")) as f:
        added = [a["content"] for a in json.load(f)["added_tokens"]]
    return Tokenizer.from_file(os.path.join(folder, "tokenizer.json")), added


def hard(folder):
    os.makedirs(os.path.join(OUT, "full"), exist_ok=True)
    for name in sorted(os.listdir(folder)):
        tokenizer, added = open_full(os.path.join(folder, name))
        plain = [a for a in added if "holder" in a]
        added = [a for a in added if a not in plain[4:]][:60]  # hundreds are alike
        path = os.path.join(OUT, "full", name + ".bin")
        print(name, write_cases(path, tokenizer, hardstrings.hard_strings(), added), "cases")


def full(folder, path):
    tokenizer, added = open_full(folder)
    strings = hardstrings.hard_strings() + list(hardstrings.random_strings(100000, 2))
    strings += list(hardstrings.every_point()) + list(hardstrings.blocks(256))
    lines = list(training_text())
    strings += lines + ["\n".join(lines[i:i + 40]) for i in range(0, len(lines), 40)]
    print(write_cases(path, tokenizer, strings, added), "cases")


if len(sys.argv) == 4 and sys.argv[1] == "--full":
    full(sys.argv[2], sys.argv[3])
elif len(sys.argv) == 3 and sys.argv[1] == "--hard":
    hard(sys.argv[2])
else:
    for kind in KINDS:
        small(kind)
