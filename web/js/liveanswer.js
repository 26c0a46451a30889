// An answer that is being written: follows its stream and fills the message, and says so once per animation
// frame at most, however fast the tokens come.

import { followAnswer } from "./stream.js";

const HIDDEN_MS = 250;
const QUICK_MS = 6;

export class LiveAnswer {
    // onframe(this) after each batch; onend(message) with the whole message as stored; onfail(error).
    constructor(message, { onframe, onend, onfail }) {
        this.message = message;
        this.onframe = onframe;
        this.lost = false;
        this.phase = { name: "begin" }; // begin, waiting, prefill, thinking, writing
        this.thinkingSince = null;
        this.scheduled = false;
        this.over = false;
        this.cost = 0; // ms that the last drawing took
        this.control = new AbortController();
        // What is stored of it stays until the stream, which begins at the beginning, has something to show.
        this.resumed = message.content !== "" || message.reasoning !== "";
        this.fresh = true;
        followAnswer(message.id, {
            signal: this.control.signal,
            onevent: (name, data) => {
                if (name === "end") {
                    this.over = true;
                    onend(data);
                } else {
                    this.take(name, data);
                }
            },
            onlost: (lost) => {
                this.lost = lost;
                this.schedule();
            },
        }).catch(onfail);
    }

    take(name, data) {
        if (this.fresh && name !== "prefill") {
            this.fresh = false;
            this.message.content = "";
            this.message.reasoning = "";
        }
        if (name === "prefill") {
            this.phase = data.waiting !== undefined && data.waiting > 0
                ? { name: "waiting", ahead: data.waiting }
                : this.prefill(data.done ?? 0, data.total ?? 0);
        } else if (name === "reasoning") {
            this.thinkingSince ??= this.resumed ? this.message.created : Date.now();
            this.phase = { name: "thinking", since: this.thinkingSince };
            this.message.reasoning += data.text;
        } else if (name === "content") {
            if (this.phase.name === "thinking") {
                this.message.thought_ms = Date.now() - this.thinkingSince;
            }
            this.phase = { name: "writing" };
            this.message.content += data.text;
        }
        this.schedule();
    }

    // How far the prompt is read, and how long the rest takes at the speed so far.
    prefill(done, total) {
        const begun = this.phase.name === "prefill" ? this.phase : { since: performance.now(), first: done };
        const read = done - begun.first;
        const ms = performance.now() - begun.since;
        return { name: "prefill", since: begun.since, first: begun.first, done, total,
            left_ms: read > 0 ? (ms / read) * (total - done) : null };
    }

    // At the next frame; later where the last drawing took long, so that the page always has time for people.
    schedule() {
        if (this.scheduled) {
            return;
        }
        this.scheduled = true;
        const run = () => {
            this.scheduled = false;
            if (!this.over) {
                const from = performance.now();
                this.onframe(this);
                this.cost = performance.now() - from;
            }
        };
        if (document.hidden) {
            setTimeout(run, HIDDEN_MS); // a hidden page draws no frames, but its text is to be there later
        } else if (this.cost > QUICK_MS) {
            setTimeout(() => requestAnimationFrame(run), 3 * this.cost);
        } else {
            requestAnimationFrame(run);
        }
    }

    // Stops following; the answer goes on at the server.
    close() {
        this.over = true;
        this.control.abort();
    }
}
