#!/usr/bin/env python3
"""A stand-in for `fathom serve`, to work on the page without a model: the page's files and its interface, with
answers made of words. Usage: tools/page_mock.py [--port 8099] [--rate 60] [--think 2] [--key KEY]

With --key, KEY-member may only chat, KEY-admin may not, KEY-metrics may neither, and KEY-broken is a session that
no page can begin with.

Everything is kept in memory. A prompt may steer the answer: "words 500" asks for that many words, "sample" for
every kind of Markdown, "fail" for an answer that fails, "refuse" for a request that is refused, "slow prompt"
for a long prefill, "think alone" for thoughts without an answer, "cut by the day" for an answer that a key has
no more tokens for, "quota" for a key whose day is used up, "drop" for connections that break every 40 events."""

import argparse
import json
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

ROOT = Path(__file__).resolve().parent.parent
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
WORDS = ("the model reads a prompt and writes one token after another while every expert waits for work that "
         "the router sends and the cache keeps what was seen before so that nothing is computed twice").split()
SAMPLE = r"""## What Markdown looks like

A paragraph with **bold**, *italic*, `code`, ~~gone~~ and a [link](https://example.org "Example").
It costs $5 and $6.

1. First
2. Second
   - nested
   - [x] done
   - [ ] open

> A quote
> over two lines.

| Model | Parameters | Active |
|:------|-----------:|:------:|
| V2-Lite | 15.7 B | 2.4 B |
| V3 | 671 B | 37 B |

```python
def softmax(xs: list[float]) -> list[float]:
    # shifted, so that exp never overflows
    most = max(xs)
    exps = [math.exp(x - most) for x in xs]
    return [e / sum(exps) for e in exps]
```

The loss is \(L = -\sum_i y_i \log p_i\), and its gradient

\[
\frac{\partial L}{\partial z_j} = p_j - y_j .
\]

你好，**世界。**后面继续。
"""


def now():
    return int(time.time() * 1000)


OWN = "0" * 32  # id of the key that is shown
ROLES = ("", "-member", "-admin", "-metrics", "-broken")


class Refused(Exception):
    def __init__(self, status, message, code=None, wait=None):
        super().__init__(message)
        self.status, self.code, self.wait = status, code, wait


class Answer:
    """An answer being written: its events so far, and who waits for more."""

    def __init__(self, message, prompt, options):
        self.message, self.prompt, self.options = message, prompt, options
        self.events = []
        self.changed = threading.Condition()
        self.stopped = self.now = False

    def say(self, name, data):
        with self.changed:
            self.events.append((name, data))
            self.changed.notify_all()

    def write(self):
        message, began = self.message, time.time()
        length = sum(len(one["content"]) for one in self.prompt) // 4 + 12
        if "slow prompt" in self.prompt[-1]["content"]:
            for ahead in (2, 1):
                self.say("prefill", {"waiting": ahead})
                time.sleep(0.5)
            for step in range(21):
                self.say("prefill", {"done": step * 500, "total": 10000})
                time.sleep(0.15)
        else:
            self.say("prefill", {"done": length, "total": length})
        first = time.time()
        if message["think"] != "off":
            end = first + self.options.think * (2 if message["think"] == "max" else 1)
            while time.time() < end and not self.stopped and not self.now:
                self.piece("reasoning", "Let us see. The question asks for words, so words it gets. ")
        thought = time.time() - first
        tokens = self.content()
        message["state"] = "stopped" if self.stopped else message["state"]
        if message["state"] == "writing":
            message["state"] = "done"
        total = time.time() - began
        message["stats"] = {
            "prompt_tokens": length, "cached_tokens": length * 3 // 4, "completion_tokens": tokens,
            "reasoning_tokens": len(message["reasoning"].split()),
            "first_token_ms": int((first - began) * 1000),
            "reasoning_ms": int(thought * 1000), "total_ms": int(total * 1000), "prefill_tps": 812.5,
            "decode_tps": round(tokens / max(total, 0.01), 1)}
        self.say("end", message)

    def content(self):
        asked = self.prompt[-1]["content"]
        match = re.search(r"words (\d+)", asked)
        if "fail" in asked:
            self.message["state"], self.message["error"] = "failed", "The model ran out of memory."
            return 0
        if "cut by the day" in asked:
            self.message["state"], self.message["error"] = "length", "insufficient_quota"
        if "sample" in asked:
            pieces = re.findall(r"\S+\s*|\s+", SAMPLE)
        else:
            count = int(match.group(1)) if match else 40
            pieces = [WORDS[i * 7 % len(WORDS)] + (".\n\n" if i % 60 == 59 else ". " if i % 12 == 11 else " ")
                      for i in range(count)]
        if "think alone" in asked and self.message["think"] != "off":
            pieces = []
        for piece in pieces:
            if self.stopped:
                break
            self.piece("content", piece)
        return len(pieces)

    def piece(self, field, text):
        self.message["reasoning" if field == "reasoning" else "content"] += text
        self.say(field, {"text": text})
        time.sleep(1 / self.options.rate)


