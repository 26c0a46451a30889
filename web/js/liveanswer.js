// An answer that is being written: follows its stream and fills the message, and says so once per animation
// frame at most, however fast the tokens come.

import { followAnswer } from "./stream.js";

export class LiveAnswer {
    // onframe(this) after each batch; onend(message) with the whole message as stored; onfail(error).
    constructor(message, { onframe, onend, onfail }) {
        this.message = message;
        this.onframe = onframe;
        this.lost = false;
        this.phase = { name: "begin" }; // begin, waiting, prefill, thinking, writing
        this.thinkingSince = null;
        this.frame = null;
        this.control = new AbortController();
        // What is stored of it stays until the stream, which begins at the beginning, has something to show.
        this.resumed = message.content !== "" || message.reasoning !== "";
        this.fresh = true;
        followAnswer(message.id, {
            signal: this.control.signal,
            onevent: (name, data) => {
                if (name === "end") {
                    this.cancelFrame();
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

    schedule() {
        if (this.frame !== null) {
            return;
        }
        const run = () => {
            this.frame = null;
            this.onframe(this);
        };
        // A hidden page draws no frames, but its text is to be there when it is looked at.
        this.hidden = document.hidden;
        this.frame = this.hidden ? setTimeout(run, 250) : requestAnimationFrame(run);
    }

    cancelFrame() {
        if (this.frame !== null) {
            (this.hidden ? clearTimeout : cancelAnimationFrame)(this.frame);
            this.frame = null;
        }
    }

    // Stops following; the answer goes on at the server.
    close() {
        this.cancelFrame();
        this.control.abort();
    }
}
