#!/usr/bin/env python3
"""OpenAI's own client for Python, as it is, asking `fathom serve` for responses.

    responses_client.py URL KIND            KIND: chat, think, tools
    responses_client.py URL KIND --record tests/e2e/recorded            (recording.py)
"""
import json
import sys

import cases
import openai
import recording

URL, KIND = sys.argv[1:3]
TOOLS = [{"type": "function", "name": name, "description": "Sets a number.", "strict": True, "parameters": {
    "type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}}
    for name in ("one", "two")]
recorded = recording.Recording("responses", KIND)
client = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0, timeout=120, http_client=recorded.http())


def ask(**fields):
    return client.responses.create(**{"model": "default", "input": "hello", "temperature": 0,
                                      "max_output_tokens": 24} | fields)


def events(**fields):
    """All events of a stream, which must be numbered, and the response that ends it."""
    seen = list(ask(stream=True, **fields))
    assert [e.sequence_number for e in seen] == list(range(len(seen)))
    assert seen[0].type == "response.created" and seen[-1].type in ("response.completed", "response.incomplete")
    return seen, seen[-1].response


def raises(kind, **fields):
    try:
        ask(**fields)
    except openai.APIStatusError as e:
        assert type(e) is kind, f"{type(e).__name__}: {e}"
        return e
    raise AssertionError(f"{fields} was not refused")


def documents_and_streams_say_the_same():
    whole = ask(instructions="Be brief.")
    seen, last = events(instructions="Be brief.")
    deltas = "".join(e.delta for e in seen if e.type == "response.output_text.delta")
    assert deltas == last.output_text == whole.output_text != ""
    assert [e.text for e in seen if e.type == "response.output_text.done"] == [deltas]
    assert last.status == whole.status and last.usage.output_tokens == whole.usage.output_tokens
    assert [i.type for i in last.output] == [i.type for i in whole.output] == ["message"]
    assert whole.id.startswith("resp_") and whole.store is False


def lengths_are_said():
    assert (r := ask(max_output_tokens=2)).status == "incomplete"
    assert r.incomplete_details.reason == "max_output_tokens"
    assert [i.status for i in r.output] == [i.status for i in events(max_output_tokens=2)[1].output] == ["incomplete"]


def conversations_are_sent_whole():
    turns = [{"role": "user", "content": "hello"},
             {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
             {"role": "user", "content": [{"type": "input_text", "text": "again"}]}]
    assert ask(input=turns).output_text
    raises(openai.BadRequestError, previous_response_id="resp_1")
    raises(openai.BadRequestError, input=[{"type": "item_reference", "id": "x"}])


def json_by_schema():
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"],
              "additionalProperties": False}
    r = ask(text={"format": {"type": "json_schema", "name": "n", "schema": schema}}, max_output_tokens=60)
    assert json.loads(r.output_text)["n"] in (1, 2)


def hosts_tools_are_left_out_and_named():
    raw = client.responses.with_raw_response.create(model="default", input="hello", max_output_tokens=1,
                                                    tools=[{"type": "web_search"}])
    assert "web_search" in raw.headers["x-fathom-ignored"]


def wishes_are_listed():
    raw = client.responses.with_raw_response.create(model="default", input="hello", max_output_tokens=1,
                                                    text={"verbosity": "low"}, reasoning={"summary": "detailed"})
    assert raw.headers["x-fathom-ignored"] == "text.verbosity, reasoning.summary"
    raises(openai.UnprocessableEntityError, text={"verbosity": "some"})


def thoughts_are_items():
    r = ask(input="sum", reasoning={"effort": "high"}, max_output_tokens=2000)
    assert r.status == "completed" and [i.type for i in r.output] == ["reasoning", "message"], r
    assert r.output[0].content[0].text and r.output_text
    seen, last = events(input="sum", reasoning={"effort": "high"}, max_output_tokens=2000)
    assert "response.reasoning_text.delta" in {e.type for e in seen}
    assert [i.type for i in last.output] == [i.type for i in r.output]
    cut = ask(reasoning={"effort": "high"}, max_output_tokens=2000)
    assert cut.status == "incomplete", "this model answers hello with thoughts alone"


def tools_must_be_called():
    for choice, names in (("required", {"one", "two"}), ({"type": "function", "name": "two"}, {"two"})):
        fields = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False, "max_output_tokens": 300,
                  "reasoning": {"effort": "none"}}
        r = ask(**fields)
        assert r.status == "completed" and [i.type for i in r.output] == ["function_call"], r
        call = r.output[0]
        assert call.name in names and json.loads(call.arguments)["n"] in (1, 2)
        seen, last = events(**fields)
        assert "".join(e.delta for e in seen if e.type.endswith("arguments.delta")) == last.output[0].arguments
        assert last.output[0].arguments == call.arguments
        back = [{"role": "user", "content": "hello"},
                {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
                {"type": "function_call_output", "call_id": call.call_id, "output": "done"}]
        assert ask(input=back, tools=TOOLS, max_output_tokens=4).usage.output_tokens > 0
        back[2]["call_id"] = "call_of_nobody"
        raises(openai.BadRequestError, input=back, tools=TOOLS)


CHATS = [documents_and_streams_say_the_same, lengths_are_said, conversations_are_sent_whole, json_by_schema,
         hosts_tools_are_left_out_and_named, wishes_are_listed]
sys.exit(cases.run(recorded, {"chat": CHATS + [tools_must_be_called],
                                         "think": [thoughts_are_items], "tools": [tools_must_be_called]}[KIND]))
