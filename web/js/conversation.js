// The chat that is open: its messages, the branch that is shown, and what can be done with it. Events:
//   branch  other messages are shown       live    { message, live } an answer has more text
//   chat    title, settings … changed      end     { message } an answer is complete

import { api } from "./api.js";
import { LiveAnswer } from "./liveanswer.js";
import { MessageTree } from "./messagetree.js";

export class Conversation extends EventTarget {
    // A chat that the server knows, or, without id, one that it will make at the first turn.
    constructor(chat, messages = []) {
        super();
        this.chat = { id: null, title: "", folder: null, pinned: false, temporary: false,
            forget_after_days: null,
            system: "", settings: {}, leaf: null, ...chat };
        this.lives = new Map();
        this.asking = 0; // turns that the server has not taken yet
        this.tree = new MessageTree(messages);
        messages.filter((message) => message.state === "writing").forEach((message) => this.follow(message));
    }

    static async open(id) {
        const { chat, messages } = await api.chat(id);
        return new Conversation(chat, messages);
    }

    emit(name, detail = null) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    path() {
        const { leaf } = this.chat;
        if (leaf !== null && this.tree.get(leaf) !== undefined) {
            return this.tree.path(leaf);
        }
        return this.tree.size === 0 ? [] : this.tree.path(this.tree.leafUnder(null));
    }

    // The answer that is being written on the branch that is shown, if there is one.
    live() {
        return this.lives.get(this.path().at(-1)?.id) ?? null;
    }

    follow(message) {
        const live = new LiveAnswer(message, {
            onframe: () => this.emit("live", { message, live }),
            // An end that does not bring the message leaves it to be read.
            onend: (whole) => (whole === null ? this.settle(message) : this.ended(message, whole)),
            onfail: () => this.settle(message),
        });
        this.lives.set(message.id, live);
    }

    ended(message, whole) {
        this.lives.delete(message.id);
        this.tree.add(whole);
        this.emit("live", { message, live: null });
        this.emit("end", { message });
    }

    // Takes over what was done to the chat in another window or on another device. Gives how many messages
    // came; where they go on from the shown branch, that branch has them now.
    async refresh() {
        const { chat, messages } = await api.chat(this.chat.id);
        if (this.asking > 0) {
            return 0; // what is new may be one's own
        }
        const shown = this.path().at(-1)?.id;
        const fresh = messages.filter((message) => this.tree.get(message.id) === undefined)
            .sort((a, b) => a.created - b.created);
        fresh.forEach((message) => this.tree.add(message));
        fresh.filter((message) => message.state === "writing").forEach((message) => this.follow(message));
        Object.assign(this.chat, chat, { leaf: this.chat.leaf });
        if (fresh.length > 0) {
            this.last = chat.leaf;
            if (shown === undefined || this.tree.path(chat.leaf).some((message) => message.id === shown)) {
                this.chat.leaf = chat.leaf;
            }
            this.emit("branch");
        }
        this.emit("chat");
        return fresh.length;
    }

    // The server no longer streams this answer: what it has stored is what there is.
    async settle(message) {
        let whole = null;
        try {
            const { messages } = await api.chat(this.chat.id);
            whole = messages.find((one) => one.id === message.id);
        } catch { /* what came of it is shown */ }
        whole ??= message;
        this.ended(message, whole.state === "writing" ? { ...whole, state: "interrupted" } : whole);
    }

    // Stores a user's turn below `parent` and begins its answer. Throws what the server refuses; then nothing
    // has changed.
    async send({ parent, content, attachments, think }) {
        const made = this.chat.id === null;
        if (made) {
            const { title, folder, system, settings, temporary, forget_after_days } = this.chat;
            const given = { title: title || undefined, forget_after_days: forget_after_days ?? undefined };
            Object.assign(this.chat, await api.createChat({ folder, system, settings, temporary, ...given }));
        }
        let reply;
        this.asking++;
        try {
            const turn = { parent, content, think };
            reply = await api.send(this.chat.id, attachments.length > 0 ? { ...turn, attachments } : turn);
        } catch (error) {
            if (made) {
                api.deleteChat(this.chat.id).catch(() => {});
                this.chat.id = null;
            }
            throw error;
        } finally {
            this.asking--;
        }
        this.tree.add(reply.message);
        this.begin(reply.answer);
        return made;
    }

    // Another answer to the same turn, beside the ones there are.
    async regenerate(message, think) {
        this.asking++;
        try {
            const { answer } = await api.answer(this.chat.id, { parent: message.parent, think });
            this.begin(answer);
        } finally {
            this.asking--;
        }
    }

    begin(answer) {
        const message = this.tree.add(answer);
        this.chat.leaf = message.id;
        this.follow(message);
        this.emit("branch");
    }

    stop() {
        const live = this.live();
        return live === null ? Promise.resolve() : api.stop(live.message.id);
    }

    answerNow() {
        const live = this.live();
        return live === null ? Promise.resolve() : api.answerNow(live.message.id);
    }

    // Shows the branch that leads over a message.
    select(id) {
        this.chat.leaf = this.tree.leafUnder(id);
        this.emit("branch");
        if (this.chat.id !== null) {
            // Only where to begin the next time: nothing is lost without.
            api.changeChat(this.chat.id, { leaf: this.chat.leaf }).catch(() => {});
        }
    }

    async change(fields) {
        Object.assign(this.chat, this.chat.id === null ? fields : await api.changeChat(this.chat.id, fields));
        this.emit("chat");
    }

    close() {
        this.lives.forEach((live) => live.close());
        this.lives.clear();
    }
}
