// The side bar: new chat, search, the chats by pin, folder and day, and the ways to the other views.

import { h, icon, iconButton } from "./dom.js";
import { readPrefs, savePref } from "./prefs.js";
import { t, formatMonth } from "./strings.js";

const DAY = 86400000;
const SEARCH_PAUSE_MS = 150;
const BEFORE_HIT = 24; // characters of a snippet before its hit

// The heading a chat stands under, by its last change.
function dayGroup(updated, now = Date.now()) {
    const midnight = new Date(now).setHours(0, 0, 0, 0);
    if (updated >= midnight) {
        return t("today");
    }
    if (updated >= midnight - DAY) {
        return t("yesterday");
    }
    if (updated >= midnight - 7 * DAY) {
        return t("last_week");
    }
    return updated >= midnight - 30 * DAY ? t("last_month") : formatMonth(updated);
}

// The server marks hits with U+0002 and U+0003.
const marked = (text) => text.split(/(\u0002[^\u0003]*\u0003)/).map((part) => (part.startsWith("\u0002")
    ? h("mark", null, part.slice(1, -1)) : part));

// From a few words before the first hit, so that the lines that are shown have it.
export function snippetParts(snippet) {
    const at = snippet.indexOf("\u0002");
    const before = snippet.slice(0, Math.max(at, 0));
    const few = before.slice(-BEFORE_HIT).replace(/^\S*\s/, "");
    return marked(before.length > BEFORE_HIT ? `…${few}${snippet.slice(at)}` : snippet);
}

export class Sidebar {
    // page: newChat, chatMenu, openSettings, session; list: a ChatList
    constructor(page, list) {
        this.page = page;
        this.list = list;
        this.current = null;
        this.timer = null;
        this.search = h("input", { type: "search", id: "search", placeholder: t("search"),
            "aria-label": t("search"),
            autocomplete: "off", oninput: () => this.onsearch(),
            onkeydown: (event) => this.onsearchkey(event) });
        this.items = h("div", { class: "chat-list" });
        this.sentinel = h("div", { class: "list-end" });
        const scroller = h("div", { class: "sidebar-scroll" }, this.items, this.sentinel);
        const { session } = page;
        const { admin, chat } = session.owner;
        const row = (name, label, href) => h("a", { class: "side-row", href }, icon(name),
            h("span", null, label));
        this.element = h("nav", { class: "sidebar", id: "sidebar", "aria-label": t("chats") },
            h("div", { class: "sidebar-top" }, h("a", { class: "brand", href: "#/" },
                h("img", { src: "/icon.svg", alt: "", width: "26", height: "26" }), h("span", null, "Fathom")),
            iconButton("panel", t("hide_sidebar"), () => page.toggleSidebar())),
            ...(chat ? [row("compose", t("new_chat"), "#/"), row("ghost", t("temporary_chat"), "#/temporary"),
                h("div", { class: "search-box", role: "search" }, icon("search"), this.search)] : []), scroller,
            h("div", { class: "sidebar-foot" },
                admin ? row("key", t("keys"), "#/keys") : null,
                admin || chat ? row("chart", t("usage"), "#/usage") : null,
                h("button", { type: "button", class: "side-row", onclick: () => page.openSettings() },
                    icon("gear"),
                    h("span", null, t("settings"))),
                session.key_required ? h("button", { type: "button", class: "side-row",
                    onclick: () => page.signOut() },
                    icon("out"), h("span", null, t("sign_out_name", { name: session.owner.name }))) : null));
        list.addEventListener("change", () => this.show());
        new IntersectionObserver((entries) => {
            if (entries[0].isIntersecting && list.more) {
                list.loadMore().catch((error) => page.toasts.show(error.message));
            }
        }, { root: scroller, rootMargin: "400px" }).observe(this.sentinel);
    }

