// What was used, day by day: a chart of tokens and the same numbers as a table. Administrators see every key.

import { h, svg } from "./dom.js";
import { api } from "./api.js";
import { keyName } from "./keysview.js";
import { t, formatCompact, formatDay, formatDuration, formatNumber, formatShortDay, isoDay }
    from "./strings.js";

const DAY = 86400000;
const LABEL = 60; // as wide as a day's name may be
const MOST_DAYS = 1000; // a year that is half typed may be that of Caesar
const smallMoney = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const KINDS = ["cached_tokens", "fresh_tokens", "completion_tokens"];

const total = (sum) => KINDS.reduce((all, kind) => all + sum[kind], 0);

function add(sum, one) {
    sum.requests += one.requests;
    sum.cached_tokens += one.cached_tokens;
    sum.fresh_tokens += one.prompt_tokens - one.cached_tokens;
    sum.completion_tokens += one.completion_tokens;
    sum.cost += Number(one.cost ?? 0); // a decimal string
}

// The days from..to, the last ones of very many, each with the sums of what is given for it.
export function sumDays(days, from, to) {
    const sums = new Map();
    const last = Date.parse(to);
    for (let at = Math.max(Date.parse(from), last - (MOST_DAYS - 1) * DAY); at <= last; at += DAY) {
        sums.set(isoDay(at), { day: isoDay(at), requests: 0, cached_tokens: 0, fresh_tokens: 0,
            completion_tokens: 0,
            cost: 0 });
    }
    for (const one of days) {
        const sum = sums.get(one.day);
        if (sum !== undefined) {
            add(sum, one);
        }
    }
    return [...sums.values()];
}

// The same sums by key, the one with the most tokens first.
export function sumKeys(days) {
    const sums = new Map();
    for (const one of days) {
        const sum = sums.get(one.key) ?? { key: one.key, requests: 0, cached_tokens: 0, fresh_tokens: 0,
            completion_tokens: 0, cost: 0 };
        add(sum, one);
        sums.set(one.key, sum);
    }
    return [...sums.values()].sort((a, b) => total(b) - total(a));
}

// The smallest round number that is not below n: 1, 2, 3, 4, 5, 6 or 8 with zeros.
export function roundUp(n) {
    const zeros = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
    return zeros * [1, 2, 3, 4, 5, 6, 8, 10].find((digit) => digit * zeros >= n);
}

