// What the model thought before its answer: open and timed while it goes on, folded when it has ended, unless
// the person opened or closed it. The text is drawn only while it can be seen.

import { h, icon } from "./dom.js";
import { copyText } from "./clipboard.js";
import { MarkdownView } from "./markdownview.js";
import { t, formatDuration } from "./strings.js";

export class Thinking {
    constructor(message) {
        this.message = message;
        this.chosen = false;
        this.timer = null;
        this.label = h("span");
        this.text = h("div", { class: "markdown thinking-text" });
        this.markdown = new MarkdownView(this.text);
        this.scroll = h("div", { class: "thinking-scroll", tabindex: "0", role: "group",
            "aria-label": t("thoughts") }, this.text);
        const copy = h("button", { type: "button", class: "quiet", onclick: async () => {
            await copyText(message.reasoning);
            copy.lastChild.textContent = t("copied");
            setTimeout(() => {
                copy.lastChild.textContent = t("copy_thoughts");
            }, 1500);
        } }, icon("copy"), t("copy_thoughts"));
        this.summary = h("summary", { onclick: () => {
            this.chosen = true;
        } }, icon("bulb"), this.label, icon("chevron"));
        this.element = h("details", { class: "thinking", hidden: true, ontoggle: () => this.draw() },
            this.summary, this.scroll, copy);
    }

    // since: when the thinking began, while it goes on; null when it has ended.
    show(since) {
        const { message } = this;
        this.element.hidden = message.reasoning === "" && since === null;
        clearInterval(this.timer);
        if (since !== null) {
            const tick = () => {
                this.label.textContent = t("thinking_for", { time: formatSeconds(Date.now() - since) });
            };
            tick();
            this.timer = setInterval(tick, 1000);
            this.element.classList.add("is-live");
            this.element.open ||= !this.chosen;
        } else {
            const ms = message.stats?.reasoning_ms || message.thought_ms;
            this.label.textContent = ms ? t("thought_for", { time: formatSeconds(ms) }) : t("thoughts");
            if (this.element.classList.contains("is-live") && !this.chosen) {
                this.element.open = false;
            }
            this.element.classList.remove("is-live");
        }
        this.draw();
    }

    dispose() {
        clearInterval(this.timer);
    }

    draw() {
        if (!this.element.open) {
            return;
        }
        const { scroll } = this;
        const low = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
        const live = this.element.classList.contains("is-live");
        this.markdown.show(this.message.reasoning, !live);
        if (live && low) {
            scroll.scrollTop = scroll.scrollHeight;
        }
    }
}

// Whole seconds, once there is one.
const formatSeconds = (ms) => formatDuration(ms < 1000 ? ms : Math.round(ms / 1000) * 1000);
