"""The page's modules one by one, in the browser they are made for."""

import sys
from contextlib import contextmanager

from page_browser import Server, Skipped, case, run

# Markdown and what becomes of it; headings are one level lower, because the page has a first heading of its own.
MARKDOWN = [
    ("a *b* **c** ***d*** _e_ __f__ ~~g~~", "<p>a <em>b</em> <strong>c</strong> <em><strong>d</strong></em> "
     "<em>e</em> <strong>f</strong> <del>g</del></p>"),
    ("snake_case_name 2*3*4 a * b", "<p>snake_case_name 2<em>3</em>4 a * b</p>"),
    ("# A\n## B ##\nC\n===", "<h2>A</h2><h3>B</h3><h2>C</h2>"),
    ("`a*b*` ``c ` d`` \\*e\\*", "<p><code>a*b*</code> <code>c ` d</code> *e*</p>"),
    ("- a\n- b\n  - c\n1. d\n3. e", '<ul class="tight"><li><p>a</p></li><li><p>b</p><ul class="tight"><li><p>c</p></li>'
     '</ul></li></ul><ol class="tight"><li><p>d</p></li><li><p>e</p></li></ol>'),
    ("5. a\n\n6. b", '<ol start="5"><li><p>a</p></li><li><p>b</p></li></ol>'),
    ("> a\nb\n> > c", "<blockquote><p>a\nb</p><blockquote><p>c</p></blockquote></blockquote>"),
    ("a\n\n---\n\nb\\\nc  \nd", "<p>a</p><hr><p>b<br>c<br>d</p>"),
    ("[a](https://x.y/z \"t\") <https://u.v> https://w.x/(y). www.z.org",
     '<p><a href="https://x.y/z" title="t">a</a> <a href="https://u.v">https://u.v</a> '
     '<a href="https://w.x/(y)">https://w.x/(y)</a>. <a href="https://www.z.org">www.z.org</a></p>'),
    ("[a][r] and [r]\n\n[r]: https://x.y", '<p><a href="https://x.y">a</a> and <a href="https://x.y">r</a></p>'),
    ("看**世界。**后面，*强调*文字", "<p>看<strong>世界。</strong>后面，<em>强调</em>文字</p>"),
    ("H<sub>2</sub>O<br>x<sup>2</sup> <kbd>Esc</kbd> &lt;b&gt; &#65;",
     "<p>H<sub>2</sub>O<br>x<sup>2</sup> <kbd>Esc</kbd> &lt;b&gt; A</p>"),
    ("<div onclick=x>a</div>", "<p>&lt;div onclick=x&gt;a&lt;/div&gt;</p>"),
    ("|a|b|\n|-|:-:|\n|1|`x\\|y`|", '<div class="table-box"><table><thead><tr><th>a</th><th class="align-center">b</th>'
     '</tr></thead><tbody><tr><td>1</td><td class="align-center"><code>x|y</code></td></tr></tbody></table></div>'),
    ("- [ ] a\n- [x] b", '<ul class="tight"><li class="task"><input><p>a</p></li><li class="task"><input>'
     "<p>b</p></li></ul>"),
    ("![p](https://x.y/z.png)", '<p><a href="https://x.y/z.png">Picture: p</a></p>'),
    ("a\n#\n#include\n-\nb", "<p>a</p><h2></h2><h3>#include</h3><p>b</p>"),
    ("*a <sub> b* **c</sup>**", "<p><em>a &lt;sub&gt; b</em> <strong>c&lt;/sup&gt;</strong></p>"),
    ("[a]( b ) [c](  <d e>  't' )", '<p><span class="no-link" title="b">a</span> <span class="no-link" title="d e">c</span></p>'),
    ("x http://a.b/?... (http://c.d/e)). http://f", '<p>x <a href="http://a.b/">http://a.b/</a>?... (<a '
     'href="http://c.d/e">http://c.d/e</a>)). http://f</p>'),
    ("a | b |\n - | :-:  |  \nc|d", '<div class="table-box"><table><thead><tr><th>a</th><th class="align-center">b</th></tr>'
     '</thead><tbody><tr><td>c</td><td class="align-center">d</td></tr></tbody></table></div>'),
    ("\\[\na\n\n\\[\nb=1\n\\] c\n\n\\[\nd=2\n\\]", '<p>[\na</p><p><div class="math math-display"><code>b=1</code></div> c</p>'
     '<div class="math math-display"><code>d=2</code></div>'),
]

