// How much of the model's context the next prompt takes: asked of the server when typing pauses.

import { h, svg } from "./dom.js";
import { api } from "./api.js";
import { t, formatCompact, formatNumber } from "./strings.js";

const PAUSE_MS = 400;
const AROUND = 2 * Math.PI * 8;

export class ContextMeter {
    constructor() {
        this.timer = null;
        this.control = null;
        this.excess = 0; // tokens that do not fit, once that is known for what is written now
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
        this.excess = 0;
        this.timer = setTimeout(() => this.ask(conversation, draft), PAUSE_MS);
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
                this.element.hidden = true;
            }
        }
    }

    show({ tokens, context }) {
        this.excess = Math.max(0, tokens - context);
        const share = Math.min(tokens / context, 1);
        const label = t("context_used", { tokens: formatNumber(tokens), context: formatNumber(context),
            percent: Math.round((100 * tokens) / context) });
        this.element.hidden = false;
        this.element.title = label;
        this.element.setAttribute("aria-label", label);
        this.element.classList.toggle("is-near", tokens > 0.8 * context && tokens <= context);
        this.element.classList.toggle("is-over", tokens > context);
        this.ring.setAttribute("stroke-dasharray", `${share * AROUND} ${AROUND}`);
        this.words.textContent = tokens > context ? t("context_over", { n: formatNumber(tokens - context) })
            : `${formatCompact(tokens)} / ${formatCompact(context)}`;
    }
}
