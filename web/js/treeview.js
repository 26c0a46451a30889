// The whole chat as a tree, to see every branch and to jump about. Turns that follow each other stay in one
// column; where a turn was edited or an answer made again, each version has a column of its own.

import { h, icon } from "./dom.js";
import { openDialog } from "./dialog.js";
import { t, formatNumber } from "./strings.js";

const WORDS = 90;
const DEEPEST = 40;

function excerpt(message) {
    const words = message.content || message.reasoning || message.attachments?.[0]?.name || "…";
    const text = words.slice(0, 4 * WORDS).replace(/\s+/g, " ");
    return text.length > WORDS ? `${text.slice(0, WORDS)}…` : text;
}

// Forks within forks stand side by side down to DEEPEST, as far as browsers lay boxes out; below, one after the
// other.
export function treeColumns(tree, entry) {
    const column = () => h("ol", { class: "tree" });
    const top = column();
    const left = []; // still to be drawn; the last one is next
    const add = (ids, list, depth) => {
        const forks = ids.length > 1 && depth < DEEPEST;
        const branches = ids.map((id) => (forks ? { id, list: column(), depth: depth + 1 }
            : { id, list, depth }));
        if (forks) {
            list.append(h("li", { class: "tree-fork" }, branches.map((branch) => branch.list)));
        }
        left.push(...branches.reverse());
    };
    add(tree.children(null), top, 0);
    while (left.length > 0) {
        const { id, list, depth } = left.pop();
        list.append(entry(id));
        add(tree.children(id), list, depth);
    }
    return top;
}

export function treeDialog(page) {
    const { conversation } = page;
    const { tree } = conversation;
    const shown = new Set(conversation.path().map((message) => message.id));
    openDialog(t("tree_title", { n: formatNumber(tree.size) }), (close) => {
        const entry = (id) => {
            const message = tree.get(id);
            const user = message.role === "user";
            const siblings = tree.siblings(id);
            const version = siblings.length < 2 ? null
                : h("small", null, `${siblings.indexOf(id) + 1}/${siblings.length}`);
            return h("li", { class: user ? null : "tree-answer" }, h("button", { type: "button",
                onclick: () => close(id),
                class: shown.has(id) ? "tree-node is-shown" : "tree-node",
                "aria-current": id === conversation.chat.leaf ? "true" : null,
            }, h("span", { class: "tree-dot" }), h("b", null, t(user ? "you" : "model")),
            h("span", null, excerpt(message)), version));
        };
        const hint = h("p", { class: "hint" }, icon("tree"), t("tree_hint"));
        return h("div", { class: "tree-box" }, hint, treeColumns(tree, entry));
    }, { side: true }).then((id) => {
        if (id !== undefined) {
            page.goTo(id);
        }
    });
}