SHAPE = """
const shape = (markdown, pieces) => {
    const box = document.createElement("div");
    const view = new MarkdownView(box);
    pieces.forEach((piece) => view.append(piece));
    view.show(markdown, true);
    const walk = document.createTreeWalker(box, NodeFilter.SHOW_COMMENT);
    const comments = [];
    while (walk.nextNode()) {
        comments.push(walk.currentNode);
    }
    comments.forEach((node) => node.remove());
    box.querySelectorAll("*").forEach((element) => [...element.attributes].forEach(({ name }) => {
        if (!["href", "title", "start", "class"].includes(name)) {
            element.removeAttribute(name);
        }
    }));
    box.querySelectorAll("[class='']").forEach((element) => element.removeAttribute("class"));
    box.normalize();
    return box.innerHTML;
};
"""
IMPORT = 'const { MarkdownView } = await import("/js/markdownview.js");' + SHAPE


@case
def markdown_becomes_nodes(b):
    got = b.module(IMPORT + "return values[0].map((text) => shape(text, []));", [text for text, _ in MARKDOWN])
    for (text, want), found in zip(MARKDOWN, got):
        assert found == want, f"{text!r}\nwanted {want}\nfound  {found}"


@case
def a_text_that_grows_is_drawn_like_the_whole(b):
    texts = [text for text, _ in MARKDOWN] + ["\n\n".join(text for text, _ in MARKDOWN),
                                              "a\n\n```c\nint x;\n\n/* y\n*/\n```\n\nb\n\n\\[\nx\n\\]\n\nc"]
    pairs = b.module(IMPORT + "return values[0].map((text) => [shape(text, []), shape(text, [...text])]);", texts)
    for text, (whole, grown) in zip(texts, pairs):
        assert whole == grown, f"{text!r}\nwhole {whole}\ngrown {grown}"


@case
def blocks_that_are_complete_stay_the_same_nodes(b):
    assert b.module(IMPORT + """
        const box = document.createElement("div");
        const view = new MarkdownView(box);
        view.append("one\\n\\n- a\\n- b\\n\\n```js\\nlet x = 1;\\nlet y");
        const before = [box.children[0], box.children[1], box.querySelector(".line")];
        view.append(" = 2;\\n```\\n\\nend");
        view.show(view.text, true);
        return before.every((node, i) => node === [box.children[0], box.children[1],
            box.querySelector(".line")][i]);""")


@case
def addresses_that_run_something_are_no_links(b):
    hostile = ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "data:text/html,x", "vbscript:x",
               "java\tscript:alert(1)", "//evil.example", "#/chat/1", "/api/export", "file:///etc/passwd", "blob:x",
               "&#106;avascript:alert(1)", "https://x\u0000y"]
    links = b.module(IMPORT + """
        return values[0].map((address) => {
            const box = document.createElement("div");
            new MarkdownView(box).show(`[a](<${address}>) ![b](<${address}>) <${address}>`, true);
            return [...box.querySelectorAll("a, img")].map((e) => e.href ?? e.src);
        });""", hostile)
    for address, found in zip(hostile, links):
        assert found == [], f"{address!r}: {found}"


