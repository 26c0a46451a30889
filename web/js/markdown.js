// Markdown's blocks: CommonMark's core, GFM's tables and task lists, and display maths. parseBlocks(text) gives
// nodes { type, raw, … } where raw is the source the node was made of; inline.js reads the text inside them.
//   heading level text · paragraph text · code info text closed · math text · quote children · rule
//   list ordered start tight items:[{ type: "item", raw, task, children }] · table align head rows
//   reference name target (nothing to be seen)

import { isMath } from "./mathtext.js";

const DEEPEST = 24; // quotes and lists inside each other; what is deeper is text

const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)(.*)$/;
const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-+*]|\d{1,9}[.)])(?:([ \t]+)(.*)|[ \t]*)$/;
const SETEXT = /^ {0,3}(=+|-+)[ \t]*$/;
const TASK = /^\[([ xX])\][ \t]+/;
const ALIGN_ROW = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$/;
const REFERENCE = /^ {0,3}\[((?:[^[\]\\]|\\.)+)\]:[ \t]*(<[^<>]*>|\S+)(?:[ \t]+(?:"([^"]*)"|'([^']*)'))?\s*$/;
const MATH_OPEN = /^ {0,3}(\$\$|\\\[)/;
const MATH_CLOSE = { "$$": "$$", "\\[": "\\]" };
// Opened, perhaps closed, and nothing else on the line.
const MATH_ALONE = /^ {0,3}(?:\$\$(?:.*\$\$)?|\\\[(?:.*\\\])?)[ \t]*$/;

export const referenceName = (label) => label.trim().replace(/\s+/g, " ").toLowerCase();

const isBlank = (line) => /^[ \t]*$/.test(line);

function expandTabs(line) {
    if (!line.startsWith(" ") && !line.startsWith("\t")) {
        return line;
    }
    let out = "";
    let i = 0;
    for (; i < line.length && (line[i] === " " || line[i] === "\t"); i++) {
        out += line[i] === " " ? " " : " ".repeat(4 - (out.length % 4));
    }
    return out + line.slice(i);
}

const indentOf = (line) => line.length - line.trimStart().length;

// Does this line end a paragraph that stands before it?
function interrupts(line) {
    if ([RULE, HEADING, FENCE, QUOTE, MATH_ALONE].some((pattern) => pattern.test(line))) {
        return true;
    }
    const item = ITEM.exec(line);
    return item !== null && (item[4] ?? "") !== "" && !/^(?!1[.)])\d/.test(item[2]);
}

export function splitRow(line) {
    const cells = [];
    let cell = "";
    const inner = line.trim().replace(/^\|/, "").replace(/\|$/,
        (bar, at, all) => (all[at - 1] === "\\" ? bar : ""));
    for (let i = 0; i < inner.length; i++) {
        if (inner[i] === "\\" && inner[i + 1] === "|") {
            cell += "|";
            i++;
        } else if (inner[i] === "|") {
            cells.push(cell.trim());
            cell = "";
        } else {
            cell += inner[i];
        }
    }
    cells.push(cell.trim());
    return cells;
}

class BlockParser {
    constructor(lines, depth, references) {
        this.lines = lines;
        this.at = 0;
        this.depth = depth;
        this.references = references;
        this.nodes = [];
        this.barren = { "$$": 0, "\\]": 0 }; // no line before this one begins a formula with that end
    }

    parse() {
        while (this.at < this.lines.length) {
            const start = this.at;
            const line = this.lines[start];
            if (isBlank(line)) {
                this.at++;
                continue;
            }
            const node = this.block(line);
            if (node !== null) {
                node.raw = this.lines.slice(start, this.at).join("\n");
                node.line = start;
                this.nodes.push(node);
            }
        }
        return this.nodes;
    }

