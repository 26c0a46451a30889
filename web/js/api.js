// The server's interface: one function for each thing it does. Failures are ApiErrors with words for people.

import { t, formatDuration } from "./strings.js";

export class ApiError extends Error {
    constructor(status, error) {
        super(error.message);
        this.status = status;
        this.code = error.code ?? null;
        this.param = error.param ?? null;
    }
}

// What is said to people where the server's own words are for programs, by its code.
const WORDS = { invalid_api_key: "error_signed_out", missing_scope: "error_scope",
    insufficient_balance: "error_balance", insufficient_quota: "error_quota", rate_limit_exceeded: "error_rate",
    overloaded: "error_rate", context_length_exceeded: "error_too_long", no_text: "error_no_text" };

function wordsOf(path, error, response) {
    const chat = error.code === "not_found" && /^\/api\/(chats|answers)\//.test(path);
    const words = chat ? "no_such_chat" : WORDS[error.code];
    const wait = formatDuration(1000 * (Number(response.headers.get("Retry-After")) || 1));
    return words === undefined ? error : { ...error, message: t(words, { time: wait }) };
}

async function request(method, path, body, options = {}) {
    const init = { method, credentials: "same-origin", headers: { Accept: "application/json" }, ...options };
    if (body !== undefined) {
        init.body = body instanceof Blob ? body : JSON.stringify(body);
        init.headers["Content-Type"] = body instanceof Blob ? body.type : "application/json";
    }
    let response;
    try {
        response = await fetch(path, init);
    } catch (cause) {
        if (cause.name === "AbortError") {
            throw cause;
        }
        throw new ApiError(0, { message: t("error_offline") });
    }
    const text = await response.text();
    let reply = null;
    try {
        reply = text === "" ? null : JSON.parse(text);
    } catch { /* said below */ }
    if (response.status === 401 && path !== "/api/login") {
        window.dispatchEvent(new Event("signedout"));
    }
    if (!response.ok) {
        throw new ApiError(response.status, wordsOf(path, reply?.error ?? { message: t("error_status",
            { status: response.status }) }, response));
    }
    if (text !== "" && reply === null) {
        throw new ApiError(response.status, { message: t("error_not_json") });
    }
    return reply;
}

function query(path, values) {
    const given = Object.entries(values).filter(([, value]) => (value ?? "") !== "");
    return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}

export const api = {
    session: () => request("GET", "/api/session"),
    login: (key) => request("POST", "/api/login", { key }),
    logout: () => request("POST", "/api/logout"),

    chats: (filter = {}, signal) => request("GET", query("/api/chats", filter), undefined, { signal }),
    createChat: (chat) => request("POST", "/api/chats", chat),
    chat: (id) => request("GET", `/api/chats/${id}`),
    changeChat: (id, change) => request("PATCH", `/api/chats/${id}`, change),
    deleteChat: (id, keepalive = false) => request("DELETE", `/api/chats/${id}`, undefined, { keepalive }),
    deleteAllChats: () => request("DELETE", "/api/chats?all=yes"),

    send: (chat, turn) => request("POST", `/api/chats/${chat}/messages`, turn),
    answer: (chat, turn) => request("POST", `/api/chats/${chat}/answers`, turn),
    stop: (answer) => request("POST", `/api/answers/${answer}/stop`),
    answerNow: (answer) => request("POST", `/api/answers/${answer}/answer-now`),

    // Where a chat is saved from, or, without one, all of them.
    exportPath: (chat, format) => `/api/chats/${chat}/export?format=${format}`,
    // Some of all chats, after what the part before calls "next".
    exportPart: (after) => request("GET", query("/api/export", { format: "json", after })),
    importChats: (file) => request("POST", "/api/import", new Blob([file], { type: "application/json" })),

    presets: async () => (await request("GET", "/api/presets")).presets,
    savePresets: (presets) => request("PUT", "/api/presets", { presets }),
    extract: (file) => request("POST", "/api/extract", new Blob([file], { type: "application/pdf" })),
    count: (prompt, signal) => request("POST", "/api/count", prompt, { signal }),

    keys: () => request("GET", "/api/keys"),
    createKey: (key) => request("POST", "/api/keys", key),
    changeKey: (id, change) => request("PATCH", `/api/keys/${id}`, change),
    renewKey: (id) => request("POST", `/api/keys/${id}/renew`, {}),
    revokeKey: (id) => request("DELETE", `/api/keys/${id}`),
    usage: (range) => request("GET", query("/api/usage", range)),
};
