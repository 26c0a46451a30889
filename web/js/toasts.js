// Short words at the foot of the page, with something to do about them. New ones take the place of those before
// that nothing can be done about.

import { h, iconButton } from "./dom.js";
import { t } from "./strings.js";

export class Toasts {
    constructor() {
        this.element = h("div", { class: "toasts", role: "status" });
    }

    // action: { label, onclick } or null. Gives a function that takes the words away.
    show(words, action = null, ms = 6000) {
        const remove = () => {
            clearTimeout(timer);
            toast.remove();
        };
        this.element.querySelectorAll(".toast:not(:has(.button))").forEach((old) => old.remove());
        const toast = h("div", { class: "toast" }, h("span", null, words),
            action === null ? null : h("button", { type: "button", class: "button", onclick: () => {
                remove();
                action.onclick();
            } }, action.label), iconButton("close", t("close"), remove, { class: "icon-button small" }));
        const timer = setTimeout(remove, ms);
        this.element.append(toast);
        return remove;
    }
}
