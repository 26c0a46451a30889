// Begins the page: who is there, and which view that person gets.

import { h } from "./dom.js";
import { api } from "./api.js";
import { Page } from "./page.js";
import { signinView } from "./signin.js";
import { language, t } from "./strings.js";

async function begin() {
    document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
    try {
        const session = await api.session();
        if (session.key_required && !session.signed_in) {
            document.body.replaceChildren(signinView(begin));
            document.querySelector("[autofocus]")?.focus();
        } else {
            const page = new Page(session);
            document.body.replaceChildren(...page.elements);
            await page.begin();
        }
    } catch (error) {
        document.body.replaceChildren(h("main", { class: "signin", id: "main" }, h("div", { role: "alert" },
            h("h1", null, t("no_server")), h("p", null, error.message),
            h("button", { type: "button", class: "button primary", onclick: begin }, t("retry")))));
    }
}

begin();
