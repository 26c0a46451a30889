// The view that asks for a key, where the server wants one.

import { h } from "./dom.js";
import { api } from "./api.js";
import { t } from "./strings.js";

// entered() once the key was taken.
export function signinView(entered) {
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
    return h("main", { class: "signin", id: "main" }, h("form", { onsubmit: submit },
        h("img", { src: "/icon.svg", alt: "", width: "56", height: "56" }), h("h1", null, "Fathom"),
        h("label", { class: "labelled" }, h("span", null, t("key")), field),
        h("p", { class: "hint", id: "signin-hint" }, t("signin_hint")), error, button));
}
