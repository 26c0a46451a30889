#!/usr/bin/env python3
"""Many streams at once from `fathom serve` and from llama.cpp's server, on the same file, in turn.

    bench/serve_vs_llamacpp.py MODEL.gguf [--llama-server PATH] [--streams 32] [--rounds 5]
                               [--idle 2000]

Each round starts one server, sends all requests at once (different prompts of about --prompt words, greedy, up to
--tokens tokens), and stops it; then the other one. Printed are medians over the rounds of: tokens per second in all,
time to the first token (median and p95 over the streams), time between tokens (p95); and the ratios. Without
llama-server Fathom's numbers alone. With --idle N Fathom is measured once more in each round, beside N connections
that say nothing, or but half of a request, and one for every hundred of them that asks and never reads.
"""
import argparse
import asyncio
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

TOPICS = ["rivers", "bread", "clocks", "volcanoes", "chess", "bees", "bridges", "maps", "glass", "salt", "whales",
          "kites", "forests", "trains", "paper", "stars", "shoes", "gardens", "winter", "drums", "ships", "deserts",
          "letters", "mirrors", "wool", "islands", "honey", "candles", "mountains", "tea", "wheels", "rain"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def prompt(i, words):
    topic = TOPICS[i % len(TOPICS)]
    text = f"Request {i}. Here are some notes about {topic}. "
    filler = f"Somebody once wrote that {topic} are older than they look and that every story about {topic} is long. "
    while len(text.split()) < words:
        text += filler
    return text + f"Write a long, detailed essay about {topic} and their history."


async def stream(port, i, args, out):
    body = json.dumps({"model": "default", "stream": True, "stream_options": {"include_usage": True},
                       "messages": [{"role": "user", "content": prompt(i, args.prompt)}],
                       "temperature": 0, "max_tokens": args.tokens}).encode()
    begin = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                 b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (port, len(body)) + body)
    times, tokens = [], 0
    while True:
        line = await reader.readline()
        if not line:
            break
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if chunk.get("usage"):
            tokens = chunk["usage"]["completion_tokens"]
        if chunk.get("choices") and (chunk["choices"][0].get("delta") or {}).get("content"):
            times.append(time.perf_counter())
    writer.close()
    if not times:
        raise SystemExit(f"stream {i} got no text")
    out.append({"first": times[0] - begin, "gaps": [b - a for a, b in zip(times, times[1:])], "tokens": tokens})


async def load(port, args):
    out = []
    begin = time.perf_counter()
    await asyncio.gather(*(stream(port, i, args, out) for i in range(args.streams)))
    return {"tps": sum(s["tokens"] for s in out) / (time.perf_counter() - begin),
            "first": statistics.median(s["first"] for s in out),
            "first_p95": sorted(s["first"] for s in out)[int(0.95 * (len(out) - 1))],
            "gap_p95": sorted(g for s in out for g in s["gaps"])[int(0.95 * sum(len(s["gaps"]) for s in out)) - 1]}


def wait_ready(port, process):
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            if urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not become ready in a minute")


def disturb(port, n):
    """Connections that do nothing, every other one in the middle of a request; and readers that do not read."""
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(n + n // 100)]
    for s in held[:n:2]:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-")
    body = b'{"stream":true,"max_tokens":1,"messages":[{"role":"user","content":"hello"}]}'
    for s in held[n:]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % (port, len(body)) + body)
    time.sleep(2 if n else 0)
    return held


def run(command, port, args, idle=0):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_ready(port, process)
        held = disturb(port, idle)
        result = asyncio.run(load(port, args))
        for s in held:
            s.close()
        return result
    finally:
        process.terminate()
        process.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--fathom", default="build/fathom")
    p.add_argument("--llama-server", default=shutil.which("llama-server"))
    p.add_argument("--streams", type=int, default=32)
    p.add_argument("--prompt", type=int, default=100, help="words")
    p.add_argument("--tokens", type=int, default=100)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--idle", type=int, default=0, help="connections that do nothing, in a round more")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    context = 2048
    if args.idle:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * args.idle + 1000), most))
    results = {"fathom": [], "llama.cpp": [], "fathom, idle": []}
    for _ in range(args.rounds):
        for name, idle in (("fathom", 0), ("fathom, idle", args.idle)):
            port = free_port()
            if idle or name == "fathom":
                results[name].append(run([args.fathom, "serve", args.model, "--port", str(port), "--threads",
                                          str(args.threads), "--parallel", str(args.streams), "--no-store"],
                                         port, args, idle))
        if args.llama_server:
            port = free_port()
            results["llama.cpp"].append(run([args.llama_server, "-m", args.model, "--port", str(port), "-t",
                                             str(args.threads), "-np", str(args.streams), "-c",
                                             str(context * args.streams)], port, args))
    medians = {name: {k: statistics.median(r[k] for r in rows) for k in rows[0]}
               for name, rows in results.items() if rows}
    if args.json:
        print(json.dumps({"medians": medians, "rounds": results}))
        return
    print(f"{args.streams} streams, {os.path.basename(args.model)}, {args.threads} threads, "
          f"medians of {args.rounds} rounds")
    print(f"{'':24}" + "".join(f"{n:>14}" for n in medians) + ("  first:second" if len(medians) > 1 else ""))
    for key, label, scale in (("tps", "tokens/s in all", 1), ("first", "first token, s", 1),
                              ("first_p95", "first token p95, s", 1), ("gap_p95", "between tokens p95, ms", 1000)):
        values = [m[key] * scale for m in medians.values()]
        ratio = f"{values[0] / values[1]:13.2f}x" if len(values) > 1 else ""
        print(f"{label:24}" + "".join(f"{v:14.2f}" for v in values) + ratio)
    if not args.llama_server:
        print("llama-server is not in PATH: no comparison", file=sys.stderr)


if __name__ == "__main__":
    main()
