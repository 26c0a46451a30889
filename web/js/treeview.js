// The whole chat as a tree, to see every branch and to jump about. Turns that follow each other stay in one
// column; where a turn was edited or an answer made again, each version has a column of its own.

import { h, icon } from "./dom.js";
import { openDialog } from "./dialog.js";
import { t, formatNumber } from "./strings.js";

const WORDS = 90;

function excerpt(message) {
    const words = message.content || message.reasoning || message.attachments?.[0]?.name || "…";
    const text = words.slice(0, 4 * WORDS).replace(/\s+/g, " ");
    return text.length > WORDS ? `${text.slice(0, WORDS)}…` : text;
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
            return h("li", null, h("button", { type: "button", onclick: () => close(id),
                class: shown.has(id) ? "tree-node is-shown" : "tree-node",
                "aria-current": id === conversation.chat.leaf ? "true" : null,
            }, h("span", { class: "tree-dot" }), h("b", null, t(user ? "you" : "model")),
            h("span", null, excerpt(message)), version));
        };
        // Iterative along a column, recursive where it forks.
        const column = (ids) => {
            const list = h("ol", { class: "tree" });
            for (let at = ids; at.length > 0; at = tree.children(at[0])) {
                if (at.length > 1) {
                    list.append(h("li", { class: "tree-fork" }, at.map((id) => {
                        const branch = h("ol", { class: "tree" }, entry(id));
                        branch.append(...column(tree.children(id)).childNodes);
                        return branch;
                    })));
                    break;
                }
                list.append(entry(at[0]));
            }
            return list;
        };
        const hint = h("p", { class: "hint" }, icon("tree"), t("tree_hint"));
        return h("div", { class: "tree-box" }, hint, column(tree.children(null)));
    }, { side: true }).then((id) => {
        if (id !== undefined) {
            page.goTo(id);
        }
    });
}
