// The page of a person who is signed in: side bar, top bar, and the view that the address asks for.
//   #/ new chat · #/temporary · #/chat/ID · #/chat/ID/MESSAGE · #/keys · #/usage

import { h, icon, iconButton } from "./dom.js";
import { Announcer } from "./announcer.js";
import { api } from "./api.js";
import { ChatActions } from "./chatactions.js";
import { ChatList } from "./chatlist.js";
import { ChatView } from "./chatview.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { closeDialogs, openDialog } from "./dialog.js";
import { aboutModel, greetingWords } from "./greeting.js";
import { keysView } from "./keysview.js";
import { pageSettings } from "./pagesettings.js";
import { readPrefs, savePref } from "./prefs.js";
import { installShortcuts } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { signinDialog } from "./signin.js";
import { Toasts } from "./toasts.js";
import { usageView } from "./usageview.js";
import { t } from "./strings.js";

const TITLE = 60; // characters of the first turn that name a chat which the server gave no name
const LOOK_MS = 1000; // between two looks whether a chat went on elsewhere
const NARROW = "(max-width: 820px)";

// Whole words, as many as fit.
function shortTitle(words) {
    return words.length <= TITLE ? words : `${words.slice(0, TITLE).replace(/\s+\S*$/, "")}…`;
}

export class Page {
    constructor(session) {
        this.session = session;
        this.chats = session.owner.chat; // a key may be for administration alone
        this.conversation = null;
        this.looked = 0;
        this.announcer = new Announcer();
        this.toasts = new Toasts();
        this.list = new ChatList();
        this.actions = new ChatActions(this);
        this.sidebar = new Sidebar(this, this.list);
        this.chatView = new ChatView(this);
        this.composer = new Composer(this);
        this.heard = { branch: () => this.onbranch(), live: () => this.composer.showState(),
            chat: () => {
                this.showTitle();
                this.showOwnSettings();
            },
            end: () => this.onend() };
        this.build();
    }

    build() {
        this.title = h("h1", { class: "chat-heading" });
        this.badge = h("span", { class: "badge", hidden: true }, icon("ghost"), t("temporary"));
        this.more = iconButton("more", t("chat_actions"),
            () => this.actions.menu(this.more, this.conversation.chat),
            { "aria-haspopup": "menu" });
        this.treeButton = iconButton("tree", t("tree"), () => this.actions.tree());
        this.settingsButton = iconButton("sliders", t("chat_settings"), () => this.actions.settings());
        this.chatTools = h("span", { class: "chat-tools" }, this.treeButton,
            this.settingsButton, this.more);
        this.model = h("span", { class: "model-name", title: aboutModel(this.session) },
            this.session.models[0].id);
        this.greeting = h("div", { class: "greeting" });
        this.view = h("div", { class: "view" });
        this.main = h("main", { class: "main", id: "main", tabindex: "-1" },
            h("header", { class: "topbar" },
                iconButton("menu", t("show_sidebar"), () => this.toggleSidebar(),
                    { class: "icon-button show-sidebar",
                    "aria-controls": "sidebar" }),
                this.title, this.badge, h("span", { class: "spacer" }), this.model, this.chatTools), this.view);
        this.app = h("div", { class: "app" }, this.sidebar.element,
            h("div", { class: "backdrop", onclick: () => this.toggleSidebar(false) }), this.main);
        this.app.classList.toggle("no-sidebar", !readPrefs().sidebar);
        const skip = h("a", { class: "skip-link", href: "#main", onclick: (event) => {
            event.preventDefault();
            (this.conversation === null ? this.main : this.composer).focus();
        } }, t("skip_link"));
        this.elements = [skip, this.app, this.toasts.element, this.announcer.element];
    }

    async begin() {
        installShortcuts(this);
        window.addEventListener("hashchange", () => this.route());
        window.addEventListener("signedout", () => this.signInAgain());
        if (this.chats) {
            for (const name of ["focus", "visibilitychange"]) {
                window.addEventListener(name, () => this.look());
            }
            this.list.load().catch((error) => this.toasts.show(error.message));
        }
        await this.route();
        if (history.state?.settings) {
            history.replaceState(null, "");
            this.openSettings();
        }
    }

