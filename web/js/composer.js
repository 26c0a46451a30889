// Where the next turn is written: text, files, how much to think, what it costs of the context; send and stop.
// Nothing that was typed is lost: a turn that cannot be sent stays here with the reason.

import { h, icon, iconButton } from "./dom.js";
import { Attachments, LONG_PASTE } from "./attachments.js";
import { ContextMeter } from "./contextmeter.js";
import { readPrefs, savePref } from "./prefs.js";
import { t, formatNumber } from "./strings.js";

const DRAFTS = "fathom-drafts";

// What was written and not sent, as the last load of this tab left it.
function readDrafts() {
    try {
        return new Map(JSON.parse(sessionStorage.getItem(DRAFTS)));
    } catch {
        return new Map();
    }
}

export class Composer {
    // page: send({ content, attachments, parent }), stop(), answerNow(), editLast(), announcer, session
    constructor(page) {
        this.page = page;
        this.conversation = null;
        this.drafts = readDrafts(); // conversation → { text, files }
        this.sending = false;
        this.field = h("textarea", { id: "composer", rows: "1", "aria-label": t("composer"),
            placeholder: t("composer_placeholder"), oninput: () => this.changed(),
            onkeydown: (event) => this.onkeydown(event), onpaste: (event) => this.onpaste(event) });
        this.attachments = new Attachments(page.session, { changed: () => this.changed(),
            failed: (words) => (words === "" ? this.hideError("file") : this.showError(words, null, "file")) });
        this.meter = new ContextMeter(() => this.onmeter());
        this.picker = h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1",
            "aria-label": t("attach"), onchange: () => this.pick() });
        this.button = h("button", { type: "submit", class: "send", "aria-label": t("send"), title: t("send") },
            icon("up"));
        this.now = h("button", { type: "button", class: "button answer-now", hidden: true,
            onclick: () => this.page.answerNow() }, icon("skip"), t("answer_now"));
        this.think = this.thinkSwitch();
        this.error = h("div", { class: "composer-error", role: "alert", hidden: true });
        this.form = h("form", { class: "composer", onsubmit: (event) => this.onsubmit(event) },
            this.attachments.element, this.field,
            h("div", { class: "composer-row" },
                iconButton("clip", t("attach"), () => this.picker.click()), this.think, this.now,
                h("span", { class: "spacer" }), this.meter.element, this.button), this.picker);
        this.element = h("div", { class: "composer-area" }, this.error, this.form,
            h("p", { class: "composer-hint" }, t("composer_hint")));
        this.listenForDrops();
        window.addEventListener("pagehide", () => this.keepDrafts());
        document.addEventListener("visibilitychange", () => document.hidden && this.keepDrafts());
        window.addEventListener("beforeunload", (event) => {
            if (this.field.value.trim() !== "" || this.attachments.files.length > 0) {
                event.preventDefault();
            }
        });
    }

    thinkSwitch() {
        const model = this.page.session.models[0];
        const offered = model.can_skip_thinking === false ? ["on", "max"] : ["off", "on", "max"];
        const option = (value) => {
            const input = h("input", { type: "radio", name: "think", value,
                onchange: () => savePref("think", value) });
            input.checked = (offered.includes(readPrefs().think) ? readPrefs().think : "on") === value;
            return h("label", null, input, h("span", null, t(`think_${value}`)));
        };
        const box = h("fieldset", { class: "think-switch" }, h("legend", null, icon("bulb"), t("think")),
            offered.map(option));
        box.hidden = model.can_think === false;
        return box;
    }

    get thinking() {
        return this.think.hidden ? "off" : this.think.querySelector("input:checked")?.value ?? "on";
    }

    set thinking(value) {
        const input = this.think.querySelector(`input[value="${value}"]`);
        if (input !== null) {
            input.checked = true;
        }
    }

    cycleThinking() {
        const inputs = [...this.think.querySelectorAll("input")];
        const next = inputs[(inputs.findIndex((input) => input.checked) + 1) % inputs.length];
        next.checked = true;
        savePref("think", next.value);
        this.page.announcer.say(`${t("think")}: ${t(`think_${next.value}`)}`);
    }

    // Goes over to another chat: what was written for the one before waits there.
    show(conversation) {
        this.takeDraft();
        this.conversation = conversation;
        this.meter.excess = 0;
        const draft = this.drafts.get(this.draftKey()) ?? { text: "", files: [] };
        this.field.value = draft.text;
        this.hideError();
        this.attachments.set(draft.files);
        const last = conversation.path().findLast((message) => message.think);
        this.thinking = last?.think ?? readPrefs().think;
        this.form.classList.toggle("is-temporary", conversation.chat.temporary);
        this.changed();
    }

    // What is written now, among what waits elsewhere.
    takeDraft() {
        if (this.conversation !== null && this.hasContent) {
            const files = this.attachments.files.filter((file) => file.text !== null);
            this.drafts.set(this.draftKey(), { text: this.field.value, files });
        } else if (this.conversation !== null) {
            this.drafts.delete(this.draftKey());
        }
    }

    // A reload, or a browser that needs the memory, takes nothing away. Files may be more than has room.
    keepDrafts() {
        this.takeDraft();
        const texts = [...this.drafts].map(([key, { text }]) => [key, { text, files: [] }]);
        for (const drafts of [[...this.drafts], texts]) {
            try {
                sessionStorage.setItem(DRAFTS, JSON.stringify(drafts));
                return;
            } catch { /* without the files, then */ }
        }
    }

    // The next person at this screen is another one.
    forget() {
        this.drafts.clear();
        this.field.value = "";
        this.attachments.set([]);
        sessionStorage.removeItem(DRAFTS);
    }

    draftKey() {
        return this.conversation.chat.id ?? "new";
    }

    // The button sends or stops, by what the chat is doing.
    showState() {
        const live = this.conversation.live();
        const busy = live !== null;
        if (this.busy !== busy) {
            this.busy = busy;
            this.button.replaceChildren(icon(busy ? "stop" : "up"));
            this.button.classList.toggle("is-stop", busy);
            this.button.setAttribute("aria-label", t(busy ? "stop" : "send"));
            this.button.title = t(busy ? "stop_title" : "send");
        }
        this.now.hidden = live?.phase.name !== "thinking";
        this.button.disabled = !busy && (this.sending || !this.hasContent || this.attachments.reading
            || this.meter.excess > 0);
        if (!busy) {
            this.hideError("busy");
        }
    }

    get hasContent() {
        return this.field.value.trim() !== "" || this.attachments.files.length > 0;
    }

    changed() {
        if (!CSS.supports("field-sizing", "content")) {
            this.field.style.height = "auto";
            this.field.style.height = `${this.field.scrollHeight}px`;
        }
        if (this.conversation !== null) {
            this.showState();
            this.meter.count(this.conversation, this.attachments.reading ? null
                : { content: this.field.value, attachments: this.attachments.list() });
        }
    }

    // What is too long is said before it is sent.
    onmeter() {
        const { excess, excessWords } = this.meter;
        if (excess > 0) {
            const key = this.conversation.path().length === 0 ? "too_long"
                : this.hasContent ? "too_long_here" : "chat_too_long";
            this.showError(t(key, { n: excessWords }), this.newChatAction(), "long");
        } else {
            this.hideError("long");
        }
        this.showState();
    }

    onkeydown(event) {
        if (event.isComposing || event.keyCode === 229) {
            return; // an input method is at work
        }
        if (event.key === "Enter") {
            const command = event.ctrlKey || event.metaKey;
            const typing = event.shiftKey || window.matchMedia("(pointer: coarse)").matches;
            if (command || (readPrefs().enterSends && !typing)) {
                event.preventDefault();
                this.submit();
            }
        } else if (event.key === "ArrowUp" && this.field.value === "" && this.page.editLast()) {
            event.preventDefault();
        }
    }

    onpaste(event) {
        const { files } = event.clipboardData;
        const text = event.clipboardData.getData("text/plain");
        if (files.length > 0 && text === "") {
            event.preventDefault();
            this.attachments.add(files);
        } else if (text.length > LONG_PASTE) {
            event.preventDefault();
            this.attachments.addPaste(text);
            this.page.announcer.say(t("pasted_as_file"));
        }
    }

    async pick() {
        await this.attachments.add(this.picker.files);
        this.picker.value = "";
        this.field.focus();
    }

    listenForDrops() {
        const withFiles = (event) => event.dataTransfer?.types.includes("Files");
        document.addEventListener("dragover", (event) => {
            if (withFiles(event)) {
                event.preventDefault();
                this.form.classList.add("is-target");
            }
        });
        document.addEventListener("dragleave", (event) => {
            if (event.relatedTarget === null) {
                this.form.classList.remove("is-target");
            }
        });
        document.addEventListener("drop", (event) => {
            this.form.classList.remove("is-target");
            if (withFiles(event)) {
                event.preventDefault();
                this.attachments.add(event.dataTransfer.files);
            }
        });
    }

    onsubmit(event) {
        event.preventDefault();
        if (this.busy) {
            this.page.stop();
            this.field.focus();
        } else {
            this.submit();
        }
    }

    async submit() {
        if (this.busy) {
            this.showError(t("busy"), null, "busy");
            return;
        }
        if (this.sending || !this.hasContent || this.attachments.reading || this.meter.excess > 0) {
            return;
        }
        this.hideError();
        this.sending = true;
        this.field.readOnly = true; // what is typed now would be taken away with what is sent
        this.showState();
        const { conversation } = this;
        const key = this.draftKey();
        const turn = { content: this.field.value, attachments: this.attachments.list() };
        try {
            if (await this.page.catchUp() > 0) {
                this.showError(t("went_on_read"), { label: t("send"), onclick: () => this.submit() });
                return;
            }
            if (this.conversation !== conversation) {
                return;
            }
            await this.page.send({ ...turn, parent: conversation.path().at(-1)?.id ?? null });
            this.drafts.delete(key);
            if (this.conversation === conversation) {
                this.field.value = "";
                this.attachments.set([]);
            }
        } catch (error) {
            const elsewhere = error.code === "context_length_exceeded" || error.status === 404;
            this.showError(error.message, (elsewhere ? this.newChatAction() : null)
                ?? { label: t("retry"), onclick: () => this.submit() });
        } finally {
            this.sending = false;
            this.field.readOnly = false;
            this.changed();
        }
    }

    // The chat was deleted in another window; what was written need not be.
    showGone() {
        this.showError(t("no_such_chat"), this.newChatAction());
    }

    // Where a chat has filled the context: what was written goes along to an empty one.
    newChatAction() {
        return this.conversation.path().length === 0 ? null
            : { label: t("new_chat"), onclick: () => this.moveToNewChat() };
    }

    moveToNewChat() {
        this.drafts.set("new", { text: this.field.value, files: this.attachments.files });
        this.field.value = "";
        this.attachments.set([]);
        location.hash = "#/";
    }

    // action: { label, onclick } or null, what can be done about it. cause: for hideError, when that is over.
    showError(words, action = null, cause = null) {
        this.cause = cause;
        this.error.replaceChildren(icon("alert"), h("span", null, words),
            action === null ? "" : h("button", { type: "button", class: "button", onclick: action.onclick },
                action.label),
            iconButton("close", t("close"), () => this.hideError(), { class: "icon-button small" }));
        this.error.hidden = false;
    }

    // cause: only an error of that cause.
    hideError(cause = this.cause) {
        if (this.cause !== cause) {
            return;
        }
        this.error.hidden = true;
        this.error.replaceChildren();
    }

    focus() {
        this.field.focus();
    }
}
