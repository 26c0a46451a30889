// Shows Markdown in an element, as DOM nodes made one by one. While text is being appended only the last block
// is parsed again, and of that only what changed is drawn again.

import { h } from "./dom.js";
import { CodeView } from "./codeview.js";
import { mathElement } from "./formula.js";
import { parseBlocks } from "./markdown.js";
import { parseInline, safeAddress } from "./inline.js";
import { TableView } from "./tableview.js";
import { t } from "./strings.js";

// The beginning of a line that may become a mark of a list as well as an underline: not shown before it is
// whole.
const HALF_LINE = /\n {0,3}(?:-+|=+|[*+]|\d+[.)]?|\||`{1,2}|#{1,6}|\\\[?|\${1,2})$/;

function drawInline(nodes) {
    return nodes.map((node) => {
        switch (node.t) {
        case "text":
            return document.createTextNode(node.v);
        case "code":
            return h("code", null, node.v);
        case "br":
            return h("br");
        case "math":
            return mathElement(node.v, node.display);
        case "link":
            return drawLink(node.href, drawInline(node.c), node.title);
        case "image":
            return drawImage(node);
        default:
            return h(node.t, null, drawInline(node.c));
        }
    });
}

function drawLink(href, children, title) {
    const address = safeAddress(href);
    if (address === null) {
        return h("span", { class: "no-link", title: href }, children);
    }
    return h("a", { href: address, title: title || null, target: "_blank",
        rel: "noopener noreferrer nofollow" },
        children);
}

// Pictures from elsewhere are never loaded (that would tell somebody who reads what): they become links.
function drawImage(node) {
    if (/^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/.test(node.src)) {
        return h("img", { src: node.src, alt: node.alt });
    }
    return drawLink(node.src, [t("image_link", { name: node.alt || node.src })], "");
}

// How each kind of block becomes an element; `inline` draws text.
const DRAW = {
    heading: (node, inline) => h(`h${Math.min(node.level + 1, 6)}`, null, inline(node.text)),
    paragraph: (node, inline) => h("p", null, inline(node.text)),
    rule: () => h("hr"),
    math: (node) => mathElement(node.text, true),
    reference: () => document.createComment(""),
};

// A block that was drawn: what it was made of, its element, and what stands inside it.
class Drawn {
    constructor(node, view) {
        this.type = node.type;
        this.inner = null;
        switch (node.type) {
        case "code":
            this.code = new CodeView(node.info);
            this.element = this.code.element;
            break;
        case "table":
            this.table = new TableView(node, (text) => view.inline(text));
            this.element = this.table.element;
            break;
        case "quote":
            this.element = h("blockquote");
            break;
        case "list":
            this.element = h(node.ordered ? "ol" : "ul");
            break;
        case "item":
            this.element = h("li");
            break;
        default:
            this.element = DRAW[node.type](node, (text) => view.inline(text));
        }
        this.update(node, view, true);
    }

    // Shows a newer version of the same block; false where it has to be drawn anew.
    update(node, view, first = false) {
        if (this.raw === node.raw && this.tight === node.tight) {
            return true;
        }
        if (!first && (this.type !== node.type || this.ordered !== node.ordered || this.task !== node.task
            || this.code?.info !== (node.type === "code" ? node.info : undefined))) {
            return false;
        }
        if (!first && !["code", "table", "quote", "list", "item"].includes(node.type)) {
            return false;
        }
        if (this.table !== undefined && !this.table.show(node)) {
            return false;
        }
        Object.assign(this, { raw: node.raw, tight: node.tight, ordered: node.ordered, task: node.task });
        if (this.code !== undefined) {
            this.code.show(node.text, node.closed);
        } else if (node.type === "list") {
            if (node.ordered && node.start !== 1) {
                this.element.start = node.start;
            }
            this.element.classList.toggle("tight", node.tight);
            this.inner = drawAll(node.items, this.inner ?? [], this.element, view);
        } else if (node.children !== undefined) {
            this.drawChildren(node, view, first);
        }
        return true;
    }

    drawChildren(node, view, first) {
        if (first && node.type === "item" && node.task !== null) {
            this.element.classList.add("task");
            this.element.append(h("input", { type: "checkbox", checked: node.task, disabled: true,
                "aria-label": t(node.task ? "task_done" : "task_open") }));
        }
        this.inner = drawAll(node.children, this.inner ?? [], this.element, view);
    }
}

// Draws nodes into a parent, after whatever stands there before the first of `drawn`; gives the new list.
function drawAll(nodes, drawn, parent, view) {
    const out = [];
    for (let i = 0; i < nodes.length; i++) {
        const old = drawn[i];
        if (old !== undefined && old.update(nodes[i], view)) {
            out.push(old);
            continue;
        }
        const block = new Drawn(nodes[i], view);
        if (old !== undefined) {
            old.element.replaceWith(block.element);
        } else {
            parent.append(block.element);
        }
        out.push(block);
    }
    drawn.slice(nodes.length).forEach((old) => old.element.remove());
    return out;
}

export class MarkdownView {
    constructor(element) {
        this.element = element;
        this.clear();
    }

    clear() {
        this.text = "";
        this.whole = false; // text was complete when it was drawn
        this.plain = false;
        this.references = new Map();
        this.done = []; // blocks that later text cannot change
        this.tail = []; // the last block, drawn
        this.tailStart = 0;
        this.element.replaceChildren();
    }

    inline(text) {
        return drawInline(parseInline(text, this.references));
    }

    append(text) {
        this.text += text;
        this.whole = false;
        const half = HALF_LINE.exec(this.text.slice(-16))?.[0].length ?? 0;
        const tail = this.text.slice(this.tailStart, this.text.length - half);
        const nodes = parseBlocks(tail, new Map(this.references));
        const drawn = drawAll(nodes, this.tail, this.element, this);
        if (nodes.length > 1) {
            nodes.slice(0, -1).filter((node) => node.type === "reference").forEach((node) => {
                this.references.set(node.name, node.target);
            });
            this.tailStart += lineStart(tail, nodes.at(-1).line);
            this.done.push(...drawn.slice(0, -1));
        }
        this.tail = drawn.slice(-1);
    }

    // Shows the whole text. While more may follow, it goes on from what is there; once it is complete
    // everything is parsed once more, because the end of a text may change what stands before it (addresses of
    // links). A text that cannot be drawn is shown as it is written: nothing hides an answer.
    show(text, complete) {
        if (this.plain) {
            this.clear();
        }
        try {
            this.draw(text, complete);
        } catch (error) {
            this.clear();
            this.plain = true;
            this.element.append(text);
            reportError(error);
        }
    }

    draw(text, complete) {
        if (complete) {
            this.showWhole(text);
        } else if (!text.startsWith(this.text)) {
            this.clear();
            this.append(text);
        } else if (text.length > this.text.length) {
            this.append(text.slice(this.text.length));
        }
    }

    showWhole(text) {
        if (this.whole && text === this.text) {
            return;
        }
        const references = new Map();
        const nodes = parseBlocks(text, references);
        if (references.size > 0) {
            this.clear();
        }
        this.references = references;
        this.tail = drawAll(nodes, [...this.done, ...this.tail], this.element, this);
        this.done = [];
        this.tailStart = 0;
        this.text = text;
        this.whole = true;
    }
}

function lineStart(text, line) {
    let at = 0;
    for (; line > 0; line--) {
        at = text.indexOf("\n", at) + 1;
    }
    return at;
}