    async route() {
        const [, where = "", id, message] = location.hash.split("/");
        this.toggleSidebar(false, true);
        closeDialogs();
        if (where === "keys" || where === "usage" || !this.chats) {
            this.showSheet(where);
        } else if (where === "chat" && id) {
            await this.openChat(id, message);
        } else {
            if (where !== "" && where !== "temporary") {
                this.toasts.show(t("nowhere"));
            }
            this.showConversation(new Conversation({ temporary: where === "temporary" }));
            this.list.refresh();
        }
    }

    // Keys or usage; who may see neither, or no chats, is told so.
    showSheet(where) {
        const { admin } = this.session.owner;
        const name = where === "usage" ? "usage" : "keys";
        const title = t(admin || this.chats ? name : "no_chats_title");
        this.leaveChat();
        this.title.textContent = title;
        document.title = `${title} · Fathom`;
        if (admin || (name === "usage" && this.chats)) {
            this.view.replaceChildren(name === "keys" ? keysView(this) : usageView(this));
        } else {
            this.view.replaceChildren(h("div", { class: "sheet" }, h("p", { class: "empty" },
                t(this.chats ? "keys_not_yours" : "no_chats_yours"))));
        }
    }

    leaveChat() {
        for (const [name, listener] of Object.entries(this.heard)) {
            this.conversation?.removeEventListener(name, listener);
        }
        this.conversation?.close();
        this.conversation = null;
        this.chatTools.hidden = true;
        this.model.hidden = true;
        this.badge.hidden = true;
        this.main.classList.remove("is-empty", "is-temporary");
        this.sidebar.mark(null);
    }

    async openChat(id, message) {
        if (this.conversation?.chat.id !== id) {
            this.wanted = id;
            try {
                const conversation = await Conversation.open(id);
                if (this.wanted !== id) {
                    return; // another one was asked for meanwhile
                }
                this.list.know(conversation.chat);
                this.showConversation(conversation);
            } catch (error) {
                this.toasts.show(error.status === 404 ? t("no_such_chat") : error.message);
                if (error.status === 404) {
                    this.list.drop(id);
                }
                location.hash = "#/";
                return;
            }
        }
        if (message) {
            this.goTo(message);
            history.replaceState(null, "", `#/chat/${id}`);
        }
    }

    // A person comes back to the page: the chat may have gone on elsewhere.
    async look() {
        const now = Date.now();
        if (document.hidden || now - this.looked < LOOK_MS) {
            return;
        }
        this.looked = now;
        this.list.refresh();
        const { conversation } = this;
        try {
            if (await this.catchUp() > 0) {
                const here = conversation.path().some((message) => message.id === conversation.last);
                this.toasts.show(t("went_on"), here ? null : { label: t("show"),
                    onclick: () => conversation.select(conversation.last) });
            }
        } catch (error) {
            if (error.status === 404) {
                this.composer.showGone();
            }
        }
    }

    // Gives how many messages of the open chat came from elsewhere.
    async catchUp() {
        const { conversation } = this;
        if (!conversation?.chat.id) {
            return 0;
        }
        const count = await conversation.refresh();
        if (count > 0) {
            this.refreshList();
        }
        return this.conversation === conversation ? count : 0;
    }

    showConversation(conversation) {
        this.leaveChat();
        this.wanted = conversation.chat.id;
        this.conversation = conversation;
        for (const [name, listener] of Object.entries(this.heard)) {
            conversation.addEventListener(name, listener);
        }
        this.chatTools.hidden = false;
        this.model.hidden = false;
        if (this.chatView.element.parentNode !== this.view) {
            this.view.replaceChildren(this.greeting, this.chatView.element, this.composer.element);
        }
        this.chatView.show(conversation);
        this.composer.show(conversation);
        this.onbranch();
        this.sidebar.mark(conversation.chat.id);
        if (!window.matchMedia("(pointer: coarse)").matches) {
            this.composer.focus();
        }
    }

    onbranch() {
        const { chat, tree } = this.conversation;
        const empty = tree.size === 0;
        this.main.classList.toggle("is-empty", empty);
        this.main.classList.toggle("is-temporary", chat.temporary);
        this.badge.hidden = !chat.temporary;
        this.treeButton.hidden = empty;
        this.more.hidden = chat.id === null;
        this.greeting.replaceChildren(...(empty ? greetingWords(this.session, chat) : []));
        this.composer.showState();
        this.showTitle();
        this.showOwnSettings();
    }