@case
def money_is_no_maths(b):
    texts = ["It costs $5 and $6.", "from $5 to $10", "US$5 or 6$", "$PATH:$HOME", "a $ b $ c", "$20, or 30$ more",
             "\\$x\\$", "`$x$`", "$5$6", "\\[see below\\]", "pay \\$5 and $6 now"]
    maths = {"$x$": "x", "$x^2 + 1$": "x^2 + 1", "\\(a\\)": "a", "let $n=5$.": "n=5", "$$\na\n$$": "a", "$5 + 6$": "5 + 6",
             "\\[\n\\frac12\n\\]": "\\frac12", "($\\alpha$)": "\\alpha", "- a\n\n  \\[ b = 1 \\]": "b = 1",
             "是$y$吗": None}
    script = IMPORT + """
        return values[0].map((text) => {
            const box = document.createElement("div");
            new MarkdownView(box).show(text, true);
            return [...box.querySelectorAll(".math")].map((e) => e.textContent);
        });"""
    for text, found in zip(texts, b.module(script, texts)):
        assert found == [], f"{text!r}: {found}"
    for (text, want), found in zip(maths.items(), b.module(script, list(maths))):
        assert found == ([want] if want else []), f"{text!r}: {found}"


@contextmanager
def formulas(b, text):
    """A text on the page, if KaTeX is here; its formulas are set soon."""
    if b.js("return fetch('/lib/katex/katex.js').then((r) => r.status)") != 200:
        raise Skipped("no KaTeX (apt-get install libjs-katex)")
    b.module(IMPORT + """
        const box = document.createElement("main");
        box.id = "formulas";
        document.body.append(box);
        new MarkdownView(box).show(values[0], true);""", text)
    try:
        yield
    finally:
        b.js("document.querySelector('#formulas').remove()")


@case
def formulas_are_set_by_katex(b):
    with formulas(b, "$x^2$ and $\\frac{1$ and\n\n$$\\sum_i x_i$$\n\n$$\\def\\arraystretch{1.5}\\begin{array}{c}a\\end{array}$$"):
        b.wait(lambda: len(b.all("#formulas .katex")) == 3, "three formulas")
        assert b.text("#formulas .math-bad") == "\\frac{1"
        assert b.js("return self.katex === undefined")
    assert b.refused() == [], b.refused()


@case
def formulas_that_would_break_the_page_stay_source(b):
    deep = ["\\sqrt{" * 200 + "x" + "}" * 200, "\\frac{1}{" * 300 + "x" + "}" * 300, "x^{" * 400 + "x" + "}" * 400,
            "\\left(" * 400 + "x" + "\\right)" * 400, "\\rm " * 900 + "x", "\\begin{matrix}" * 90 + "x" + "\\end{matrix}" * 90]
    wide = ["\\%s{%s}%s" % (name, "x" * 2500, call * 400) for name, call in (
        ("def\\a", "\\a "), ("newcommand{\\a}", "\\a "), ("def\\arraystretch", "\\arraystretch "), ("tag", "\\df@tag "))]
    texts = deep + wide + ["x+" * 40000 + "x"]
    with formulas(b, "\n\n".join(f"$$\n{tex}\n$$" for tex in texts)):
        b.wait(lambda: len(b.all("#formulas .math-bad")) == len(texts), "all to be refused")
        shown = b.js("return [...document.querySelectorAll('#formulas .math-bad')].map((e) => e.textContent)")
        assert shown == [tex.strip() for tex in texts]


@case
def many_formulas_leave_the_page_to_people(b):
    many = 300
    with formulas(b, "\n\n".join("$$\\frac{a_%d}{b^{%d}}$$" % (i, i) for i in range(many))):
        waits = b.module("""
            const waits = [];
            while (document.querySelectorAll("#formulas .katex").length < values[0]) {
                const from = performance.now();
                await new Promise((done) => setTimeout(done));
                waits.push(performance.now() - from);
            }
            return waits;""", many)
        assert len(waits) > 5 and max(waits) < 1000, (len(waits), max(waits))


