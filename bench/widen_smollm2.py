#!/usr/bin/env python3
"""SmolLM2-135M made 768 wide, exactly the same function, so that every block type fits its rows (576 is no
multiple of 256, and most matrices of a k-quant file would be of another type).

    python3 bench/widen_smollm2.py FOLDER OUT [--fp8]

FOLDER: the model as a Hugging Face folder (fathom convert smollm2.gguf FOLDER --type f32). Hidden states get 192
zeros: the embedding's new columns, the new rows of what is added to the stream, and the new columns of what reads
it are zero; RMSNorm's mean runs over 768 values instead of 576, which its weights (times sqrt(3/4)) and epsilon
(times 3/4) undo. Three more query heads and one key/value head of zeros give zeros. --fp8 writes the matrices as
F8_E4M3 with one scale per 128x128 block, as DeepSeek V3's files have them. Needs torch and safetensors."""
import json
import math
import pathlib
import shutil
import sys

import needed  # a package that is missing is said in one line
import torch
from safetensors.torch import load_file, save_file

WIDE, HEADS, KV = 768, 12, 4


def fp8(w):
    """e4m3 values and the scales they are to be multiplied with, per block of 128 x 128."""
    rows, cols = -(-w.shape[0] // 128), -(-w.shape[1] // 128)
    padded = torch.zeros(rows * 128, cols * 128)
    padded[:w.shape[0], :w.shape[1]] = w
    blocks = padded.view(rows, 128, cols, 128)
    scale = blocks.abs().amax(dim=(1, 3)).clamp(min=1e-12) / 448
    q = (blocks / scale[:, None, :, None]).reshape(rows * 128, cols * 128)
    return q[:w.shape[0], :w.shape[1]].to(torch.float8_e4m3fn).contiguous(), scale


def main():
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    narrow = {k: v.float() for f in sorted(source.glob("*.safetensors")) for k, v in load_file(f).items()}
    config = json.loads((source / "config.json").read_text())
    width, dim = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
    gain = math.sqrt(width / WIDE)
    inner = {"q_proj": HEADS * dim, "k_proj": KV * dim, "v_proj": KV * dim}
    wide = {}
    for name, t in narrow.items():
        kind = name.split(".")[-2]
        if t.dim() == 1:
            out = torch.zeros(WIDE)
            out[:width] = t * gain
        else:
            rows = WIDE if kind in ("o_proj", "down_proj") else inner.get(kind, t.shape[0])
            cols = HEADS * dim if kind == "o_proj" else t.shape[1] if kind == "down_proj" else WIDE
            out = torch.zeros(rows, cols)
            out[:t.shape[0], :t.shape[1]] = t
        if "--fp8" in sys.argv and kind.endswith("_proj"):
            wide[name], wide[name + "_scale_inv"] = fp8(out)
        else:
            wide[name] = out
    config |= {"hidden_size": WIDE, "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": dim,
               "rms_norm_eps": config["rms_norm_eps"] * width / WIDE, "torch_dtype": "float32"}
    if "--fp8" in sys.argv:
        config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                         "weight_block_size": [128, 128]}
    target.mkdir()
    for f in source.iterdir():
        if f.suffix != ".safetensors" and not f.name.endswith(".index.json"):
            shutil.copy(f, target)
    (target / "config.json").write_text(json.dumps(config, indent=1))
    save_file(wide, target / "model.safetensors", metadata={"format": "pt"})


main()
