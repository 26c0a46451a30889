// Builds elements: h("button", { class: "x", onclick: f }, child, …). Strings become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(name, props, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(props ?? {})) {
        if (value === null || value === undefined || value === false) {
            continue;
        }
        if (key.startsWith("on")) {
            element.addEventListener(key.slice(2), value);
        } else if (key === "class") {
            element.className = value;
        } else if (key === "value") {
            element.value = value;
        } else {
            element.setAttribute(key, value === true ? "" : value);
        }
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
}

// Every icon is drawn in a box of 24 by 24, with strokes.
const ICONS = {
    menu: "M4 7h16M4 12h16M4 17h16",
    panel: "M4 5h16v14H4zM9.5 5v14",
    plus: "M12 5v14M5 12h14",
    compose: "M12 20h8M16.5 4.5l3 3L9 18l-4 1 1-4z",
    ghost: "M5 20V11a7 7 0 0 1 14 0v9l-2.3-2-2.4 2-2.3-2-2.3 2-2.4-2zM9.5 11v.5M14.5 11v.5",
    search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4.5 4.5",
    more: "M5 12a.6.6 0 1 0 1.2 0 .6.6 0 1 0-1.2 0M11.4 12a.6.6 0 1 0 1.2 0 .6.6 0 1 0-1.2 0"
        + "M17.8 12a.6.6 0 1 0 1.2 0 .6.6 0 1 0-1.2 0",
    pin: "M9 4h6l-1 6 4 4H6l4-4zM12 14v7",
    folder: "M3.5 18V6.5h6l2 2.5h9V18z",
    chevron: "M9 6l6 6-6 6",
    left: "M15 6l-6 6 6 6",
    down: "M12 5v14M6 13l6 6 6-6",
    up: "M12 19V5M6 11l6-6 6 6",
    stop: "M7.5 7.5h9v9h-9z",
    copy: "M9 9h11v11H9zM15 9V4H4v11h5",
    check: "M5 12.5l4.5 4.5L19 7.5",
    redo: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4L20 9M20 4v5h-5",
    edit: "M16.5 4.5l3 3L8 19l-4 1 1-4z",
    tree: "M7 8v8M7 4a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM7 16a2 2 0 1 1 0 4 2 2 0 0 1 0-4z"
        + "M17 6a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM17 10c0 4-6 3-8.5 6.5",
    sliders: "M4 8h9M19 8h1M4 16h1M11 16h9M16 5.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z"
        + "M8 13.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z",
    gear: "M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2"
        + "M16.2 16.2l2.2 2.2M5.6 18.4l2.2-2.2M16.2 7.8l2.2-2.2",
    key: "M8 12a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11 13l8.5-8.5M16 8l3 3",
    chart: "M4 20h16M7 16v-5M12 16V6M17 16v-8",
    clip: "M19.5 11.5l-8 8a5 5 0 0 1-7-7l8.5-8.5a3.3 3.3 0 0 1 4.7 4.7L9.5 17a1.7 1.7 0 0 1-2.4-2.4l7.4-7.4",
    close: "M6 6l12 12M18 6L6 18",
    trash: "M4.5 7h15M9.5 7V4h5v3M6.5 7l1 13h9l1-13M10 11v5M14 11v5",
    download: "M12 4v11M7 10.5l5 5 5-5M4.5 20h15",
    upload: "M12 16V5M7 9.5l5-5 5 5M4.5 20h15",
    bulb: "M9.5 18h5M10.5 21h3M8.5 15c-1-1-2.5-2.5-2.5-5.5a6 6 0 0 1 12 0c0 3-1.5 4.5-2.5 5.5z",
    alert: "M12 4l9 16H3zM12 10v4.5M12 17v.5",
    file: "M6 3.5h8l4 4.5v12.5H6zM14 3.5V8h4",
    out: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
    keyboard: "M3 6.5h18v11H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
    skip: "M5 6l8 6-8 6zM17 6v12",
};

export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("class", "icon");
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
}

// A button that shows an icon and is called `label`.
export function iconButton(name, label, onclick, props = {}) {
    return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick,
        ...props }, icon(name));
}

export function svg(name, props, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(props ?? {})) {
        element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
}
