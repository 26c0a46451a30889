// How much of the model's context the next prompt takes: asked of the server when typing pauses.

import { h, svg } from "./dom.js";
import { api } from "./api.js";
import { t, formatCompact, formatNumber } from "./strings.js";

const PAUSE_MS = 400;
const AROUND = 2 * Math.PI * 8;

export class ContextMeter {
    // changed() once it is known how much the prompt takes.
    constructor(changed) {
        this.changed = changed;
        this.timer = null;
        this.control = null;
        this.excess = 0; // tokens that do not fit, once that is known for what is written now
        this.excessWords = "";
        this.ring = svg("circle", { cx: 10, cy: 10, r: 8, class: "meter-part",
            "stroke-dasharray": `0 ${AROUND}` });
        this.words = h("span", { class: "meter-words" });
        this.element = h("span", { class: "context-meter", role: "img", hidden: true },
            svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" },
                svg("circle", { cx: 10, cy: 10, r: 8, class: "meter-whole" }), this.ring), this.words);
    }

    // draft: { content, attachments } or null for what is there already.
    count(conversation, draft) {
        clearTimeout(this.timer);
        if (conversation.path().length === 0 && !draft?.content && !draft?.attachments.length) {
            this.control?.abort();
            this.clear(); // nothing yet: what a template alone takes says nothing to people
            return;
        }
        this.timer = setTimeout(() => this.ask(conversation, draft), PAUSE_MS);
    }

    clear() {
        this.element.hidden = true;
        this.excess = 0;
        this.changed();
    }

    async ask(conversation, draft) {
        this.control?.abort();
        this.control = new AbortController();
        const { chat } = conversation;
        const leaf = conversation.path().at(-1);
        if (leaf?.state === "writing") {
            return; // counted again at its end
        }
        try {
            this.show(await api.count({ ...(chat.id === null ? {} : { chat: chat.id }),
                ...(leaf === undefined ? {} : { leaf: leaf.id }),
                ...(draft?.content ? { content: draft.content } : {}),
                ...(draft?.attachments.length > 0 ? { attachments: draft.attachments } : {}) },
            this.control.signal));
        } catch (error) {
            if (error.name !== "AbortError") {
                this.clear();
            }
        }
    }

    // at_least: so many that more do not matter were found without counting.
    show({ tokens, at_least: atLeast, context }) {
        this.excess = Math.max(0, tokens + 1 - context); // an answer needs one at least
        this.excessWords = `${atLeast ? "≥\u00a0" : ""}${formatNumber(this.excess)}`;
        const share = Math.min(tokens / context, 1);
        const label = t("context_used", { tokens: formatNumber(tokens), context: formatNumber(context),
            percent: Math.round((100 * tokens) / context) });
        this.element.hidden = false;
        this.element.title = label;
        this.element.setAttribute("aria-label", label);
        this.element.classList.toggle("is-near", tokens > 0.8 * context && this.excess === 0);
        this.element.classList.toggle("is-over", this.excess > 0);
        this.ring.setAttribute("stroke-dasharray", `${share * AROUND} ${AROUND}`);
        this.words.replaceChildren(...(this.excess > 0
            ? [t("context_over", { n: this.excessWords })]
            : [`${formatCompact(tokens)} / ${formatCompact(context)}`,
                h("span", { class: "meter-unit" }, t("context_unit"))]));
        this.changed();
    }
}