class Store:
    def __init__(self, options):
        self.options = options
        self.chats, self.messages, self.answers, self.presets = {}, {}, {}, []
        self.keys = [{"id": OWN, "name": "root", "scopes": ["chat", "admin"], "limits": {}, "balance": None,
                      "created": now(), "expires": None, "revoked": False, "last_used": now()}] if options.key else []
        self.lock = threading.RLock()

    def chat(self, ident):
        if ident not in self.chats:
            raise Refused(404, f"there is no chat {ident}", "not_found")
        return self.chats[ident]

    def create(self, given):
        chat = {"id": secrets.token_hex(16), "title": "", "folder": None, "pinned": False, "temporary": False,
                "created": now(), "updated": now(), "forget_after_days": None, "system": "", "settings": {},
                "leaf": None, **given}
        self.chats[chat["id"]] = chat
        self.messages[chat["id"]] = []
        return chat

    def message(self, chat, **fields):
        message = {"id": secrets.token_hex(16), "parent": None, "role": "user", "content": "", "reasoning": "",
                   "attachments": [], "state": "done", "error": None, "think": "off", "created": now(),
                   "stats": None, **fields}
        self.messages[chat["id"]].append(message)
        chat["leaf"], chat["updated"] = message["id"], now()
        return message

    def branch(self, chat, leaf):
        known = {one["id"]: one for one in self.messages[chat["id"]]}
        path = []
        while leaf in known:
            path.append(known[leaf])
            leaf = known[leaf]["parent"]
        return path[::-1]

    def answer(self, chat, parent, think):
        message = self.message(chat, parent=parent, role="assistant", state="writing", think=think)
        answer = Answer(message, self.branch(chat, parent), self.options)
        self.answers[message["id"]] = answer
        reply = dict(message)
        threading.Thread(target=answer.write, daemon=True).start()
        return reply

    def send(self, chat, turn):
        if "refuse" in turn["content"]:
            raise Refused(400, f"The prompt has 40,000 tokens, the context {self.options.context:,}: "
                          "shorten it or begin a new chat.", "context_length_exceeded")
        if "quota" in turn["content"]:
            raise Refused(429, "this API key has used its 2000 tokens of today", "insufficient_quota", 62026)
        message = self.message(chat, parent=turn["parent"], content=turn["content"],
                               attachments=turn.get("attachments", []), think=turn["think"])
        chat["title"] = chat["title"] or (turn["content"] or "Files")[:60]
        return {"message": message, "answer": self.answer(chat, message["id"], turn["think"])}

    def find(self, query):
        chats = sorted(self.chats.values(), key=lambda one: (not one["pinned"], -one["updated"]))
        chats = [one for one in chats if not one["temporary"]]
        words = query.get("search", "").lower()
        if "folder" in query:
            chats = [one for one in chats if one["folder"] == query["folder"]]
        if words:
            chats = [hit for one in chats if (hit := self.hit(one, words))]
        if "before" in query:
            chats = chats[[one["id"] for one in chats].index(query["before"]) + 1:]
        limit = int(query.get("limit", 60))
        rows = [{name: value for name, value in one.items() if name not in ("system", "settings")}
                for one in chats[:limit]]
        return {"chats": rows, "more": len(chats) > limit}

    def hit(self, chat, words):
        for message in self.messages[chat["id"]]:
            at = message["content"].lower().find(words)
            if at >= 0:
                text = message["content"]
                end = at + len(words)
                return {**chat, "message": message["id"], "snippet":
                        f"{text[max(0, at - 30):at]}\u0002{text[at:end]}\u0003{text[end:end + 60]}"}
        return {**chat, "snippet": "", "message": None} if words in chat["title"].lower() else None

    def export(self, chats):
        return {"format": "fathom-chats", "version": 1,
                "chats": [{"chat": chat, "messages": self.messages[chat["id"]]} for chat in chats]}

    def take(self, data):
        if data.get("format") != "fathom-chats":
            raise Refused(400, "This is no export of chats that is known here.")
        for one in data["chats"]:
            chat = self.create({**one["chat"], "id": secrets.token_hex(16)})
            names = {message["id"]: secrets.token_hex(16) for message in one["messages"]}
            self.messages[chat["id"]] = [
                {**message, "id": names[message["id"]], "parent": names.get(message["parent"])}
                for message in one["messages"]]
            chat["leaf"] = names.get(one["chat"].get("leaf"))
        return {"chats": len(data["chats"])}

    def count(self, prompt):
        chat = self.chats.get(prompt.get("chat"))
        path = self.branch(chat, prompt.get("leaf") or chat["leaf"]) if chat else []
        letters = sum(len(one["content"]) for one in path) + len(prompt.get("content", ""))
        letters += sum(len(file["text"]) for file in prompt.get("attachments", []))
        return {"tokens": letters // 4 + 3 * len(path), "context": self.options.context}

    def usage(self, limited, query):
        names = ["local"] + [key["id"] for key in self.keys]
        days = [{"day": time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400 * i)),
                 "key": names[i // 2 % len(names)],
                 "requests": 12 + i * 5 % 17, "prompt_tokens": 90000 + i * 7919 % 61000,
                 "cached_tokens": 60000 + i * 5003 % 29000, "completion_tokens": 21000 + i * 3001 % 18000,
                 "cost": f"0.0{31 + i}"} for i in range(0, 30, 2)]
        days = [day for day in days if query.get("from", "") <= day["day"] <= query.get("to", "9")]
        totals = {name: sum(day[name] for day in days)
                  for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")}
        totals["cost"] = "0.675"
        own = {"limits": {"tokens_per_day": 2000, "requests_per_minute": 0, "concurrent": 0}, "balance": None,
               "tokens_today": 1234}
        return {"days": days, "models": [{"model": "deepseek-mock", **totals}], "currency": "USD", "totals": totals,
                **({"own": own} if limited else {})}


def read_assets():
    assets = {}
    for line in (ROOT / "web/assets.list").read_text().splitlines():
        if line and not line.startswith("#"):
            path, source, kind = line.split(None, 2)
            file = ROOT / source.lstrip("?")
            if file.exists():
                assets[path] = (file, kind)
    return assets


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, data=None, kind="application/json", more=()):
        body = b"" if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if not url.path.startswith("/api/"):
                self.asset(url.path)
            else:
                self.api(self.command, url.path.split("/")[2:], query, body)
        except Refused as error:
            self.reply(error.status, {"error": {"message": str(error), "type": "invalid_request_error",
                                                "param": None, "code": error.code}},
                       more=[("Retry-After", str(error.wait))] if error.wait else [])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

    def asset(self, path):
        assets = read_assets()
        found = path in assets
        if not found and "text/html" not in (self.headers.get("Accept") or ""):
            raise Refused(404, "There is no such page.")
        file, kind = assets[path if found else "/"]
        self.reply(200 if found else 404, file.read_bytes(), kind)

    @property
    def role(self):
        """Whose key it is, by its end: "", "-member" … None: nobody's."""
        key = self.server.store.options.key
        shown = re.search(r"session=([^;]*)", self.headers.get("Cookie") or "")
        return next((role for role in ROLES if not key or (shown and shown[1] == key + role)), None)

    def api(self, method, path, query, body):
        store = self.server.store
        options = store.options
        # A file that is sent is not JSON.
        data = json.loads(body) if body and self.headers.get("Content-Type") == "application/json" else {}
        role = self.role
        admin, chat = role in ("", "-admin"), role in ("", "-member")
        match [method, *path]:
            case ["GET", "session"]:
                session = {"key_required": bool(options.key), "signed_in": role is not None,
                           "version": "0.0-mock", "limits": {
                               "context": options.context, "attachment_bytes": 4000000,
                               "message_bytes": 1000000, "pdf_bytes": 4000000,
                               "import_bytes": 1000000, "forget_days": options.forget_days}, "pdf": True}
                if role is not None and role != "-broken":
                    session["owner"] = {"id": OWN if options.key else "local", "name": role or "local", "admin": admin, "chat": chat}
                    session["models"] = [{"id": "deepseek-mock", "context": options.context, "can_think": True,
                                          "can_skip_thinking": True, "parameters": 15706484224,
                                          "type": "Q4_K_M", "bytes": 10364416000}]
                    session["sampling"] = {
                        **({"max_tokens": options.answer_tokens} if options.answer_tokens else {}),
                        "temperature": 0.6000000238, "top_p": 0.95, "min_p": 0, "top_k": 0,
                        "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
                return self.reply(200, session)
            case ["POST", "login"]:
                if data.get("key") not in [options.key + role for role in ROLES]:
                    raise Refused(401, "This key is not known.")
                cookie = f"session={data['key']}; HttpOnly; SameSite=Strict; Path=/"
                return self.reply(204, more=[("Set-Cookie", cookie)])
            case ["POST", "logout"]:
                return self.reply(204, more=[("Set-Cookie", "session=; Path=/; Max-Age=0")])
        if role is None:
            raise Refused(401, "Please sign in.", "invalid_api_key")
        if not {"keys": admin, "usage": admin or chat}.get(path[0], chat):
            raise Refused(403, "this key lacks the scope", "missing_scope")
        if path == ["extract"] and not body.startswith(b"%PDF"):
            raise Refused(415, "Syntax Error: Couldn't read xref table", "no_text")
        if path == ["usage"]:
            return self.reply(200, store.usage(role == "-member", query))
        with store.lock:
            reply = self.objects(store, method, path, query, data)
        if reply is None:
            return self.events(store, path, query)
        status, value = reply
        if path[-1] == "export":
            return self.reply(status, value, more=[("Content-Disposition", "attachment")])
        return self.reply(status, value)

    def objects(self, store, method, path, query, data):
        match [method, *path]:
            case ["GET", "chats"]:
                return 200, store.find(query)
            case ["POST", "chats"]:
                return 201, store.create(data)
            case ["DELETE", "chats"]:
                store.chats.clear()
                return 204, None
            case ["GET", "chats", ident]:
                return 200, {"chat": store.chat(ident), "messages": store.messages[ident]}
            case ["PATCH", "chats", ident]:
                store.chat(ident).update(data)
                return 200, store.chat(ident)
            case ["DELETE", "chats", ident]:
                store.chat(ident)
                del store.chats[ident]
                return 204, None
            case ["POST", "chats", ident, "messages"]:
                return 201, store.send(store.chat(ident), data)
            case ["POST", "chats", ident, "answers"]:
                return 201, {"answer": store.answer(store.chat(ident), data["parent"], data["think"])}
            case ["GET", "chats", ident, "export"]:
                chat = store.chat(ident)
                if query["format"] == "markdown":
                    return 200, "\n\n".join(f"## {one['role']}\n\n{one['content']}" for one in
                                            store.messages[ident]).encode()
                return 200, store.export([chat])
            case ["GET", "export"]:
                return 200, store.export(chat for chat in store.chats.values() if not chat["temporary"])
            case ["POST", "import"]:
                return 201, store.take(data)
            case ["POST", "answers", ident, ("stop" | "answer-now") as deed]:
                answer = store.answers[ident]
                answer.stopped, answer.now = answer.stopped or deed == "stop", True
                return 204, None
            case ["GET", "presets"]:
                return 200, {"presets": store.presets}
            case ["PUT", "presets"]:
                store.presets = data["presets"]
                return 200, {"presets": store.presets}
            case ["POST", "extract"]:
                return 200, {"text": "Text of a PDF."}
            case ["POST", "count"]:
                return 200, store.count(data)
            case ["GET", "keys"]:
                return 200, {"keys": store.keys, "currency": "USD"}
            case ["POST", "keys"]:
                key = {"id": secrets.token_hex(16), "created": now(), "last_used": None, "revoked": False,
                       **data}
                store.keys.append(key)
                return 201, {**key, "key": "fathom-" + secrets.token_hex(20)}
            case ["POST", "keys", ident, "renew"]:
                key = next(one for one in store.keys if one["id"] == ident)
                key["revoked"] = False
                return 201, {**key, "key": "fathom-" + secrets.token_hex(20)}
            case [("PATCH" | "DELETE") as deed, "keys", ident]:
                key = next(one for one in store.keys if one["id"] == ident)
                key.update(data if deed == "PATCH" else {"revoked": True})
                return (200, key) if deed == "PATCH" else (204, None)
            case ["GET", "answers", _, "stream"]:
                return None
        raise Refused(404, "There is no such thing.")

    def events(self, store, path, query):
        answer = store.answers.get(path[1])
        if answer is None:
            raise Refused(404, "There is no such answer.")
        at = int(query.get("from", 0))
        drop = at + 40 if "drop" in answer.prompt[-1]["content"] else None
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while drop is None or at < drop:
            with answer.changed:
                while len(answer.events) <= at:
                    answer.changed.wait(5)
                    if len(answer.events) <= at:
                        self.wfile.write(b": keep-alive\n\n")
                        self.wfile.flush()
                batch = answer.events[at:]
            for name, value in batch if drop is None else batch[:drop - at]:
                at += 1
                self.wfile.write(f"id: {at}\nevent: {name}\ndata: {json.dumps(value)}\n\n".encode())
                if name == "end":
                    self.wfile.flush()
                    return
            self.wfile.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8099, help="0: any that is free")
    parser.add_argument("--rate", type=float, default=60, help="tokens per second")
    parser.add_argument("--think", type=float, default=2, help="seconds of thought")
    parser.add_argument("--key", default="", help="a key that is demanded")
    parser.add_argument("--context", type=int, default=32768)
    parser.add_argument("--forget-days", type=int, default=0)
    parser.add_argument("--answer-tokens", type=int, default=0)
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    server.store = Store(options)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
