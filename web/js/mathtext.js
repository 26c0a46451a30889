// Maths in text: finds it (so that "$5 and $6" stays what it is) and sets it with KaTeX, which is loaded when
// the first formula appears. Without KaTeX, and where it finds an error, the source is shown.

import { h } from "./dom.js";

const LONGEST = 5000;
const MARKS = { "\\(": "\\)", "\\[": "\\]", "$$": "$$" };

// Prices and other words between two dollars: begins with a number, goes on with words, and has no maths in it.
const isMoney = (tex) => /^\d[\d.,]*(?:\s|[.,;:!?]|$)/.test(tex) && /[^\\\p{L}]\p{L}{2,}/u.test(tex)
    && !/[\\^_={}]/.test(tex);
// Not the words of "\\[see below\\]".
export const isMath = (tex) => /[\p{L}\d]/u.test(tex)
    && (/[\\^_=+\-*/<>{}|\d()!']/.test(tex) || /^\s*\p{L}{1,3}\s*$/u.test(tex));

function matchDollar(text, at) {
    if (/[\p{L}\p{N}$\\]/u.test(text[at - 1] ?? " ") || /[\s$]/.test(text[at + 1] ?? " ")) {
        return null;
    }
    const most = Math.min(text.length, at + LONGEST);
    for (let end = at + 1; end < most; end++) {
        if (text[end] === "\\") {
            end++;
        } else if (text[end] === "`" || (text[end] === "\n" && text[end + 1] === "\n")) {
            return null;
        } else if (text[end] === "$") {
            const tex = text.slice(at + 1, end);
            if (/\s$/.test(tex) || /[\p{L}\p{N}$]/u.test(text[end + 1] ?? " ") || isMoney(tex)) {
                return null;
            }
            return { tex, display: false, length: end + 1 - at };
        }
    }
    return null;
}

// The formula that begins at text[at], as { tex, display, length }, or null.
export function matchMath(text, at) {
    const mark = text.slice(at, at + 2);
    const close = Object.hasOwn(MARKS, mark) ? MARKS[mark] : null;
    if (close === null) {
        return text[at] === "$" ? matchDollar(text, at) : null;
    }
    const end = text.slice(at + 2, at + LONGEST).indexOf(close);
    const tex = text.slice(at + 2, at + 2 + end).trim();
    if (end < 0 || tex === "" || !isMath(tex)) {
        return null;
    }
    return { tex, display: mark !== "\\(", length: end + 4 };
}

// The one library, asked for once: a promise of it, or of null where it is not there.
const library = { promise: null };

function loadKatex() {
    library.promise ??= new Promise((resolve) => {
        const style = h("link", { rel: "stylesheet", href: "/lib/katex/katex.css" });
        document.head.append(style);
        import("/lib/katex/katex.js").then(() => {
            const katex = self.katex; // it knows no modules: taken from where it puts itself
            delete self.katex;
            resolve(katex);
        }, () => resolve(null));
    });
    return library.promise;
}

// An element that shows the source at once and the formula as soon as it can be set.
export function mathElement(tex, display) {
    const element = h(display ? "div" : "span", { class: display ? "math math-display" : "math" },
        h("code", null, tex));
    loadKatex().then((katex) => {
        if (katex === null) {
            return;
        }
        const set = h("span");
        try {
            katex.render(tex, set, { displayMode: display, throwOnError: true, strict: "ignore", trust: false,
                maxExpand: 500, maxSize: 20 });
            element.replaceChildren(...set.childNodes);
        } catch {
            element.classList.add("math-bad");
        }
    });
    return element;
}