@case
def marks_may_nest_as_deep_as_they_like(b):
    texts = ["**a " * 6000 + "a** " * 6000, "<sub>" * 3000 + "a" + "</sub>" * 3000, "*" * 9001 + "a" + "*" * 9001,
             "*a _b " * 3000 + "_ *" * 3000, "~~a *b " * 3000 + "c* d~~ " * 3000, "[" + "<sup>**a " * 500 + "](https://b.c)",
             "*[" * 60 + "a" + "](https://b.c)*" * 60]
    shown = b.module(IMPORT + """
        return values[0].map((text) => {
            const box = document.createElement("div");
            new MarkdownView(box).show(text, true);
            let depth = 0;
            for (let level = [box]; level.length > 0; level = level.flatMap((one) => [...one.children])) {
                depth++;
            }
            return [depth, box.textContent.split("a").length];
        });""", texts)
    for text, (depth, letters) in zip(texts, shown):
        assert depth < 80 and letters == len(text.split("a")), (text[:20], depth, letters)


@case
def what_cannot_be_drawn_is_shown_as_it_is_written(b):
    assert b.module(IMPORT + """
        const box = document.createElement("div");
        const view = new MarkdownView(box);
        const { inline } = view;
        view.inline = () => {
            throw new Error("not today");
        };
        view.show("a *b*", false);
        view.show("a *b* c", true);
        const plain = box.textContent;
        view.inline = inline;
        view.show("a *b* c", true);
        window.refused = [];
        return [plain, box.textContent];""") == ["a *b* c", "a b c"]


@case
def code_is_coloured_and_its_text_is_kept(b):
    samples = {"python": "def f(x):  # c\n    '''a\n    b'''\n    return 1.5e3", "c": "#include <a.h>\n/* a\n b */ int f(char *s);",
               "bash": "echo \"a\nb\" # c", "html": "<a href=\"x\">&amp;</a> <!-- c\n -->", "rust": "let s = r#\"a\n\"#; // c",
               "json": '{"a": [1, true]}', "sql": "SELECT 'it''s' FROM t -- c", "diff": "+a\n-b\n@@ c", "yaml": "a: 'b' # c",
               "css": "a.b { color: #fff; }", "javascript": "const a = `x${y}\nz`; // c", "klingon": "a 'b", "": "\\\"'`/*"}
    got = b.module("""
        const { Highlighter } = await import("/js/highlight.js");
        return values[0].map(([name, text]) => {
            const colours = new Highlighter(name);
            let state = null;
            return text.split("\\n").map((line) => {
                const result = colours.line(line, state);
                state = result.state;
                return result.spans;
            });
        });""", list(samples.items()))
    for (name, text), lines in zip(samples.items(), got):
        assert "\n".join("".join(part for _, part in spans) for spans in lines) == text, (name, lines)
    python, c = got[0], got[1]
    assert python[0][0] == ["k", "def"] and python[0][-1] == ["c", "# c"] and python[2][0] == ["s", "    b'''"], python
    assert c[0][0][0] == "m" and c[2][0] == ["c", " b */"] and ["t", "int"] in c[2], c
    names = b.module("""
        const { findLanguage } = await import("/js/languages.js");
        return values[0].filter((name) => findLanguage(name) === null);""",
                     ["c", "cpp", "python", "js", "ts", "json", "bash", "rust", "go", "java", "kotlin", "swift", "csharp",
                      "php", "ruby", "sql", "html", "xml", "css", "yaml", "toml", "lua", "r", "haskell", "scala", "zig",
                      "perl", "makefile", "dockerfile", "latex", "diff", "cuda"])
    assert names == [], names


