"""A walk through the page as people use it: with the mouse, with the keyboard alone, on a narrow screen, in the dark,
with hostile text, with a thousand messages."""

import json
import re
import secrets
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from page_browser import Keys, Server, Skipped, case, mock_case, run, webdriver
from page_payloads import PAYLOADS

CONTROL = Keys.CONTROL


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 36>>stream
BT /F 12 Tf 20 100 Td (Hello) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
"""


def conversation(turns, title="Imported"):
    """A chat as an export has it: texts, by turns of a person and of the model."""
    messages = []
    for i, text in enumerate(turns):
        messages.append({"id": f"{i + 1:032x}", "parent": f"{i:032x}" if i else None,
                         "role": "assistant" if i % 2 else "user", "content": text, "reasoning": "", "attachments": [],
                         "state": "done", "error": None, "think": "off", "created": 1700000000000 + i, "stats": None})
    chat = {"id": secrets.token_hex(16), "title": title, "folder": None, "pinned": False, "temporary": False,
            "created": 1700000000000, "updated": 1700000000000 + len(turns), "forget_after_days": None, "system": "",
            "settings": {}, "leaf": messages[-1]["id"]}
    return {"format": "fathom-chats", "version": 1, "chats": [{"chat": chat, "messages": messages}]}


def bring(b, turns, title):
    b.server.api("POST", "/api/import", conversation(turns, title))
    chats = b.server.api("GET", "/api/chats?limit=500")["chats"]
    return next(chat["id"] for chat in chats if chat["title"] == title)


def open_with_room(b):
    """A chat in which an answer lasts; elsewhere `fathom serve` of page.sh ends them soon."""
    chat = b.server.api("POST", "/api/chats", {"settings": {"max_tokens": 12000}})
    b.open(f"#/chat/{chat['id']}")


def empty_field(b):
    b.one("#composer").send_keys(CONTROL, "a", Keys.NULL, Keys.DELETE)


def come_back(b):
    """As a person does who was in another window."""
    time.sleep(1.1)  # the page looks once a second at most
    b.js("window.dispatchEvent(new Event('focus'))")


@contextmanager
def keyed(b, key):
    """Another server, which wants a key; signed in with one, if one is given."""
    server = Server("--key", "fathom-secret", "--forget-days", "30", "--answer-tokens", "50")
    base, b.server.base = b.server.base, server.base
    try:
        b.open()
        if key:
            b.one("input[type=password]").send_keys(key, Keys.ENTER)
            b.wait(lambda: not b.all("[type=password]"), "the page")
        yield
    finally:
        b.driver.delete_all_cookies()
        b.server.base = base
        server.close()


def branch(b):
    return b.js("return [...document.querySelectorAll('.message')].map((m) => [m.classList.contains('from-user') ? 'u'"
                " : 'm', m.querySelector('.message-body').textContent])")


@case
def an_answer_streams_with_its_thoughts(b):
    b.open()
    b.send("words 60")
    assert b.chat(), "the address names the chat"
    if b.server.mock:
        b.wait(lambda: "Thinking" in b.text(".thinking summary"), "thoughts")
        assert b.js("return document.querySelector('.thinking').open"), "thoughts are open while they go on"
    b.wait(lambda: len(b.text(".from-model .message-body")) > 20, "the first words")
    first = b.text(".from-model .message-body")
    b.answered()
    assert b.text(".from-model .message-body").startswith(first.strip()[:20])
    if b.server.mock:
        assert "Thought for" in b.text(".thinking summary")
        assert not b.js("return document.querySelector('.thinking').open"), "thoughts are folded afterwards"
        assert "tokens/s" in b.text(".stats") and "cached" in b.text(".stats")
    b.wait(lambda: b.all(".context-meter"), "the context meter")
    assert b.refused() == [], b.refused()


@case
def stop_keeps_what_came(b):
    open_with_room(b)
    b.send("words 4000")
    b.wait(lambda: len(b.text(".from-model .message-body")) > 20, "the first words")
    from_time = time.time()
    b.keys(Keys.ESCAPE)
    b.answered(5)
    assert time.time() - from_time < 2
    assert len(b.text(".from-model .message-body")) > 20
    assert "Stopped" in b.text(".answer-note")


@mock_case
def answer_now_ends_the_thoughts(b):
    b.open()
    b.send("words 10")
    b.click(".answer-now")
    b.answered(5)
    assert b.text(".from-model .message-body")


@case
def answering_again_makes_a_sibling(b):
    b.open()
    b.send("words 20")
    b.answered()
    b.click("[data-action=regenerate]")
    b.wait(lambda: b.all(".send.is-stop") or b.text(".switcher-at"), "another answer")
    b.answered()
    assert b.text(".from-model .switcher-at") == "2/2"
    b.click(".from-model [data-action=previous]")
    b.wait(lambda: b.text(".from-model .switcher-at") == "1/2", "the first answer")
    b.open(f"#/chat/{b.chat()}")
    b.wait(lambda: b.text(".from-model .switcher-at") == "1/2", "the same branch after a reload")


@case
def editing_makes_a_branch_and_the_tree_shows_both(b):
    b.open()
    b.send("words 10 first")
    b.answered()
    b.send("words 10 second")
    b.answered()
    assert [who for who, _ in branch(b)] == ["u", "m", "u", "m"]
    b.js("document.querySelector('[data-action=edit]').click()")
    field = b.one(".turn-field")
    field.send_keys(" changed")
    field.send_keys(CONTROL, Keys.ENTER)
    b.wait(lambda: len(branch(b)) == 2, "a new branch")
    b.answered()
    assert branch(b)[0][1] == "words 10 first changed"
    assert b.text(".from-user .switcher-at") == "2/2"
    b.chord(Keys.ALT, "g")
    b.wait(lambda: len(b.all(".tree-node")) == 6, "six messages in the tree")
    b.all(".tree-node")[2].click()
    b.wait(lambda: len(branch(b)) == 4, "the first branch")
    assert branch(b)[2][1] == "words 10 second"


@case
def a_turn_that_is_edited_is_in_sight(b):
    chat = bring(b, ["A line of it\n" * 60, "Yes.\n\n" * 4, "Short", "No."], "Edited")
    b.open(f"#/chat/{chat}")
    b.wait(lambda: b.js("const s = document.querySelector('.scroller'); return s.scrollTop > 500"
                        " && s.scrollHeight - s.scrollTop - s.clientHeight < 48"), "the end")
    b.js("document.querySelector('[data-action=edit]').click()")
    b.wait(lambda: b.js("""const seen = document.querySelector(".scroller").getBoundingClientRect();
        const box = document.querySelector(".turn-editor").getBoundingClientRect();
        return box.top >= seen.top && box.bottom <= seen.bottom;"""), "the whole field", 3)
    b.keys(Keys.ESCAPE)


@case
def the_side_bar_keeps_up(b):
    """A chat that another device made is listed when somebody comes back to the page."""
    b.open()
    chat = bring(b, ["Hello?", "Yes."], "From elsewhere")
    come_back(b)
    b.wait(lambda: b.js("window.dispatchEvent(new Event('focus'));"
                        f" return document.querySelector('[data-chat=\"{chat}\"]') !== null"), "it in the list", 5)


@case
def a_reload_in_the_middle_of_an_answer_loses_nothing(b):
    open_with_room(b)
    b.send("words 300")
    b.wait(lambda: len(b.text(".from-model .message-body")) > 100, "some words")
    b.driver.refresh()
    b.wait(lambda: len(b.text(".from-model .message-body")) > 100, "them again")
    assert b.all(".send.is-stop"), "it goes on"
    b.answered()
    shown = b.text(".from-model .message-body")
    stored = b.server.api("GET", f"/api/chats/{b.chat()}")["messages"][-1]["content"]
    assert "".join(shown.split()) == "".join(stored.split())


@mock_case
def lost_connections_are_made_again(b):
    b.open()
    b.send("words 300 drop")
    b.answered()
    stored = b.server.api("GET", f"/api/chats/{b.chat()}")["messages"][-1]["content"]
    assert "".join(b.text(".from-model .message-body").split()) == "".join(stored.split())


@mock_case
def prefill_and_queue_are_shown(b):
    b.open()
    b.send("slow prompt words 5")
    b.wait(lambda: "ahead" in b.text(".progress-text"), "the place in the queue")
    b.wait(lambda: "left" in b.text(".progress-text") and "%" in b.text(".progress-text"), "the time left")
    b.answered()


@mock_case
def what_is_refused_stays_in_the_field(b):
    b.open()
    field = b.one("#composer")
    field.send_keys("refuse this", Keys.ENTER)
    b.wait(lambda: "too long for the context" in b.text(".composer-error"), "the reason")
    assert b.js("return document.querySelector('#composer').value") == "refuse this"
    assert b.js("return location.hash") == "#/"
    b.js("document.querySelector('#composer').value = ''")


@mock_case
def failed_answers_say_why(b):
    b.open()
    b.send("fail")
    b.answered()
    assert "out of memory" in b.text(".answer-note")


@case
def an_answer_of_thoughts_alone_says_so(b):
    chat = conversation(["Why?", ""], "Thoughts alone")
    chat["chats"][0]["messages"][1]["reasoning"] = "Because."
    b.server.api("POST", "/api/import", chat)
    chats = b.server.api("GET", "/api/chats?limit=500")["chats"]
    b.open(f"#/chat/{next(one['id'] for one in chats if one['title'] == 'Thoughts alone')}")
    b.wait(lambda: "ended without an answer" in b.text(".answer-note"), "the words")


@mock_case
def what_ended_without_an_answer_can_be_answered_unthinking(b):
    b.open()
    b.js("localStorage.clear()")
    b.open()
    b.send("think alone")
    b.answered()
    b.click("[data-action=unthinking]")
    b.wait(lambda: b.text(".switcher-at") == "2/2", "another answer")
    b.answered()
    assert len(b.text(".from-model .message-body")) > 20 and not b.text(".from-model .thinking-text")
    assert not b.all("[data-action=unthinking]")
    b.send("cut by the day words 3")
    b.wait(lambda: "used its tokens for today" in b.text(".message:last-child .answer-note"), "why it ends there")


@mock_case
def a_server_says_its_rules(b):
    with keyed(b, "fathom-secret"):
        b.wait(lambda: "for 30 days are deleted" in b.text(".greeting"), "how long chats stay")
        b.click(".chat-tools button:nth-of-type(2)")
        fields = b.wait(lambda: b.js("return [...document.querySelectorAll('dialog input')].map((e) => e.placeholder)"),
                        "the settings")
        assert "default: 50" in fields and "30 (this server's rule)" in fields, fields
        b.open("#/keys")
        b.click("[data-action=revoke]")
        b.wait(lambda: "your own key" in b.text("dialog p") and "No other key" in b.text("dialog p"), "what it means")
        b.keys(Keys.ENTER)
        b.wait(lambda: not b.all("dialog"), "nothing to be done")
        assert "asks nobody" not in b.text(".sheet") and "Revoked" not in b.text(".sheet tbody")


@case
def the_side_bar_renames_pins_moves_finds_and_deletes(b):
    chat = bring(b, ["What about Xylophones?", "They are **percussion**."], "Old name")
    b.open(f"#/chat/{chat}")
    b.wait(lambda: b.text(".chat-heading") == "Old name", "the title")

    def menu(entry):
        b.click(".chat-tools [aria-haspopup]")
        next(e for e in b.all(".menu [role=menuitem]") if e.text == entry).click()

    def fill(text):
        field = b.one("dialog input")
        field.clear()
        field.send_keys(text, Keys.ENTER)

    menu("Rename")
    fill("New name")
    b.wait(lambda: b.text(".chat-heading") == "New name", "the new title")
    b.wait(lambda: "New name" in b.text(".chat-item.is-current"), "it in the list")
    menu("Pin")
    b.wait(lambda: "Pinned" in b.text(".chat-group h2"), "the pinned ones")
    menu("Unpin")
    b.wait(lambda: "Pinned" not in b.text(".chat-list"), "none pinned")
    menu("Move to folder")
    fill("Music")
    b.wait(lambda: "Music" in b.text(".folder summary"), "the folder")
    menu("Pin")
    b.wait(lambda: "Pinned" in b.text(".chat-group h2") and "New name" in b.text(".folder ul"), "it pinned, and in its folder")
    assert b.all(".folder .chat-title .icon"), "a pin beside it"
    menu("Unpin")
    b.wait(lambda: "Pinned" not in b.text(".chat-list"), "none pinned")
    b.chord(CONTROL, "k")
    b.keys("xylophones")
    b.wait(lambda: "Xylophones" in b.text(".snippet mark") and len(b.all(".chat-item")) == 1, "the hit")
    b.keys(Keys.ENTER)
    b.wait(lambda: b.chat() == chat, "the chat")
    b.chord(CONTROL, "k")
    b.keys(Keys.ESCAPE)
    b.wait(lambda: b.text(".folder summary"), "the whole list")
    menu("Delete")
    b.wait(lambda: b.js("return document.activeElement.textContent") == "Cancel", "Enter to be harmless")
    b.click("dialog .danger")
    b.wait(lambda: b.chat() is None and not b.js(f"return document.querySelector('[data-chat=\"{chat}\"]')"), "it gone")
    b.click(".toast .button")
    b.wait(lambda: b.chat() == chat and b.text(".chat-heading") == "New name", "it back")
    assert b.server.api("GET", f"/api/chats/{chat}")["chat"]["folder"] == "Music"


@case
def exports_come_and_imports_go(b):
    chat = bring(b, ["Export me", "Gladly."], "For export")
    b.open(f"#/chat/{chat}")
    script = ("return Promise.all(arguments[0].map((path) => fetch(path).then(async (r) => [r.status,"
              " r.headers.get('content-disposition') ?? '', await r.text()])))")
    paths = [f"/api/chats/{chat}/export?format=markdown", f"/api/chats/{chat}/export?format=json",
             "/api/export?format=json"]
    for status, disposition, text in b.js(script, paths):
        assert status == 200 and "attachment" in disposition and "Gladly." in text, (status, disposition)
    whole = b.js(script, paths[1:2])[0][2]
    before = len(b.server.api("GET", "/api/chats?limit=500")["chats"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chat.json"
        again = json.loads(whole)
        del again["chats"][0]["chat"]["id"]  # what is here already would stay out
        file.write_text(json.dumps(again))
        b.js("[...document.querySelectorAll('.side-row')].find((row) => row.textContent === 'Settings').click()")
        b.wait(lambda: b.all("dialog input[type=file]"), "the settings")[0].send_keys(str(file))
        b.wait(lambda: "Imported chats: 1" in b.text(".toasts"), "the import")
    assert len(b.server.api("GET", "/api/chats?limit=500")["chats"]) == before + 1


@mock_case
def what_is_no_export_is_not_imported(b):
    b.open()
    with tempfile.TemporaryDirectory() as folder:
        for name, text, words in (("chat.md", "# A chat", "chat.md is no JSON"),
                                  ("all.json", "[" + " " * 1000000, "at most 1 MB can be imported")):
            (Path(folder) / name).write_text(text)
            b.js("[...document.querySelectorAll('.side-row')].find((row) => row.textContent === 'Settings').click()")
            b.wait(lambda: b.all("dialog input[type=file]"), "the settings")[0].send_keys(f"{folder}/{name}")
            b.wait(lambda: words in b.text(".toasts"), words)
    assert len(b.all(".toast")) == 1, "the words before are gone"


@case
def files_are_attached_and_long_pastes_too(b):
    b.open()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "notes.txt").write_text("line one\nline two\n")
        (Path(folder) / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
        picker = b.all(".composer input[type=file]")[0]
        picker.send_keys(f"{folder}/notes.txt")
        b.wait(lambda: "notes.txt" in b.text(".composer .file-list"), "the file")
        (Path(folder) / "empty.txt").write_text("")
        (Path(folder) / "windows.txt").write_bytes("Größe".encode("utf-16"))
        picker.send_keys(f"{folder}/picture.png\n{folder}/empty.txt\n{folder}/notes.txt")
        b.wait(lambda: all(words in b.text(".composer-error") for words in
                           ("picture.png is no text", "empty.txt is empty", "notes.txt is attached already")), "refusals")
        picker.send_keys(f"{folder}/windows.txt")
        b.wait(lambda: "windows.txt" in b.text(".composer .file-list") and not b.text(".composer-error"),
               "what is good to end what was not")
    b.js("""const data = new DataTransfer();
        data.setData("text/plain", "x".repeat(3000));
        document.querySelector("#composer").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data,
            bubbles: true, cancelable: true }));""")
    b.wait(lambda: "pasted-1.txt" in b.text(".composer .file-list"), "the pasted text")
    b.wait(lambda: int(b.js("return document.querySelector('.context-meter').title.replace(/[,.]/g, '')"
                            ".match(/^[0-9]+/)?.[0] ?? 0")) > 300, "the files' tokens")
    b.send("words 5")
    b.answered()
    assert "notes.txt" in b.text(".from-user .file-list") and "pasted-1.txt" in b.text(".from-user .file-list")
    assert not b.js("return document.querySelector('.composer .file-list').childElementCount")
    b.click(".from-user .file-chip")
    b.wait(lambda: "line two" in b.text("dialog .file-text"), "the file's text")
    b.keys(Keys.ESCAPE)


@case
def pdf_is_read_by_the_server(b):
    b.open()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "paper.pdf").write_bytes(PDF)
        b.all(".composer input[type=file]")[0].send_keys(f"{folder}/paper.pdf")
        b.wait(lambda: b.text(".composer .file-chip small").endswith(" B of text"), "its text")
    b.click(".composer .file-chip button")
    assert not b.js("return document.querySelector('.composer .file-list').childElementCount")


@mock_case
def what_does_not_fit_can_go_to_a_new_chat(b):
    chat = bring(b, ["Begin", "Yes."], "Full")
    b.open(f"#/chat/{chat}")
    b.one("#composer").send_keys("refuse this", Keys.ENTER)
    b.wait(lambda: "too long for the context" in b.text(".composer-error"), "the reason")
    b.click(".composer-error .button")
    b.wait(lambda: b.chat() is None and b.js("return document.querySelector('#composer').value") == "refuse this",
           "the text in a new chat")
    b.js("document.querySelector('#composer').value = ''")


@case
def what_is_too_long_is_not_sent(b):
    b.open()
    b.js("""const data = new DataTransfer();
        data.setData("text/plain", "word ".repeat(100000));
        document.querySelector("#composer").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data,
            bubbles: true, cancelable: true }));""")
    b.wait(lambda: "too many" in b.text(".meter-words"), "the excess")
    b.wait(lambda: "tokens too long" in b.text(".composer-error"), "the words")
    assert "new chat" not in b.text(".composer-error"), "it is one"
    assert b.js("return document.querySelector('.send').disabled"), "it is known before it is sent"
    b.one("#composer").send_keys("a", Keys.ENTER)
    assert b.chat() is None and "pasted-1.txt" in b.text(".composer .file-list")
    b.click(".composer .file-chip button")
    b.wait(lambda: not b.text(".composer-error") and not b.js("return document.querySelector('.send').disabled"),
           "it to be short enough")
    empty_field(b)


@mock_case
def a_chat_that_is_too_long_says_so_itself(b):
    b.open(f"#/chat/{bring(b, ['word ' * 100000, 'Yes.'], 'Too long')}")
    b.wait(lambda: "longer than the model's context" in b.text(".composer-error"), "what can be done")


@case
def a_draft_outlives_a_reload(b):
    b.open()
    b.one("#composer").send_keys("half a thought")
    b.driver.refresh()
    b.wait(lambda: b.all("#composer") and b.js("return document.querySelector('#composer').value") == "half a thought",
           "the draft")
    empty_field(b)
    b.driver.refresh()
    assert b.one("#composer").get_attribute("value") == "", "what is gone stays gone"


@case
def an_answer_that_ended_bars_nothing(b):
    open_with_room(b)
    b.send("words 4000")
    b.one("#composer").send_keys("more", Keys.ENTER)
    b.wait(lambda: "Stop it first" in b.text(".composer-error"), "the words")
    b.keys(Keys.ESCAPE)
    b.answered()
    b.wait(lambda: not b.text(".composer-error"), "the bar to go")
    empty_field(b)


@case
def a_chat_may_go_on_elsewhere(b):
    chat = bring(b, ["Begin", "Yes."], "Two windows")
    b.open(f"#/chat/{chat}")
    b.wait(lambda: len(branch(b)) == 2, "the chat")

    def elsewhere(text):
        leaf = b.server.api("GET", f"/api/chats/{chat}")["messages"][-1]["id"]
        b.server.api("POST", f"/api/chats/{chat}/messages", {"parent": leaf, "content": text, "think": "off"})

    elsewhere("words 3 elsewhere")
    come_back(b)
    b.wait(lambda: len(branch(b)) == 4, "what is new")
    assert "went on" in b.text(".toasts")
    b.answered()
    elsewhere("words 3 again")
    b.one("#composer").send_keys("words 3 here", Keys.ENTER)
    b.wait(lambda: "not sent yet" in b.text(".composer-error") and len(branch(b)) == 6, "it to be shown first")
    b.answered()
    b.click(".composer-error .button")
    b.wait(lambda: len(branch(b)) == 8, "the turn behind it")
    b.answered()
    assert not b.all(".switcher"), "nothing forked"
    b.server.api("DELETE", f"/api/chats/{chat}")
    b.one("#composer").send_keys("kept")
    come_back(b)
    b.wait(lambda: "not here any more" in b.text(".composer-error"), "the words")
    b.click(".composer-error .button")
    b.wait(lambda: b.chat() is None and b.one("#composer").get_attribute("value") == "kept", "a new chat")
    empty_field(b)


@mock_case
def refusals_are_told_in_peoples_words(b):
    b.open()
    b.one("#composer").send_keys("quota", Keys.ENTER)
    b.wait(lambda: "again in 17 h 13 min" in b.text(".composer-error"), "the hours")
    empty_field(b)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "fake.pdf").write_bytes(b"no PDF")
        b.all(".composer input[type=file]")[0].send_keys(f"{folder}/fake.pdf")
        b.wait(lambda: "fake.pdf: no text could be read" in b.text(".composer-error"), "the words")
    b.open("#/nosuch")
    b.wait(lambda: "nothing at this address" in b.text(".toasts"), "a word about it")
    b.driver.get(f"{b.server.base}/no/such/page")
    b.wait(lambda: "nothing at this address" in b.text("h1"), "a page for people")


@case
def settings_presets_and_temporary_chats(b):
    b.open("#/temporary")
    assert b.one(".badge").text == "Temporary" and b.all(".composer.is-temporary")
    b.click(".chat-tools button:nth-of-type(2)")
    assert b.js("return document.activeElement.tagName") == "SELECT", "the first field has the focus"
    b.one("dialog textarea").send_keys("You are brief.")
    field = b.one(".sampling label:nth-child(1) input")
    assert re.fullmatch(r"default: [0-9.]{1,7}", field.get_attribute("placeholder")), "what an empty field means"
    field.send_keys("3,0")
    assert not b.js("return arguments[0].checkValidity()", field)
    field.clear()
    field.send_keys("0,3")
    next(e for e in b.all("dialog .button") if e.text == "Save as preset").click()
    b.all("dialog:last-of-type input")[0].send_keys("Brief", Keys.ENTER)
    b.wait(lambda: "Brief" in b.text("dialog select"), "the preset")
    next(e for e in b.all("dialog footer .button") if e.text == "Save").click()
    b.send("words 5")
    b.answered()
    chat = b.server.api("GET", f"/api/chats/{b.chat()}")["chat"]
    assert chat["temporary"] and chat["system"] == "You are brief." and chat["settings"] == {"temperature": 0.3}, chat
    b.click(".chat-tools .has-own")
    b.wait(lambda: b.all("dialog select") and b.one("dialog select").get_attribute("value") == "Brief", "the same preset")
    b.keys(Keys.ESCAPE)
    b.js("location.hash = '#/'")
    b.wait(lambda: b.chat() is None and not b.all(".chat-tools .has-own"), "a new chat")
    b.click(f".chat-list [data-chat='{chat['id']}'] a")
    b.wait(lambda: b.chat() == chat["id"], "the way back as long as the page knows it")
    b.open()
    assert not b.all(f".chat-list [data-chat='{chat['id']}']"), "no list of the server has it"
    assert b.server.api("GET", "/api/presets")["presets"][0]["name"] == "Brief"


@case
def everything_works_by_keyboard(b):
    b.open()
    b.js("document.querySelector('a[href], button').focus()")
    assert b.js("return document.activeElement.className") == "skip-link", "the first stop"
    b.keys(Keys.ENTER)
    assert b.js("return document.activeElement.id") == "composer"
    b.keys("words 5", Keys.ENTER)
    b.wait(lambda: b.chat(), "the chat")
    b.answered()
    b.keys(Keys.ARROW_UP)
    b.wait(lambda: b.js("return document.activeElement.className") == "turn-field", "the last message")
    b.keys(Keys.ESCAPE)
    assert b.js("return document.activeElement.dataset.action") == "edit"
    b.keys("?")
    b.wait(lambda: "Keyboard shortcuts" in b.text("dialog"), "the shortcuts")
    said = b.js("return [...document.querySelectorAll('.shortcuts dd')].map((e) => e.textContent)")
    assert len(set(said)) == len(said), "each once"
    b.keys(Keys.ESCAPE)
    b.wait(lambda: not b.all("dialog"), "them closed")
    b.keys("/")
    assert b.js("return document.activeElement.id") == "composer"
    if b.server.mock:  # its model thinks
        before = b.js("return document.querySelector('.think-switch input:checked').value")
        b.chord(Keys.ALT, "t")
        assert b.js("return document.querySelector('.think-switch input:checked').value") != before
        b.chord(Keys.ALT, "t")
        b.chord(Keys.ALT, "t")
    b.chord(CONTROL, Keys.SHIFT, "e")
    b.wait(lambda: "Rename" in b.text("dialog h2"), "the field for a title")
    b.keys(CONTROL, "a", Keys.NULL, "By keys", Keys.ENTER)
    b.wait(lambda: b.text(".chat-heading") == "By keys", "the title")
    b.chord(CONTROL, "b")
    assert b.js("return document.querySelector('.app').classList.contains('no-sidebar')")
    b.chord(CONTROL, "b")
    # Tab reaches every control in sight, and where it is can be seen.
    seen = b.module("""
        const wanted = [...document.querySelectorAll("a[href], button:not(:disabled), textarea, summary, select,"
            + " input:not(:disabled)")].filter((e) => e.checkVisibility() && e.tabIndex >= 0);
        return wanted.length;""")
    reached = set()
    for _ in range(seen + 5):
        b.keys(Keys.TAB)
        reached.add(b.js("""const e = document.activeElement;
            const style = getComputedStyle(e.type === "radio" ? e.nextElementSibling : e);
            const box = getComputedStyle(e.closest(".composer") ?? e);
            return [e === document.body ? "" : e.ariaLabel || e.textContent || e.id || e.value,
                style.outlineStyle !== "none" || (e.id === "composer" && box.borderColor !== "")].join("|")"""))
    assert len(reached) > 15, reached
    assert not [one for one in reached if one.endswith("|false") and not one.startswith("|")], reached
    b.chord(CONTROL, Keys.SHIFT, "o")
    b.wait(lambda: b.chat() is None, "a new chat")


@case
def narrow_screens_and_the_dark(b):
    chat = bring(b, ["Wide things", "| a | b | c | d | e | f | g |\n|-|-|-|-|-|-|-|\n" + "| some words " * 7
                     + "|\n\n```c\n" + "x" * 300 + "\n```\n\n" + "long" * 60], "Narrow")
    b.size(360, 740, mobile=True)
    try:
        for scheme in ("light", "dark"):
            b.emulate(prefers_color_scheme=scheme)
            for path in (f"#/chat/{chat}", "#/", "#/usage", "#/keys"):
                b.open(path)
                time.sleep(0.4)
                wide = b.js("return document.documentElement.scrollWidth")
                assert wide <= 360, f"{path}: {wide} px wide"
            assert b.js("return getComputedStyle(document.body).colorScheme") == scheme or scheme == "light"
            b.open(f"#/chat/{chat}")
            b.wait(lambda: b.all(".code"), "the answer")
            assert b.js("return document.querySelector('.send').getBoundingClientRect().right") <= 360
            b.click(".show-sidebar")
            b.wait(lambda: b.js("return document.querySelector('.main').inert"), "the drawer")
            b.keys(Keys.ESCAPE)
            b.wait(lambda: not b.js("return document.querySelector('.main').inert"), "the page")
            dark = b.js("return getComputedStyle(document.body).backgroundColor")
            assert (dark == "rgb(255, 255, 255)") == (scheme == "light"), dark
    finally:
        b.emulate(prefers_color_scheme="light")
        b.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@case
def hostile_text_stays_text(b):
    turns = [text for payload in PAYLOADS for text in (payload, f"{payload}\n\n**{payload}**\n\n- {payload}\n\n"
                                                       f"| a |\n|---|\n| {payload} |\n\n```{payload}\n{payload}\n```")]
    chat = bring(b, turns, PAYLOADS[0])
    b.open(f"#/chat/{chat}")
    b.wait(lambda: b.js("return document.querySelectorAll('.message').length") == len(turns), "the messages")
    b.module("""const near = document.querySelectorAll(".message");
        document.querySelector(".scroller").dispatchEvent(new PointerEvent("pointerdown"));
        for (const one of near) {
            one.scrollIntoView();
            await new Promise((done) => setTimeout(done, 15));
        }""")
    b.wait(lambda: b.js("return document.querySelectorAll('.message:not(:has(footer))').length") == 0, "all to be drawn")
    found = b.js("""return [...document.querySelectorAll(".message-body *, .chat-list *, .chat-heading *")].filter((e) =>
        ["SCRIPT", "IFRAME", "OBJECT", "EMBED", "STYLE", "LINK", "META", "BASE", "FORM", "VIDEO", "AUDIO", "IMG", "TEMPLATE"]
            .includes(e.tagName) || [...e.attributes].some((a) => a.name.startsWith("on") || a.name === "srcdoc")
            || (e.href && !/^(https?|mailto):/.test(e.href) && !e.closest(".chat-list"))).map((e) => e.outerHTML)""")
    assert found == [], found
    assert b.js("return window.pwned") is None
    assert b.refused() == [], b.refused()
    shown = "".join(text for who, text in branch(b) if who == "u")
    for payload in PAYLOADS:
        assert payload in shown, payload


def open_time(b, chat):
    """ms until a chat of 1,000 messages is on the screen."""
    b.open()
    return b.module("""
        const from = performance.now();
        location.hash = `#/chat/${values[0]}`;
        const frame = () => new Promise((done) => requestAnimationFrame(done));
        while (document.querySelectorAll(".message").length < 1000
            || !document.querySelector(".message:last-child footer")) {
            await frame();
        }
        await frame();
        await frame();
        return performance.now() - from;""", chat)


@case
def a_thousand_messages_open_quickly_and_typing_never_lags(b):
    text = ("Some **words** about `code` and [links](https://example.org), again and again. " * 4 + "\n\n- one\n- two\n\n"
            "```python\ndef f(x):\n    return x + 1\n```\n")
    chat = bring(b, ["A question?" if i % 2 == 0 else text for i in range(1000)], "A thousand")
    ms = min(open_time(b, chat) for _ in range(3))  # other programs may have slowed one of them
    print(f"1,000 messages open in {ms:.0f} ms")
    assert ms < 1000, f"{ms:.0f} ms"
    b.wait(lambda: b.js("const s = document.querySelector('.scroller'); return s.scrollTop > 1000"
                        " && s.scrollHeight - s.scrollTop - s.clientHeight < 48"), "the end to be in sight")
    if not b.server.mock:
        return  # a real context does not hold it
    b.send("words 9000")
    b.wait(lambda: len(b.text(".message:last-child .message-body")) > 50, "words")
    b.js("""document.querySelector("#composer").addEventListener("input", (e) => {
            window.lag.push(performance.now() - e.timeStamp);
        });""")
    for _ in range(3):  # other programs may have slowed one of them
        b.js("window.lag = []")
        for _ in range(60):
            b.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "char", "text": "a"})
            time.sleep(0.02)
        lag = sorted(b.js("return window.lag"))
        p95 = lag[int(len(lag) * 0.95)]
        print(f"a key while tokens stream: median {lag[len(lag) // 2]:.1f} ms, 95% {p95:.1f} ms, most {lag[-1]:.1f} ms")
        if p95 < 16:
            break
    assert b.all(".send.is-stop"), "the answer still streams"
    assert len(lag) >= 50 and p95 < 16, lag
    b.js("document.querySelector('#composer').value = ''")
    b.keys(Keys.ESCAPE)
    b.answered()


@case
def keys_and_usage(b):
    b.open("#/keys")
    if not b.all(".sheet"):
        raise Skipped("not an administrator here")
    b.click(".sheet > .button")
    b.one("dialog input").send_keys("Test key")
    next(e for e in b.all("dialog footer .button") if e.text == "Create").click()
    b.wait(lambda: b.text("[data-secret]").startswith("fathom-"), "the key")
    b.keys(Keys.ESCAPE)
    b.wait(lambda: "was not copied" in b.text("dialog:last-of-type p"), "a question")
    b.click("dialog:last-of-type .danger")
    b.wait(lambda: "Test key" in b.text(".sheet tbody"), "it in the table")
    last = "[...document.querySelectorAll('.sheet tr')].findLast((r) => r.textContent.includes('Test key'))"
    b.js(f"{last}.querySelector('.button').click()")
    b.wait(lambda: b.all("dialog .sampling input"), "the form")[0].send_keys("12")
    next(e for e in b.all("dialog footer .button") if e.text == "Save").click()
    b.wait(lambda: "Requests per minute: 12" in b.text(".sheet tbody"), "the limit")
    b.js(f"{last}.querySelector('.danger-quiet').click()")
    b.click("dialog .danger")
    b.wait(lambda: "Revoked" in b.text(".sheet tbody"), "it revoked")
    b.js(f"{last}.querySelector('[data-action=renew]').click()")
    b.click("dialog .danger")
    b.wait(lambda: b.text("[data-secret]").startswith("fathom-"), "a new key of the same owner")
    b.click(".secret .button")
    b.wait(lambda: b.text(".secret .button") == "Copied", "it copied")
    b.keys(Keys.ESCAPE)
    b.wait(lambda: "Revoked" not in b.text(".sheet tbody"), "it to be good again")
    assert "asks nobody for a key" in b.text(".sheet")
    b.open("#/usage")
    b.wait(lambda: b.all(".chart") and b.text(".totals"), "the chart")
    assert b.refused() == [], b.refused()


@mock_case
def coloured_buttons_keep_their_colour_under_the_mouse(b):
    b.open("#/keys")
    button = b.one(".sheet > .button.primary")
    colour = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    before = b.js(colour, ".sheet > .button.primary")
    webdriver.ActionChains(b.driver).move_to_element(button).perform()
    assert b.js("return arguments[0].matches(':hover')", button)
    assert b.js(colour, ".sheet > .button.primary") == before, "white words need it"


@mock_case
def keys_on_a_narrow_screen_and_days_of_utc(b):
    for balance in (None, "12.5"):
        b.server.api("POST", "/api/keys", {"name": "Twin", "scopes": ["chat"], "limits": {"tokens_per_day": 2000},
                                           "balance": balance, "expires": 1798009200000})  # 2026-12-23 07:00 UTC
    b.open("#/keys")
    b.wait(lambda: "12.5 USD" in b.text(".sheet tbody"), "a balance with its currency")
    b.wait(lambda: "Dec 23, 2026" in b.text(".sheet tbody"), "the day that fathom keys list says")
    ids = b.js("return [...document.querySelectorAll('.sheet th small')].map((e) => e.textContent)")
    assert len(set(ids)) == len(ids), "keys of one name are told apart"
    b.click(".sheet > .button")
    b.one("dialog input").send_keys("Shown")
    b.one("dialog input[type=date]").send_keys("12312026")
    next(e for e in b.all("dialog footer .button") if e.text == "Create").click()
    b.wait(lambda: b.text("[data-secret]"), "the key")
    lines = "return document.querySelector(arguments[0]).getClientRects().length"
    assert b.js(lines, "[data-secret]") == 1, "a key on one line"
    assert b.js("return document.querySelector('.secret .button').clientHeight") < 50
    b.driver.back()
    b.wait(lambda: not b.all("dialog"), "the way back to close the window")
    shown = next(key for key in b.server.api("GET", "/api/keys")["keys"] if key["name"] == "Shown")
    assert shown["expires"] == 1798761599999, "the last moment of that day, of UTC"
    b.size(360, 740, mobile=True)
    try:
        b.open("#/keys")
        b.wait(lambda: "Twin" in b.text(".sheet tbody"), "the keys")
        inside = b.js("""return [...document.querySelectorAll(".cell-buttons .button")].every((button) => {
            const box = button.getBoundingClientRect();
            return box.left >= 0 && box.right <= 360;
        })""")
        assert inside, "Change and Revoke are on the screen"
        b.open("#/usage")
        b.wait(lambda: b.all(".chart"), "the chart")
        assert b.js("const box = document.querySelector('.chart-box');"
                    " return box.scrollLeft + box.clientWidth >= box.scrollWidth - 2"), "the last days are in sight"
        axis = b.js("return document.querySelector('.chart-axis').getBoundingClientRect().left")
        assert 0 <= axis < 60, "and what the lines mean"
        labels = b.js("""const end = document.querySelector(".chart").getBoundingClientRect().right;
            return [...document.querySelectorAll(".chart-words")].map((e) => e.getBoundingClientRect())
                .every((box) => box.right <= end + 1 && box.height >= 11);""")
        assert labels, "whole days, large enough to be read"
        tables = b.js("return [...document.querySelectorAll('.table-box')].map((e) => e.textContent)")
        assert "this machine" in tables[0] and "Twin (" in tables[0], "usage by key"
        assert "Twin (" in b.text(".filters select") and "this machine" in b.text(".filters select")
        b.js("""const [from, to] = document.querySelectorAll(".filters input");
            from.value = to.value = "2001-01-01";
            to.dispatchEvent(new Event("change"));""")
        b.wait(lambda: "Nothing was asked" in b.text(".usage") and not b.all(".chart"), "days without any")
    finally:
        b.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@mock_case
def a_key_sees_what_it_may(b):
    with keyed(b, "fathom-secret-admin"):
        b.wait(lambda: b.text(".chat-heading") == "Keys" and b.all(".sheet"), "the keys")
        assert "New chat" not in b.text(".sidebar") and "Usage" in b.text(".sidebar")
        b.open("#/usage")
        b.wait(lambda: b.all(".chart"), "the usage")
        assert "Sign out" in b.text(".sidebar")
        assert not b.text(".toasts") and b.refused() == [], b.refused()
    with keyed(b, "fathom-secret-member"):
        b.wait(lambda: b.all("#composer"), "the chat")
        b.open("#/keys")
        b.wait(lambda: "who administers" in b.text(".sheet"), "the words")
        assert not b.all(".sheet .button")
        b.open("#/usage")
        b.wait(lambda: "1,234 of 2,000 tokens" in b.text(".own") and "766 left" in b.text(".own"), "what is left")
    with keyed(b, "fathom-secret-metrics"):
        b.wait(lambda: b.text(".chat-heading") == "This key may not chat", "why there is nothing")
    with keyed(b, "fathom-secret-broken"):
        b.wait(lambda: "could not begin" in b.text("h1"), "the failure")
        next(e for e in b.all("button") if e.text == "Sign out").click()
        b.one("input[type=password]")


@case
def chinese_and_a_theme_can_be_chosen(b):
    b.open()
    b.js("[...document.querySelectorAll('.side-row')].find((row) => row.textContent === 'Settings').click()")
    b.js("""const choose = (at, value) => {
            const field = document.querySelectorAll("dialog select")[at];
            field.value = value;
            field.dispatchEvent(new Event("change"));
        };
        choose(0, "dark");
        choose(1, "zh");""")
    b.wait(lambda: "新对话" in b.text(".sidebar"), "Chinese")
    b.wait(lambda: b.text("dialog h2") == "设置", "the window to be there still")
    assert b.js("return document.documentElement.lang") == "zh-Hans"
    assert b.js("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    b.js("localStorage.clear()")


@case
def nothing_is_found_by_axe(b):
    try:
        import axe_core_python
    except ImportError:
        raise Skipped("no axe_core_python (python3 -m pip install axe-core-python)") from None
    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    chat = bring(b, ["Check me", "## A\n\ntext `code` [link](https://example.org)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
                     "- [x] done\n\n```python\nreturn 1  # c\n```\n\n> quote"], "Axe")
    found = []
    for scheme in ("light", "dark") if b.server.mock else ("dark",):  # the style is the same
        b.emulate(prefers_color_scheme=scheme)
        for path in ("#/", f"#/chat/{chat}", "#/keys", "#/usage", "settings", "chat-settings", "tree", "menu"):
            b.open(path if path.startswith("#") else f"#/chat/{chat}")
            time.sleep(0.5)
            if path == "settings":
                b.js("[...document.querySelectorAll('.side-row')].find((r) => r.textContent === 'Settings').click()")
            elif path == "menu":
                b.js("document.querySelector('.chat-tools [aria-haspopup]').click()")
            elif path in ("tree", "chat-settings"):
                b.js(f"document.querySelectorAll('.chat-tools button')[{int(path != 'tree')}].click()")
            b.js(axe)
            result = b.module("return (await axe.run(document, { resultTypes: ['violations'] })).violations;")
            found += [f"{scheme} {path}: {one['id']} {one['nodes'][0]['html'][:150]} {one['nodes'][0]['any'][:1]}"
                      for one in result]
    b.emulate(prefers_color_scheme="light")
    assert found == [], "\n".join(found)


@mock_case
def signing_in(b):
    with keyed(b, None):
        field = b.one("input[type=password]")
        field.send_keys("wrong", Keys.ENTER)
        b.wait(lambda: "not known" in b.text("#signin-error"), "the refusal")
        field.clear()
        field.send_keys("fathom-secret", Keys.ENTER)
        b.wait(lambda: b.all("#composer"), "the page")
        b.driver.delete_all_cookies()
        b.one("#composer").send_keys("kept", Keys.ENTER)
        b.one("dialog input[type=password]").send_keys("fathom-secret", Keys.ENTER)
        b.wait(lambda: not b.all("dialog"), "the page again")
        assert b.js("return document.querySelector('#composer').value") == "kept"
        b.click(".composer-error .button")
        b.wait(lambda: b.chat(), "the chat")
        b.answered()
        b.one("#composer").send_keys("mine")
        next(e for e in b.all(".side-row") if "Sign out" in e.text).click()
        b.one("input[type=password]").send_keys("fathom-secret-member", Keys.ENTER)
        b.wait(lambda: b.all("#composer"), "the page")
        assert b.one("#composer").get_attribute("value") == "", "a draft is its owner's"


if __name__ == "__main__":
    # A context that holds a chat of a thousand messages.
    sys.exit(run(Server("--rate", "200", "--think", "0.6", "--context", "100000")))
