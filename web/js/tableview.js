// A table. While it grows, rows that were drawn stay.

import { h } from "./dom.js";
import { t } from "./strings.js";

export class TableView {
    // inline(text) draws what stands in a cell.
    constructor(node, inline) {
        this.inline = inline;
        this.head = headOf(node);
        this.rows = []; // { key, element }
        this.body = h("tbody");
        this.element = h("div", { class: "table-box", tabindex: "0", role: "group", "aria-label": t("table") },
            h("table", null, h("thead", null, this.row("th", node.head, node.align)), this.body));
    }

    row(name, cells, align) {
        return h("tr", null, cells.map((text, i) => h(name, { class: align[i] ? `align-${align[i]}` : null,
            scope: name === "th" ? "col" : null }, this.inline(text))));
    }

    // Shows the node's rows; false where its head is another, so that it has to be drawn anew.
    show(node) {
        if (headOf(node) !== this.head) {
            return false;
        }
        let same = 0;
        while (same < node.rows.length && this.rows[same]?.key === node.rows[same].join("|")) {
            same++;
        }
        this.rows.splice(same).forEach((row) => row.element.remove());
        for (const cells of node.rows.slice(same)) {
            const element = this.row("td", cells, node.align);
            this.rows.push({ key: cells.join("|"), element });
            this.body.append(element);
        }
        return true;
    }
}

const headOf = (node) => [...node.head, ...node.align].join("|");
