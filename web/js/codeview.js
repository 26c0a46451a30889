// A block of code: its language, a button that copies it, and its lines in colour. Text that grows is coloured
// from the first line that changed.

import { h, iconButton, icon } from "./dom.js";
import { copyText } from "./clipboard.js";
import { Highlighter } from "./highlight.js";
import { t } from "./strings.js";

const LONGEST_LINE = 2000;
const MOST_LINES = 10000;

export class CodeView {
    constructor(info) {
        this.info = info;
        this.text = null;
        const word = /^[\w+#.-]*/.exec(info.replace(/^\{?\.?/, ""))[0];
        this.highlighter = new Highlighter(word.toLowerCase());
        this.lines = []; // { text, before: state, element }
        this.code = h("code");
        this.button = iconButton("copy", t("copy_code"), () => this.copy(), { class: "icon-button small" });
        this.element = h("figure", { class: "code" },
            h("figcaption", null, h("span", null, word || t("code")), this.button),
            h("pre", { tabindex: "0" }, this.code));
    }

    async copy() {
        await copyText(this.text);
        this.button.replaceChildren(icon("check"));
        setTimeout(() => this.button.replaceChildren(icon("copy")), 1500);
    }

    show(text) {
        if (text === this.text) {
            return;
        }
        this.text = text;
        const lines = text.split("\n");
        let same = 0;
        const most = Math.min(lines.length, this.lines.length);
        while (same < most && lines[same] === this.lines[same].text) {
            same++;
        }
        let state = same === 0 ? null : this.lines[same - 1].after;
        this.lines.splice(same).forEach((line) => line.element.remove());
        const fresh = document.createDocumentFragment();
        for (let i = same; i < lines.length; i++) {
            const plain = i > MOST_LINES || lines[i].length > LONGEST_LINE;
            const line = plain ? { spans: [["", lines[i]]], state } : this.highlighter.line(lines[i], state);
            const element = h("span", { class: "line" }, line.spans.map(([name, part]) =>
                (name === "" ? part : h("span", { class: `hl-${name}` }, part))), "\n");
            this.lines.push({ text: lines[i], after: line.state, element });
            state = line.state;
            fresh.append(element);
        }
        this.code.append(fresh);
    }
}