@case
def no_text_takes_long(b):
    hostile = ["*a **a " * 4000, "[" * 20000, "[a](" * 5000, "`" + "a`` ```b " * 4000, "> " * 5000 + "a", "$a" * 10000,
               "- " * 3000, "<" * 20000, "**" * 10000 + "a", "_a" * 10000, "# " + " " * 20000 + "x", "|" * 20000 + "\n|-|",
               "\\[" * 10000, "![" * 10000, "&" * 20000, "~~a" * 5000, "a\n" * 10000, "<sub>" * 5000, "[a]: " + "(" * 20000,
               "```" + " " * 20000 + "x", "1. " * 3000, "(" * 20000 + "https://a.b" + ")" * 20000, "a" * 200000,
               "\\[\n" * 8000, "\\[\n" * 8000 + "\\]", "\\[\n" * 8000 + "\\] a", "$$\n" * 20000, "\\[ a\n\n" * 10000,
               "a|b\n-" + " " * 40000 + "x", "a|b\n-|" + " " * 40000 + "x", "[a](" + " " * 40000 + "x",
               "[a](b" + " " * 40000 + "x", "[a]: b" + " " * 40000 + "x", "http://" + "." * 40000 + "x", "http://a.b" + ")" * 40000
               + "x", "-http://a" * 10000, "[" + "-http://a.b" * 10000, "[a](<" * 10000, "[a](b \"" * 10000, "<a@b" * 10000]
    times = b.module(IMPORT + """
        return values[0].map((text) => {
            const from = performance.now();
            new MarkdownView(document.createElement("div")).show(text, true);
            return performance.now() - from;
        });""", hostile)
    for text, ms in zip(hostile, times):
        assert ms < 1500, f"{text[:20]!r} …: {ms:.0f} ms"


@case
def events_are_read_wherever_they_are_cut(b):
    assert b.module("""
        const { EventParser } = await import("/js/stream.js");
        const text = ": hello\\n\\nid: 1\\nevent: content\\ndata: {\\"a\\":\\"b\\"}\\n\\nid: 2\\r\\nevent: end\\r\\n"
            + "data: x\\r\\ndata: y\\r\\n\\r\\n";
        const whole = JSON.stringify(new EventParser().feed(text));
        for (let cut = 0; cut <= text.length; cut++) {
            const parser = new EventParser();
            const got = [...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))];
            if (JSON.stringify(got) !== whole) {
                return `${cut}: ${JSON.stringify(got)}`;
            }
        }
        return whole;""") == ('[{"id":"1","event":"content","data":"{\\"a\\":\\"b\\"}"},'
                              '{"id":"2","event":"end","data":"x\\ny"}]')


@case
def branches_are_found(b):
    got = b.module("""
        const { MessageTree } = await import("/js/messagetree.js");
        const tree = new MessageTree([["a", null], ["b", "a"], ["c", "b"], ["d", "a"], ["e", "d"], ["f", null]]
            .map(([id, parent], created) => ({ id, parent, created })));
        return [tree.path("c").map((m) => m.id), tree.siblings("d"), tree.siblings("f"), tree.leafUnder("a"),
            tree.leafUnder(null), tree.size];""")
    assert got == [["a", "b", "c"], ["b", "d"], ["a", "f"], "e", "f", 6], got


@case
def a_tree_of_many_forks_is_drawn_in_order(b):
    """5,000 forks, each in the one before: boxes stay shallow, every message is there, a child behind its parent."""
    shallow, order, nested = b.module("""
        const { MessageTree } = await import("/js/messagetree.js");
        const { treeColumns } = await import("/js/treeview.js");
        const draw = (messages) => treeColumns(new MessageTree(messages), (id) => {
            const item = document.createElement("li");
            item.className = "entry";
            item.textContent = id;
            return item;
        });
        const messages = [];
        for (let i = 0, parent = null; i < 5000; i++) {
            messages.push({ id: `a${i}`, parent, created: 2 * i }, { id: `b${i}`, parent, created: 2 * i + 1 });
            parent = `b${i}`;
        }
        const box = document.querySelector("main").appendChild(draw(messages));
        const depth = (node) => { let n = 0; for (; node !== box; node = node.parentNode) n++; return n; };
        const entries = [...box.querySelectorAll(".entry")];
        const small = draw([["a", null], ["b", "a"], ["c", "b"], ["d", "a"]]
            .map(([id, parent], created) => ({ id, parent, created })));
        return [Math.max(...entries.map(depth)), entries.map((e) => e.textContent), small.innerHTML];""")
    assert shallow < 100, shallow
    assert len(order) == 10000 and order.index("a4999") > order.index("b4998"), len(order)
    entry = '<li class="entry">{}</li>'.format
    assert nested == (entry("a") + '<li class="tree-fork"><ol class="tree">' + entry("b") + entry("c")
                      + '</ol><ol class="tree">' + entry("d") + "</ol></li>"), nested


