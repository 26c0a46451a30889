// Tells screen readers what happens: an answer sentence by sentence, never token by token.

import { h } from "./dom.js";

const SENTENCE = /[^.!?。！？\n]*(?:[.!?]+(?=\s)|[。！？]+|\n)/gu;
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
        let length = 0;
        let sentences = "";
        for (const [sentence] of rest.matchAll(SENTENCE)) {
            sentences += sentence;
            length += sentence.length;
        }
        if (complete) {
            sentences += rest.slice(length);
            length = rest.length;
        }
        this.said += length;
        const words = sentences.replace(/[*_`#|>~]+/g, "").trim();
        if (words !== "") {
            this.say(words);
        }
    }
}
