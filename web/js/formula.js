// Sets formulas with KaTeX, which is loaded when the first one appears: the newest first and a few at a time,
// so that a text full of them never holds the page. The source is shown until then; for good without KaTeX,
// where it finds an error, and where the formula would hold the page or break it: very long ones, those that
// define macros (a short text may stand for a very long one), and those too deep for browsers to lay out.

import { h } from "./dom.js";
import { LONGEST } from "./mathtext.js";

const SLICE_MS = 10;
const DEEPEST = 250; // elements inside each other; a root takes six, a fraction seven
// Macros of KaTeX's own have an @ in their names. Arrays with wider rows are common and harmless.
const DEFINES = new RegExp(/\\(?:[egx]?def|let|futurelet|(?:re)?newcommand|providecommand)/.source
    + /(?![a-zA-Z]|\s*\{?\\arraystretch\}?\s*\{[\d.]{1,4}\})|\\[a-zA-Z]*@/.source);

function isTooDeep(element) {
    let level = [element];
    for (let depth = 0; depth < DEEPEST && level.length > 0; depth++) {
        level = level.flatMap((one) => [...one.children]);
    }
    return level.length > 0;
}

class Typesetter {
    constructor(katex) {
        this.katex = katex;
        this.waiting = [];
        this.soon = null;
        this.timer = null;
    }

    // Before the next frame, if there is time.
    add(formula) {
        this.waiting.push(formula);
        this.soon ??= Promise.resolve().then(() => this.run());
    }

    run() {
        const end = performance.now() + SLICE_MS;
        clearTimeout(this.timer);
        this.soon = null;
        while (this.waiting.length > 0 && performance.now() < end) {
            const formula = this.waiting.pop();
            if (formula.element.isConnected) { // a newer version of the text may have taken its place
                this.set(formula);
            }
        }
        if (this.waiting.length > 0) {
            this.timer = setTimeout(() => this.run());
        }
    }

    set({ element, tex, display }) {
        const set = h("span");
        try {
            this.katex.render(tex, set, { displayMode: display, throwOnError: true, strict: "ignore",
                trust: false, maxExpand: 500, maxSize: 20 });
        } catch {
            element.classList.add("math-bad");
            return;
        }
        if (isTooDeep(set)) {
            element.classList.add("math-bad");
        } else {
            element.replaceChildren(...set.childNodes);
        }
    }
}

// Asked for once: a promise of what sets formulas, or of null where KaTeX is not there.
const library = { promise: null };

function loadKatex() {
    library.promise ??= new Promise((resolve) => {
        const style = h("link", { rel: "stylesheet", href: "/lib/katex/katex.css" });
        document.head.append(style);
        import("/lib/katex/katex.js").then(() => {
            const katex = self.katex; // it knows no modules: taken from where it puts itself
            delete self.katex;
            resolve(new Typesetter(katex));
        }, () => resolve(null));
    });
    return library.promise;
}

// An element that shows the source at once and the formula as soon as it can be set.
export function mathElement(tex, display) {
    const element = h(display ? "div" : "span", { class: display ? "math math-display" : "math" },
        h("code", null, tex));
    if (tex.length > LONGEST || DEFINES.test(tex)) {
        element.classList.add("math-bad");
    } else {
        loadKatex().then((typesetter) => typesetter?.add({ element, tex, display }));
    }
    return element;
}