@case
def answers_are_announced_by_sentence(b):
    got = b.module("""
        const { Announcer } = await import("/js/announcer.js");
        const announcer = new Announcer();
        const text = "Version 1.5 is **here**. It works! 很好。And more";
        for (let i = 1; i <= text.length; i++) {
            announcer.feed("x", text.slice(0, i), false);
        }
        announcer.feed("x", text, true);
        return [...announcer.element.children].map((p) => p.textContent);""")
    assert got == ["Version 1.5 is here.", "It works!", "很好。", "And more"], got


@case
def both_languages_say_the_same_things(b):
    english, chinese, used = b.module("""
        const { english } = await import("/js/strings_en.js");
        const { chinese } = await import("/js/strings_zh.js");
        const files = (await (await fetch("/js/main.js")).text()) && performance.getEntriesByType("resource")
            .map((entry) => new URL(entry.name).pathname).filter((path) => path.endsWith(".js"));
        const texts = await Promise.all(files.map(async (path) => (await fetch(path)).text()));
        const used = texts.flatMap((text) => [...text.matchAll(/\\bt\\("(\\w+)"/g)].map((match) => match[1]));
        return [english, chinese, used];""")
    assert list(english) == list(chinese), set(english) ^ set(chinese)
    for name, text in english.items():
        places = [sorted(part.split("}")[0] for part in words.split("{")[1:]) for words in (text, chinese[name])]
        assert places[0] == places[1], name
    assert set(used) <= set(english), set(used) - set(english)
    assert len(used) > 100


@case
def usage_is_summed_by_key_and_days_end_in_utc(b):
    sums, day = b.module("""
        const { sumKeys } = await import("/js/usageview.js");
        const { formatDay } = await import("/js/strings.js");
        const one = (key, n) => ({ day: "2026-11-23", key, requests: 1, prompt_tokens: 3 * n, cached_tokens: n,
            completion_tokens: n, cost: "0.5" });
        return [sumKeys([one("a", 1), one("b", 5), one("a", 2)]), formatDay(Date.UTC(2026, 11, 24) - 1)];""")
    days = b.module("""
        const { sumDays } = await import("/js/usageview.js");
        return [sumDays([], "0002-11-01", "2026-11-23"), sumDays([], "2026-11-22", "2026-11-23"), sumDays([], "", "x")]
            .map((days) => [days.length, days[0]?.day, days.at(-1)?.day]);""")
    assert days == [[1000, "2024-02-28", "2026-11-23"], [2, "2026-11-22", "2026-11-23"], [0, None, None]], days
    assert [one["key"] for one in sums] == ["b", "a"], sums
    assert sums[1] == {"key": "a", "requests": 2, "cached_tokens": 3, "fresh_tokens": 6, "completion_tokens": 3,
                       "cost": 1}, sums
    assert day == "Dec 23, 2026", day
    rounded = b.module("""const { roundUp } = await import("/js/usageview.js");
        return [0, 1, 850, 963, 1000, 481500, 7].map(roundUp);""")
    assert rounded == [1, 1, 1000, 1000, 1000, 500000, 8], rounded


