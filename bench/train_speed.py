#!/usr/bin/env python3
"""How fast a model learns on the CPU: Fathom beside PyTorch and llm.c, in turn, so that all see the same machine.

    python3 bench/train_speed.py [--llmc ../llm.c] [--rounds 7] [--threads 2]

Three models: moe, recipes/fathom-nano.ini, a mixture of experts; dense, bench/train_dense.ini, with the same
arithmetic per token; gpt2, bench/train_gpt2.ini, with the batch of llm.c. Fathom: `fathom train RECIPE --speed`;
PyTorch: bench/train_pytorch.py, which says how it is written and what of it was fastest; llm.c: bench/train_llmc.sh.
Random tokens, random weights.

In a round each takes one step (forward and backward of a micro batch) and one update, one program after the other.
Printed are medians over rounds, the least and the most, and the medians over rounds of how many times the speed of
its peer Fathom has. Whole steps are as many micro batches as the recipe has, and an update.

--hush CMD: `CMD on` goes before each turn and `CMD off` after it, for a machine that others use, too.
--only moe,dense,gpt2: some of the three. --json FILE: all numbers. Needs build/fathom, torch; gcc and llm.c for --llmc."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
RECIPES = {"moe": os.path.join(ROOT, "recipes/fathom-nano.ini"), "dense": os.path.join(BENCH, "train_dense.ini"),
           "gpt2": os.path.join(BENCH, "train_gpt2.ini")}


class Fathom:
    """A new process each turn; it does not count its own first step."""
    def __init__(self, a, model):
        self.name, self.model = "Fathom", model
        self.command = [a.fathom, "train", RECIPES[model], "--speed", "1", "--json", "--threads", str(a.threads)]

    def turn(self):
        return json.loads(subprocess.run(self.command, check=True, stdout=subprocess.PIPE).stdout)

    def close(self):
        pass


class Peer:
    """One process for all turns: one line of JSON for every line it reads."""
    def __init__(self, a, name, model, command, says_ready):
        self.name, self.model = name, model
        env = {**os.environ, "OMP_NUM_THREADS": str(a.threads)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        if says_ready:
            self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ({self.model}) ended")
        return json.loads(line)

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def peer(a, model):
    if model == "gpt2":
        p = Peer(a, "llm.c", model, [os.path.join(BENCH, "train_llmc.sh"), a.llmc, "on-demand"], False)
        p.turn()
        return p
    return Peer(a, "PyTorch", model, [sys.executable, os.path.join(BENCH, "train_pytorch.py"), RECIPES[model],
                                      "--on-demand", "--update", "--steps", "1", "--threads", str(a.threads)], True)


def programs(a):
    models = [m for m in a.only.split(",") if m != "gpt2" or a.llmc]
    return [p for m in models for p in ([Fathom(a, m)] if a.alone else [Fathom(a, m), peer(a, m)])]


def measure(a, all_programs):
    """{(model, name): [a dictionary for each round]}"""
    out = {(p.model, p.name): [] for p in all_programs}
    for _ in range(a.rounds):
        for p in all_programs:
            if a.hush:
                subprocess.run([a.hush, "on"], check=True)
            try:
                out[p.model, p.name].append(p.turn())
            finally:
                if a.hush:
                    subprocess.run([a.hush, "off"], check=True)
        time.sleep(a.pause)
    return out


def ratio(ours, theirs, key):
    return statistics.median(x[key] / y[key] for x, y in zip(ours, theirs))


def table(results):
    print("| model | program | tokens/s | least, most | GFLOP/s | of peak | update, s | whole steps, tokens/s | Fathom is |")
    print("|---|---|---|---|---|---|---|---|---|")
    peak = statistics.median(x["peak_flops_per_s"] for r in results.values() for x in r if "peak_flops_per_s" in x)
    for (model, name), rounds in results.items():
        rates = [x["tokens_per_s"] for x in rounds]
        middle = {k: statistics.median(x[k] for x in rounds) for k in rounds[0] if k != "loss"}
        row = [model, name, f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}, {max(rates):,.0f}",
               f"{middle['flops_per_s'] * 1e-9:,.0f}", f"{middle['flops_per_s'] / peak:.1%}",
               f"{middle['update_s']:.2f}", f"{middle['whole_tokens_per_s']:,.0f}"]
        ours = results[model, "Fathom"]
        row.append("" if name == "Fathom" else f"{ratio(ours, rounds, 'tokens_per_s'):.2f}x; whole steps "
                                               f"{ratio(ours, rounds, 'whole_tokens_per_s'):.2f}x")
        print("| " + " | ".join(row) + " |")
    print(f"\npeak of this machine's best instruction, taken in between: {peak * 1e-12:.2f} TFLOP/s")
    if ("moe", "Fathom") in results and ("gpt2", "llm.c") in results:
        r = ratio(results["moe", "Fathom"], results["gpt2", "llm.c"], "flops_per_s")
        print(f"Fathom's mixture has {r:.1f} times the useful FLOP/s of llm.c")
    for name in ("Fathom", "PyTorch"):
        if ("moe", name) in results and ("dense", name) in results:
            r = ratio(results["dense", name], results["moe", name], "tokens_per_s")
            print(f"{name}: a token of the mixture takes {r:.2f} times the seconds of one of the dense model")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--fathom", default=os.path.join(ROOT, "build/fathom"))
    p.add_argument("--llmc", metavar="DIR")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--only", default="moe,dense,gpt2")
    p.add_argument("--alone", action="store_true", help="Fathom without its peers")
    p.add_argument("--hush", metavar="CMD")
    p.add_argument("--pause", type=float, default=0, metavar="SECONDS", help="between rounds")
    p.add_argument("--json", metavar="FILE")
    a = p.parse_args()
    all_programs = programs(a)
    results = measure(a, all_programs)
    for one in all_programs:
        one.close()
    table(results)
    if a.json:
        with open(a.json, "w") as f:
            json.dump({f"{m} {n}": r for (m, n), r in results.items()}, f, indent=1)


if __name__ == "__main__":
    main()
