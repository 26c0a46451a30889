// Tells screen readers what happens: an answer sentence by sentence, never token by token.

import { h } from "./dom.js";

const SENTENCE_END = /[.!?]+\s|[。！？]|\n/gu;
const KEPT = 12;

export class Announcer {
    constructor() {
        this.element = h("div", { class: "sr-only", role: "log", "aria-live": "polite" });
        this.answer = null;
        this.said = 0;
    }

    say(text) {
        this.element.append(h("p", null, text));
        while (this.element.childElementCount > KEPT) {
            this.element.firstElementChild.remove();
        }
    }

    // The text of an answer so far; says what is complete of it and was not said. An answer that is joined in
    // its middle is read from there on.
    feed(id, text, complete) {
        if (this.answer !== id) {
            this.answer = id;
            this.said = text.length > 2000 ? text.length : 0;
        }
        const rest = text.slice(this.said);
        const last = [...rest.matchAll(SENTENCE_END)].at(-1);
        const length = complete ? rest.length : last === undefined ? 0 : last.index + last[0].length;
        this.said += length;
        const words = rest.slice(0, length).replace(/[*_`#|>~]+/g, "").trim();
        if (words !== "") {
            this.say(words);
        }
    }
}
