// Asks for a key, where the server wants one: a view before the page, a window over it when a key ran out.

import { h } from "./dom.js";
import { api } from "./api.js";
import { openDialog } from "./dialog.js";
import { t } from "./strings.js";

// entered() once the key was taken.
function signinForm(entered) {
    const field = h("input", { class: "field", type: "password", autocomplete: "current-password",
        required: true,
        autofocus: true, "aria-describedby": "signin-hint signin-error" });
    const error = h("p", { class: "field-error", role: "alert", id: "signin-error" });
    const button = h("button", { type: "submit", class: "button primary" }, t("sign_in"));
    const submit = async (event) => {
        event.preventDefault();
        error.textContent = "";
        button.disabled = true;
        try {
            await api.login(field.value.trim());
            entered();
        } catch (cause) {
            error.textContent = cause.status === 401 ? t("wrong_key") : cause.message;
            field.select();
        } finally {
            button.disabled = false;
        }
    };
    return h("form", { onsubmit: submit }, h("label", { class: "labelled" }, h("span", null, t("key")), field),
        h("p", { class: "hint", id: "signin-hint" }, t("signin_hint")), error, button);
}

export function signinView(entered) {
    return h("main", { class: "signin", id: "main" }, h("div", null,
        h("img", { src: "/icon.svg", alt: "", width: "56", height: "56" }), h("h1", null, "Fathom"),
        signinForm(entered)));
}

export function signinDialog() {
    return openDialog(t("sign_in"), (close) => [h("p", null, t("error_signed_out")), signinForm(close)]);
}
