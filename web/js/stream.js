// Follows an answer's events until its end, over lost connections: each time it continues after the last
// event it saw, waits a little longer before each try, and gives up only when the server says there is no such
// answer.

import { ApiError } from "./api.js";

const SILENCE_MS = 20000; // the server says something at least every 5 s
const WAITS_MS = [200, 500, 1000, 2000, 4000, 8000];

// Splits server-sent events out of text that comes in pieces. feed() returns [{ id, event, data }].
export class EventParser {
    constructor() {
        this.rest = "";
    }

    feed(text) {
        const events = [];
        const parts = (this.rest + text).replaceAll("\r\n", "\n").split("\n\n");
        this.rest = parts.pop();
        for (const part of parts) {
            const event = { id: null, event: "message", data: "" };
            for (const line of part.split("\n")) {
                const colon = line.indexOf(":");
                if (colon <= 0) {
                    continue; // a comment keeps the line alive
                }
                const value = line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
                const field = line.slice(0, colon);
                if (field === "data") {
                    event.data += (event.data && "\n") + value;
                } else if (field in event) {
                    event[field] = value;
                }
            }
            if (event.data !== "") {
                events.push(event);
            }
        }
        return events;
    }
}

function pause(ms, signal) {
    return new Promise((resolve) => {
        const done = () => {
            clearTimeout(timer);
            window.removeEventListener("online", done);
            signal.removeEventListener("abort", done);
            resolve();
        };
        const timer = setTimeout(done, ms);
        window.addEventListener("online", done);
        signal.addEventListener("abort", done);
    });
}

// One connection: calls onevent for each event; returns once it is over, in whichever way.
async function readOnce(url, signal, onevent) {
    const inner = new AbortController();
    const abort = () => inner.abort();
    signal.addEventListener("abort", abort);
    let watch = setTimeout(abort, SILENCE_MS);
    try {
        const response = await fetch(url, { signal: inner.signal, headers: { Accept: "text/event-stream" } });
        if (!response.ok) {
            throw new ApiError(response.status, { message: `HTTP ${response.status}` });
        }
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        const parser = new EventParser();
        for (;;) {
            const { value, done } = await reader.read();
            if (done) {
                return;
            }
            clearTimeout(watch);
            watch = setTimeout(abort, SILENCE_MS);
            parser.feed(value).forEach(onevent);
        }
    } finally {
        clearTimeout(watch);
        signal.removeEventListener("abort", abort);
    }
}

// onevent(name, data) for each event; onlost(isLost) when the connection goes and comes back. Resolves at the
// event "end" or when signal aborts; rejects with an ApiError when the server refuses.
export async function followAnswer(id, { onevent, onlost, signal }) {
    let last = 0;
    let ended = false;
    let tries = 0;
    while (!ended && !signal.aborted) {
        try {
            await readOnce(`/api/answers/${id}/stream?from=${last}`, signal, (event) => {
                if (tries > 0) {
                    tries = 0;
                    onlost(false);
                }
                last = Number(event.id ?? last + 1);
                ended ||= event.event === "end";
                onevent(event.event, JSON.parse(event.data));
            });
        } catch (error) {
            if (error instanceof ApiError && [400, 401, 403, 404, 410].includes(error.status)) {
                throw error;
            }
        }
        if (!ended && !signal.aborted) {
            onlost(true);
            await pause(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)] * (0.8 + Math.random() * 0.4), signal);
            tries++;
        }
    }
}
