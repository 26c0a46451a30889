#!/usr/bin/env python3
"""What guessing ahead brings: the same prompts with and without, in turn, in one run.

    python3 bench/speculation_speed.py smollm2 [--fathom build/fathom] [--rounds 5] [--tokens 256]
        [--how auto] [--deterministic] [--only copied]

Three kinds of text: copied (everything was there before), edited (most was), and new. Prints medians of tokens
per second with their spread, the ratio of medians, and how many tokens were guessed and right. The tokens must
be the same: exits 1 when they are not.
"""
import argparse
import json
import statistics
import subprocess

POEM = """The apples in the orchard fall; the wind comes down the hill.
The ladder leans against the wall; the evening has grown still.
A lantern moves from tree to tree; the baskets stand in rows.
And what the summer meant to be, by now the orchard knows."""

CODE = """def area(shape):
    if shape.kind == "circle":
        return 3.14159 * shape.radius * shape.radius
    if shape.kind == "square":
        return shape.side * shape.side
    if shape.kind == "rectangle":
        return shape.width * shape.height
    raise ValueError("unknown kind " + shape.kind)
"""

GREEDY = ["--temperature", "0", "--repeat-penalty", "1", "--allow-loops"]
TEXTS = {
    "copied": (["--raw", "--prompt", f"{POEM}\n\nThe poem once more:\n\n{POEM}\n\nThe poem once more:\n\n"], GREEDY),
    "edited": (["--prompt", f"Write this code again, with the name shape changed to s:\n\n{CODE}"], GREEDY),
    "new": (["--prompt", "Tell me about a walk through a town in winter, as it might stand in a novel."],
            ["--temperature", "0.8", "--seed", "7"]),
}


def once(options, prompt, sampling, how):
    command = [options.fathom, "run", options.model, "--json", "--max-tokens", str(options.tokens),
               "--speculate", how, *prompt, *sampling]
    if options.deterministic:
        command.append("--deterministic")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return json.loads(done.stdout)


def spread(speeds):
    return f"{statistics.median(speeds):7.1f} ({min(speeds):.1f} to {max(speeds):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--fathom", default="build/fathom")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--how", default="auto", choices=["auto", "lookup", "mtp"])
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--only", choices=TEXTS)
    options = parser.parse_args()
    different = False
    for name, (prompt, sampling) in TEXTS.items():
        if options.only not in (None, name):
            continue
        speeds = {"off": [], options.how: []}
        last = {}
        for _ in range(options.rounds):
            for how, list_of in speeds.items():
                last[how] = once(options, prompt, sampling, how)
                list_of.append(last[how]["decode_tps"])
        plain, guessed = last["off"], last[options.how]
        different |= plain["tokens"] != guessed["tokens"]
        ratio = statistics.median(speeds[options.how]) / statistics.median(speeds["off"])
        print(f"{name:7s} {guessed['completion_tokens']:4d} tokens: off {spread(speeds['off'])}/s, "
              f"{options.how} {spread(speeds[options.how])}/s, {ratio:.2f} times; guessed "
              f"{guessed['drafted_tokens']}, right {guessed['accepted_tokens']}"
              f"{'' if plain['tokens'] == guessed['tokens'] else '; TOKENS DIFFER'}", flush=True)
    raise SystemExit(different)


if __name__ == "__main__":
    main()
