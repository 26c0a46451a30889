// Markdown inside a paragraph: parseInline(text, references) gives a list of nodes
//   { t: "text" | "code", v } · { t: "em" | "strong" | "del" | "sub" | "sup" | "kbd", c: nodes } · { t: "br" }
//   { t: "link", href, title, c } · { t: "image", src, alt } · { t: "math", v, display }
// Emphasis follows CommonMark's runs of delimiters, with the rule for Chinese, Japanese and Korean that marks
// beside a full-width character count as if a space stood there.

import { emphasise, plainText } from "./emphasis.js";
import { referenceName } from "./markdown.js";
import { matchMath } from "./mathtext.js";

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: "\"", apos: "'", nbsp: "\u00a0", copy: "©", reg: "®",
    trade: "™", hellip: "…", mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", times: "×",
    divide: "÷", deg: "°", plusmn: "±", micro: "µ", middot: "·", bull: "•", larr: "←", rarr: "→", uarr: "↑",
    darr: "↓", harr: "↔", le: "≤", ge: "≥", ne: "≠", infin: "∞", sum: "∑", radic: "√", pi: "π", alpha: "α",
    beta: "β", gamma: "γ", delta: "δ", lambda: "λ", mu: "μ", sigma: "σ", omega: "ω", euro: "€", pound: "£",
    yen: "¥", sect: "§", para: "¶", laquo: "«", raquo: "»", check: "✓", emsp: "\u2003", ensp: "\u2002" };

const PUNCTUATION = /[\p{P}\p{S}]/u;
const WIDE = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const AUTOLINK = /<((?:https?|mailto):[^\s<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/y;
const BARE_LINK = /(?:https?:\/\/|www\.)[^\s<>\u3000-\u303f\uff00-\uffef]+/y;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));/y;
const TAG = /<(br)[ \t]*\/?>|<(\/?)(sub|sup|kbd)>/yi;
const PLAIN = /[^\\`*_~[\]!<&$\nhw]+/y;
const ADDRESS = /<([^<>\n]*)>|((?!<)(?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*)/.source;
const TITLE = /"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/.source;
const DESTINATION = new RegExp(`\\([ \\t\\n]*(?![ \\t\\n])(?:${ADDRESS})`
    + `(?:[ \\t\\n]+(?:${TITLE}))?[ \\t\\n]*\\)`, "y");
const DEEPEST = 40;

const unescape = (text) => text.replace(/\\([!-/:-@[-`{-~])/g, "$1");

// Addresses a model may send people to. Anything else is shown as text.
export function safeAddress(href) {
    const address = href.trim();
    return /^(?:https?:\/\/|mailto:)[^\s\u0000-\u001f]+$/i.test(address) ? address : null;
}

class InlineParser {
    constructor(text, references) {
        this.text = text;
        this.references = references;
        this.at = 0;
        this.nodes = [];
        this.brackets = [];
        this.barren = 0; // what seems an address before this place is none
    }

    match(pattern) {
        pattern.lastIndex = this.at;
        return pattern.exec(this.text);
    }

    put(node, length) {
        this.nodes.push(node);
        this.at += length;
    }

    say(text, length = text.length) {
        const last = this.nodes.at(-1);
        if (last !== undefined && last.t === "text" && !last.bracket) {
            last.v += text;
        } else {
            this.nodes.push({ t: "text", v: text });
        }
        this.at += length;
    }

    parse() {
        while (this.at < this.text.length) {
            const plain = this.match(PLAIN);
            if (plain !== null) {
                this.say(plain[0]);
                continue;
            }
            this.special(this.text[this.at]);
        }
        return emphasise(this.nodes);
    }

    special(c) {
        const math = c === "$" || c === "\\" ? matchMath(this.text, this.at) : null;
        if (math !== null) {
            return this.put({ t: "math", v: math.tex, display: math.display }, math.length);
        }
        switch (c) {
        case "\\":
            return this.escape();
        case "`":
            return this.code();
        case "*":
        case "_":
        case "~":
            return this.delimiters(c);
        case "!":
        case "[":
            return this.open(c);
        case "]":
            return this.close();
        case "<":
            return this.tag();
        case "&":
            return this.entity();
        case "\n":
            return this.newline();
        case "h":
        case "w":
            return this.bareLink(c);
        default:
            return this.say(c);
        }
    }

