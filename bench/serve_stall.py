#!/usr/bin/env python3
"""While one key does the heaviest things `fathom serve` lets it, how long does another wait, and do streams go on?

    bench/serve_stall.py MODEL

Makes a server with a folder of its own and two keys. One tokenizes and asks what is far too long, imports 9,000
chats, exports and deletes them, and does the like with one chat of 50,000 messages, which a new start puts into the
index of the search; the other asks for /v1/models and /health every 20 ms, for its chats likewise, and reads a stream.
Prints the median and the worst of each. Ends with 1 when one of the other's requests for /v1/models or /health took
more than 100 ms: on a machine that does nothing else none should.
"""
import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time

TEXT = ("What is the tide of the moon? " * 20, "It pulls at the water. " * 30)


class Server:
    def __init__(self, model, folder):
        self.keys = [self.key(folder, name) for name in ("heavy", "light")]
        self.command = ["build/fathom", "serve", model, "--port", "0", "--data", folder, "--require-key"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        else:
            sys.exit("the server did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    @staticmethod
    def key(folder, name):
        made = subprocess.run(["build/fathom", "keys", "create", "--name", name, "--data", folder, "--json"],
                              check=True, capture_output=True, text=True)
        return re.search(r"fathom-[\w-]{43}", made.stdout).group()

    def open(self, who, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": "Bearer " + self.keys[who]}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        return connection, connection.getresponse()

    def ask(self, who, method, path, body=None):
        connection, reply = self.open(who, method, path, body)
        reply.read()
        connection.close()
        return reply.status

    def document(self, who, method, path, body=None):
        connection, reply = self.open(who, method, path, body)
        document = json.loads(reply.read())
        connection.close()
        return document

    def together(self, n, *request):
        said = []
        threads = [threading.Thread(target=lambda: said.append(self.ask(0, *request))) for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return sorted(said)


def look(server, stop, waits, *paths):
    while not stop.is_set():
        for path in paths:
            since = time.time()
            if server.ask(1, "GET", path) != 200:
                sys.exit(path + " was refused")
            waits.append(time.time() - since)
        time.sleep(0.02)


def read(server, stop, gaps):
    ask = json.dumps({"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 300,
                      "stream": True})
    while not stop.is_set():
        connection, reply = server.open(1, "POST", "/v1/chat/completions", ask)
        last = None
        while not stop.is_set() and (line := reply.readline()):
            if line.startswith(b"data"):
                now = time.time()
                if last:
                    gaps.append(now - last)
                last = now
        connection.close()


def beside(server, name, work):
    stop, waits, chats, gaps = threading.Event(), [], [], []
    threads = [threading.Thread(target=look, args=(server, stop, waits, "/v1/models", "/health")),
               threading.Thread(target=look, args=(server, stop, chats, "/api/chats?limit=1")),
               threading.Thread(target=read, args=(server, stop, gaps))]
    for t in threads:
        t.start()
    time.sleep(1)
    since = time.time()
    said = work()
    took = time.time() - since
    stop.set()
    for t in threads:
        t.join()
    print(f"| {name} | {said} | {took:.2f} s |", end="")
    for times in (waits, chats, gaps):
        times.sort()
        print(f" {times[len(times) // 2] * 1e3:.1f} | {times[-1] * 1e3:.1f} |", end="")
    print(flush=True)
    return waits[-1]


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    chat = {"chat": {"title": "a chat"}, "messages": [{"id": "a", "role": "user", "content": TEXT[0]},
                                                      {"id": "b", "parent": "a", "role": "assistant", "content": TEXT[1]}]}
    # All bodies are made before: making one here keeps this program's other threads from looking at the clock.
    chats = json.dumps({"format": "fathom-chats", "version": 1, "chats": [chat] * 9000})
    answers = [{"id": str(i), "parent": str(i - 1), "role": ("user", "assistant")[i % 2],
                "content": f"message {i} " * 20} for i in range(50000)]
    large = json.dumps({"format": "fathom-chats", "version": 1, "chats": [{"chat": {}, "messages": answers}]})
    long, longer = (json.dumps({"content": "a" * n}) for n in (4000000, 8 << 20))
    user, system = (json.dumps({"messages": [{"role": role, "content": "a" * (15 << 20)}, {"role": "user", "content":
                                                                                         "b"}]})
                    for role in ("user", "system"))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(sys.argv[1], folder)

        work = [
            ("nothing", lambda: time.sleep(2)),
            ("4 × tokenize 8 MiB", lambda: server.together(4, "POST", "/tokenize", longer)),
            ("4 × tokenize 4 MB", lambda: server.together(4, "POST", "/tokenize", long)),
            ("3 × 15 MiB by a user", lambda: server.together(3, "POST", "/v1/chat/completions", user)),
            ("3 × 15 MiB as system", lambda: server.together(3, "POST", "/v1/chat/completions", system)),
            ("import of 9,000 chats", lambda: server.ask(0, "POST", "/api/import", chats)),
            ("export of them", lambda: server.ask(0, "GET", "/api/export")),
            ("delete all", lambda: server.ask(0, "DELETE", "/api/chats?all=yes")),
        ]
        print("| one key | is told | takes | another's GET: median, ms | worst | of its chats: median, ms | worst |"
              " stream's gap: median, ms | worst |")
        print("|---|---|---|---|---|---|---|---|---|")
        worst = [beside(server, name, do) for name, do in work]
        worst.append(beside(server, "import of one of 50,000 messages",
                            lambda: server.ask(0, "POST", "/api/import", large)))
        chat = server.document(0, "GET", "/api/chats")["chats"][0]
        path, turn = "/api/chats/" + chat["id"], json.dumps({"parent": chat["leaf"], "content": "more"})
        worst += [beside(server, name, do) for name, do in (
            ("6 × a turn at its end", lambda: server.together(6, "POST", path + "/messages", turn)),
            ("3 × all of it", lambda: server.together(3, "GET", path)))]
        server.stop()
        since = time.time()
        server.start()
        server.ask(1, "GET", "/api/chats?limit=1")
        print(f"| a new start, and its first list of chats | | {time.time() - since:.2f} s | | | | | | |")
        worst += [beside(server, name, do) for name, do in (
            ("a search in it", lambda: server.ask(0, "GET", "/api/chats?search=49999")),
            ("delete it", lambda: server.ask(0, "DELETE", path)))]
        server.stop()
    sys.exit(max(worst) > 0.1)


if __name__ == "__main__":
    main()
