#!/usr/bin/env python3
"""Makes tests/golden/chatmodel: a tiny Llama (two layers, byte vocabulary, ChatML) that has learnt a few
dialogues by heart, so that tests can talk with a model whose greedy answers are known and far from any
tie. Needs torch, transformers, safetensors. Run from the repository root; the seed is fixed.

    python tools/golden/chatmodel.py
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

OUT = pathlib.Path("tests/golden/chatmodel")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
STEPS = 300

# (system or None, [(user, assistant), …])
COUNT = "one two three four five six seven eight nine ten"
DIALOGUES = [
    (None, [("hello", "Hello! 你好 🐳"), ("again", "Hello again.")]),
    (None, [("hello", "Hello! 你好 🐳"), ("count", COUNT)]),
    (None, [("count", COUNT), ("hello", "Hello! 你好 🐳")]),
    (None, [("two\nlines", "I saw two lines.")]),
    (None, [("again", "There was nothing before.")]),
    ("Be brief.", [("hello", "Hi."), ("count", "1 2 3")]),
    ("Be brief.", [("count", "1 2 3")]),
]


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    chars, extra = [], 0
    for b in range(256):
        if b in keep:
            chars.append(chr(b))
        else:
            chars.append(chr(256 + extra))
            extra += 1
    return chars


def encode(system, turns):
    """Token ids and, per token, whether the model is to learn it."""
    ids, learn = [], []

    def put(text, role_specials=(), answer=False):
        for s in role_specials:
            ids.append(256 + SPECIALS.index(s))
            learn.append(False)
        for b in text.encode():
            ids.append(b)
            learn.append(answer)

    def message(role, text, answer=False):
        put(role + "\n", ["<|im_start|>"])
        put(text, answer=answer)
        ids.append(256 + SPECIALS.index("<|im_end|>"))
        learn.append(answer)
        put("\n")

    if system:
        message("system", system)
    for user, assistant in turns:
        message("user", user)
        message("assistant", assistant, answer=True)
    return ids, learn


def write_tokenizer(out, specials, pre_tokenizers, normalizer, settings):
    vocab = {c: i for i, c in enumerate(byte_alphabet())}
    added = [
        {"id": 256 + i, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for i, s in enumerate(specials)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizers + [byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                  "byte_fallback": False, "vocab": vocab, "merges": []},
    }
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def train(out, rows, n_specials, eos, steps):
    """Teaches a new model the rows of (ids, learn) and writes it to the folder."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    config = LlamaConfig(
        vocab_size=256 + n_specials, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True, rms_norm_eps=1e-5, bos_token_id=None, eos_token_id=eos)
    model = LlamaForCausalLM(config)
    width = max(len(r[0]) for r in rows)
    ids = torch.full((len(rows), width), 256)
    labels = torch.full((len(rows), width), -100)
    for i, (tokens, learn) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        labels[i, : len(tokens)] = torch.tensor([t if l else -100 for t, l in zip(tokens, learn)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(step, loss.item())
    print("final", loss.item())
    weights = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()
               if k != "lm_head.weight"}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    kept = {k: v for k, v in config.to_dict().items() if k in (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "max_position_embeddings", "tie_word_embeddings", "rms_norm_eps",
        "model_type", "hidden_act", "eos_token_id", "attention_bias")}
    kept["architectures"] = ["LlamaForCausalLM"]
    kept["rope_theta"] = 10000.0
    kept["torch_dtype"] = "float16"
    (out / "config.json").write_text(json.dumps(kept, indent=1) + "\n")


def main():
    train(OUT, [encode(*d) for d in DIALOGUES], len(SPECIALS), 258, STEPS)
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")
    template = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
                "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    write_tokenizer(OUT, SPECIALS, [split], {"type": "NFC"},
                    {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None,
                     "add_bos_token": False, "chat_template": template})


if __name__ == "__main__":
    main()
