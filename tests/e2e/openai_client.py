#!/usr/bin/env python3
"""OpenAI's own client for Python, as it is, against `fathom serve`. Prints cmocka-like lines for tools/run_tests.sh.

    openai_client.py URL KIND            KIND: smollm2, or a tiny model: chat, think, tools
    openai_client.py URL KIND --record tests/e2e/recorded

With --record every request to a tiny model and its reply become a small file (recording.py).
"""
import concurrent.futures
import json
import re
import sys
import time
import urllib.request

import openai
import pydantic
import recording

URL, KIND = sys.argv[1:3]
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": name, "description": "Sets a number.", "parameters": {
    "type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}}}
    for name in ("one", "two")]


class Person(pydantic.BaseModel):
    model_config = {"extra": "forbid"}
    name: str = pydantic.Field(max_length=12)
    age: int = pydantic.Field(ge=0, le=99)


recorded = recording.Recording("openai", KIND)
client = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0, timeout=120, http_client=recorded.http())


# ---- What every case uses. ----

def chat(**fields):
    fields = {"model": "default", "messages": HELLO, "temperature": 0, "max_tokens": 24} | fields
    return client.chat.completions.create(**fields)


def join(stream):
    """The chunks of one choice: content, reason for the end, usage."""
    text, finish, usage = "", None, None
    for chunk in stream:
        assert chunk.object in ("chat.completion.chunk", "text_completion") and chunk.created > 0
        usage = chunk.usage or usage
        for choice in chunk.choices:
            piece = choice.delta.content if hasattr(choice, "delta") else choice.text
            text += piece or ""
            finish = choice.finish_reason or finish
    return text, finish, usage


def raises(kind, param, call, **fields):
    try:
        call(**fields)
    except openai.APIStatusError as e:
        assert type(e) is kind, f"{type(e).__name__}: {e}"
        assert param is None or (e.param or "").startswith(param), f"{e.param}: {e}"
        assert e.body["message"] and e.body["type"], e.body
        return e
    raise AssertionError(f"{fields} was not refused")


# ---- Cases of every model. ----

def documents_and_streams_say_the_same():
    whole = chat()
    text, finish, usage = join(chat(stream=True, stream_options={"include_usage": True}))
    assert whole.id.startswith("chatcmpl-") and whole.object == "chat.completion" and whole.created > 1.6e9
    assert whole.choices[0].message.role == "assistant" and whole.choices[0].message.content
    assert (text, finish) == (whole.choices[0].message.content, whole.choices[0].finish_reason)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens == whole.usage.total_tokens
    assert join(chat(stream=True))[2] is None


def choices():
    four = chat(n=4, temperature=1.5, seed=3, max_tokens=12)
    assert [c.index for c in four.choices] == [0, 1, 2, 3]
    assert len({c.message.content for c in four.choices}) > 1
    assert four.usage.completion_tokens <= 48


def seeds_repeat():
    said = [chat(temperature=1.5, seed=s, max_tokens=16).choices[0].message.content for s in (1, 1, 2, 2**53 + 1)]
    assert said[0] == said[1] != said[2]


def stops():
    whole = chat().choices[0].message.content
    cut = whole[3:6]
    for stop in (cut, ["never said", cut]):
        choice = chat(stop=stop).choices[0]
        assert choice.message.content == whole[:whole.index(cut)] and choice.finish_reason == "stop"
        assert join(chat(stop=stop, stream=True))[0] == choice.message.content


def probabilities():
    choice = chat(logprobs=True, top_logprobs=3, max_tokens=6).choices[0]
    tokens = choice.logprobs.content
    assert all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in tokens)
    assert bytes(b for t in tokens for b in t.bytes).decode(errors="ignore").startswith(choice.message.content[:2])


def biases():
    first = chat(logprobs=True, max_tokens=1).choices[0].logprobs.content[0].token
    listed = json.load(urllib.request.urlopen(urllib.request.Request(
        URL + "/tokenize", json.dumps({"content": first}).encode(), {"Content-Type": "application/json"})))["tokens"]
    banned = chat(logit_bias={str(i): -100 for i in listed}, max_tokens=1, logprobs=True)
    assert banned.choices[0].logprobs.content[0].token != first


def json_objects():
    choice = chat(response_format={"type": "json_object"}, max_tokens=300, temperature=1, seed=1,
                  messages=[{"role": "user", "content": "Answer in JSON: your name."}]).choices[0]
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content), dict)
    assert choice.message.content.lstrip().startswith("{")


