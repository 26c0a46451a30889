#!/usr/bin/env python3
"""Writes tests/golden/chat/cases.json: conversations with the ids that a chat template rendered by jinja2
and the `tokenizers` library give, for the small vocabularies of tests/golden/tokenizer.

    chat_cases.py SMOLLM2.gguf DEEPSEEK_DIR

SMOLLM2.gguf brings its own template; DEEPSEEK_DIR holds a tokenizer_config.json of the V3 and R1 age with
theirs. The other templates are written here from the published layouts."""
import json
import os
import sys

import jinja2
from gguf import GGUFReader
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "..", "tests", "golden")

SYSTEMS = ("{%- set ns = namespace(s='', first=true) -%}{%- for m in messages if m.role == 'system' -%}"
           "{%- set ns.s = ns.s + ('' if ns.first else '\\n\\n') + m.content -%}{%- set ns.first = false -%}"
           "{%- endfor -%}{{ bos_token }}{{ ns.s }}")
V2 = ("{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + '\\n\\n' }}"
      "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}{% else %}"
      "{{ m.content + '\\n\\n' }}{% endif %}{% endfor %}{{ 'Assistant:' }}")
V31 = SYSTEMS + ("{%- for m in messages -%}{%- if m.role == 'user' -%}{{ '<\uff5cUser\uff5c>' + m.content }}"
                 "{%- elif m.role == 'assistant' -%}{%- set c = m.content -%}{%- if '</think>' in c -%}"
                 "{%- set c = c.split('</think>', 1)[1] -%}{%- endif -%}"
                 "{{ '<\uff5cAssistant\uff5c></think>' + c + eos_token }}{%- endif -%}{%- endfor -%}"
                 "{{ '<\uff5cAssistant\uff5c>' + ('<think>' if thinking else '</think>') }}")
CHATML = ("{% for m in messages %}{% if loop.first and default and m.role != 'system' %}"
          "{{ '<|im_start|>system\\n' + default + '<|im_end|>\\n' }}{% endif %}"
          "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}")
LLAMA3 = ("{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + "
          "(m.content | trim) + '<|eot_id|>' }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}")

U, A, S = "user", "assistant", "system"
TALKS = [
    [(U, "Hello")],
    [(S, "You are brief."), (U, "What is 12345 + 67?")],
    [(U, "Hi there"), (A, "Hello! How can I help?"), (U, "Write `main()` in C.\n\n  Thanks")],
    [(S, "A"), (U, "  leading and trailing  \n"), (A, " ok\n"), (U, "\n\n")],
    [(U, "\u4f60\u597d\uff0c\u4e16\u754c\u3002"), (A, "\u6211\u4eec"), (U, "\U0001f468\u200d\U0001f469\u200d\U0001f467 caf\u00e9 \u043c\u0438\u0440")],
    [(U, "a"), (A, "because x\n</think>\n\nb </think> c"), (U, "d")],
    [(S, "one"), (U, "q"), (A, "a"), (S, "two"), (U, "r")],
    [(U, ""), (A, ""), (U, "")],
    [(S, ""), (U, "x")],
    [(S, "only a system message")],
]


def render(template, talk, **extra):
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)  # as transformers does
    messages = [{"role": r, "content": c} for r, c in talk]
    return env.from_string(template).render(messages=messages, add_generation_prompt=True, **extra)


def main():
    reader = GGUFReader(sys.argv[1])
    smollm2 = reader.fields["tokenizer.chat_template"].contents()
    with open(os.path.join(sys.argv[2], "tokenizer_config.json")) as f:
        deepseek = json.load(f)["chat_template"]
    # R1's current template differs from this one in what the answer begins with.
    r1 = deepseek.replace("not ns.is_tool %}{{'<\uff5cAssistant\uff5c>'}}", "not ns.is_tool %}{{'<\uff5cAssistant\uff5c><think>\\n'}}")
    assert r1 != deepseek
    v3 = deepseek.replace("{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}", "")
    assert v3 != deepseek
    ds = {"bos_token": "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "eos_token": "<\uff5cend\u2581of\u2581sentence\uff5c>"}
    qwen = "You are a helpful assistant."
    rows = [
        ("deepseek-v2", "deepseek-llm", V2, False, ds),
        ("deepseek-v2.5", "deepseek-v3", v3, False, ds),
        ("deepseek-v3", "deepseek-v3", v3, False, ds),
        ("deepseek-r1", "deepseek-v3", r1, True, ds),
        ("deepseek-v3.1", "deepseek-v3", V31, True, dict(ds, thinking=True)),
        ("deepseek-v3.1", "deepseek-v3", V31, False, dict(ds, thinking=False)),
        ("smollm2", "smollm", smollm2, False, {}),
        ("chatml", "smollm", CHATML, False, {"default": ""}),
        ("qwen2", "qwen2", CHATML, False, {"default": qwen}),
        ("qwen2.5", "qwen2", CHATML, False, {"default": "You are Qwen, created by Alibaba Cloud. " + qwen}),
        ("llama3", "llama-bpe", LLAMA3, False, {"bos_token": "<|begin_of_text|>"}),
    ]
    cases = []
    for name, vocabulary, template, think, extra in rows:
        tokenizer = Tokenizer.from_file(os.path.join(GOLDEN, "tokenizer", vocabulary, "tokenizer.json"))
        for talk in TALKS:
            # A literal </think> becomes the token in the library and text in ours: only formats that cut
            # it off before are comparable.
            cut = "</think>" in "".join(c for _, c in talk)
            if cut and name != "deepseek-r1" and vocabulary == "deepseek-v3":
                continue
            text = render(template, talk, **extra)
            cases.append({"format": name, "vocabulary": vocabulary, "think": think, "messages": talk,
                          "text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    # V3.1 with a reasoning part that is cut at the first </think>.
    talk = [(U, "a"), (A, "because\n</think>\n\nb"), (U, "c")]
    tokenizer = Tokenizer.from_file(os.path.join(GOLDEN, "tokenizer", "deepseek-v3", "tokenizer.json"))
    text = render(V31, talk, **ds, thinking=True)
    cases.append({"format": "deepseek-v3.1", "vocabulary": "deepseek-v3", "think": True, "messages": talk,
                  "text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    folder = os.path.join(GOLDEN, "chat")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
    with open(os.path.join(folder, "smollm2.jinja"), "w") as f:
        f.write(smollm2)
    print(len(cases), "cases")


main()
