// What can be done with a whole chat: rename, pin, move, export, delete, its settings, its tree.

import { h } from "./dom.js";
import { api } from "./api.js";
import { UNDO_MS } from "./chatlist.js";
import { chatSettings } from "./chatsettings.js";
import { confirmDialog, promptDialog } from "./dialog.js";
import { openMenu } from "./menu.js";
import { treeDialog } from "./treeview.js";
import { t } from "./strings.js";

const NAME = 80; // characters of a title that name its file

// Lets the browser save what an address of the server gives. The name may have any characters: the browser
// replaces those that no file may have.
export function download(path, name) {
    const link = h("a", { href: path, download: name });
    document.body.append(link);
    link.click();
    link.remove();
}

// All chats: one file, or several where they are many.
export async function downloadAll() {
    let next = null;
    for (let part = 1; next !== undefined; part++) {
        const chats = await api.exportPart(next);
        const only = part === 1 && chats.next === undefined;
        const address = URL.createObjectURL(new Blob([JSON.stringify(chats)], { type: "application/json" }));
        download(address, only ? "chats.json" : `chats-${part}.json`);
        setTimeout(() => URL.revokeObjectURL(address), 60000);
        ({ next } = chats);
    }
}

export class ChatActions {
    constructor(page) {
        this.page = page;
    }

    menu(button, chat) {
        const stored = chat.temporary ? [] : this.storedItems(chat);
        openMenu(button, [
            { label: t("rename"), icon: "edit", onclick: () => this.rename(chat) },
            ...stored, null,
            { label: t("delete"), icon: "trash", danger: true, onclick: () => this.remove(chat) },
        ]);
    }

    // What makes sense for chats that the server keeps.
    storedItems(chat) {
        const name = (chat.title || t("untitled")).slice(0, NAME);
        return [
            { label: t(chat.pinned ? "unpin" : "pin"), icon: "pin", onclick: () => this.change(chat,
                { pinned: !chat.pinned }) },
            { label: t("move"), icon: "folder", onclick: () => this.move(chat) },
            null,
            { label: t("export_markdown"), icon: "download",
                onclick: () => download(api.exportPath(chat.id, "markdown"), `${name}.md`) },
            { label: t("export_json"), icon: "download",
                onclick: () => download(api.exportPath(chat.id, "json"), `${name}.json`) },
        ];
    }

    // The open conversation keeps what it knows of itself in step.
    async change(chat, fields) {
        try {
            const changed = await this.page.list.change(chat.id, fields);
            const { conversation } = this.page;
            if (conversation?.chat.id === chat.id) {
                const { leaf } = conversation.chat;
                Object.assign(conversation.chat, changed, { leaf });
                conversation.emit("chat");
            }
        } catch (error) {
            this.page.toasts.show(error.message, { label: t("retry"),
                onclick: () => this.change(chat, fields) });
        }
    }

    async rename(chat) {
        const title = await promptDialog(t("rename"), t("title"), chat.title);
        if (title) {
            await this.change(chat, { title });
        }
    }

    async move(chat) {
        const folder = await promptDialog(t("move"), t("folder_name"), chat.folder ?? "",
            this.page.list.folders());
        if (folder !== undefined) {
            await this.change(chat, { folder: folder === "" ? null : folder });
        }
    }

    async remove(chat) {
        const sure = await confirmDialog(t("delete_title"),
            t("delete_words", { title: chat.title || t("untitled") }),
            t("delete"));
        if (!sure) {
            return;
        }
        const { page } = this;
        const undo = page.list.remove(chat.id, (error) => page.toasts.show(error.message));
        const here = page.conversation?.chat.id === chat.id;
        if (here) {
            location.hash = "#/";
        }
        page.toasts.show(t("deleted"), { label: t("undo"), onclick: () => {
            undo();
            if (here) {
                location.hash = `#/chat/${chat.id}`;
            }
        } }, UNDO_MS - 500);
    }

    settings() {
        chatSettings(this.page);
    }

    tree() {
        treeDialog(this.page);
    }
}
