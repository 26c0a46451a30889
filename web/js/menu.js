// A small menu beside a button: arrows move, Enter chooses, Escape or a click elsewhere closes.

import { h, icon } from "./dom.js";

// items: { label, icon, onclick, danger } or null for a line.
export function openMenu(button, items) {
    const menu = h("div", { class: "menu", role: "menu" }, items.map((item) => (item === null
        ? h("div", { role: "separator" })
        : h("button", { type: "button", role: "menuitem", tabindex: "-1", class: item.danger ? "danger" : null,
            onclick: () => {
                close();
                item.onclick();
            } }, icon(item.icon), h("span", null, item.label)))));
    const entries = [...menu.querySelectorAll("button")];
    const outside = (event) => {
        if (!menu.contains(event.target)) {
            close();
        }
    };
    function close() {
        menu.remove();
        button.setAttribute("aria-expanded", "false");
        document.removeEventListener("pointerdown", outside, true);
        window.removeEventListener("blur", close);
        window.removeEventListener("hashchange", close);
        button.focus();
    }
    menu.addEventListener("keydown", (event) => {
        const at = entries.indexOf(document.activeElement);
        const to = { ArrowDown: at + 1, ArrowUp: at - 1 + entries.length, Home: 0,
            End: entries.length - 1 }[event.key];
        if (to !== undefined) {
            event.preventDefault();
            entries[to % entries.length].focus();
        } else if (event.key === "Escape" || event.key === "Tab") {
            event.preventDefault();
            event.stopPropagation();
            close();
        }
    });
    (button.closest("main, nav") ?? document.body).append(menu);
    const from = button.getBoundingClientRect();
    const { width, height } = menu.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(from.left, innerWidth - width - 8))}px`;
    const above = from.bottom + height + 8 > innerHeight;
    menu.style.top = `${above ? Math.max(8, from.top - height - 4) : from.bottom + 4}px`;
    button.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", outside, true);
    window.addEventListener("blur", close);
    window.addEventListener("hashchange", close);
    entries[0].focus();
}
