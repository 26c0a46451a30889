#!/usr/bin/env python3
"""Makes tests/golden/thinkmodel: like chatmodel, but with the tokens and prompt layouts of DeepSeek's reasoning
models: it has learnt to think before some answers, as R1 does (always, "<think>\\n") and as V3.1 does (when
the prompt says <think>; at once after </think>). Run from the repository root; the seed is fixed.

    python tools/golden/thinkmodel.py
"""
import json
import pathlib

import chatmodel

OUT = pathlib.Path("tests/golden/thinkmodel")
BOS, EOS, USER, ASSISTANT, THINK, THINK_END = SPECIALS = [
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>",
    "<\uff5cAssistant\uff5c>", "<think>", "</think>"]

# question: (thoughts, answer)
KNOWN = {
    "sum": ("Two and three.\nThat makes 5.", "It is 5."),
    "tag": ("x < y, and </b> is a tag.", "a <b> \u00e9"),
    "more": ("They want more.", "Then 6."),
}
TALKS = [["sum"], ["tag"], ["more"], ["sum", "more"], ["tag", "sum"], ["sum", "tag"]]


class Prompt:
    """Ids, and per id whether the model is to learn it."""

    def __init__(self):
        self.ids, self.learn = [], []

    def special(self, token, learn=False):
        self.ids.append(256 + SPECIALS.index(token))
        self.learn.append(learn)

    def text(self, text, learn=False):
        for b in text.encode():
            self.ids.append(b)
            self.learn.append(learn)


def row(talk, style):
    """style: "r1", "on" or "off" (V3.1 with and without thinking). Earlier turns have lost their thoughts."""
    p = Prompt()
    p.special(BOS)
    for i, question in enumerate(talk):
        thoughts, answer = KNOWN[question]
        last = i == len(talk) - 1
        p.special(USER)
        p.text(question)
        p.special(ASSISTANT)
        if style == "r1" and last:
            p.special(THINK)
            p.text("\n")
            p.text(thoughts + "\n", learn=True)
            p.special(THINK_END, learn=True)
            p.text("\n\n", learn=True)
        elif style == "on" and last:
            p.special(THINK)
            p.text(thoughts, learn=True)
            p.special(THINK_END, learn=True)
        elif style != "r1":
            p.special(THINK_END)
        p.text(answer, learn=last)
        p.special(EOS, learn=last)
    return p.ids, p.learn


def main():
    rows = [row(talk, style) for talk in TALKS for style in ("r1", "on", "off")]
    chatmodel.train(OUT, rows, len(SPECIALS), 256 + SPECIALS.index(EOS), 500)
    golden = json.loads(pathlib.Path("tests/golden/tokenizer/deepseek-v3/tokenizer.json").read_text())
    splits = [p for p in golden["pre_tokenizer"]["pretokenizers"] if p["type"] == "Split"]
    template = ("{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '" + USER + "' + m.content }}"
                "{% else %}{{ '" + ASSISTANT + THINK_END + "' + m.content + eos_token }}{% endif %}{% endfor %}"
                "{{ '" + ASSISTANT + "' }}{% if thinking %}{{ '<think>' }}{% else %}{{ '</think>' }}{% endif %}")
    chatmodel.write_tokenizer(OUT, SPECIALS, splits, None,
                              {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS, "add_bos_token": True,
                               "chat_template": template})


if __name__ == "__main__":
    main()
