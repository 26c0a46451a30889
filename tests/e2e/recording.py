"""What a client of the tests asked a server and was told, as small files that tests/server/test_recorded.c replays
where there is no Python: each question once, ids and times masked, nothing of the machine."""
import json
import pathlib
import re
import sys

try:
    import httpx2 as httpx # what the newest clients speak HTTP with
except ImportError:
    import httpx

OF_THE_MACHINE = ("host", "content-length", "authorization", "x-api-key", "user-agent")
OF_THE_MOMENT = ((r"\b(chatcmpl-|cmpl-|call_|msg_|resp_|rs_|fc_|toolu_)[0-9a-f]{24}\w*", r"\g<1>MASKED"),
                 (r'"(created|created_at|completed_at)":\d+', r'"\g<1>":0'))


def masked(text):
    for pattern, instead in OF_THE_MOMENT:
        text = re.sub(pattern, instead, text)
    return text


class Recording:
    """Of what script `name` asks the model `kind`. Does nothing unless the script got --record FOLDER as its last
    arguments."""

    def __init__(self, name, kind):
        self.name, self.kind, self.exchanges = name, kind, {}
        self.folder = pathlib.Path(sys.argv[-1]) if "--record" in sys.argv else None

    def http(self):
        """What the client is to speak HTTP with; None: its own."""
        return httpx.Client(event_hooks={"response": [self.keep]}) if self.folder else None

    def keep(self, response):
        response.read()
        request = response.request
        path, body = request.url.path, masked(request.content.decode())
        headers = {k: v for k, v in request.headers.items()
                   if k not in OF_THE_MACHINE and not k.startswith("x-stainless")}
        if len(response.text) < 20000 and len(body) < 4000:
            self.exchanges.setdefault((path, body), {
                "server": self.kind, "method": request.method, "path": path, "headers": headers, "body": body,
                "status": response.status_code, "type": response.headers["content-type"],
                "reply": masked(response.text)})

    def save(self):
        for i, one in enumerate(self.exchanges.values(), 1):
            path = self.folder / f"{self.name}-{self.kind}-{i:02}.json"
            path.write_text(json.dumps(one, indent=1, ensure_ascii=False) + "\n")
