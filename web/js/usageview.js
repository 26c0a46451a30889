// What was used, day by day: a chart of tokens and the same numbers as a table. Administrators see every key.

import { h, svg } from "./dom.js";
import { api } from "./api.js";
import { t, formatCompact, formatDate, formatNumber } from "./strings.js";

const DAY = 86400000;
const KINDS = ["cached_tokens", "fresh_tokens", "completion_tokens"];
const isoDay = (ms) => new Date(ms).toISOString().slice(0, 10);

// The days from..to, each with the sums of what is given for it.
export function sumDays(days, from, to) {
    const sums = new Map();
    for (let at = Date.parse(from); at <= Date.parse(to); at += DAY) {
        sums.set(isoDay(at), { day: isoDay(at), requests: 0, cached_tokens: 0, fresh_tokens: 0,
            completion_tokens: 0,
            cost: 0 });
    }
    for (const one of days) {
        const sum = sums.get(one.day);
        if (sum !== undefined) {
            sum.requests += one.requests;
            sum.cached_tokens += one.cached_tokens;
            sum.fresh_tokens += one.prompt_tokens - one.cached_tokens;
            sum.completion_tokens += one.completion_tokens;
            sum.cost += Number(one.cost ?? 0); // a decimal string
        }
    }
    return [...sums.values()];
}

function chart(days) {
    const [width, height, left, foot] = [720, 220, 52, 24];
    const total = (day) => KINDS.reduce((sum, kind) => sum + day[kind], 0);
    const most = Math.max(1, ...days.map(total));
    const step = (width - left) / days.length;
    const y = (value) => (height - foot) * (1 - value / most) + 8;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height + 8}`, class: "chart", role: "img",
        "aria-label": t("usage_chart") });
    for (const share of [0, 0.5, 1]) {
        const words = svg("text", { x: left - 8, y: y(most * share) + 4, class: "chart-words is-end" });
        words.textContent = formatCompact(most * share);
        picture.append(svg("line", { x1: left, x2: width, y1: y(most * share), y2: y(most * share),
            class: "chart-line" }), words);
    }
    days.forEach((day, i) => {
        let below = 0;
        const bar = svg("g", {});
        for (const kind of KINDS.filter((one) => day[one] > 0)) {
            bar.append(svg("rect", { x: left + i * step + step * 0.15, width: step * 0.7,
                y: y(below + day[kind]),
                height: Math.max(y(below) - y(below + day[kind]), 0.5), class: `bar-${kind}` }));
            below += day[kind];
        }
        const words = svg("title", {});
        words.textContent = `${formatDate(Date.parse(day.day))}: ${formatNumber(total(day))}`;
        bar.append(words);
        picture.append(bar);
        if (i % Math.ceil(days.length / 8) === 0) {
            const label = svg("text", { x: left + i * step, y: height + 4, class: "chart-words" });
            label.textContent = day.day.slice(5);
            picture.append(label);
        }
    });
    return picture;
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
const formatMoney = (cost) => Number(cost).toFixed(Number(cost) >= 1 ? 2 : 4);

function totalsList(totals, currency) {
    const item = (words, text) => h("div", null, h("dt", null, words), h("dd", null, text));
    return h("dl", { class: "totals" }, ["requests", "prompt_tokens", "cached_tokens", "completion_tokens"]
        .map((name) => item(t(name), formatNumber(totals[name]))),
    Number(totals.cost) > 0 ? item(t("cost", { currency: currency ?? "" }), formatMoney(totals.cost)) : null);
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
    const load = async () => {
        try {
            const { days, models, totals, currency } = await api.usage({ from: from.value, to: to.value,
                key: key.value });
            const summed = sumDays(days, from.value, to.value);
            const used = summed.filter((day) => day.requests > 0).reverse();
            const named = (models ?? []).map((one) => ({ ...one,
                fresh_tokens: one.prompt_tokens - one.cached_tokens }));
            shown.replaceChildren(totalsList(totals, currency),
                h("div", { class: "chart-box" }, chart(summed)),
                h("ul", { class: "legend" }, KINDS.map((kind) => h("li", { class: `key-${kind}` }, t(kind)))),
                table(t("day"), (day) => formatDate(Date.parse(day.day)), used, currency),
                named.length > 0 ? table(t("model_used"), (one) => one.model, named, currency) : "");
        } catch (error) {
            shown.replaceChildren(h("p", { class: "field-error", role: "alert" }, error.message));
        }
    };
    if (page.session.owner?.admin) {
        api.keys().then((keys) => {
            key.append(...keys.map((one) => h("option", { value: one.id }, one.name)));
            keyBox.hidden = keys.length === 0;
        }, () => {});
    }
    load();
    return h("div", { class: "sheet" }, h("div", { class: "filters" },
        h("label", { class: "labelled" }, h("span", null, t("from")), from),
        h("label", { class: "labelled" }, h("span", null, t("to")), to), keyBox), shown);
}