    // A dot on the button, and words, where a chat has a system prompt or settings of its own.
    showOwnSettings() {
        const { system, settings } = this.conversation.chat;
        const own = Boolean(system) || Object.keys(settings ?? {}).length > 0;
        const words = t(own ? "chat_settings_own" : "chat_settings");
        this.settingsButton.classList.toggle("has-own", own);
        this.settingsButton.title = words;
        this.settingsButton.setAttribute("aria-label", words);
    }

    showTitle() {
        const { chat, tree } = this.conversation;
        const title = chat.title || (tree.size > 0 ? t("untitled") : t("new_chat"));
        this.title.textContent = title;
        document.title = tree.size > 0 ? `${title} · Fathom` : "Fathom";
    }

    onend() {
        this.composer.showState();
        this.composer.changed();
        this.refreshList();
    }

    // The server may have found a title meanwhile.
    async refreshList() {
        try {
            await this.list.load();
        } catch (error) {
            this.toasts.show(error.message);
        }
        const known = this.list.chats.find((chat) => chat.id === this.conversation?.chat.id);
        if (known !== undefined) {
            this.conversation.chat.title = known.title;
            this.showTitle();
        }
    }

    // What the composer and the messages ask for.

    async send(turn) {
        const { conversation } = this;
        this.chatView.scrollToEnd();
        const made = await conversation.send({ ...turn, think: this.composer.thinking });
        if (made && this.conversation === conversation) {
            history.replaceState(null, "", `#/chat/${conversation.chat.id}`);
            this.wanted = conversation.chat.id;
            this.sidebar.mark(conversation.chat.id);
        }
        if (made) {
            this.list.know(conversation.chat);
        }
        this.refreshList().then(() => {
            if (made && conversation.chat.title === "") {
                const words = turn.content.trim().split("\n", 1)[0] || turn.attachments[0].name;
                this.actions.change(conversation.chat, { title: shortTitle(words) });
            }
        });
    }

    async regenerate(message, think = this.composer.thinking) {
        try {
            await this.conversation.regenerate(message, think);
        } catch (error) {
            this.composer.showError(error.message, { label: t("retry"), onclick: () => {
                this.composer.hideError();
                this.regenerate(message, think);
            } });
        }
    }

    stop() {
        return this.conversation?.stop().catch((error) => this.composer.showError(error.message));
    }

    answerNow() {
        return this.conversation.answerNow().catch((error) => this.composer.showError(error.message));
    }

    editLast() {
        return this.chatView.editLast();
    }

    goTo(message) {
        const { conversation } = this;
        if (conversation.tree.get(message) === undefined) {
            return;
        }
        if (!conversation.path().some((one) => one.id === message)) {
            conversation.select(message);
        }
        this.chatView.reveal(message);
    }

    showFile(file) {
        openDialog(file.name, h("pre", { class: "file-text", tabindex: "0" }, file.text), { wide: true });
    }

    chatMenu(button, chat) {
        this.actions.menu(button, chat);
    }

    openSettings() {
        pageSettings(this);
    }

    // The key was revoked or the session ran out: what was written stays behind the window.
    async signInAgain() {
        if (document.querySelector("dialog form [type=password]") === null) {
            await signinDialog();
            if (this.chats) {
                this.refreshList();
            }
        }
    }

    async signOut() {
        await api.logout().catch(() => {});
        this.composer.forget();
        location.hash = "#/";
        location.reload();
    }

    // Wide screens fold the side bar away and remember it; narrow ones lay it over the page.
    toggleSidebar(open, onlyDrawer = false) {
        const narrow = window.matchMedia(NARROW).matches;
        if (narrow || onlyDrawer) {
            const shown = narrow && (open ?? !this.app.classList.contains("drawer-open"));
            this.app.classList.toggle("drawer-open", shown);
            this.main.inert = shown;
            if (shown) {
                this.sidebar.search.focus();
            }
            return;
        }
        const shown = open ?? this.app.classList.contains("no-sidebar");
        this.app.classList.toggle("no-sidebar", !shown);
        savePref("sidebar", shown);
    }

    focusSearch() {
        if (!this.chats) {
            return;
        }
        const narrow = window.matchMedia(NARROW).matches;
        if (narrow ? !this.app.classList.contains("drawer-open") : this.app.classList.contains("no-sidebar")) {
            this.toggleSidebar(true);
        }
        this.sidebar.search.focus();
        this.sidebar.search.select();
    }
}
