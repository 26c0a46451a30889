#!/usr/bin/env python3
"""The table of bench/ladder.sh: bits per byte, FLOPs and seconds of each run, and how much more a dense baseline needs.

    python3 bench/ladder_table.py DIR      DIR/STEP-WIDTH-lrRATE-sSEED/{metrics.jsonl,done}

Runs that differ by seed alone are one row: their mean, and in brackets how far the seeds are apart. The baselines
are B0 and B1 at their best learning rate, one point per width. "B0 needs" is the compute that B0 takes to be as good
as the row over what the row took: points are joined by straight lines of bits per byte over the logarithm of FLOPs,
or of seconds; beyond the last point the last line goes on, and the number is marked with ~.
"""
import json
import math
import pathlib
import re
import sys

STEPS = ("b0", "tied", "b1", "muon", "skips", "mla", "bigram", "moe")


def read(folder):
    """The last validation of a finished run: {bits_per_byte, flops, seconds, tokens}; None, and said, without one."""
    log = folder / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    found = [r for r in map(json.loads, lines) if r["kind"] == "val"]
    if not found:
        print(f"ladder_table.py: {log} has no validation; its run is left out", file=sys.stderr)
    return found[-1] if found else None


def rows(top):
    """[{step, width, rate, bpb, spread, flops, seconds, tokens, seeds}], seeds together."""
    found = {}
    for done in sorted(top.glob("*/done")):
        match = re.fullmatch(r"(\w+)-(\d+)-lr([\w.-]+)-s(\d+)", done.parent.name)
        last = read(done.parent) if match else None
        if last:
            found.setdefault((match[1], int(match[2]), match[3]), []).append(last)
    out = []
    for (step, width, rate), runs in found.items():
        mean = {k: sum(r[k] for r in runs) / len(runs) for k in ("bits_per_byte", "flops", "seconds", "tokens")}
        scores = [r["bits_per_byte"] for r in runs]
        out.append(dict(mean, step=step, width=width, rate=rate, seeds=len(runs), spread=max(scores) - min(scores)))
    return sorted(out, key=lambda r: (STEPS.index(r["step"]) if r["step"] in STEPS else len(STEPS), r["width"],
                                      float(r["rate"])))


def baseline(all_rows, step, cost):
    """Points (log of cost, bits per byte) of the best rate at each width, by cost."""
    best = {}
    for r in all_rows:
        if r["step"] == step and (r["width"] not in best or r["bits_per_byte"] < best[r["width"]]["bits_per_byte"]):
            best[r["width"]] = r
    return sorted((math.log(r[cost]), r["bits_per_byte"]) for r in best.values())


def needs(points, row, cost):
    """What the baseline takes to be as good as the row, over what the row took, as text."""
    if len(points) < 2:
        return "-"
    target, at = row["bits_per_byte"], 0
    while at + 2 < len(points) and points[at + 1][1] > target:
        at += 1
    (x0, y0), (x1, y1) = points[at:at + 2]
    if y1 >= y0:
        return "-"
    x = x0 + (target - y0) / (y1 - y0) * (x1 - x0)
    beyond = not points[0][0] - 1e-9 <= x <= points[-1][0] + 1e-9
    return f"{'~' if beyond else ''}{math.exp(x) / row[cost]:.2f}x"


def main():
    table = rows(pathlib.Path(sys.argv[1]))
    print("| step | width | rate | seeds | tokens | FLOP | seconds | bits/byte | B0 needs, FLOP | seconds "
          "| B1 needs, FLOP | seconds |")
    print("|" + "---|" * 12)
    for r in table:
        cells = [r["step"], r["width"], r["rate"], r["seeds"], f"{r['tokens'] / 1e6:.1f}M", f"{r['flops']:.3g}",
                 f"{r['seconds']:.0f}", f"{r['bits_per_byte']:.4f}" + (f" ({r['spread']:.4f})" if r["seeds"] > 1 else "")]
        cells += [needs(baseline(table, step, cost), r, cost) for step in ("b0", "b1") for cost in ("flops", "seconds")]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
