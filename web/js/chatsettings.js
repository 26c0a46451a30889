// The window with a chat's settings: system prompt, presets, sampling, and how long the chat is kept.

import { h } from "./dom.js";
import { api } from "./api.js";
import { confirmDialog, openDialog, promptDialog } from "./dialog.js";
import { SamplingForm } from "./samplingform.js";
import { t } from "./strings.js";

// The owner's presets beside the fields they fill.
class PresetRow {
    constructor(page, read, fill) {
        this.page = page;
        this.read = read;
        this.presets = [];
        this.select = h("select", { class: "field", autofocus: true, onchange: () => {
            const preset = this.presets[this.select.selectedIndex - 1];
            this.remove.disabled = preset === undefined;
            if (preset !== undefined) {
                fill(preset);
            }
        } });
        this.remove = h("button", { type: "button", class: "button", disabled: true,
            onclick: () => this.delete() },
            t("delete"));
        this.element = h("div", { class: "preset-row" }, h("label", { class: "labelled" },
            h("span", null, t("preset")), this.select),
        h("button", { type: "button", class: "button", onclick: () => this.save() }, t("save_preset")),
        this.remove);
        this.show();
        api.presets().then((presets) => {
            this.presets = presets;
            this.show(this.same());
        }, (error) => page.toasts.show(error.message));
    }

    show(name = null) {
        this.select.replaceChildren(h("option", null, t("no_preset")),
            ...this.presets.map((preset) => h("option", null, preset.name)));
        this.select.selectedIndex = this.presets.findIndex((preset) => preset.name === name) + 1;
        this.remove.disabled = this.select.selectedIndex === 0;
    }

    // The preset that the fields have now.
    same() {
        const text = ({ system, settings }) => JSON.stringify([system ?? "",
            Object.entries(settings ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))]);
        const now = text(this.read());
        return this.presets.find((preset) => text(preset) === now)?.name ?? null;
    }

    async store(presets, name) {
        try {
            await api.savePresets(presets);
            this.presets = presets;
            this.show(name);
        } catch (error) {
            this.page.toasts.show(error.message);
        }
    }

    async save() {
        const current = this.presets[this.select.selectedIndex - 1]?.name ?? "";
        const name = await promptDialog(t("save_preset"), t("preset_name"), current);
        if (name) {
            const presets = [...this.presets.filter((preset) => preset.name !== name),
                { name, ...this.read() }];
            await this.store(presets.sort((a, b) => a.name.localeCompare(b.name)), name);
        }
    }

    async delete() {
        const { name } = this.presets[this.select.selectedIndex - 1];
        if (await confirmDialog(t("delete"), t("delete_preset", { name }), t("delete"))) {
            await this.store(this.presets.filter((preset) => preset.name !== name), null);
        }
    }
}

export function chatSettings(page) {
    const { conversation } = page;
    const { chat } = conversation;
    const system = h("textarea", { class: "field", rows: "5", value: chat.system ?? "",
        placeholder: t("system_placeholder") });
    const sampling = new SamplingForm(chat.settings ?? {}, page.session.sampling);
    const { forget_days: rule } = page.session.limits;
    const forget = h("input", { class: "field", type: "number", min: "1", max: "36500", step: "1",
        value: chat.forget_after_days ?? "",
        placeholder: rule > 0 ? t("forget_rule", { n: rule }) : t("never") });
    const presets = new PresetRow(page, () => ({ system: system.value, settings: sampling.settings }),
        (preset) => {
        system.value = preset.system ?? "";
        sampling.settings = preset.settings ?? {};
    });
    const error = h("p", { class: "field-error", role: "alert" });
    const form = h("form", { id: "chat-settings" }, presets.element,
        h("label", { class: "labelled" }, h("span", null, t("system_prompt")), system),
        h("h3", null, t("sampling")), sampling.element,
        h("details", { class: "advanced" }, h("summary", null, t("advanced")), sampling.advanced,
            h("label", { class: "labelled" }, h("span", null, t("forget_after"),
                h("small", null, t("forget_hint"))),
                forget)), error);
    const save = async (close) => {
        if (!form.reportValidity()) {
            return;
        }
        const fields = { system: system.value, settings: sampling.settings,
            forget_after_days: forget.value === "" ? null : Number(forget.value) };
        try {
            await conversation.change(fields);
            close(true);
        } catch (cause) {
            error.textContent = cause.message;
        }
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    openDialog(t("chat_settings"), form, { wide: true, buttons: [{ label: t("cancel") },
        { label: t("save"), kind: "primary", onclick: save }] });
}
