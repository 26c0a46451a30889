// One message on the screen. It shows its plain text until it comes near the part that is looked at (fill), and
// while its answer is being written it follows the text (live).

import { h, icon, iconButton } from "./dom.js";
import { sizeWords } from "./attachments.js";
import { copyText } from "./clipboard.js";
import { MarkdownView } from "./markdownview.js";
import { Thinking } from "./thinking.js";
import { readPrefs } from "./prefs.js";
import { t, formatDuration, formatNumber, formatTenths } from "./strings.js";

const STATE_NOTES = { stopped: "state_stopped", interrupted: "state_interrupted", failed: "state_failed",
    length: "state_length" };
// Whose limit of tokens it was, where it is not the answer's own.
const LENGTH_NOTES = { insufficient_quota: "length_quota", insufficient_balance: "length_balance" };

export class MessageView {
    // host: what the chat does with a message: edit, regenerate, canSkipThinking, select, siblings, showFile
    constructor(message, host) {
        this.message = message;
        this.host = host;
        this.filled = false;
        this.user = message.role === "user";
        this.body = h("div", { class: "message-body" }, message.content);
        this.element = h("article", { class: `message ${this.user ? "from-user" : "from-model"}`,
            "data-message": message.id }, h("h2", { class: "sr-only" },
            t(this.user ? "you_said" : "model_said")),
        this.body);
    }

    fill() {
        if (this.filled) {
            return;
        }
        this.filled = true;
        const { message } = this;
        this.body.replaceChildren();
        if (this.user) {
            this.fillUser();
        } else {
            this.body.classList.add("markdown");
            this.thinking = new Thinking(message);
            this.progress = h("div", { class: "answer-progress" });
            this.markdown = new MarkdownView(this.body);
            this.note = h("div", { class: "answer-note" });
            this.element.append(this.thinking.element, this.body, this.progress, this.note);
        }
        this.footer = h("footer", { class: "message-footer" });
        this.element.append(this.footer);
        this.live(null);
    }

    fillUser() {
        const { content, attachments } = this.message;
        if (attachments?.length > 0) {
            this.element.insertBefore(h("ul", { class: "file-list", "aria-label": t("attachments") },
                attachments.map((file) => h("li", null, h("button", { type: "button", class: "file-chip",
                    onclick: () => this.host.showFile(file) }, icon("file"), h("span", null, file.name),
                h("small", null, sizeWords(file)))))), this.body);
        }
        this.body.append(content);
        this.body.hidden = content === "";
    }

    // Shows the message as it is now; `live` is null once it is complete.
    live(live) {
        this.fill();
        if (!this.user) {
            const { message } = this;
            const writing = message.state === "writing" && live !== null;
            this.element.setAttribute("aria-busy", String(writing));
            this.thinking.show(writing && live.phase.name === "thinking" ? live.phase.since : null);
            this.markdown.show(message.content, !writing);
            this.body.hidden = message.content === "";
            this.showProgress(live);
            this.showNote();
            if (writing) {
                this.footer.replaceChildren();
                return;
            }
        }
        this.showFooter();
    }

    // Once it is off the screen for good.
    dispose() {
        this.thinking?.dispose();
    }

    showProgress(live) {
        const text = live === null ? "" : progressText(live);
        this.progress.hidden = text === "" && (live === null || live.phase.name !== "begin");
        if (this.progress.hidden) {
            this.progress.replaceChildren();
            return;
        }
        const bar = live.phase.name === "prefill" && !live.lost && live.phase.total > 0;
        if (this.progress.firstChild === null) {
            this.progress.append(h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
                h("span", { class: "progress-text" }),
                h("progress", { max: "1", "aria-label": t("prefill_bar") }));
        }
        const [dots, words, progress] = this.progress.children;
        dots.hidden = bar;
        words.textContent = text;
        progress.hidden = !bar;
        progress.value = bar ? live.phase.done / live.phase.total : 0;
    }

