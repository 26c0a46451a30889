// Copies text. Browsers give their clipboard only to pages of this machine or over TLS; elsewhere the older
// way.

import { h } from "./dom.js";

export async function copyText(text) {
    if (navigator.clipboard !== undefined) {
        try {
            return await navigator.clipboard.writeText(text);
        } catch { /* not allowed: the older way */ }
    }
    const before = document.activeElement;
    const field = h("textarea", { class: "off-screen", value: text, "aria-hidden": "true" });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    before?.focus();
    return undefined;
}
