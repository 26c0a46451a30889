// The branch that is shown, as a column that scrolls. A thousand messages open at once because each is drawn
// only when it comes near the part that is looked at; the column stays at its end while an answer grows, unless
// the person scrolled away from there.

import { h, icon } from "./dom.js";
import { MessageView } from "./message.js";
import { turnEditor } from "./turneditor.js";
import { t } from "./strings.js";

const AHEAD = "1200px"; // how far outside the window messages are drawn
const OPENING_MS = 2000; // how long what is drawn first may move things
const SCROLL_KEYS = ["PageUp", "PageDown", "Home", "End", "ArrowUp", "ArrowDown", " "];
const BY_HAND_MS = 1000; // how long a scroll counts as a person's
const AT_END = 48; // px from the end that still count as the end

export class ChatView {
    // page: send, regenerate, showFile, announce
    constructor(page) {
        this.page = page;
        this.views = new Map();
        this.conversation = null;
        this.column = h("div", { class: "column" });
        this.toEnd = h("button", { type: "button", class: "to-end", hidden: true, "aria-label": t("to_end"),
            title: t("to_end"), onclick: () => this.scrollToEnd() }, icon("down"));
        this.scroller = h("div", { class: "scroller", tabindex: "-1", onscroll: () => this.onscroll() },
            this.column);
        this.element = h("div", { class: "chat-view" }, this.scroller, this.toEnd);
        this.stick = true; // the end stays in sight
        this.touched = -Infinity;
        this.held = false;
        this.listenForHands();
        this.near = new IntersectionObserver((entries) => entries.forEach((entry) => {
            if (entry.isIntersecting) {
                this.views.get(entry.target.dataset.message)?.fill();
                this.near.unobserve(entry.target);
            }
        }), { root: this.scroller, rootMargin: AHEAD });
        this.size = new ResizeObserver(() => {
            if (this.stick) {
                this.scroller.scrollTop = this.scroller.scrollHeight;
            }
        });
        this.size.observe(this.column);
        this.size.observe(this.scroller);
        this.heard = {
            branch: () => this.showBranch(),
            live: (event) => this.showLive(event.detail),
        };
    }

    show(conversation) {
        for (const [name, listener] of Object.entries(this.heard)) {
            this.conversation?.removeEventListener(name, listener);
            conversation.addEventListener(name, listener);
        }
        this.conversation = conversation;
        this.shown = performance.now();
        this.views.forEach((view) => view.dispose());
        this.views.clear();
        this.column.replaceChildren();
        this.stick = true;
        this.showBranch();
    }

    showBranch() {
        const path = this.conversation.path();
        const shown = new Set(path.map((message) => message.id));
        for (const [id, view] of this.views) {
            if (!shown.has(id)) {
                this.near.unobserve(view.element);
                view.dispose();
                view.element.remove();
                this.views.delete(id);
            }
        }
        const fresh = document.createDocumentFragment();
        for (const message of path) {
            const known = this.views.get(message.id);
            if (known !== undefined) {
                if (known.filled && message.state !== "writing") {
                    known.showFooter(); // it may have other siblings now
                }
                continue;
            }
            const view = new MessageView(message, this);
            this.views.set(message.id, view);
            fresh.append(view.element);
            if (message.state === "writing") {
                view.live(this.conversation.lives.get(message.id) ?? null);
            } else {
                this.near.observe(view.element);
            }
        }
        this.column.append(fresh);
        if (this.stick) {
            this.scroller.scrollTop = this.scroller.scrollHeight;
        }
    }

    showLive({ message, live }) {
        const view = this.views.get(message.id);
        if (view !== undefined) {
            view.live(live);
            this.page.announcer.feed(message.id, message.content, live === null);
        }
    }

    // Only a person leaves the end: it moves by itself, too, while a chat is opened and an answer written.
    onscroll() {
        const { scrollTop, scrollHeight, clientHeight } = this.scroller;
        const atEnd = scrollHeight - scrollTop - clientHeight < AT_END;
        const now = performance.now();
        const quiet = now - this.shown > OPENING_MS && this.conversation.live() === null;
        if (atEnd || quiet || this.held || now - this.touched < BY_HAND_MS) {
            this.stick = atEnd;
        }
        this.toEnd.hidden = this.stick;
    }

    // When a person last did what may scroll.
    listenForHands() {
        for (const name of ["wheel", "touchmove", "pointerdown"]) {
            this.scroller.addEventListener(name, () => {
                this.touched = performance.now();
                this.held ||= name === "pointerdown";
            }, { passive: true });
        }
        document.addEventListener("keydown", (event) => {
            if (SCROLL_KEYS.includes(event.key) && event.target.closest("textarea, input") === null) {
                this.touched = performance.now();
            }
        });
        window.addEventListener("pointerup", () => {
            this.held = false;
        });
    }

    scrollToEnd() {
        this.stick = true;
        this.scroller.scrollTop = this.scroller.scrollHeight;
    }

    // Scrolls an element into view, away from the end where it must be.
    bring(element, block) {
        this.stick = false;
        element.scrollIntoView({ block });
        // What is drawn above it on the way moves it: once more, when that is done.
        requestAnimationFrame(() => requestAnimationFrame(() => element.scrollIntoView({ block })));
    }

    // Brings a message of the shown branch to the upper part of the window and marks it for a moment.
    reveal(id) {
        const view = this.views.get(id);
        if (view === undefined) {
            return;
        }
        view.fill();
        this.bring(view.element, "start");
        view.element.classList.add("is-marked");
        setTimeout(() => view.element.classList.remove("is-marked"), 2000);
        view.element.tabIndex = -1;
        view.element.focus({ preventScroll: true });
    }

    // What messages ask for.

    siblings(message) {
        return this.conversation.tree.siblings(message.id);
    }

    select(id, focus) {
        this.conversation.select(id);
        const button = this.views.get(id);
        button?.fill();
        const wanted = button?.element.querySelector(`[data-action="${focus}"]`);
        (wanted?.disabled ? wanted.parentElement.querySelector("button:not(:disabled)") : wanted)?.focus();
    }

    regenerate(message, think) {
        this.stick = true;
        return this.page.regenerate(message, think);
    }

    canSkipThinking() {
        return this.page.session.models[0].can_skip_thinking;
    }

    edit(view) {
        view.fill();
        const { message } = view;
        const done = (focus) => {
            editor.remove();
            view.element.classList.remove("is-edited");
            if (focus) {
                view.element.querySelector("[data-action=edit]")?.focus();
            }
        };
        if (view.element.classList.contains("is-edited")) {
            return;
        }
        const editor = turnEditor(message, async (content) => {
            this.stick = true;
            await this.page.send({ parent: message.parent, content, attachments: message.attachments ?? [] });
            done(false);
        }, () => done(true));
        view.element.classList.add("is-edited");
        view.element.append(editor);
        editor.querySelector("textarea").focus({ preventScroll: true });
        this.bring(view.element, "nearest");
    }

    editLast() {
        const last = this.conversation.path().findLast((message) => message.role === "user");
        if (last === undefined || this.conversation.live() !== null) {
            return false;
        }
        this.edit(this.views.get(last.id));
        return true;
    }

    showFile(file) {
        this.page.showFile(file);
    }
}
