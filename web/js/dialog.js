// Windows over the page: <dialog> keeps the focus inside, Escape closes, the focus goes back where it was.

import { h, iconButton } from "./dom.js";
import { t } from "./strings.js";

// Shows a window with a title and contents; resolves when it is closed, with what close(result) was given.
// mayClose: asked before a person closes it without an answer; may be a promise.
export function openDialog(title, contents, { wide = false, side = false, buttons = [],
    mayClose = () => true } = {}) {
    const id = `dialog-${Math.random().toString(36).slice(2)}`;
    const before = document.activeElement;
    const dialog = h("dialog", { class: `dialog ${wide ? "is-wide" : ""} ${side ? "is-side" : ""}`,
        "aria-labelledby": id });
    const close = (result) => {
        dialog.result = result;
        dialog.close();
    };
    const leave = async () => {
        if (await mayClose()) {
            close();
        }
    };
    const row = buttons.map(({ label, result, kind = "", autofocus, onclick }) => h("button", {
        type: "button", class: `button ${kind}`, autofocus,
        onclick: () => (onclick ? onclick(close) : close(result)),
    }, label));
    dialog.append(h("header", null, h("h2", { id }, title),
        iconButton("close", t("close"), leave)),
    h("div", { class: "dialog-body" }, typeof contents === "function" ? contents(close) : contents),
    ...(row.length > 0 ? [h("footer", { class: "buttons" }, row)] : []));
    dialog.addEventListener("click", (event) => {
        if (event.target === dialog) {
            leave(); // beside the window
        }
    });
    dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        leave();
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector(".primary"))?.focus();
    return new Promise((resolve) => {
        dialog.addEventListener("close", () => {
            dialog.remove();
            if (before?.isConnected) {
                before.focus();
            }
            resolve(dialog.result);
        });
    });
}

// What was asked on one view is not asked on the next: the way back closes windows. Signing in still waits.
export function closeDialogs() {
    document.querySelectorAll("dialog:not(:has([type=password]))").forEach((dialog) => dialog.close());
}

// Enter alone does no harm: the focus is on Cancel.
export function confirmDialog(title, words, action) {
    return openDialog(title, h("p", null, words), { buttons: [{ label: t("cancel"), autofocus: true },
        { label: action, result: true, kind: "danger" }] });
}

// Asks for one line of text; undefined when the person thought better of it.
export function promptDialog(title, label, value, suggestions = []) {
    return openDialog(title, (close) => {
        const field = h("input", { class: "field", value, maxlength: "200", autofocus: true,
            ...(suggestions.length > 0 ? { list: "suggestions" } : {}) });
        setTimeout(() => field.select());
        return h("form", { onsubmit: (event) => {
            event.preventDefault();
            close(field.value.trim());
        } }, h("label", { class: "labelled" }, h("span", null, label), field),
        suggestions.length > 0 ? h("datalist", { id: "suggestions" },
            suggestions.map((one) => h("option", { value: one }))) : null,
        h("div", { class: "buttons" },
            h("button", { type: "button", class: "button", onclick: () => close() }, t("cancel")),
            h("button", { type: "submit", class: "button primary" }, t("save"))));
    });
}
