// Begins the page: who is there, and which view that person gets.

import { h } from "./dom.js";
import { api } from "./api.js";
import { Page } from "./page.js";
import { signinView } from "./signin.js";
import { language, t } from "./strings.js";

// A view of a few words and what can be done about them.
function wordsView(title, words, buttons) {
    return h("main", { class: "signin", id: "main" }, h("div", { role: "alert" }, h("h1", null, title),
        h("p", null, words), buttons));
}

function failedView(error) {
    const button = (words, kind, onclick) => h("button", { type: "button", class: `button ${kind}`, onclick },
        words);
    return wordsView(t(error.status === 0 ? "no_server" : "no_page"), error.message, [
        button(t("retry"), "primary", begin),
        button(t("sign_out"), "", () => api.logout().catch(() => {}).then(begin))]);
}

async function begin() {
    document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
    if (location.pathname !== "/") {
        document.body.replaceChildren(wordsView(t("nowhere"), location.pathname,
            h("a", { class: "button primary", href: "/" }, t("to_page"))));
        return;
    }
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
        document.body.replaceChildren(failedView(error));
    }
}

begin();
