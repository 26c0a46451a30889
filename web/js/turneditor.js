// The field in which an earlier turn is edited. Sending makes a new branch: what was there stays.

import { h } from "./dom.js";
import { t } from "./strings.js";

// send(content) may fail: then the text stays and the error is shown beside it.
export function turnEditor(message, send, cancel) {
    const field = h("textarea", { class: "turn-field", "aria-label": t("edit_turn"), rows: "3",
        value: message.content });
    const error = h("p", { class: "field-error", role: "alert", hidden: true });
    let sending = false;
    const submit = async (event) => {
        event.preventDefault();
        if (sending || (field.value.trim() === "" && !(message.attachments?.length > 0))) {
            return;
        }
        sending = true;
        error.hidden = true;
        try {
            await send(field.value);
        } catch (cause) {
            error.textContent = cause.message;
            error.hidden = false;
        }
        sending = false;
    };
    field.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            event.preventDefault();
            event.stopPropagation();
            cancel();
        } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
            submit(event);
        }
    });
    return h("form", { class: "turn-editor", onsubmit: submit }, field,
        h("p", { class: "hint" }, t("edit_hint")), error,
        h("div", { class: "buttons" },
            h("button", { type: "button", class: "button", onclick: cancel }, t("cancel")),
            h("button", { type: "submit", class: "button primary" }, t("send"))));
}