    escape() {
        const next = this.text[this.at + 1];
        if (next === "\n") {
            this.put({ t: "br" }, 2);
        } else if (next !== undefined && /[!-/:-@[-`{-~]/.test(next)) {
            this.say(next, 2);
        } else {
            this.say("\\");
        }
    }

    code() {
        const run = /`+/y;
        run.lastIndex = this.at;
        const mark = run.exec(this.text)[0];
        this.ends ??= codeEnds(this.text);
        const ends = this.ends.get(mark.length);
        while (ends.length > 0 && ends.at(-1) <= this.at) {
            ends.pop();
        }
        const end = ends.at(-1);
        if (end === undefined) {
            return this.say(mark);
        }
        let v = this.text.slice(this.at + mark.length, end).replaceAll("\n", " ");
        if (v.length > 2 && v.startsWith(" ") && v.endsWith(" ") && v.trim() !== "") {
            v = v.slice(1, -1);
        }
        return this.put({ t: "code", v }, end + mark.length - this.at);
    }

    delimiters(c) {
        let length = 1;
        while (this.text[this.at + length] === c) {
            length++;
        }
        const run = this.text.slice(this.at, this.at + length);
        if (c === "~" && length > 2) {
            return this.say(run);
        }
        const before = this.at === 0 ? " " : this.charBefore();
        const after = String.fromCodePoint(this.text.codePointAt(this.at + length) ?? 32);
        const spaceBefore = /\s/.test(before);
        const spaceAfter = /\s/.test(after);
        const edgeBefore = spaceBefore || PUNCTUATION.test(before) || WIDE.test(before);
        const edgeAfter = spaceAfter || PUNCTUATION.test(after) || WIDE.test(after);
        const left = !spaceAfter && (!PUNCTUATION.test(after) || edgeBefore);
        const right = !spaceBefore && (!PUNCTUATION.test(before) || edgeAfter);
        const word = c === "_";
        return this.put({ t: "run", c, n: length, length, v: run,
            open: left && (!word || !right || PUNCTUATION.test(before)),
            close: right && (!word || !left || PUNCTUATION.test(after)) }, length);
    }

    charBefore() {
        const low = this.text[this.at - 1];
        return /[\udc00-\udfff]/.test(low) && this.at > 1 ? this.text.slice(this.at - 2, this.at) : low;
    }

    open(c) {
        const image = c === "!";
        if (image && this.text[this.at + 1] !== "[") {
            return this.say("!");
        }
        this.brackets.push({ index: this.nodes.length, image, at: this.at + (image ? 2 : 1), dead: false });
        return this.put({ t: "text", v: image ? "![" : "[", bracket: true }, image ? 2 : 1);
    }

    close() {
        const open = this.brackets.pop();
        if (open === undefined || open.dead || this.brackets.length > DEEPEST) {
            return this.say("]");
        }
        const label = this.text.slice(open.at, this.at);
        this.at++;
        const target = this.target(label);
        if (target === null) {
            this.at--;
            return this.say("]");
        }
        const inner = emphasise(this.nodes.splice(open.index).slice(1));
        if (open.image) {
            this.nodes.push({ t: "image", src: target.href, alt: plainText(inner) });
        } else {
            this.brackets.forEach((bracket) => {
                bracket.dead ||= !bracket.image;
            });
            this.nodes.push({ t: "link", href: target.href, title: target.title, c: inner });
        }
        return undefined;
    }

    // What follows "]": (address "title"), [name], [] or nothing.
    target(label) {
        const direct = this.match(DESTINATION);
        if (direct !== null) {
            this.at += direct[0].length;
            return { href: unescape(direct[1] ?? direct[2] ?? ""),
                title: unescape(direct[3] ?? direct[4] ?? "") };
        }
        const named = this.match(/\[([^[\]]*)\]/y);
        const name = named !== null && named[1] !== "" ? named[1] : label;
        const found = this.references.get(referenceName(name));
        if (found === undefined) {
            return null;
        }
        this.at += named === null ? 0 : named[0].length;
        return found;
    }

    tag() {
        const link = this.match(AUTOLINK);
        if (link !== null) {
            const href = link[1].includes(":") ? link[1] : `mailto:${link[1]}`;
            return this.put({ t: "link", href, title: "", c: [{ t: "text", v: link[1] }] }, link[0].length);
        }
        const tag = this.match(TAG);
        if (tag === null) {
            return this.say("<");
        }
        if (tag[1] !== undefined) {
            return this.put({ t: "br" }, tag[0].length);
        }
        return this.put({ t: "tag", name: tag[3].toLowerCase(), end: tag[2] === "/", v: tag[0] },
            tag[0].length);
    }

    entity() {
        const entity = this.match(ENTITY);
        if (entity === null) {
            return this.say("&");
        }
        const code = entity[1] !== undefined ? parseInt(entity[1], 10) : parseInt(entity[2], 16);
        if (entity[3] !== undefined) {
            return this.say(ENTITIES[entity[3]] ?? entity[0], entity[0].length);
        }
        const valid = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
        return this.say(valid ? String.fromCodePoint(code) : "\ufffd", entity[0].length);
    }

    newline() {
        const last = this.nodes.at(-1);
        const hard = last?.t === "text" && last.v.endsWith("  ");
        if (last?.t === "text") {
            last.v = last.v.trimEnd();
        }
        return hard ? this.put({ t: "br" }, 1) : this.say("\n");
    }

    bareLink(c) {
        const inside = this.at < this.barren || this.brackets.length > 0
            || /[\w/]/.test(this.text[this.at - 1] ?? " ");
        const link = inside ? null : this.match(BARE_LINK);
        if (link === null) {
            return this.say(c);
        }
        let text = link[0].slice(0, link[0].length - trailing(link[0], "?!.,:*_~'\"`;]"));
        const unopened = text.split(")").length - text.split("(").length;
        text = text.slice(0, text.length - Math.max(0, Math.min(unopened, trailing(text, ")"))));
        if (!text.includes(".") && !text.includes("localhost")) {
            this.barren = this.at + link[0].length;
            return this.say(c);
        }
        const href = text.startsWith("www.") ? `https://${text}` : text;
        return this.put({ t: "link", href, title: "", c: [{ t: "text", v: text }] }, text.length);
    }
}

// Where runs of backticks of each length begin, the last first.
function codeEnds(text) {
    const ends = new Map();
    for (const run of [...text.matchAll(/`+/g)].reverse()) {
        if (!ends.has(run[0].length)) {
            ends.set(run[0].length, []);
        }
        ends.get(run[0].length).push(run.index);
    }
    return ends;
}

// How many characters at the end of a text are some of these.
function trailing(text, characters) {
    let n = 0;
    while (n < text.length && characters.includes(text[text.length - 1 - n])) {
        n++;
    }
    return n;
}

export function parseInline(text, references = new Map()) {
    return new InlineParser(text, references).parse();
}
