#!/usr/bin/env python3
"""What fewer bits in activations or weights would do to a model's predictions, before a kernel is written for them.

    python3 bench/activation_bits.py model.gguf TEXT … [--tokens 4096]

The file's weights as float32 in PyTorch (transformers; windows of 512 tokens of each text), against the same with
inputs (x) or weights (w) of its linear layers, the head apart, rounded: to bfloat16, or to whole numbers up to 127
with one scale per that many values of a row. Prints the change of the perplexity with the standard error of the paired
difference, and the mean KL divergence.

needs: pip install torch transformers accelerate gguf. Run by hand, never by CI."""
import argparse
import os
import pathlib

os.environ.setdefault("TQDM_DISABLE", "1")

import needed  # a package that is missing is said in one line
import torch
import transformers

WINDOW = 512
ROWS = [  # name, what is done to x, to w, which layers
    ("x bf16, w bf16", "bf16", "bf16", ""),
    ("x 8 bits per 256", 256, None, ""), ("x 8 bits per 32", 32, None, ""),
    ("w 8 bits per 256", None, 256, ""), ("x per 128, w per 256", 128, 256, ""),
    ("x per 256: queries, keys, values", 256, None, "q_proj k_proj v_proj"),
    ("x per 256: attention's output", 256, None, "o_proj"),
    ("x per 256: gate, up", 256, None, "gate_proj up_proj"),
]


def rounded(v, how):
    if how == "bf16":
        return v.bfloat16().float()
    n = v.shape[-1]
    blocks = torch.nn.functional.pad(v, (0, -n % how)).view(*v.shape[:-1], -1, how)
    scale = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    return ((blocks / scale).round() * scale).reshape(*v.shape[:-1], -1)[..., :n]


def predictions(model, windows, x, w, names):
    undo = []
    for name, layer in model.named_modules():
        chosen = not names or any(part in name for part in names.split())
        if not isinstance(layer, torch.nn.Linear) or "lm_head" in name or not chosen:
            continue
        if w:
            undo.append(lambda layer=layer, old=layer.weight.data: setattr(layer.weight, "data", old))
            layer.weight.data = rounded(layer.weight.data, w)
        if x:
            undo.append(layer.register_forward_pre_hook(lambda _, given: (rounded(given[0], x),)).remove)
    with torch.no_grad():
        out = [torch.log_softmax(model(windows[i:i + 1]).logits[0], -1) for i in range(len(windows))]
    for step in undo:
        step()
    return torch.stack(out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("text", nargs="+", type=pathlib.Path)
    p.add_argument("--tokens", type=int, default=4096, help="of each text, whole windows")
    args = p.parse_args()
    where = {"pretrained_model_name_or_path": args.model.parent, "gguf_file": args.model.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    ids = [tokenizer(t.read_text())["input_ids"][:args.tokens] for t in args.text]
    windows = torch.cat([torch.tensor(i[:len(i) // WINDOW * WINDOW]).view(-1, WINDOW) for i in ids])
    base = predictions(model, windows, None, None, "")

    def cost(lp):
        return -lp[:, :-1].gather(-1, windows[:, 1:, None]).squeeze(-1)

    print(f"float32: perplexity {cost(base).mean().exp():.4f} over {cost(base).numel()} tokens")
    for name, x, w, names in ROWS:
        lp = predictions(model, windows, x, w, names)
        d = cost(lp) - cost(base)
        kl = (base.exp() * (base - lp)).sum(-1).mean()
        print(f"{name:34} {100 * d.mean().expm1():+.3f}% +- {100 * d.std() / d.numel() ** 0.5:.3f}  KL {kl:.6f}",
              flush=True)


if __name__ == "__main__":
    main()
