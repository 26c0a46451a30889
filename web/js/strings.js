// The page's words in the language of the person: t("key", { name: value }) fills {name}.

import { readPrefs } from "./prefs.js";
import { english } from "./strings_en.js";
import { chinese } from "./strings_zh.js";

// The language is read once: another one means another load of the page.
export const language = (readPrefs().language || navigator.language).startsWith("zh") ? "zh" : "en";
const table = language === "zh" ? chinese : english;

export function t(key, values = {}) {
    const text = table[key] ?? english[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

const locale = language === "zh" ? "zh-CN" : undefined;
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
// "33K" in every language: nobody calls a context 3.3万 large.
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const time = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const utcDate = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" });
const shortDay = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", timeZone: "UTC" });
const month = new Intl.DateTimeFormat(locale, { month: "long", year: "numeric" });

export const formatNumber = (n) => whole.format(n);
export const formatTenths = (n) => (n >= 100 ? whole : tenths).format(n);
export const formatCompact = (n) => compact.format(n);

// A time that no calendar reaches is the last, or the first, that one does.
const LAST_TIME = 8.64e15;
const dated = (ms) => Math.min(Math.max(Number(ms) || 0, -LAST_TIME), LAST_TIME);

export const formatDate = (ms) => date.format(dated(ms));
export const formatTime = (ms) => time.format(dated(ms)); // of the day
export const formatDay = (ms) => utcDate.format(dated(ms)); // of a day that is counted in UTC
export const formatShortDay = (ms) => shortDay.format(dated(ms));
export const formatMonth = (ms) => month.format(dated(ms));
// That day as fields for days and the server write it.
export const isoDay = (ms) => new Date(dated(ms)).toISOString().split("T")[0].replace(/^\+0*/, "");

export function formatDuration(ms) {
    const s = ms / 1000;
    if (s < 10) {
        return t("seconds", { n: tenths.format(Math.max(s, 0.1)) });
    }
    if (s < 60) {
        return t("seconds", { n: whole.format(s) });
    }
    const minutes = Math.floor(s / 60);
    if (minutes < 60) {
        return t("minutes_seconds", { m: minutes, s: Math.round(s % 60) });
    }
    return t("hours_minutes", { h: Math.floor(minutes / 60), m: minutes % 60 });
}

export const textBytes = (text) => new Blob([text]).size;

export function formatBytes(n) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (n >= 1000 && unit < units.length - 1) {
        n /= 1000;
        unit++;
    }
    return `${(n < 10 && unit > 0 ? tenths : whole).format(n)} ${units[unit]}`;
}