    onsearch() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.list.load(this.search.value.trim())
            .catch((error) => this.page.toasts.show(error.message)), SEARCH_PAUSE_MS);
    }

    onsearchkey(event) {
        if (event.key === "Escape" && this.search.value !== "") {
            event.preventDefault();
            event.stopPropagation();
            this.search.value = "";
            this.onsearch();
        } else if (event.key === "ArrowDown" || (event.key === "Enter" && !event.isComposing)) {
            event.preventDefault();
            const first = this.items.querySelector("a.chat-link");
            first?.focus();
            if (event.key === "Enter") {
                first?.click();
            }
        }
    }

    // Marks the chat that is open.
    mark(id) {
        this.current = id;
        this.items.querySelectorAll(".chat-item").forEach((item) => this.markItem(item));
    }

    markItem(item) {
        const here = item.dataset.chat === this.current;
        item.classList.toggle("is-current", here);
        item.querySelector("a").setAttribute("aria-current", here ? "page" : "false");
    }

    show() {
        const chats = this.list.visible().filter((chat) => this.list.search === "" || !chat.temporary);
        const focused = document.activeElement?.closest(".chat-item")?.dataset.chat;
        if (chats.length === 0) {
            this.items.replaceChildren(h("p", { class: "empty" },
                t(this.list.search === "" ? "no_chats" : "no_hits")));
            return;
        }
        this.items.replaceChildren(...(this.list.search === "" ? this.groups(chats)
            : [h("ul", { "aria-label": t("search_hits") }, chats.map((chat) => this.item(chat)))]));
        if (focused !== undefined) {
            this.items.querySelector(`[data-chat="${CSS.escape(focused)}"] a`)?.focus();
        }
    }

    // A pinned chat of a folder is in both places.
    groups(chats) {
        const groups = [];
        const temporary = chats.filter((chat) => chat.temporary);
        if (temporary.length > 0) {
            groups.push(this.group(t("temporary"), temporary));
        }
        const pinned = chats.filter((chat) => chat.pinned);
        if (pinned.length > 0) {
            groups.push(this.group(t("pinned"), pinned));
        }
        for (const folder of this.list.folders()) {
            const inside = chats.filter((chat) => chat.folder === folder);
            if (inside.length > 0) {
                groups.push(this.folder(folder, inside));
            }
        }
        const days = new Map();
        for (const chat of chats.filter((one) => !one.pinned && !one.folder && !one.temporary)) {
            const day = dayGroup(chat.updated);
            days.set(day, [...(days.get(day) ?? []), chat]);
        }
        days.forEach((inside, day) => groups.push(this.group(day, inside)));
        return groups;
    }

    group(title, chats) {
        return h("section", { class: "chat-group" }, h("h2", null, title),
            h("ul", { "aria-label": title }, chats.map((chat) => this.item(chat))));
    }

    folder(name, chats) {
        const closed = readPrefs().closedFolders;
        return h("details", { class: "chat-group folder", open: !closed.includes(name), ontoggle: (event) => {
            const now = readPrefs().closedFolders.filter((one) => one !== name);
            savePref("closedFolders", event.target.open ? now : [...now, name]);
        } }, h("summary", null, icon("folder"), h("span", null, name), icon("chevron")),
        h("ul", { "aria-label": name }, chats.map((chat) => this.item(chat))));
    }

    item(chat) {
        const title = chat.title || t("untitled");
        // A hit in the title alone has the title as its text.
        const titleHit = chat.snippet && !chat.message;
        const titleParts = titleHit ? marked(chat.snippet) : title;
        const href = chat.message ? `#/chat/${chat.id}/${chat.message}` : `#/chat/${chat.id}`;
        const more = iconButton("more", t("chat_menu", { title }), () => this.page.chatMenu(more, chat),
            { class: "icon-button small", "aria-haspopup": "menu" });
        const item = h("li", { class: "chat-item", "data-chat": chat.id },
            h("a", { class: "chat-link", href, title }, h("span", { class: "chat-title" },
                chat.pinned && chat.folder ? icon("pin") : null, titleParts),
                chat.snippet && !titleHit ? h("span", { class: "snippet" }, snippetParts(chat.snippet)) : null),
        more);
        this.markItem(item);
        return item;
    }
}
