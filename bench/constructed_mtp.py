#!/usr/bin/env python3
"""A V3-class checkpoint of 431 million parameters whose MTP layer guesses as well as asked, to see what its
guesses bring before there is a trained one.

    python3 bench/constructed_mtp.py FOLDER [--noise 0.3]     needs torch, safetensors
    cp tests/golden/chatmodel/tokenizer* FOLDER
    build/fathom convert FOLDER constructed.gguf --type q4_k_m
    python3 bench/speculation_speed.py constructed.gguf --how mtp --only new

All matrices are random but those that write to the residual stream, which are zero: attention and experts cost
what they always cost and change nothing, so the next token depends on the last one alone. The MTP layer joins
[1, noise] of (the last token's embedding, the model's output): without noise it says what the model will say.
"""
import argparse
import json
import pathlib

import needed  # a package that is missing is said in one line
import torch
from safetensors.torch import save_file

D, LAYERS, VOCAB, HEADS, EXPERTS, FF, DENSE = 768, 10, 8192, 8, 64, 256, 2048
Q, KV, NOPE, ROPE, V = 384, 256, 64, 32, 64
CONFIG = dict(
    architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", hidden_act="silu", rms_norm_eps=1e-6,
    vocab_size=VOCAB, hidden_size=D, intermediate_size=DENSE, moe_intermediate_size=FF, num_hidden_layers=LAYERS,
    num_attention_heads=HEADS, num_key_value_heads=HEADS, kv_lora_rank=KV, q_lora_rank=Q, qk_nope_head_dim=NOPE,
    qk_rope_head_dim=ROPE, v_head_dim=V, n_routed_experts=EXPERTS, n_shared_experts=1, num_experts_per_tok=6,
    first_k_dense_replace=1, n_group=1, topk_group=1, routed_scaling_factor=2.5, norm_topk_prob=True,
    scoring_func="sigmoid", topk_method="noaux_tc", max_position_embeddings=4096, rope_theta=10000.0,
    tie_word_embeddings=False, num_nextn_predict_layers=1)


def matrix(rows, cols, scale=1.0):
    return (torch.randn(rows, cols) * scale * cols ** -0.5).bfloat16()


def layer(out, i):
    p = f"model.layers.{i}."
    for name, n in (("input_layernorm", D), ("post_attention_layernorm", D), ("self_attn.q_a_layernorm", Q),
                    ("self_attn.kv_a_layernorm", KV)):
        out[f"{p}{name}.weight"] = torch.ones(n, dtype=torch.bfloat16)
    for name, rows, cols in (("q_a_proj", Q, D), ("q_b_proj", HEADS * (NOPE + ROPE), Q),
                             ("kv_a_proj_with_mqa", KV + ROPE, D), ("kv_b_proj", HEADS * (NOPE + V), KV),
                             ("o_proj", D, HEADS * V)):
        out[f"{p}self_attn.{name}.weight"] = matrix(rows, cols, name != "o_proj")
    blocks = [("mlp", DENSE)]
    if i > 0:
        blocks = [(f"mlp.experts.{e}", FF) for e in range(EXPERTS)] + [("mlp.shared_experts", FF)]
        out[p + "mlp.gate.weight"] = matrix(EXPERTS, D)
        out[p + "mlp.gate.e_score_correction_bias"] = torch.zeros(EXPERTS)
    for name, width in blocks:
        out[f"{p}{name}.gate_proj.weight"] = matrix(width, D)
        out[f"{p}{name}.up_proj.weight"] = matrix(width, D)
        out[f"{p}{name}.down_proj.weight"] = matrix(D, width, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--noise", type=float, default=0.3)
    options = parser.parse_args()
    torch.manual_seed(1)
    ones = torch.ones(D, dtype=torch.bfloat16)
    out = {"model.embed_tokens.weight": torch.randn(VOCAB, D).bfloat16(), "model.norm.weight": ones.clone(),
           "lm_head.weight": matrix(VOCAB, D, 4)}
    for i in range(LAYERS + 1):
        layer(out, i)
    p = f"model.layers.{LAYERS}."
    out[p + "eh_proj.weight"] = torch.cat([torch.eye(D).bfloat16(), matrix(D, D, options.noise)], 1)
    for name in ("enorm", "hnorm", "shared_head.norm"):
        out[f"{p}{name}.weight"] = ones.clone()
    out[p + "embed_tokens.weight"] = out["model.embed_tokens.weight"].clone()
    out[p + "shared_head.head.weight"] = out["lm_head.weight"].clone()
    options.folder.mkdir(parents=True, exist_ok=True)
    save_file(out, options.folder / "model.safetensors")
    (options.folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    print(f"{sum(t.numel() for t in out.values()) / 1e6:.0f} million parameters in {options.folder}")


if __name__ == "__main__":
    main()