// The values that lines are drawn at, beside the picture: they stay in sight where it is wider than the page.
function chart(days) {
    const [width, height, foot] = [668, 220, 24];
    const half = roundUp(Math.max(...days.map(total)) / 2);
    const step = width / days.length;
    const y = (value) => (height - foot) * (1 - value / half / 2) + 8;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height + 8}`, class: "chart", role: "img",
        "aria-label": t("usage_chart") });
    for (const value of [0, half, 2 * half]) {
        picture.append(svg("line", { x1: 0, x2: width, y1: y(value), y2: y(value), class: "chart-line" }));
    }
    days.forEach((day, i) => {
        let below = 0;
        const bar = svg("g", {});
        for (const kind of KINDS.filter((one) => day[one] > 0)) {
            bar.append(svg("rect", { x: i * step + step * 0.15, width: step * 0.7,
                y: y(below + day[kind]),
                height: Math.max(y(below) - y(below + day[kind]), 0.5), class: `bar-${kind}` }));
            below += day[kind];
        }
        const words = svg("title", {});
        words.textContent = `${formatDay(Date.parse(day.day))}: ${formatNumber(total(day))}`;
        bar.append(words);
        picture.append(bar);
        if (i % Math.ceil(days.length / 8) === 0) {
            const late = i * step > width - LABEL; // it ends where the picture does
            const label = svg("text", { x: late ? width : i * step, y: height + 4, class: "chart-words",
                "text-anchor": late ? "end" : "start" });
            label.textContent = formatShortDay(Date.parse(day.day));
            picture.append(label);
        }
    });
    return h("div", { class: "chart-box" }, h("div", { class: "chart-axis", "aria-hidden": "true" },
        [2 * half, half, 0].map((value) => h("span", null, formatCompact(value)))), picture);
}

// The numbers of rows, each named by name(row).
function table(title, name, rows, currency) {
    const money = rows.some((row) => Number(row.cost) > 0);
    const head = [title, t("requests"), t("cached_tokens"), t("fresh_tokens"), t("completion_tokens"),
        ...(money ? [t("cost", { currency: currency ?? "" })] : [])];
    const number = (text) => h("td", { class: "align-right" }, text);
    const line = (row) => h("tr", null, h("th", { scope: "row" }, name(row)),
        [row.requests, ...KINDS.map((kind) => row[kind])].map((n) => number(formatNumber(n))),
        money ? number(formatMoney(row.cost)) : null);
    return h("div", { class: "table-box", tabindex: "0", role: "group", "aria-label": title }, h("table", null,
        h("thead", null, h("tr", null, head.map((words, i) => h("th",
            { scope: "col", class: i > 0 ? "align-right" : null }, words)))),
        h("tbody", null, rows.map(line))));
}

// Cents at least, and what is smaller as far as there is something.
export function formatMoney(cost) {
    const n = Number(cost);
    return n >= 0.0001 || n === 0 ? n.toFixed(n >= 1 ? 2 : 4) : smallMoney.format(n);
}

function totalsList(totals, currency) {
    const item = (words, text) => h("div", null, h("dt", null, words), h("dd", null, text));
    return h("dl", { class: "totals" }, ["requests", "prompt_tokens", "cached_tokens", "completion_tokens"]
        .map((name) => item(t(name), formatNumber(totals[name]))),
    Number(totals.cost) > 0 ? item(t("cost", { currency: currency ?? "" }), formatMoney(totals.cost)) : null);
}

// What one's own key may still use.
function ownList(own, currency) {
    const item = (words, text, more) => h("div", null, h("dt", null, words), h("dd", null, text),
        more ? h("dd", { class: "more" }, more) : null);
    const { tokens_per_day: limit, requests_per_minute, concurrent } = own.limits;
    const used = own.tokens_today;
    const left = t("left_today", { left: formatNumber(Math.max(0, limit - used)),
        time: formatDuration(DAY - (Date.now() % DAY)) });
    const items = [
        limit ? item(t("used_today"),
            t("used_of", { used: formatNumber(used), limit: formatNumber(limit) }), left) : null,
        requests_per_minute ? item(t("limit_requests_per_minute"), formatNumber(requests_per_minute)) : null,
        concurrent ? item(t("limit_concurrent"), formatNumber(concurrent)) : null,
        own.balance === null ? null
            : item(currency ? t("balance_in", { currency }) : t("balance"), own.balance)].filter(Boolean);
    return items.length === 0 ? "" : h("dl", { class: "totals own" }, items);
}

export function usageView(page) {
    const now = Date.now();
    const from = h("input", { class: "field", type: "date", value: isoDay(now - 29 * DAY),
        onchange: () => load() });
    const to = h("input", { class: "field", type: "date", value: isoDay(now), onchange: () => load() });
    const key = h("select", { class: "field", onchange: () => load() },
        h("option", { value: "" }, t("all_keys")));
    const keyBox = h("label", { class: "labelled", hidden: true }, h("span", null, t("key")), key);
    const shown = h("div", { class: "usage" });
    let keys = [];
    const nameOf = (id) => {
        const known = keys.find((one) => one.id === id);
        return known ? keyName(known, keys) : id === "local" ? t("this_machine") : id;
    };
    const load = async () => {
        try {
            const { days, models, totals, currency, own } = await api.usage({ from: from.value, to: to.value,
                key: key.value });
            const summed = sumDays(days, from.value, to.value);
            const used = summed.filter((day) => day.requests > 0).reverse();
            const named = (models ?? []).map((one) => ({ ...one,
                fresh_tokens: one.prompt_tokens - one.cached_tokens }));
            if (totals.requests === 0) {
                shown.replaceChildren(own ? ownList(own, currency) : "",
                    h("p", { class: "empty" }, t("no_usage")));
                return;
            }
            const box = chart(summed);
            const admin = page.session.owner.admin && key.value === "";
            shown.replaceChildren(own ? ownList(own, currency) : "", totalsList(totals, currency), box,
                h("ul", { class: "legend" }, KINDS.map((kind) => h("li", { class: `key-${kind}` }, t(kind)))),
                admin && days.length > 0
                    ? table(t("key"), (one) => nameOf(one.key), sumKeys(days), currency) : "",
                table(t("day"), (day) => formatDay(Date.parse(day.day)), used, currency),
                named.length > 0 ? table(t("model_used"), (one) => one.model, named, currency) : "");
            box.scrollLeft = box.scrollWidth; // what is new is what people look for
        } catch (error) {
            shown.replaceChildren(h("p", { class: "field-error", role: "alert" }, error.message));
        }
    };
    const loadKeys = async () => {
        ({ keys } = await api.keys());
        key.append(h("option", { value: "local" }, t("this_machine")),
            ...keys.map((one) => h("option", { value: one.id }, keyName(one, keys))));
        keyBox.hidden = keys.length === 0;
    };
    (page.session.owner.admin ? loadKeys().catch(() => {}) : Promise.resolve()).then(load);
    return h("div", { class: "sheet" }, h("div", { class: "filters" },
        h("label", { class: "labelled" }, h("span", null, t("from")), from),
        h("label", { class: "labelled" }, h("span", null, t("to")), to), keyBox), shown);
}
