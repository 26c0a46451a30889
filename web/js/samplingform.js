// Fields for how an answer is drawn. An empty field leaves it to the server, and says what it takes then.

import { h } from "./dom.js";
import { t } from "./strings.js";

const NUMBERS = [
    { name: "temperature", min: 0, max: 2 },
    { name: "top_p", min: 0, max: 1 },
    { name: "min_p", min: 0, max: 1 },
    { name: "max_tokens", min: 1, max: 10000000, whole: true },
    { name: "seed", min: 0, max: Number.MAX_SAFE_INTEGER, whole: true },
    { name: "top_k", min: 0, max: 1048576, whole: true, advanced: true },
    { name: "repetition_penalty", min: 0.01, max: 10, advanced: true },
    { name: "presence_penalty", min: -2, max: 2, advanced: true },
    { name: "frequency_penalty", min: -2, max: 2, advanced: true },
];

const rounded = (n) => Number(n.toPrecision(6)); // the server's numbers have no more digits that mean something

// "0,7" is what half of the world writes.
const valueOf = (field) => Number(field.value.replace(",", "."));

const wholeField = ({ min, max }, placeholder) => h("input", { class: "field", type: "number", min, max,
    step: "1", placeholder });

// Browsers take a comma out of a number where their own language has none.
function decimalField({ min, max }, placeholder) {
    const field = h("input", { class: "field", inputmode: "decimal", placeholder, oninput: () => {
        const value = valueOf(field); // what is no number is in no range
        const good = field.value === "" || (value >= min && value <= max);
        field.setCustomValidity(good ? "" : t("number_range", { min, max }));
    } });
    return field;
}

export class SamplingForm {
    // usual: what the server takes for what is empty
    constructor(settings, usual) {
        this.numbers = NUMBERS.map((number) => {
            const placeholder = number.name in usual
                ? t("default_value", { n: rounded(usual[number.name]) }) : t(`set_${number.name}_empty`);
            return { ...number, field: number.whole ? wholeField(number, placeholder)
                : decimalField(number, placeholder) };
        });
        this.stop = h("textarea", { class: "field", rows: "2", placeholder: t("stop_placeholder") });
        const labelled = (name, field) => h("label", { class: "labelled" },
            h("span", null, t(`set_${name}`), h("small", null, t(`set_${name}_hint`))), field);
        const grid = (fields) => h("div", { class: "sampling" }, fields);
        const ofKind = (advanced) => this.numbers.filter((number) => Boolean(number.advanced) === advanced)
            .map(({ name, field }) => labelled(name, field));
        this.element = grid([...ofKind(false), labelled("stop", this.stop)]);
        this.advanced = grid(ofKind(true)); // for what few need, to be put elsewhere
        this.settings = settings;
    }

    set settings(settings) {
        this.numbers.forEach(({ name, field }) => {
            field.value = settings[name] ?? "";
            field.setCustomValidity("");
        });
        this.stop.value = [settings.stop ?? []].flat().join("\n");
    }

    get settings() {
        const settings = {};
        for (const { name, field } of this.numbers) {
            if (field.value !== "") {
                settings[name] = valueOf(field);
            }
        }
        const stop = this.stop.value.split("\n").filter((line) => line !== "");
        return stop.length > 0 ? { ...settings, stop } : settings;
    }
}