def schemas():
    for seed in range(3):
        parsed = client.chat.completions.parse(model="default", response_format=Person, temperature=1, seed=seed,
                                               max_tokens=400, messages=[{"role": "user", "content": "A person?"}])
        assert isinstance(parsed.choices[0].message.parsed, Person)


def models():
    listed = [m.id for m in client.models.list()]
    assert client.models.retrieve(listed[0]).id == listed[0] and client.models.list().data[0].created > 1.6e9
    raises(openai.NotFoundError, None, client.models.retrieve, model="no-such-model")


def wrong_fields():
    bad, not_in_range = openai.BadRequestError, openai.UnprocessableEntityError
    for kind, param, fields in (
            (not_in_range, "temperature", {"temperature": 9}), (not_in_range, "n", {"n": 99}),
            (not_in_range, "top_logprobs", {"logprobs": True, "top_logprobs": 21}),
            (bad, "temperature", {"temperature": "hot"}), (bad, "messages", {"messages": "hello"}),
            (not_in_range, "messages", {"messages": []}), (bad, "messages[0].content", {"messages": [{"role": "user"}]}),
            (not_in_range, "messages[0].role", {"messages": [{"role": "king", "content": ""}]}),
            (bad, "stream_options", {"stream_options": {"include_usage": True}}),
            (bad, "functions", {"functions": [{"name": "f", "parameters": {}}]}),
            (bad, "tool_choice", {"tool_choice": "required"}), (bad, "stop", {"stop": ""}),
            (bad, "messages[0].content[0]", {"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "x"}}]}]}),
            (openai.NotFoundError, "model", {"model": "no-such-model"})):
        raises(kind, param, chat, **fields)
    long = raises(bad, None, chat, messages=[{"role": "user", "content": "many words " * 9000}])
    assert long.code == "context_length_exceeded" and len(re.findall(r"\d+", str(long.body["message"]))) >= 2, long.body
    wrong = client.with_options(api_key="fathom-" + "A" * 43)
    raises(openai.AuthenticationError, None, wrong.models.list)
    raises(bad, None, client.embeddings.create, model="default", input="a")


def text_completions():
    whole = client.completions.create(model="default", prompt="hello", max_tokens=8, temperature=0, echo=True)
    assert whole.object == "text_completion" and whole.choices[0].text.startswith("hello")
    text, finish, _ = join(client.completions.create(model="default", prompt="hello", max_tokens=8, temperature=0,
                                                     echo=True, stream=True))
    assert (text, finish) == (whole.choices[0].text, whole.choices[0].finish_reason)
    old = client.completions.create(model="default", prompt="hello", max_tokens=4, temperature=0, logprobs=2)
    assert len(old.choices[0].logprobs.tokens) == len(old.choices[0].logprobs.text_offset)
    raises(openai.BadRequestError, None, client.completions.create, model="default", prompt="a", suffix="b")
    raises(openai.BadRequestError, "echo", client.completions.create, model="default", prompt=[1], echo=True)


def unknown_fields_are_named():
    raw = client.chat.completions.with_raw_response.create(
        model="default", messages=HELLO, max_tokens=1, store=True, metadata={"a": "b"}, extra_body={"zeal": 1})
    assert set(raw.headers["x-fathom-ignored"].split(", ")) == {"store", "metadata", "zeal"}, raw.headers
    assert raw.parse().choices


# ---- Of one model. ----

def tools_must_be_called():
    assert client.chat.completions.create(model="default", messages=HELLO, tools=TOOLS, tool_choice="none", max_tokens=4)
    for choice in ("required", {"type": "function", "function": {"name": "two"}}):
        for stream in (False, True):
            fields = dict(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, temperature=1, seed=4, max_tokens=600,
                          extra_body={"thinking": {"type": "disabled"}})
            if stream:
                calls, finish = {}, None
                for chunk in chat(stream=True, **fields):
                    for delta in chunk.choices[0].delta.tool_calls or []:
                        call = calls.setdefault(delta.index, {"id": delta.id, "name": delta.function.name, "arguments": ""})
                        call["arguments"] += delta.function.arguments
                    finish = chunk.choices[0].finish_reason or finish
                calls = list(calls.values())
            else:
                message, finish = (lambda c: (c.message, c.finish_reason))(chat(**fields).choices[0])
                calls = [{"id": c.id, "name": c.function.name, "arguments": c.function.arguments} for c in message.tool_calls]
            assert finish == "tool_calls" and len(calls) == 1 and calls[0]["id"].startswith("call_"), (finish, calls)
            assert json.loads(calls[0]["arguments"])["n"] in (1, 2) and calls[0]["name"] in ("one", "two")
    call = {"id": "call_1", "type": "function", "function": {"name": "one", "arguments": "{\"n\":1}"}}
    assert chat(tools=TOOLS, max_tokens=4, messages=HELLO + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"}]).choices


def tools_are_refused_by_name():
    raises(openai.BadRequestError, "tools", chat, tools=TOOLS)


def thoughts_are_kept_apart():
    message = chat(messages=[{"role": "user", "content": "sum"}], max_tokens=60).choices[0].message
    assert message.content == "It is 5." and message.reasoning_content.startswith("Two and three.")
    quick = chat(messages=[{"role": "user", "content": "sum"}], extra_body={"thinking": {"type": "disabled"}})
    assert quick.choices[0].message.content == "It is 5."


def thinking_is_asked_for_in_many_words():
    for off in ({"enable_thinking": False}, {"reasoning": {"enabled": False}}, {"reasoning": {"effort": "none"}},
                {"chat_template_kwargs": {"thinking": False}}):
        message = chat(messages=[{"role": "user", "content": "sum"}], max_tokens=60, extra_body=off).choices[0].message
        assert message.content == "It is 5." and not getattr(message, "reasoning_content", None), (off, message)
    cut = chat(messages=[{"role": "user", "content": "sum"}], max_tokens=60, extra_body={"thinking_budget": 2})
    assert cut.choices[0].message.reasoning_content == "Tw" and cut.choices[0].message.content, cut
    for wrong, param in (({"enable_thinking": "no"}, "enable_thinking"),
                         ({"reasoning": {"exclude": True}}, "reasoning.exclude"),
                         ({"chat_template_kwargs": {"date": "today"}}, "chat_template_kwargs.date"),
                         ({"enable_thinking": True, "thinking": {"type": "disabled"}}, "enable_thinking")):
        raises(openai.BadRequestError, param, chat, extra_body=wrong)
    raises(openai.UnprocessableEntityError, "thinking_budget", chat, extra_body={"thinking_budget": 0})


def results_are_those_of_calls():
    call = {"id": "call_1", "type": "function", "function": {"name": "one", "arguments": "{}"}}
    raises(openai.BadRequestError, "messages[2].tool_call_id", chat, tools=TOOLS, messages=HELLO + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_2", "content": "done"}])


def metric(name):
    text = urllib.request.urlopen(URL + "/metrics").read().decode()
    return float(re.search(rf"^fathom_{name} (\S+)$", text, re.M).group(1))


def a_stream_left_frees_its_place():
    stream = chat(stream=True, max_tokens=4000, logit_bias={"2": -100})
    for _ in range(3):
        next(stream)
    assert metric("running") == 1
    stream.close()
    until = time.time() + 3
    while metric("running") + metric("waiting") + metric("cache_reserved_bytes") > 0:
        assert time.time() < until, "it goes on"
        time.sleep(0.05)


def twenty_at_once():
    alone = chat(max_tokens=8).choices[0].message.content
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda i: chat(max_tokens=8, stream=False).choices[0].message.content, range(20)))
    assert len(said) == 20 and all(said) and said.count(alone) >= 15, said # rounding may turn a word


async def asked_asynchronously():
    async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key="any", max_retries=0) as one:
        stream = await one.chat.completions.create(model="default", messages=HELLO, max_tokens=8, stream=True)
        assert [c async for c in stream]


# ---- ----

def main():
    import asyncio
    common = [documents_and_streams_say_the_same, choices, seeds_repeat, stops, probabilities, biases, json_objects, schemas,
              models, wrong_fields, text_completions, unknown_fields_are_named]
    own = {"smollm2": [tools_are_refused_by_name, a_stream_left_frees_its_place, twenty_at_once, asked_asynchronously],
           "chat": [tools_must_be_called], "think": [thoughts_are_kept_apart, thinking_is_asked_for_in_many_words, results_are_those_of_calls], "tools": [tools_must_be_called]}[KIND]
    cases = own if KIND in ("think", "tools") else common + own
    failed = 0
    for case in cases:
        name = f"openai_{KIND}_{case.__name__}"
        try:
            result = case()
            if result is not None:
                asyncio.run(result)
            print(f"[       OK ] {name}", flush=True)
        except Exception as e: # noqa: BLE001 - each case is told about
            print(f"{type(e).__name__}: {e}\n[  FAILED  ] {name}\n[  FAILED  ] {name}", flush=True)
            import traceback
            traceback.print_exc(limit=-3)
            failed = 1
    if recorded.folder and not failed:
        recorded.save()
    return failed


sys.exit(main())
