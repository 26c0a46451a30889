// Emphasis in a list of inline nodes: runs of * _ ~ become em, strong and del, pairs of tags sub, sup and kbd.

const DEEPEST = 32; // of these inside each other; what is deeper is shown as plain text

// Pairs runs of * _ ~ and the few tags, CommonMark's "process emphasis": a stack of openers, searched from its
// top; where a search failed it is not begun again below that place.
export function emphasise(nodes) {
    const out = [];
    const openers = [];
    const bottom = new Map();
    const wrap = (t, from, to) => {
        const c = merge(out.splice(from, to - from).map(settled));
        const depth = 1 + c.reduce((most, node) => Math.max(most, node.depth ?? 0), 0);
        out.splice(from, 0, depth > DEEPEST ? { t: "text", v: plainText(c) } : { t, c, depth });
    };
    for (const node of nodes) {
        if (node.t === "tag") {
            closeTag(node, out, openers, wrap);
            continue;
        }
        if (node.t !== "run") {
            out.push(node);
            continue;
        }
        const kind = `${node.c}${node.open}${node.length % 3}`;
        let k = node.close ? openers.length - 1 : -1;
        while (k >= (bottom.get(kind) ?? 0) && node.n > 0) {
            const open = openers[k].node;
            const odd = (open.close || node.open) && (open.length + node.length) % 3 === 0
                && !(open.length % 3 === 0 && node.length % 3 === 0);
            const unlike = node.c === "~" ? open.length !== node.length : odd;
            if (open.c !== node.c || unlike) {
                k--;
                continue;
            }
            const used = node.c === "~" ? node.n : Math.min(open.n, node.n, 2);
            const at = openers[k].index;
            wrap(node.c === "~" ? "del" : used === 2 ? "strong" : "em", at + 1, out.length);
            openers.length = k + 1;
            open.n -= used;
            node.n -= used;
            if (open.n === 0) {
                out.splice(at, 1);
                openers.pop();
                k--;
            }
        }
        for (const [name, low] of bottom) {
            bottom.set(name, Math.min(low, openers.length));
        }
        if (node.close && node.n > 0) {
            bottom.set(kind, openers.length);
        }
        if (node.n > 0) {
            if (node.open) {
                openers.push({ node, index: out.length });
            }
            out.push(node);
        }
    }
    return merge(out.map(settled));
}

function closeTag(node, out, openers, wrap) {
    let at = out.length - 1;
    const low = Math.max(0, out.length - 64); // <sub> and its end stand close together
    while (node.end && at >= low && !(out[at].t === "tag" && out[at].name === node.name)) {
        at--;
    }
    if (!node.end || at < low) {
        out.push(node);
        return;
    }
    while (openers.length > 0 && openers.at(-1).index > at) {
        openers.pop();
    }
    wrap(node.name, at + 1, out.length);
    out.splice(at, 1);
}

// What has found no partner is text.
function settled(node) {
    if (node.t === "run") {
        return { t: "text", v: node.c.repeat(node.n) };
    }
    return node.t === "tag" ? { t: "text", v: node.v } : node;
}

export const plainText = (nodes) => nodes.map((node) => node.v ?? node.alt ?? plainText(node.c ?? [])).join("");

function merge(nodes) {
    const out = [];
    for (const node of nodes) {
        if (node.t === "text" && out.at(-1)?.t === "text") {
            out.at(-1).v += node.v;
        } else if (node.t !== "text" || node.v !== "") {
            out.push(node.t === "text" ? { t: "text", v: node.v } : node);
        }
    }
    return out;
}