    showNote() {
        const { message } = this;
        const nothing = message.state === "done" && message.content === "";
        const key = nothing ? "no_answer" : LENGTH_NOTES[message.error] ?? STATE_NOTES[message.state];
        this.note.hidden = key === undefined;
        this.note.className = `answer-note ${message.state === "failed" ? "is-error" : ""}`;
        this.note.replaceChildren(key === undefined ? "" : t(key, { error: message.error ?? "" }));
        if (nothing && message.think !== "off" && this.host.canSkipThinking()) {
            this.note.append(h("button", { type: "button", class: "button", "data-action": "unthinking",
                onclick: () => this.host.regenerate(message, "off") }, t("answer_unthinking")));
        }
    }

    showFooter() {
        const { message, host } = this;
        const copy = iconButton("copy", t("copy"), async () => {
            await copyText(message.content);
            copy.replaceChildren(icon("check"));
            setTimeout(() => copy.replaceChildren(icon("copy")), 1500);
        }, { "data-action": "copy" });
        const parts = [copy];
        if (this.user) {
            parts.push(iconButton("edit", t("edit"), () => host.edit(this), { "data-action": "edit" }));
        } else {
            parts.push(iconButton("redo", t("regenerate"), () => host.regenerate(message),
                { "data-action": "regenerate" }));
        }
        const switcher = this.switcher();
        if (switcher !== null) {
            parts.push(switcher);
        }
        if (!this.user && message.stats?.completion_tokens > 0 && readPrefs().stats) {
            parts.push(statsLine(message.stats));
        }
        this.footer.replaceChildren(...parts);
    }

    // ‹ 2/3 › between the messages that have the same parent.
    switcher() {
        const ids = this.host.siblings(this.message);
        if (ids.length < 2) {
            return null;
        }
        const at = ids.indexOf(this.message.id);
        const go = (step) => () => this.host.select(ids[at + step], step < 0 ? "previous" : "next");
        return h("span", { class: "switcher", role: "group", "aria-label": t("versions") },
            iconButton("left", t("previous_version"), go(-1),
                { disabled: at === 0, "data-action": "previous" }),
            h("span", { class: "switcher-at" }, `${at + 1}/${ids.length}`),
            iconButton("chevron", t("next_version"), go(1), { disabled: at === ids.length - 1,
                "data-action": "next" }));
    }
}

function progressText(live) {
    const { phase } = live;
    if (live.lost) {
        return t("connection_lost");
    }
    if (phase.name === "waiting") {
        return t("queue_place", { n: formatNumber(phase.ahead) });
    }
    if (phase.name !== "prefill" || phase.total === 0) {
        return "";
    }
    const percent = Math.floor((100 * phase.done) / phase.total);
    return phase.left_ms === null || phase.left_ms < 800 ? t("prefill", { percent })
        : t("prefill_left", { percent, time: formatDuration(phase.left_ms) });
}

function statsLine(stats) {
    const parts = [];
    const add = (label, text) => parts.push(h("span", { title: label }, text));
    if (stats.decode_tps > 0) {
        add(t("stat_speed_long"), t("stat_speed", { n: formatTenths(stats.decode_tps) }));
    }
    if (stats.first_token_ms !== undefined && stats.first_token_ms !== null) {
        add(t("stat_first_long"), t("stat_first", { time: formatDuration(stats.first_token_ms) }));
    }
    add(t("stat_tokens_long", { reasoning: formatNumber(stats.reasoning_tokens ?? 0) }),
        t("stat_tokens", { n: formatNumber(stats.completion_tokens) }));
    add(t("stat_prompt_long", { tps: formatTenths(stats.prefill_tps ?? 0) }), t("stat_prompt",
        { n: formatNumber(stats.prompt_tokens), cached: formatNumber(stats.cached_tokens ?? 0) }));
    return h("span", { class: "stats" }, parts);
}
