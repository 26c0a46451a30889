#!/usr/bin/env python3
"""Anthropic's own client for Python, as it is, against `fathom serve`.

    anthropic_client.py URL KIND            KIND: chat, think, tools
    anthropic_client.py URL KIND --record tests/e2e/recorded            (recording.py)
"""
import sys

import anthropic
import cases
import recording

URL, KIND = sys.argv[1:3]
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"name": name, "description": "Sets a number.", "input_schema": {
    "type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}}
    for name in ("one", "two")]
recorded = recording.Recording("anthropic", KIND)
client = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0, timeout=120, http_client=recorded.http())


def request(fields):
    """With temperature 0, which the client itself knows no more since its version 2."""
    extra = {"temperature": 0} | fields.pop("extra_body", {})
    return {"model": "claude-of-any-kind", "messages": HELLO, "max_tokens": 24, "extra_body": extra} | fields


def ask(**fields):
    return client.messages.create(**request(fields))


def stream(**fields):
    return client.messages.stream(**request(fields))


def text(message):
    return "".join(b.text for b in message.content if b.type == "text")


def raises(kind, call, **fields):
    try:
        call(**fields)
    except anthropic.APIStatusError as e:
        assert type(e) is kind, f"{type(e).__name__}: {e}"
        assert e.body["type"] == "error" and e.body["error"]["message"], e.body
        return e.body["error"]["message"]
    raise AssertionError(f"{fields} was not refused")


# ---- Cases of models that chat. ----

def documents_and_streams_say_the_same():
    whole = ask()
    assert whole.type == "message" and whole.role == "assistant" and whole.id.startswith("msg_")
    with stream() as s:
        pieces = "".join(s.text_stream)
        final = s.get_final_message()
    assert pieces == text(final) == text(whole) != ""
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens
    sent = whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    assert final.usage.input_tokens + final.usage.cache_read_input_tokens == sent > 0


def counting_is_what_is_read():
    n = client.messages.count_tokens(model="default", messages=HELLO, system="Be brief.").input_tokens
    used = ask(system=[{"type": "text", "text": "Be brief."}], max_tokens=1).usage
    assert n == used.input_tokens + used.cache_read_input_tokens


def lengths_and_stops():
    whole = ask(max_tokens=12)
    said = text(whole)
    assert ask(max_tokens=2).stop_reason == "max_tokens"
    cut = said[2:5]
    stopped = ask(max_tokens=12, stop_sequences=["never said", cut])
    assert (stopped.stop_reason, stopped.stop_sequence, text(stopped)) == ("stop_sequence", cut,
                                                                          said[:said.index(cut)])


def a_beginning_goes_on():
    begun = ask(messages=HELLO + [{"role": "assistant", "content": "It is"}], max_tokens=4)
    assert begun.usage.output_tokens >= 1 and begun.content is not None


def blocks_are_texts():
    one = ask(messages=[{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}])
    assert text(one) == text(ask())


def what_cannot_be_is_refused():
    raises(anthropic.NotFoundError, ask, model="no-such-model")
    raises(anthropic.UnprocessableEntityError, ask, extra_body={"temperature": 2.5})
    raises(anthropic.BadRequestError, ask, messages=[{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]}])
    numbers = raises(anthropic.BadRequestError, ask, messages=[{"role": "user", "content": "hello " * 20000}])
    assert len([w for w in numbers.replace(";", " ").split() if w.isdigit()]) >= 2, numbers
    raises(anthropic.BadRequestError, ask, extra_body={"mcp_servers": [{"url": "http://x"}]})
    raw = client.messages.with_raw_response.create(model="default", messages=HELLO, max_tokens=1,
                                                   extra_body={"service_tier": "auto", "never_heard_of": 1})
    assert "never_heard_of" in raw.headers["x-fathom-ignored"]


def what_agents_ask_beyond_the_model_is_listed():
    raw = client.messages.with_raw_response.create(**request({
        "max_tokens": 24, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"type": "web_search_20250305", "name": "web_search"}]}))
    assert raw.parse().content and raw.headers["x-fathom-ignored"] == "tools[0] (web_search_20250305), thinking"


def members_without_effect_are_listed():
    raw = client.messages.with_raw_response.create(**request({"max_tokens": 1, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}]}))
    assert raw.headers["x-fathom-ignored"] == "messages[0].content[0].cache_control"


def errors_have_its_form():
    raises(anthropic.NotFoundError, client.messages.batches.create, requests=[])
    twice = client.with_options(base_url=URL + "/v1")
    assert "base URL" in raises(anthropic.NotFoundError, twice.messages.create, **request({}))


# ---- Cases of one model. ----

def thoughts_are_kept_apart():
    whole = ask(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
    assert whole.content[0].type == "thinking" and whole.content[0].thinking, whole.content
    with stream(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000) as s:
        kinds = [e.type for e in s]
        final = s.get_final_message()
    assert "content_block_delta" in kinds and [b.type for b in final.content] == [b.type for b in whole.content]


def tools_must_be_called():
    for choice, names in (({"type": "any"}, {"one", "two"}), ({"type": "tool", "name": "two"}, {"two"})):
        whole = ask(tools=TOOLS, tool_choice=choice | {"disable_parallel_tool_use": True}, max_tokens=300)
        uses = [b for b in whole.content if b.type == "tool_use"]
        assert whole.stop_reason == "tool_use" and len(uses) == 1, whole
        assert uses[0].name in names and uses[0].input["n"] in (1, 2)
        with stream(tools=TOOLS, tool_choice=choice | {"disable_parallel_tool_use": True}, max_tokens=300) as s:
            assert [b.input for b in s.get_final_message().content if b.type == "tool_use"] == [uses[0].input]
        back = HELLO + [{"role": "assistant", "content": [u.model_dump(include={"type", "id", "name", "input"})
                                                          for u in uses]},
                        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": uses[0].id,
                                                      "content": "done"}]}]
        assert ask(messages=back, tools=TOOLS, max_tokens=4).usage.output_tokens > 0
        back[-1]["content"][0]["is_error"] = True
        told = client.messages.count_tokens(model="default", messages=back, tools=TOOLS).input_tokens
        back[-1]["content"][0] |= {"is_error": False, "content": "Error: done"}
        assert told == client.messages.count_tokens(model="default", messages=back, tools=TOOLS).input_tokens
        back[-1]["content"][0]["tool_use_id"] = "toolu_of_nobody"
        assert "tool_use_id" in raises(anthropic.BadRequestError, ask, messages=back, tools=TOOLS)


CHATS = [documents_and_streams_say_the_same, counting_is_what_is_read, lengths_and_stops, a_beginning_goes_on,
         blocks_are_texts, what_cannot_be_is_refused, what_agents_ask_beyond_the_model_is_listed,
         members_without_effect_are_listed, errors_have_its_form]
sys.exit(cases.run(recorded, {"chat": CHATS + [tools_must_be_called],
                                         "think": [thoughts_are_kept_apart], "tools": [tools_must_be_called]}[KIND]))
