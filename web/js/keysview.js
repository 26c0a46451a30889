// The administrator's view of keys: who may ask, for what, how much.

import { h, icon } from "./dom.js";
import { api } from "./api.js";
import { copyText } from "./clipboard.js";
import { confirmDialog, openDialog } from "./dialog.js";
import { t, formatDate, formatDay, formatNumber, formatTime, isoDay } from "./strings.js";

const DAY = 86400000;
const NAMED = 8; // characters of an id that tell keys apart
const SCOPES = ["chat", "admin", "metrics"];
const HEAD = ["name", "scopes", "limits", "balance", "expires", "created", "last_used", "actions"];
const DATES = ["expires", "created", "last_used"];
const LIMITS = ["requests_per_minute", "tokens_per_day", "concurrent"];

// The last moment of a day (UTC): when a key ends, as fathom keys list says it.
const endOf = (day) => Date.parse(day) + DAY - 1;

// What a key is called where another one may have the same name.
export const keyName = (key, keys) => (keys.some((one) => one !== key && one.name === key.name)
    ? `${key.name} (${key.id.slice(0, NAMED)})` : key.name);

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
        title: t("balance_format"), placeholder: t("no_limit"), value: key?.balance ?? "" });
    const expires = h("input", { class: "field", type: "date",
        value: key?.expires ? isoDay(key.expires) : "" });
    const until = expires.value;
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
        ...(expires.value === until ? {} : { expires: expires.value === "" ? null : endOf(expires.value) }),
    });
    return { form, error, read };
}

// The form in a window; save(fields) may fail, then its words are shown.
function keyDialog(title, key, save) {
    const { form, error, read } = keyForm(key);
    const label = t(key === null ? "create" : "save");
    return openDialog(title, form, { buttons: [{ label: t("cancel") }, { label, kind: "primary",
        onclick: async (close) => {
            if (form.reportValidity()) {
                await save(read()).then(close, (cause) => {
                    error.textContent = cause.message;
                });
            }
        } }] });
}

function showSecret(secret) {
    let copied = false;
    const copy = h("button", { type: "button", class: "button primary", onclick: async () => {
        await copyText(secret);
        copied = true;
        copy.textContent = t("copied");
    } }, t("copy"));
    const code = h("code", { "data-secret": "", oncopy: () => {
        copied = true;
    } }, secret);
    return openDialog(t("new_key"), [h("p", null, t("new_key_words")), h("p", { class: "secret" }, code, copy)],
        { wide: true, mayClose: () => copied || confirmDialog(t("close"), t("not_copied"), t("close")) });
}

export function keysView(page) {
    const rows = h("tbody");
    const empty = h("p", { class: "empty", hidden: true }, t("no_keys"));
    const failed = (error) => page.toasts.show(error.message);
    let keys = [];
    const load = async () => {
        const reply = await api.keys();
        const { currency } = reply;
        ({ keys } = reply);
        empty.hidden = keys.length > 0;
        table.hidden = keys.length === 0;
        rows.replaceChildren(...keys.map((key) => row(key, currency)));
    };
    const cell = (name, text) => h("td", { "data-label": t(name), // narrow screens show cards
        class: DATES.includes(name) ? "cell-date" : null }, text);
    const row = (key, currency) => (key.damaged ? damagedRow(key) : wholeRow(key, currency));
    const head = (key) => h("th", { scope: "row" }, key.name, h("small", null, key.id.slice(0, NAMED)));
    const damagedRow = (key) => h("tr", { class: "is-revoked" }, head(key),
        h("td", { colspan: String(HEAD.length - 2) }, t("damaged_key")),
        h("td", { class: "cell-buttons" }, button("revoke", key, revoke, "danger-quiet")));
    const wholeRow = (key, currency) => h("tr", { class: key.revoked ? "is-revoked" : null }, head(key),
        cell("scopes", key.scopes.map((scope) => t(`scope_${scope}`)).join(", ")),
        cell("limits", limitsText(key.limits)),
        cell("balance", key.balance ? `${key.balance} ${currency}` : "–"),
        cell("expires", key.expires ? formatDay(key.expires) : t("never")),
        cell("created", key.created ? formatDate(key.created) : "–"),
        cell("last_used", key.last_used ? h("span", null, formatDate(key.last_used),
            h("small", null, formatTime(key.last_used))) : t("never")),
        h("td", { class: "cell-buttons" }, key.revoked ? [h("span", null, t("revoked")),
            button("renew", key, renew)] : [
            button("change", key, (one) => keyDialog(t("change_key"), one,
                (fields) => api.changeKey(one.id, fields)).then(load)),
            button("renew", key, renew), button("revoke", key, revoke, "danger-quiet")]));
    const button = (name, key, act, kind = "") => h("button", { type: "button", class: `button ${kind}`,
        "data-action": name, onclick: () => act(key).catch(failed) }, t(name));
    // What revoking it means for who does it.
    const ownWords = (key) => {
        const governs = (one) => !one.revoked && one.scopes?.includes("admin");
        return [key.id === page.session.owner.id ? t("revoke_own") : null,
            governs(key) && !keys.some((one) => one !== key && governs(one)) ? t("revoke_last_admin") : null]
            .filter(Boolean);
    };
    const revoke = async (key) => {
        const name = key.name || key.id.slice(0, NAMED);
        const words = [t("revoke_words", { name }), ...ownWords(key)].join(" ");
        if (await confirmDialog(t("revoke"), words, t("revoke"))) {
            await api.revokeKey(key.id).then(load);
        }
    };
    const renew = async (key) => {
        if (await confirmDialog(t("renew"), t("renew_words", { name: key.name }), t("renew"))) {
            await showSecret((await api.renewKey(key.id)).key); // before the list: one's own old key opens none
            await load();
        }
    };
    const create = async () => {
        const made = await keyDialog(t("new_key"), null, (fields) => api.createKey(fields));
        if (made?.key) {
            await load();
            await showSecret(made.key);
        }
    };
    const table = h("div", { class: "table-box", tabindex: "0", role: "group", "aria-label": t("keys") },
        h("table", { class: "cards" }, h("thead", null, h("tr", null,
            HEAD.map((name) => h("th", { scope: "col" }, t(name))))),
            rows));
    load().catch(failed);
    return h("div", { class: "sheet" }, h("p", { class: "hint" }, t("keys_words")),
        page.session.key_required ? null : h("p", { class: "hint" }, t("keys_not_asked")),
        h("button", { type: "button", class: "button primary", onclick: () => create().catch(failed) },
            icon("plus"),
            t("new_key")), empty,
        table);
}
