// A chat's messages as a tree: what follows what, siblings, and the branch that leads to a message.

export class MessageTree {
    constructor(messages) {
        this.messages = new Map();
        this.following = new Map(); // parent's id (or null) → ids, oldest first
        [...messages].sort((a, b) => a.created - b.created).forEach((message) => this.add(message));
    }

    get size() {
        return this.messages.size;
    }

    get(id) {
        return this.messages.get(id);
    }

    // A message that is known already takes over the new one's fields.
    add(message) {
        const known = this.messages.get(message.id);
        if (known !== undefined) {
            return Object.assign(known, message);
        }
        this.messages.set(message.id, message);
        const parent = message.parent ?? null;
        if (!this.following.has(parent)) {
            this.following.set(parent, []);
        }
        this.following.get(parent).push(message.id);
        return message;
    }

    children(id) {
        return this.following.get(id) ?? [];
    }

    siblings(id) {
        return this.children(this.get(id).parent ?? null);
    }

    // The messages from the root to `id`.
    path(id) {
        const path = [];
        for (let at = this.get(id); at !== undefined; at = this.get(at.parent)) {
            path.push(at);
        }
        return path.reverse();
    }

    // The end of the branch that leads over `id`, where the newest child is followed each time.
    leafUnder(id) {
        let at = id;
        while (this.children(at).length > 0) {
            at = this.children(at).at(-1);
        }
        return at;
    }
}
