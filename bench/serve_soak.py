#!/usr/bin/env python3
"""An hour of everything against `fathom serve`: does its memory or its number of descriptors grow?

    bench/serve_soak.py MODEL [--minutes 60] [--clients 8] [--json FILE]

Clients ask one thing after another, at random (seeded): chats whole and streamed, tools, JSON by grammar,
several choices, Anthropic's messages, chats of the page with several turns, search, export and deletion,
readers that go in the middle, slow readers, requests that are no HTTP or no JSON. Every 10 seconds resident
memory, open descriptors and threads are read from /proc. Flat is: the median of the last third is at most 3%
and 4 MiB above that of the second third, descriptors and threads not above it at all; the first third may
fill the caches (--cache). Ends with 1 when it was not flat, or when a good request was not answered as it
should be.
"""
import argparse
import http.client
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

WORDS = "river bread clock chess bee bridge map glass salt whale kite forest train paper star shoe".split()
PLACE = {"type": "object", "properties": {"place": {"enum": ["Paris", "Oslo"]}}, "required": ["place"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PLACE}}]
NO_HTTP = [b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", bytes(range(256)), b"POST / HT"]


class Client(threading.Thread):
    def __init__(self, seed, port, until, pause):
        super().__init__(daemon=True)
        self.random, self.port, self.until, self.pause = random.Random(seed), port, until, pause
        self.done, self.wrong = {}, []

    def request(self, method, path, body=None, want=(200,)):
        """The reply's bytes; anything but a wanted status or 429 is noted as wrong."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            c.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            r = c.getresponse()
            data = r.read()
        finally:
            c.close()
        if r.status not in want and r.status != 429:
            self.wrong.append(f"{method} {path}: {r.status} {data[:200]!r}")
        return data if r.status in want else None

    def words(self, most):
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(1, most)))

    def chat(self, **more):
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": self.words(200)}]
        user = f"u{self.random.randint(0, 3)}"
        return {"messages": turns, "max_tokens": self.random.randint(1, 40), "user": user, **more}

    def whole(self):
        self.request("POST", "/v1/chat/completions", self.chat(n=self.random.randint(1, 3), logprobs=True))

    def streamed(self):
        data = self.request("POST", "/v1/chat/completions", self.chat(stream=True))
        if data is not None and not data.rstrip().endswith(b"data: [DONE]"):
            self.wrong.append(f"a stream ended with {data[-100:]!r}")

    def tools(self):
        body = self.chat(tools=TOOLS, tool_choice="required", max_tokens=200)
        self.request("POST", "/v1/chat/completions", body, (200, 400)) # 400: many small models know no tools

    def as_json(self):
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
                  "required": ["n"], "additionalProperties": False}
        body = self.chat(max_tokens=100, response_format={"type": "json_schema",
                                                          "json_schema": {"name": "x", "schema": schema}})
        data = self.request("POST", "/v1/chat/completions", body)
        if data and json.loads(data)["choices"][0]["finish_reason"] == "stop":
            json.loads(json.loads(data)["choices"][0]["message"]["content"])

    def anthropic(self):
        self.request("POST", "/v1/messages", {
            "model": "default", "max_tokens": 20, "stream": self.random.random() < 0.5,
            "messages": [{"role": "user", "content": self.words(50)}]})

    def page(self):
        made = self.request("POST", "/api/chats", {"title": self.words(3)}, (201,))
        if not made:
            return
        chat, parent = json.loads(made)["id"], None
        for _ in range(self.random.randint(1, 3)):
            turn = self.request("POST", f"/api/chats/{chat}/messages", {
                "parent": parent, "content": self.words(60), "think": "off",
                "settings": {"max_tokens": 16}}, (201,))
            if not turn:
                break
            parent = json.loads(turn)["answer"]["id"]
            self.request("GET", f"/api/answers/{parent}/stream?from=0")
        self.request("GET", f"/api/chats?search={self.random.choice(WORDS)}")
        self.request("GET", f"/api/chats/{chat}/export?format=json")
        self.request("DELETE", f"/api/chats/{chat}", None, (204,))

    def raw(self, text, read, pause, patience=60):
        with socket.create_connection(("127.0.0.1", self.port), patience) as s:
            s.sendall(text)
            for _ in range(read):
                if not s.recv(256):
                    break
                time.sleep(pause)

    def posted(self):
        body = json.dumps(self.chat(stream=True, max_tokens=300)).encode()
        return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (self.port, len(body)) + body)

    def gone(self):
        self.raw(self.posted(), self.random.randint(0, 5), 0)

    def slow(self):
        self.raw(self.posted(), 20, 0.1)

    def nonsense(self):
        try:
            self.raw(self.random.choice(NO_HTTP), 1, 0, 0.2)
        except TimeoutError:
            pass
        self.request("POST", "/v1/chat/completions", {"messages": 3, "zeal": None}, (400, 422))

    def run(self):
        kinds = [self.whole, self.streamed, self.tools, self.as_json, self.anthropic, self.page, self.gone,
                 self.slow, self.nonsense]
        while time.monotonic() < self.until:
            kind = self.random.choice(kinds)
            try:
                kind()
            except (OSError, ValueError, http.client.HTTPException) as e:
                if kind not in (self.gone, self.slow):
                    self.wrong.append(f"{kind.__name__}: {e!r}")
            self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
            time.sleep(self.random.uniform(0, 2 * self.pause))


def reading(pid):
    with open(f"/proc/{pid}/status") as f:
        status = f.read()
    kib, threads = (int(re.search(name + r":\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return {"mib": kib / 1024, "fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": threads}


def start(args, folder):
    command = [args.fathom, "serve", args.model, "--port", "0", "--data", folder, "--cache", str(args.cache)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        found = re.search(r" at http://[^ ]*:(\d+)", line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, int(found[1])
    raise SystemExit("the server did not start")


def judge(readings):
    """Names of what grew from the second third to the last."""
    third, grew = len(readings) // 3, []
    for what, slack in (("mib", lambda m: max(4, 0.03 * m)), ("fds", lambda m: 0), ("threads", lambda m: 0)):
        second, last = (statistics.median(r[what] for r in readings[k * third:(k + 1) * third]) for k in (1, 2))
        print(f"{what}: {second:g} in the second third, {last:g} in the last")
        if last > second + slack(second):
            grew.append(what)
    return grew


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--clients", type=int, default=8)
    p.add_argument("--cache", type=int, default=256, help="MiB of the server's keys and values")
    p.add_argument("--pause", type=float, default=0, help="seconds between a client's requests, on average")
    p.add_argument("--json", help="readings as they are taken")
    p.add_argument("--fathom", default=os.path.join(os.path.dirname(__file__), "..", "build", "fathom"))
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, port = start(args, folder)
        until = time.monotonic() + 60 * args.minutes
        clients = [Client(i, port, until, args.pause) for i in range(args.clients)]
        for c in clients:
            c.start()
        readings = []
        while time.monotonic() < until and process.poll() is None:
            time.sleep(min(10, max(0.1, until - time.monotonic())))
            at = round(60 * args.minutes - (until - time.monotonic()))
            readings.append(r := {"s": at, **reading(process.pid)})
            asked = sum(sum(c.done.values()) for c in clients)
            print(f"{r['s']:5d} s  {r['mib']:.1f} MiB  {r['fds']} descriptors  {r['threads']} threads "
                  f" {asked} asked", end="\r" if sys.stdout.isatty() else "\n", flush=True)
            if args.json:
                with open(args.json, "w") as f:
                    json.dump(readings, f)
        print()
        died = process.poll()
        for c in clients:
            c.join(300)
        process.terminate()
        status = process.wait(60)
    wrong = [w for c in clients for w in c.wrong]
    kinds = sorted({k for c in clients for k in c.done})
    print(", ".join(f"{k} {sum(c.done.get(k, 0) for c in clients)}" for k in kinds))
    for w in wrong[:20]:
        print("wrong:", w)
    grew = judge(readings)
    if died is not None or status != 0:
        wrong.append(f"the server ended with {status}")
    grew += [f"{len(wrong)} wrong"] if wrong else []
    print(f"not as it should be: {', '.join(grew)}" if grew else "flat")
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
