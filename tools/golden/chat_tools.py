#!/usr/bin/env python3
"""Writes tests/golden/chat/tools.json: conversations with tools, their calls and results, as jinja2 renders the chat
templates of Qwen2.5 and DeepSeek V3, written down here after the published ones but from memory, not read again, and
V3.1's layout as others quote the model card.

    chat_tools.py

V3's template forgets to close a turn of a single call and begins one again behind results; both are put right here,
as in src/text/chat_deepseek.c. A call's arguments are text in V3 and V3.1, an object in Qwen2.5."""
import copy
import json
import os

import jinja2

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "..", "tests", "golden", "chat")
BAR = "\uff5c"
MARKS = {name: "<" + BAR + text.replace(" ", "\u2581") + BAR + ">" for name, text in {
    "bos": "begin of sentence", "eos": "end of sentence", "user": "User", "assistant": "Assistant",
    "calls": "tool calls begin", "calls_end": "tool calls end", "call": "tool call begin", "call_end": "tool call end",
    "sep": "tool sep", "outputs": "tool outputs begin", "outputs_end": "tool outputs end",
    "output": "tool output begin", "output_end": "tool output end"}.items()}

QWEN25 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- message.content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

SYSTEMS = ("{%- set ns = namespace(s='', first=true, tool=false) -%}{%- for m in messages if m.role == 'system' -%}"
           "{%- set ns.s = ns.s + ('' if ns.first else '\\n\\n') + m.content -%}{%- set ns.first = false -%}"
           "{%- endfor -%}{{ bos }}{{ ns.s }}{% if tools %}{{ '\\n\\n## Tools\\nYou have access to the following tools:\\n\\n' }}"
           "{% for t in tools %}{{ '### ' + t.function.name + '\\nDescription: ' + (t.function.description or '') + "
           "'\\n\\nParameters: ' }}{{ (t.function.parameters or {}) | tojson }}{{ '\\n\\n' }}{% endfor %}"
           "{{ 'IMPORTANT: ALWAYS adhere to this exact format for tool use:\\n' + calls + call }}")
WHERE = ("{{ '\\n\\nWhere:\\n- `tool_call_name` must be an exact match to one of the available tools\\n"
         "- `tool_call_arguments` must be valid JSON that strictly follows the tool\\'s Parameters Schema\\n' }}")
V3 = SYSTEMS + ("{{ 'function' + sep + 'tool_call_name\\n```json\\ntool_call_arguments\\n```' + call_end + "
                "'{additional_tool_calls}' + calls_end }}" + WHERE +
                "{{ '- For multiple tool calls, put a newline between them' }}{% endif %}"
                "{%- for m in messages -%}{%- if m.role == 'user' -%}{{ user + m.content }}{%- set ns.tool = false -%}"
                "{%- elif m.role == 'assistant' -%}{{ '' if ns.tool else assistant }}{{ m.content or '' }}"
                "{%- if m.tool_calls -%}{{ calls }}{%- for c in m.tool_calls -%}{{ '' if loop.first else '\\n' }}"
                "{{ call + 'function' + sep + c.function.name + '\\n```json\\n' + c.function.arguments + '\\n```' + call_end }}"
                "{%- endfor -%}{{ calls_end }}{%- endif -%}{{ eos }}{%- set ns.tool = false -%}"
                "{%- elif m.role == 'tool' -%}{{ '\\n' if ns.tool else outputs }}{{ output + m.content + output_end }}"
                "{%- set ns.tool = true -%}{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}"
                "{{ outputs_end }}{%- endif -%}{%- endif -%}{%- endfor -%}"
                "{{ '' if ns.tool else assistant + opening }}")
V31 = SYSTEMS + ("{{ 'tool_call_name' + sep + 'tool_call_arguments' + call_end + '{additional_tool_calls}' + calls_end }}" +
                 WHERE + "{{ '- For multiple tool calls, chain them directly without separators or spaces' }}{% endif %}"
                 "{%- for m in messages -%}{%- if m.role == 'user' -%}{{ user + m.content }}{%- set ns.tool = false -%}"
                 "{%- elif m.role == 'assistant' -%}{{ '' if ns.tool else assistant + '</think>' }}{{ m.content or '' }}"
                 "{%- if m.tool_calls -%}{{ calls }}{%- for c in m.tool_calls -%}"
                 "{{ call + c.function.name + sep + c.function.arguments + call_end }}"
                 "{%- endfor -%}{{ calls_end }}{%- endif -%}{{ eos }}{%- set ns.tool = false -%}"
                 "{%- elif m.role == 'tool' -%}{{ output + m.content + output_end }}"
                 "{%- set ns.tool = true -%}{%- endif -%}{%- endfor -%}"
                 "{{ '' if ns.tool else assistant + opening }}")


def function(name, description=None, parameters=None):
    f = {"name": name}
    if description is not None:
        f["description"] = description
    if parameters is not None:
        f["parameters"] = parameters
    return {"type": "function", "function": f}


def call(id, name, **arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}}


WEATHER = function("get_weather", "Weather of a \"place\",\nnow: 天气", {
    "type": "object", "properties": {"place": {"type": "string", "description": "<city> & country"},
                                     "days": {"type": "integer", "minimum": 0, "default": 1.5}}, "required": ["place"]})
TIME = function("now", "The time", {"type": "object", "properties": {}})
TALKS = [
    ([WEATHER], [("user", "Hello")]),
    ([WEATHER, TIME], [("system", "You are brief."), ("user", "And in Zürich?")]),
    ([WEATHER], [("user", "a"), ("assistant", "", [call("1", "get_weather", place="北京", days=2)]), ("tool", "{\"t\": 22}")]),
    ([WEATHER, TIME], [("system", "S"), ("user", "a"),
                       ("assistant", "Let me see.", [call("1", "get_weather", place="a \"b\"\n</tool_call>"), call("2", "now")]),
                       ("tool", "sun\n"), ("tool", ""), ("assistant", "Sunny."), ("user", "Thanks"), ("assistant", "Bye"),
                       ("user", "Wait")]),
    ([TIME], [("user", "a"), ("assistant", "", [call("1", "now")]), ("tool", "1"), ("assistant", "again", [call("2", "now")]),
              ("tool", "2")]),
    ([], [("user", "a"), ("assistant", "", [call("1", "now")]), ("tool", "1"), ("assistant", "One."), ("user", "b")]),
]


def render(template, talk, **extra):
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)  # as transformers does
    return env.from_string(template).render(messages=talk, add_generation_prompt=True, **extra)


def main():
    cases = []
    for tools, talk in TALKS:
        messages = [dict(role=m[0], content=m[1], **({"tool_calls": m[2]} if len(m) > 2 else {})) for m in talk]
        parsed = copy.deepcopy(messages)
        for m in parsed:
            for c in m.get("tool_calls", []):
                c["function"]["arguments"] = json.loads(c["function"]["arguments"])
        rows = [("qwen2.5", QWEN25, parsed, {}), ("deepseek-v3", V3, messages, dict(MARKS, opening="")),
                ("deepseek-r1", V3, messages, dict(MARKS, opening="<think>\n")),
                ("deepseek-v3.1", V31, messages, dict(MARKS, opening="</think>"))]
        for name, template, seen, extra in rows:
            cases.append({"format": name, "tools": [t["function"] for t in tools], "messages": messages,
                          "text": render(template, seen, tools=tools, **extra)})
    with open(os.path.join(GOLDEN, "tools.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
    print(len(cases), "cases")


main()
