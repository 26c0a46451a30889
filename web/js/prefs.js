// The page's preferences, kept by the browser. Only what the page looks like: chats live at the server alone.

const KEY = "fathom";
const DEFAULTS = {
    theme: "system", // light, dark, system
    language: "", // "" follows the browser
    think: "on", // off, on, max: a new chat's first choice
    stats: true, // numbers below each answer
    enterSends: true, // false: Ctrl+Enter sends
    singleKeys: true, // "?" and "/" work as shortcuts outside text fields
    sidebar: true, // shown on wide screens
    closedFolders: [],
};

export function readPrefs() {
    try {
        return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY)) };
    } catch {
        return { ...DEFAULTS };
    }
}

export function savePref(name, value) {
    const prefs = readPrefs();
    prefs[name] = value;
    try {
        localStorage.setItem(KEY, JSON.stringify(prefs));
    } catch { /* private browsing: the choice holds until the page is closed */ }
    if (name === "theme") {
        document.documentElement.dataset.theme = value;
    }
    return prefs;
}
