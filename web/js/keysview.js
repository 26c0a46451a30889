// The administrator's view of keys: who may ask, for what, how much.

import { h, icon } from "./dom.js";
import { api } from "./api.js";
import { copyText } from "./clipboard.js";
import { confirmDialog, openDialog } from "./dialog.js";
import { t, formatDate, formatNumber } from "./strings.js";

const DAY = 86400000; // a key holds until the end of its last day
const SCOPES = ["chat", "admin", "metrics"];
const LIMITS = ["requests_per_minute", "tokens_per_day", "concurrent"];

const limitsText = (limits) => LIMITS.filter((name) => limits?.[name])
    .map((name) => `${t(`limit_${name}`)}: ${formatNumber(limits[name])}`).join(", ") || t("no_limits");

function keyForm(key) {
    const name = h("input", { class: "field", required: true, maxlength: "100", value: key?.name ?? "",
        autofocus: true });
    const scopes = SCOPES.map((scope) => h("input", { type: "checkbox", value: scope,
        checked: (key?.scopes ?? ["chat"]).includes(scope) }));
    const limits = LIMITS.map((limit) => h("input", { class: "field", type: "number", min: "1", step: "1",
        placeholder: t("no_limit"), value: key?.limits?.[limit] || "" }));
    const balance = h("input", { class: "field", inputmode: "decimal", pattern: "-?[0-9]+([.][0-9]{1,9})?",
        placeholder: t("no_limit"), value: key?.balance ?? "" });
    const expires = h("input", { class: "field", type: "date",
        value: key?.expires ? new Date(key.expires - DAY).toISOString().slice(0, 10) : "" });
    const labelled = (words, field) => h("label", { class: "labelled" }, h("span", null, words), field);
    const error = h("p", { class: "field-error", role: "alert" });
    const form = h("form", { onsubmit: (event) => event.preventDefault() },
        labelled(t("name"), name),
        h("fieldset", { class: "checks" }, h("legend", null, t("scopes")),
            scopes.map((box) => h("label", null, box, h("span", null, t(`scope_${box.value}`))))),
        h("div", { class: "sampling" }, limits.map((field, i) => labelled(t(`limit_${LIMITS[i]}`), field)),
            labelled(t("balance"), balance), labelled(t("expires"), expires)), error);
    const read = () => ({
        name: name.value.trim(),
        scopes: scopes.filter((box) => box.checked).map((box) => box.value),
        limits: Object.fromEntries(limits.map((field, i) => [LIMITS[i], Number(field.value)])), // 0: none
        balance: balance.value.trim() || null,
        expires: expires.value === "" ? null : Date.parse(expires.value) + DAY,
    });
    return { form, error, read };
}

// The form in a window; save(fields) may fail, then its words are shown.
function keyDialog(title, key, save) {
    const { form, error, read } = keyForm(key);
    return openDialog(title, form, { buttons: [{ label: t("cancel") }, { label: t("save"), kind: "primary",
        onclick: async (close) => {
            if (form.reportValidity()) {
                await save(read()).then(close, (cause) => {
                    error.textContent = cause.message;
                });
            }
        } }] });
}

function showSecret(secret) {
    const copy = h("button", { type: "button", class: "button primary", onclick: async () => {
        await copyText(secret);
        copy.textContent = t("copied");
    } }, t("copy"));
    return openDialog(t("new_key"), [h("p", null, t("new_key_words")), h("p", { class: "secret" },
        h("code", { "data-secret": "" }, secret), copy)]);
}

export function keysView(page) {
    const rows = h("tbody");
    const empty = h("p", { class: "empty", hidden: true }, t("no_keys"));
    const failed = (error) => page.toasts.show(error.message);
    const load = async () => {
        const keys = await api.keys();
        empty.hidden = keys.length > 0;
        table.hidden = keys.length === 0;
        rows.replaceChildren(...keys.map(row));
    };
    const row = (key) => h("tr", { class: key.revoked ? "is-revoked" : null },
        h("th", { scope: "row" }, key.name),
        h("td", null, key.scopes.map((scope) => t(`scope_${scope}`)).join(", ")),
        h("td", null, limitsText(key.limits)),
        h("td", null, key.balance ?? "–"),
        h("td", null, key.expires ? formatDate(key.expires - DAY) : t("never")),
        h("td", null, key.created ? formatDate(key.created) : "–"),
        h("td", null, key.last_used ? formatDate(key.last_used) : t("never")),
        h("td", { class: "cell-buttons" }, key.revoked ? t("revoked") : [
            h("button", { type: "button", class: "button", onclick: () => keyDialog(t("change_key"), key,
                (fields) => api.changeKey(key.id, fields)).then(load).catch(failed) }, t("change")),
            h("button", { type: "button", class: "button danger-quiet", onclick: async () => {
                if (await confirmDialog(t("revoke"), t("revoke_words", { name: key.name }), t("revoke"))) {
                    await api.revokeKey(key.id).then(load).catch(failed);
                }
            } }, t("revoke"))]));
    const create = async () => {
        const made = await keyDialog(t("new_key"), null, (fields) => api.createKey(fields));
        if (made?.key) {
            await load();
            await showSecret(made.key);
        }
    };
    const head = ["name", "scopes", "limits", "balance", "expires", "created", "last_used", "actions"];
    const table = h("div", { class: "table-box", tabindex: "0", role: "group", "aria-label": t("keys") },
        h("table", null, h("thead", null, h("tr", null,
            head.map((name) => h("th", { scope: "col" }, t(name))))),
            rows));
    load().catch(failed);
    return h("div", { class: "sheet" }, h("p", { class: "hint" }, t("keys_words")),
        h("button", { type: "button", class: "button primary", onclick: () => create().catch(failed) },
            icon("plus"),
            t("new_key")), empty,
        table);
}