@case
def small_things_are_said_well(b):
    snippets = b.module("""
        const { snippetParts } = await import("/js/sidebar.js");
        return values[0].map((text) => snippetParts(text).map((part) => part.textContent ?? part).join(""));""",
                        ["a \u0002hit\u0003 b", "one two three four five six seven \u0002hit\u0003 b", "x" * 40 + "\u0002hit\u0003"])
    assert snippets == ["a hit b", "…four five six seven hit b", "…" + "x" * 24 + "hit"], snippets
    texts = b.module("""
        const { decodeText } = await import("/js/attachments.js");
        return values[0].map((bytes) => decodeText(new Uint8Array(bytes)));""",
                     [list(data) for data in ("Größe €".encode(), "Größe €".encode("cp1252"), "Größe".encode("utf-16"),
                                              b"\xfe\xff\0a", b"a\0b", b"\x89PNG\r\n\x1a\n", b"\x1b[31mred", b"")])
    assert texts == ["Größe €", "Größe €", "Größe", "a", None, None, "\x1b[31mred", ""], texts
    money = b.module("""const { formatMoney } = await import("/js/usageview.js");
        return ["0", "12.5", "0.0312", "0.0000119", "0.000000001"].map(formatMoney);""")
    assert money == ["0.0000", "12.50", "0.0312", "0.0000119", "0.000000001"], money
    keys = b.module("""
        const { shortcutsDialog } = await import("/js/shortcuts.js");
        return [true, false].map((canThink) => {
            shortcutsDialog({ session: { models: [{ can_think: canThink }] } });
            const dialog = document.querySelector("dialog");
            const words = dialog.textContent;
            dialog.close();
            dialog.remove();
            return words.includes("Think:");
        });""")
    assert keys == [True, False], keys


@case
def times_that_no_calendar_reaches_are_shown_all_the_same(b):
    b.module("""
        const { formatDate, formatDay, formatMonth, isoDay } = await import("/js/strings.js");
        for (const ms of [9007199254740993, -9e18, Infinity, NaN, null, undefined, "x"]) {
            for (const words of [formatDate(ms), formatDay(ms), formatMonth(ms), isoDay(ms)]) {
                if (!/\\d/.test(words)) {
                    throw new Error(`${ms}: ${words}`);
                }
            }
        }""")
    assert b.module("""
        const { isoDay } = await import("/js/strings.js");
        return [Date.UTC(2026, 11, 24) - 1, 9007199254740993].map(isoDay);""") == ["2026-12-23", "275760-09-13"]


@case
def an_end_without_the_message_has_it_read(b):
    got = b.module("""
        const { Conversation } = await import("/js/conversation.js");
        const { fetch } = window;
        const messages = [{ id: "q", parent: null, role: "user", content: "?", created: 1, state: "done" },
            { id: "a", parent: "q", role: "assistant", content: "", reasoning: "", created: 2, state: "writing" }];
        const ends = [];
        for (const stored of ["done", "writing", null]) {
            window.fetch = async (path) => {
                if (path.includes("/stream")) {
                    return new Response('id: 1\\nevent: content\\ndata: {"text":"Hi"}\\n\\nid: 2\\nevent: end\\ndata: null\\n\\n');
                }
                return stored === null ? new Response("{}", { status: 500 }) : new Response(JSON.stringify({ chat: {},
                    messages: [messages[0], { ...messages[1], content: "Hi!", state: stored }] }));
            };
            const chat = new Conversation({ id: "c", leaf: "a" }, messages.map((message) => ({ ...message })));
            const end = await new Promise((done) => chat.addEventListener("end", (event) => done(event.detail.message)));
            ends.push([end.state, end.content, chat.live()]);
        }
        window.fetch = fetch;
        return ends;""")
    assert got == [["done", "Hi!", None], ["interrupted", "Hi!", None], ["interrupted", "Hi", None]], got


@case
def the_meter_tells_what_was_not_counted_from_what_was(b):
    said = b.module("""
        const { ContextMeter } = await import("/js/contextmeter.js");
        const meter = new ContextMeter(() => {});
        const show = (tokens, atLeast) => {
            meter.show({ tokens, at_least: atLeast, context: 256 });
            return [meter.excess, meter.excessWords, meter.words.textContent];
        };
        return [show(255, false), show(256, false), show(9000, true)];""")
    assert said[0][:2] == [0, "0"] and said[0][2].startswith("255 / 256"), said
    assert said[1] == [1, "1", "1 tokens too many"], said
    assert said[2] == [8745, "≥\u00a08,745", "≥\u00a08,745 tokens too many"], said


if __name__ == "__main__":
    sys.exit(run(Server()))