    block(line) {
        if (indentOf(line) >= 4) {
            return this.indentedCode();
        }
        const fence = FENCE.exec(line);
        if (fence !== null) {
            return this.fencedCode(fence);
        }
        const heading = HEADING.exec(line);
        if (heading !== null) {
            this.at++;
            return { type: "heading", level: heading[1].length,
                text: heading[2].trim().replace(/(^|[ \t])#+$/, "").trimEnd() };
        }
        if (RULE.test(line)) {
            this.at++;
            return { type: "rule" };
        }
        if (this.depth < DEEPEST && QUOTE.test(line)) {
            return this.quote();
        }
        if (this.depth < DEEPEST && ITEM.test(line)) {
            return this.list();
        }
        return this.math(line) ?? this.table(line) ?? this.reference(line) ?? this.paragraph();
    }

    indentedCode() {
        const text = [];
        for (; this.at < this.lines.length; this.at++) {
            const line = this.lines[this.at];
            if (!isBlank(line) && indentOf(line) < 4) {
                break;
            }
            text.push(line.slice(4));
        }
        while (text.length > 0 && isBlank(text.at(-1))) {
            text.pop();
            this.at--;
        }
        return { type: "code", info: "", text: text.join("\n"), closed: true };
    }

    fencedCode([, indent, mark, words]) {
        const info = words.trim();
        const end = new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}[ \\t]*$`);
        const text = [];
        for (this.at++; this.at < this.lines.length; this.at++) {
            const line = this.lines[this.at];
            if (end.test(line)) {
                this.at++;
                return { type: "code", info, text: text.join("\n"), closed: true };
            }
            text.push(line.slice(Math.min(indent.length, indentOf(line))));
        }
        return { type: "code", info, text: text.join("\n"), closed: false };
    }

    math(line) {
        const open = MATH_OPEN.exec(line);
        const close = open === null ? null : MATH_CLOSE[open[1]];
        if (open === null || this.at < this.barren[close]) {
            return null;
        }
        const text = [];
        let rest = line.slice(open[0].length);
        let last = this.at;
        while (!rest.includes(close) && !isBlank(this.lines[last + 1] ?? "")) {
            text.push(rest);
            rest = this.lines[++last];
        }
        const end = rest.indexOf(close);
        const tex = [...text, rest.slice(0, end)].join("\n").trim();
        // Where words follow it is part of a paragraph.
        if (end < 0 || !isBlank(rest.slice(end + 2).replace(/[.,;]$/, "")) || !isMath(tex)) {
            this.barren[close] = end < 0 ? last + 1 : last; // the lines between would end there, too
            return null;
        }
        this.at = last + 1;
        return { type: "math", text: tex };
    }

    quote() {
        const inner = [];
        let paragraph = false;
        for (; this.at < this.lines.length; this.at++) {
            const line = this.lines[this.at];
            if (QUOTE.test(line)) {
                const text = line.replace(QUOTE, "");
                inner.push(text);
                paragraph = !isBlank(text) && !FENCE.test(text) && (paragraph || indentOf(text) < 4);
            } else if (paragraph && !isBlank(line) && !interrupts(line)) {
                inner.push(line); // lazy continuation
            } else {
                break;
            }
        }
        return { type: "quote", children: new BlockParser(inner, this.depth + 1, this.references).parse() };
    }

    list() {
        const first = ITEM.exec(this.lines[this.at]);
        const kind = first[2].at(-1);
        const ordered = /\d/.test(first[2]);
        const items = [];
        let loose = false;
        while (this.at < this.lines.length) {
            const start = this.at;
            const mark = ITEM.exec(this.lines[start]);
            if (mark === null || mark[2].at(-1) !== kind || RULE.test(this.lines[start])) {
                break;
            }
            const inner = this.itemLines(mark);
            let gap = false;
            while (inner.length > 1 && isBlank(inner.at(-1))) {
                inner.pop();
                gap = true;
            }
            gap = this.skipToItem(kind) || gap;
            const task = TASK.exec(inner[0]);
            if (task !== null) {
                inner[0] = inner[0].slice(task[0].length);
            }
            const children = new BlockParser(inner, this.depth + 1, this.references).parse();
            items.push({ type: "item", raw: this.lines.slice(start, this.at).join("\n").trimEnd(),
                task: task === null ? null : task[1] !== " ", children });
            const more = this.at < this.lines.length && ITEM.exec(this.lines[this.at]);
            loose ||= gap && Boolean(more) && more[2].at(-1) === kind;
            loose ||= children.some((child, i) => i > 0 && isBlank(inner[child.line - 1]));
        }
        return { type: "list", ordered, start: ordered ? parseInt(first[2], 10) : 1, tight: !loose, items };
    }

    // Over blank lines to the next item of the list, where they lead to one.
    skipToItem(kind) {
        let next = this.at;
        while (next < this.lines.length && isBlank(this.lines[next])) {
            next++;
        }
        const found = next > this.at && next < this.lines.length
            && ITEM.exec(this.lines[next])?.[2].at(-1) === kind;
        this.at = found ? next : this.at;
        return found;
    }

    // The lines of one item without its mark and indent.
    itemLines(mark) {
        const spaces = mark[3] === undefined ? 1 : mark[3].replaceAll("\t", "    ").length;
        const width = mark[1].length + mark[2].length + (spaces > 4 ? 1 : spaces);
        const inner = [(spaces > 4 ? " ".repeat(spaces - 1) : "") + (mark[4] ?? "")];
        let fence = FENCE.exec(inner[0]);
        let paragraph = fence === null;
        for (this.at++; this.at < this.lines.length; this.at++) {
            const line = this.lines[this.at];
            if (isBlank(line)) {
                if (inner.length === 1 && inner[0] === "") {
                    break;
                }
                inner.push("");
                paragraph = false;
            } else if (indentOf(line) >= width) {
                const text = line.slice(width);
                inner.push(text);
                const edge = FENCE.exec(text);
                fence = edge === null ? fence : fence === null ? edge : null;
                paragraph = fence === null;
            } else if (paragraph && !ITEM.test(line) && !interrupts(line)) {
                inner.push(line.trimStart());
            } else {
                break;
            }
        }
        return inner;
    }

    table(line) {
        const under = this.lines[this.at + 1];
        if (!line.includes("|") || under === undefined || !under.includes("-") || !ALIGN_ROW.test(under)) {
            return null;
        }
        const head = splitRow(line);
        const marks = splitRow(under);
        if (head.length !== marks.length) {
            return null;
        }
        const align = marks.map((mark) => {
            const left = mark.startsWith(":");
            const right = mark.endsWith(":");
            return left && right ? "center" : right ? "right" : left ? "left" : "";
        });
        const rows = [];
        for (this.at += 2; this.at < this.lines.length; this.at++) {
            const row = this.lines[this.at];
            if (isBlank(row) || interrupts(row)) {
                break;
            }
            const cells = splitRow(row);
            rows.push(head.map((_, i) => cells[i] ?? ""));
        }
        return { type: "table", align, head, rows };
    }

    reference(line) {
        const match = REFERENCE.exec(line);
        if (match === null) {
            return null;
        }
        const name = referenceName(match[1]);
        const target = { href: match[2].replace(/^<|>$/g, ""), title: match[3] ?? match[4] ?? "" };
        if (!this.references.has(name)) {
            this.references.set(name, target);
        }
        this.at++;
        return { type: "reference", name, target };
    }

    paragraph() {
        const text = [this.lines[this.at].trimStart()];
        for (this.at++; this.at < this.lines.length; this.at++) {
            const line = this.lines[this.at];
            const under = SETEXT.exec(line);
            if (under !== null) {
                this.at++;
                return { type: "heading", level: under[1][0] === "=" ? 1 : 2, text: text.join("\n").trimEnd() };
            }
            if (isBlank(line) || (indentOf(line) < 4 && interrupts(line)) || this.tableBegins()) {
                break;
            }
            text.push(line.trimStart());
        }
        return { type: "paragraph", text: text.join("\n").trimEnd() };
    }

    tableBegins() {
        const line = this.lines[this.at];
        const under = this.lines[this.at + 1];
        return line.includes("|") && under !== undefined && under.includes("|") && ALIGN_ROW.test(under)
            && splitRow(line).length === splitRow(under).length;
    }
}

// references collects [name]: address definitions (a Map), to be handed to the inline parser.
export function parseBlocks(text, references = new Map()) {
    return new BlockParser(text.replaceAll("\r", "").split("\n").map(expandTabs), 0, references).parse();
}
