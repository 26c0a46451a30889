// The keyboard: what each key does, and the window that says so.

import { h } from "./dom.js";
import { openDialog } from "./dialog.js";
import { readPrefs } from "./prefs.js";
import { t } from "./strings.js";

const apple = /Mac|iPhone|iPad/.test(navigator.platform);
const CTRL = apple ? "⌘" : "Ctrl";

// keys as they are shown, a single one that does the same, what they do, whether an event is meant, and the
// deed.
const SHORTCUTS = [
    { keys: [CTRL, "Shift", "O"], words: "key_new", code: "KeyO", ctrl: true, shift: true, run: () => {
        location.hash = "#/";
    } },
    { keys: [CTRL, "K"], words: "key_search", code: "KeyK", ctrl: true, run: (page) => page.focusSearch() },
    { keys: ["Shift", "Esc"], also: "/", words: "key_focus", code: "Escape", shift: true,
        run: (page) => page.composer.focus() },
    { keys: [CTRL, "Shift", "E"], words: "key_rename", code: "KeyE", ctrl: true, shift: true, chat: true,
        run: (page) => page.actions.rename(page.conversation.chat) },
    { keys: [CTRL, "Shift", "D"], words: "key_delete", code: "KeyD", ctrl: true, shift: true, chat: true,
        run: (page) => page.actions.remove(page.conversation.chat) },
    { keys: [CTRL, "B"], words: "key_sidebar", code: "KeyB", ctrl: true, run: (page) => page.toggleSidebar() },
    { keys: ["Alt", "T"], words: "key_think", code: "KeyT", alt: true, think: true,
        run: (page) => page.composer.cycleThinking() },
    { keys: ["Alt", "G"], words: "key_tree", code: "KeyG", alt: true, chat: true,
        run: (page) => page.actions.tree() },
    { keys: [CTRL, "/"], also: "?", words: "key_help", code: "Slash", ctrl: true,
        run: (page) => shortcutsDialog(page) },
];
const ELSEWHERE = [[["Enter"], "key_send"], [["Shift", "Enter"], "key_newline"], [["Esc"], "key_stop"],
    [["↑"], "key_edit"]];

const offered = (page) => SHORTCUTS.filter(({ think }) => !think || page.session.models[0].can_think);

export function shortcutsDialog(page) {
    const row = (keys, words, also) => h("div", null, h("dt", null, keys.map((key) => h("kbd", null, key)),
        also ? [` ${t("or")}`, h("kbd", null, also)] : null), h("dd", null, t(words)));
    return openDialog(t("shortcuts"), h("dl", { class: "shortcuts" },
        ELSEWHERE.map(([keys, words]) => row(keys, words)),
        offered(page).map(({ keys, words, also }) => row(keys, words, also))));
}

function matches(shortcut, event) {
    return event.code === shortcut.code && (event.ctrlKey || event.metaKey) === Boolean(shortcut.ctrl)
        && event.shiftKey === Boolean(shortcut.shift) && event.altKey === Boolean(shortcut.alt);
}

export function installShortcuts(page) {
    document.addEventListener("keydown", (event) => {
        if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]") !== null) {
            return;
        }
        const shortcut = offered(page).find((one) => matches(one, event));
        if (shortcut !== undefined && (!shortcut.chat || page.conversation?.chat.id)) {
            event.preventDefault();
            shortcut.run(page);
        } else if (event.key === "Escape") {
            if (page.app.classList.contains("drawer-open")) {
                page.toggleSidebar(false);
            } else if (page.conversation?.live()) {
                event.preventDefault();
                page.stop();
            }
        } else if (readPrefs().singleKeys && !event.ctrlKey && !event.metaKey && !event.altKey
            && event.target.closest("input:not([type=radio]), textarea, select") === null) {
            if (event.key === "?") {
                event.preventDefault();
                shortcutsDialog(page);
            } else if (event.key === "/" && page.conversation !== null) {
                event.preventDefault();
                page.composer.focus();
            }
        }
    });
}
