// Colours code line by line: a line and the state the line before left give spans [class, text] and a state.
// Classes: c comment, s string, k keyword, t type or built-in name, n number, f function, m meta, a attribute,
// + and - for lines of a diff. The languages are data: languages.js.

import { findLanguage } from "./languages.js";

const WORD = /[\p{L}_$][\p{L}\p{N}_$]*/uy;
const NUMBER = /(?:0[xX][\da-fA-F_']+|0[bBoO][0-7_']+|(?:\d[\d_']*)?\.?\d[\d_']*(?:[eE][+-]?\d+)?)[\w%]*/y;
const BLANK = /\s+/y;
const CALL = /\s*\(/y;

const at = (pattern, text, i) => {
    pattern.lastIndex = i;
    return pattern.exec(text);
};

export class Highlighter {
    constructor(name) {
        this.language = findLanguage(name);
    }

    // state: null, or { end, name, escape } inside a string or comment that goes over lines.
    line(text, state) {
        const spans = [];
        if (this.language === null) {
            return { spans: [["", text]], state: null };
        }
        if (this.language.lines !== undefined) {
            const rule = this.language.lines.find(([pattern]) => pattern.test(text));
            return { spans: [[rule === undefined ? "" : rule[1], text]], state: null };
        }
        const put = (name, part) => {
            const last = spans.at(-1);
            if (last !== undefined && last[0] === name) {
                last[1] += part;
            } else if (part !== "") {
                spans.push([name, part]);
            }
        };
        let i = 0;
        while (i < text.length) {
            if (state !== null) {
                const end = findEnd(text, i, state);
                put(state.name, text.slice(i, end.to));
                i = end.to;
                state = end.found || state.oneLine ? null : state;
            } else {
                const step = this.step(text, i);
                put(step.name, text.slice(i, step.to));
                i = step.to;
                state = step.state ?? null;
            }
        }
        return { spans, state: state?.oneLine ? null : state };
    }

    // The token at text[i]: its class, its end and the state it opens.
    step(text, i) {
        const { language } = this;
        const blank = at(BLANK, text, i);
        if (blank !== null) {
            return { name: "", to: BLANK.lastIndex };
        }
        for (const [pattern, name, end, flags] of language.rules) {
            const match = at(pattern, text, i);
            if (match !== null && match[0] !== "") {
                const to = i + match[0].length;
                return end === undefined ? { name, to } : { name, to, state: { name, end: endMark(end, match),
                    escape: !flags?.includes("raw"), oneLine: flags?.includes("line") ?? false } };
            }
        }
        if (at(NUMBER, text, i) !== null) {
            return { name: "n", to: NUMBER.lastIndex };
        }
        const word = at(WORD, text, i);
        if (word === null) {
            return { name: "", to: i + 1 };
        }
        return { name: this.wordClass(word[0], text, WORD.lastIndex), to: i + word[0].length };
    }

    wordClass(word, text, end) {
        const { language } = this;
        const known = language.ignoreCase ? word.toLowerCase() : word;
        if (language.keywords.has(known)) {
            return "k";
        }
        if (language.types.has(known) || (language.capitals && /^\p{Lu}\w*\p{Ll}/u.test(word))) {
            return "t";
        }
        return language.calls !== false && at(CALL, text, end) !== null ? "f" : "";
    }
}

// $1 in an end stands for what the beginning captured: R"x( … )x", [==[ … ]==].
const endMark = (end, match) => end.replace("$1", match[1] ?? "");

function findEnd(text, from, state) {
    for (let i = from; i < text.length; i++) {
        if (text[i] === "\\" && state.escape) {
            i++;
        } else if (text.startsWith(state.end, i)) {
            return { to: i + state.end.length, found: true };
        }
    }
    return { to: text.length, found: false };
}
