// The window with the page's own settings: look, language, keys, and all chats at once.

import { h } from "./dom.js";
import { api } from "./api.js";
import { downloadAll } from "./chatactions.js";
import { confirmDialog, openDialog } from "./dialog.js";
import { readPrefs, savePref } from "./prefs.js";
import { shortcutsDialog } from "./shortcuts.js";
import { t, formatBytes, formatNumber } from "./strings.js";

function choice(label, name, options, changed = () => {}) {
    const current = readPrefs()[name];
    return h("label", { class: "setting" }, h("span", null, label), h("select", { class: "field",
        onchange: (event) => {
            savePref(name, event.target.value);
            changed();
        } }, options.map(([value, words]) => h("option", { value, selected: value === current }, words))));
}

function toggle(label, name, changed = () => {}) {
    const box = h("input", { type: "checkbox", onchange: () => {
        savePref(name, box.checked);
        changed();
    } });
    box.checked = readPrefs()[name];
    return h("label", { class: "setting" }, h("span", null, label), box);
}

// Why a file is none to bring back; null: it may be one.
async function notToImport(page, file) {
    const most = page.session.limits.import_bytes;
    if (file.size > most) {
        return t("import_too_large", { name: file.name, size: formatBytes(file.size),
            most: formatBytes(most) });
    }
    const json = /^[[{]/.test((await file.slice(0, 64).text()).trimStart());
    return json ? null : t("import_no_json", { name: file.name });
}

async function importFile(page, file) {
    try {
        const words = await notToImport(page, file);
        if (words !== null) {
            page.toasts.show(words);
            return;
        }
        const { chats, already_here: here, settings_left_out: left } = await api.importChats(file);
        page.toasts.show(t("imported", { n: formatNumber(chats) })
            + (here > 0 ? ` ${t("already_here", { n: formatNumber(here) })}` : "")
            + (left > 0 ? ` ${t("settings_left_out", { n: formatNumber(left) })}` : ""));
    } catch (error) {
        page.toasts.show(t("import_failed", { error: error.message }));
    }
    page.refreshList();
}

export function pageSettings(page) {
    openDialog(t("settings"), (close) => {
        const picker = h("input", { type: "file", accept: ".json,application/json", hidden: true,
            tabindex: "-1",
            "aria-label": t("import"), onchange: () => {
                close();
                importFile(page, picker.files[0]);
            } });
        const button = (label, onclick, kind = "") => h("button",
            { type: "button", class: `button ${kind}`, onclick },
            label);
        return [
            choice(t("theme"), "theme", [["system", t("theme_system")], ["light", t("theme_light")],
                ["dark", t("theme_dark")]]),
            choice(t("language"), "language", [["", t("language_browser")], ["en", "English"], ["zh", "中文"]],
                () => {
                    history.replaceState({ settings: true }, ""); // it is opened again, in that language
                    location.reload();
                }),
            toggle(t("show_stats"), "stats", () => page.conversation && page.chatView.show(page.conversation)),
            toggle(t("enter_sends"), "enterSends"), toggle(t("single_keys"), "singleKeys"),
            ...(page.chats ? [h("h3", null, t("all_chats")), h("div", { class: "button-row" },
                button(t("export_all"), () => downloadAll().catch((error) => page.toasts.show(error.message))),
                button(t("import"), () => picker.click()), picker,
                button(t("delete_all"), async () => {
                    if (await confirmDialog(t("delete_all"), t("delete_all_words"), t("delete_all"))) {
                        close();
                        await page.list.removeAll().then(() => page.toasts.show(t("deleted_all")),
                            (error) => page.toasts.show(error.message));
                        page.refreshList();
                        location.hash = "#/";
                    }
                }, "danger-quiet"))] : []),
            h("div", { class: "settings-foot" }, button(t("shortcuts"), () => shortcutsDialog(page)),
                h("small", null, `Fathom ${page.session.version}`)),
        ];
    });
}
