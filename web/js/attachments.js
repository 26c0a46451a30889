// Files that go with the next turn: read here when they are text, by the server when they are PDF, refused with
// a reason when they are something else.

import { h, icon, iconButton } from "./dom.js";
import { api } from "./api.js";
import { t, formatBytes, textBytes } from "./strings.js";

const PDF = /\.pdf$/i;
const CONTROLS = /[\0-\x06\x0e-\x1a\x1c-\x1f]/; // no text has them; escapes colour what terminals logged

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
    const text = decodeText(new Uint8Array(await file.arrayBuffer()));
    if (text === null) {
        throw new Error(t("file_no_text", { name: file.name }));
    }
    return text.replaceAll("\r\n", "\n");
}

function decodeAs(encoding, bytes) {
    try {
        const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
        return CONTROLS.test(text) ? null : text;
    } catch {
        return null;
    }
}

// UTF-8, or as Windows writes text: UTF-16, which says so at its beginning, and Windows-1252. null: no text.
export function decodeText(bytes) {
    const [first, second] = bytes;
    const wide = first === 0xff && second === 0xfe ? "utf-16le"
        : first === 0xfe && second === 0xff ? "utf-16be" : null;
    return wide === null ? decodeAs("utf-8", bytes) ?? decodeAs("windows-1252", bytes) : decodeAs(wide, bytes);
}

export class Attachments {
    // changed() after each change; failed(words) when files cannot be taken, "" when new ones come.
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
        const refused = [];
        this.files.push(...added.map(({ file }) => file));
        this.failed("");
        this.show();
        for (const { source, file } of added) {
            if (this.files.includes(file)) {
                refused.push(await this.read(source, file));
            }
        }
        const words = refused.filter(Boolean);
        if (words.length > 0) {
            this.failed(words.join(" "));
        }
    }

    // Gives why it cannot be taken; undefined: it is.
    async read(source, file) {
        const pdf = source.type === "application/pdf" || PDF.test(source.name);
        let refused;
        try {
            if (pdf && !this.session.pdf) {
                throw new Error(t("file_no_pdf", { name: source.name }));
            }
            checkSize(source, pdf ? this.session.limits.pdf_bytes : this.session.limits.attachment_bytes);
            const text = pdf ? (await api.extract(source)).text : await readText(source);
            this.checkNew(source.name, text);
            file.text = text;
        } catch (error) {
            this.files = this.files.filter((one) => one !== file);
            refused = error.code === "no_text" ? `${source.name}: ${error.message}` : error.message;
        }
        this.show();
        return refused;
    }

    checkNew(name, text) {
        if (text === "") {
            throw new Error(t("file_empty", { name }));
        }
        if (this.files.some((one) => one.name === name && one.text === text)) {
            throw new Error(t("file_twice", { name }));
        }
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
