// The chats that the side bar lists: the server's list as far as it was asked for. Event: change.

import { api } from "./api.js";

const PAGE = 60;
const FRESH_MS = 3000; // so long a list is not asked for again by itself
export const UNDO_MS = 8000;

export class ChatList extends EventTarget {
    constructor() {
        super();
        this.chats = [];
        this.temporary = []; // those that were open here: the server lists none
        this.more = false;
        this.search = "";
        this.leaving = new Map(); // id → timer: deleted, but not yet at the server
        this.control = null;
        this.asked = 0; // when the list was asked for
        window.addEventListener("pagehide", () => this.leaving.forEach((timer, id) => {
            clearTimeout(timer);
            api.deleteChat(id, true).catch(() => {});
        }));
    }

    changed() {
        this.dispatchEvent(new Event("change"));
    }

    visible() {
        return [...this.temporary, ...this.chats].filter((chat) => !this.leaving.has(chat.id));
    }

    folders() {
        const names = new Set(this.chats.map((chat) => chat.folder).filter(Boolean));
        return [...names].sort((a, b) => a.localeCompare(b));
    }

    // The first page anew, or, with a search, what is found.
    async load(search = this.search) {
        this.search = search;
        this.asked = Date.now();
        this.control?.abort();
        this.control = new AbortController();
        try {
            const limit = search === "" ? Math.max(PAGE, this.chats.length) : PAGE;
            const reply = await api.chats({ search, limit: Math.min(limit, 500) }, this.control.signal);
            this.chats = reply.chats;
            this.more = reply.more;
            this.changed();
        } catch (error) {
            if (error.name !== "AbortError") {
                throw error;
            }
        }
    }

    // What came from other windows and devices, where the list is no longer fresh. Nobody asked for it: what
    // goes wrong is said where people do something.
    async refresh() {
        if (Date.now() - this.asked >= FRESH_MS) {
            await this.load().catch(() => {});
        }
    }

    async loadMore() {
        const reply = await api.chats({ search: this.search, limit: PAGE, before: this.chats.at(-1)?.id });
        const known = new Set(this.chats.map((chat) => chat.id));
        this.chats.push(...reply.chats.filter((chat) => !known.has(chat.id)));
        this.more = reply.more;
        this.changed();
    }

    async change(id, fields) {
        const chat = await api.changeChat(id, fields);
        const renew = (one) => (one.id === id ? { ...one, ...chat } : one);
        this.chats = this.chats.map(renew);
        this.temporary = this.temporary.map(renew);
        this.changed();
        return chat;
    }

    // A chat is open. What is written in a temporary one goes on when it is left: this is the way back.
    know(chat) {
        if (chat.temporary) {
            this.temporary = [{ ...chat }, ...this.temporary.filter((one) => one.id !== chat.id)];
            this.changed();
        }
    }

    // It is not at the server any more.
    drop(id) {
        this.chats = this.chats.filter((chat) => chat.id !== id);
        this.temporary = this.temporary.filter((chat) => chat.id !== id);
        this.changed();
    }

    async removeAll() {
        await api.deleteAllChats();
        this.temporary = [];
    }

    // Gone from the list at once, at the server a little later; undo() brings it back until then.
    remove(id, failed) {
        const now = () => {
            this.leaving.delete(id);
            this.drop(id);
            api.deleteChat(id).catch((error) => {
                failed(error);
                this.load();
            });
        };
        this.leaving.set(id, setTimeout(now, UNDO_MS));
        this.changed();
        return () => {
            clearTimeout(this.leaving.get(id));
            this.leaving.delete(id);
            this.changed();
        };
    }
}
