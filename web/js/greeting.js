// What an empty chat says: the model's name and size, and how long chats are kept here.

import { h } from "./dom.js";
import { t, formatBytes, formatCompact, formatNumber } from "./strings.js";

export function aboutModel(session) {
    const [model] = session.models;
    return [model.id, model.parameters ? t("parameters", { n: formatCompact(model.parameters) }) : null,
        model.type, model.bytes ? formatBytes(model.bytes) : null].filter(Boolean).join(" · ");
}

function keptWords({ limits: { forget_days: days } }) {
    return days > 0 ? `${t("greeting_words")} ${t("forget_words", { n: formatNumber(days) })}`
        : t("greeting_words");
}

export function greetingWords(session, chat) {
    return [h("h2", null, t(chat.temporary ? "temporary_greeting" : "greeting")),
        h("p", null, chat.temporary ? t("temporary_words") : keptWords(session)),
        h("p", { class: "model" }, aboutModel(session))];
}
