// Files that go with the next turn: read here when they are text, by the server when they are PDF, refused with
// a reason when they are something else.

import { h, icon, iconButton } from "./dom.js";
import { api } from "./api.js";
import { t, formatBytes, textBytes } from "./strings.js";

const PDF = /\.pdf$/i;

// How much of a file goes along: all of a text, of a PDF what could be read.
export function sizeWords({ name, text }) {
    const size = formatBytes(textBytes(text));
    return PDF.test(name) ? t("file_text", { size }) : size;
}

export const LONG_PASTE = 2500; // characters; a longer paste becomes a file

function checkSize(file, most) {
    if (file.size > most) {
        throw new Error(t("file_too_large", { name: file.name, size: formatBytes(file.size),
            most: formatBytes(most) }));
    }
}

async function readText(file) {
    if (/^(image|audio|video)\//.test(file.type) && file.type !== "image/svg+xml") {
        throw new Error(t("file_no_text", { name: file.name }));
    }
    const bytes = await file.arrayBuffer();
    try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
        if (text.includes("\0")) {
            throw new TypeError("binary");
        }
        return text.replaceAll("\r\n", "\n");
    } catch {
        throw new Error(t("file_no_text", { name: file.name }));
    }
}

export class Attachments {
    // changed() after each change; failed(words) when a file cannot be taken.
    constructor(session, { changed, failed }) {
        this.session = session;
        this.changed = changed;
        this.failed = failed;
        this.files = []; // { name, text } or, while it is read, { name, text: null }
        this.element = h("ul", { class: "file-list", "aria-label": t("attachments"), hidden: true });
    }

    get reading() {
        return this.files.some((file) => file.text === null);
    }

    set(files) {
        this.files = [...files];
        this.show();
    }

    // All show at once and are read in turn, as the server does with one asker's PDF files.
    async add(sources) {
        const added = [...sources].map((source) => ({ source, file: { name: source.name, text: null } }));
        this.files.push(...added.map(({ file }) => file));
        this.show();
        for (const { source, file } of added) {
            if (this.files.includes(file)) {
                await this.read(source, file);
            }
        }
    }

    async read(source, file) {
        const pdf = source.type === "application/pdf" || PDF.test(source.name);
        try {
            if (pdf && !this.session.pdf) {
                throw new Error(t("file_no_pdf", { name: source.name }));
            }
            checkSize(source, pdf ? this.session.limits.pdf_bytes : this.session.limits.attachment_bytes);
            file.text = pdf ? (await api.extract(source)).text : await readText(source);
        } catch (error) {
            this.files = this.files.filter((one) => one !== file);
            this.failed(error.code === "no_text" ? `${source.name}: ${error.message}` : error.message);
        }
        this.show();
    }

    addPaste(text) {
        const number = this.files.filter((file) => file.pasted).length + 1;
        this.files.push({ name: t("pasted_name", { n: number }), text, pasted: true });
        this.show();
    }

    // What is sent of them.
    list() {
        return this.files.map(({ name, text }) => ({ name, text }));
    }

    show() {
        this.element.hidden = this.files.length === 0;
        this.element.replaceChildren(...this.files.map((file) => h("li", null,
            h("span", { class: "file-chip" }, icon("file"), h("span", null, file.name),
                h("small", null, file.text === null ? t("file_reading") : sizeWords(file)),
                iconButton("close", t("remove_file", { name: file.name }), () => {
                    this.set(this.files.filter((one) => one !== file));
                }, { class: "icon-button small" })))));
        this.changed();
    }
}
