// Finds maths in text, so that "$5 and $6" stays what it is.

export const LONGEST = 5000; // characters of a formula
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
