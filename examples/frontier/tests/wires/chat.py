"""Chat over the real `openai` SDK, against a stand-in: chat.py ADDRESS.

What the SDK makes of answers is held here. A line that does not hold ends the program.
"""

import sys
from typing import Literal, Optional

import openai
from openai import OpenAI
from pydantic import BaseModel, TypeAdapter
from openai.types.chat import ChatCompletion, ChatCompletionChunk

CLIENT = OpenAI(base_url=f"http://{sys.argv[1]}/v1", api_key="sk-real-1234-abcd", max_retries=0)
TICKET = "Hello, I was charged again for my subscription this month. Please help!"


class Weather(BaseModel):
    city: str
    unit: Literal["celsius", "fahrenheit"]
    days: Optional[int]


def user(text):
    return [{"role": "user", "content": text}]


def asked(text, **more):
    return dict(model="any", messages=user(text), **more)


def strict(model, value):
    """Holds an answer to the SDK's types, which the SDK itself does not do."""
    TypeAdapter(model).validate_json(value.model_dump_json(), strict=True)
    return value


def create(text, **more):
    return strict(ChatCompletion, CLIENT.chat.completions.create(**asked(text, **more)))


def pieces(text, **more):
    stream = CLIENT.chat.completions.create(**asked(text, stream=True, **more))
    return [strict(ChatCompletionChunk, chunk) for chunk in stream]


def texts():
    whole = create(TICKET, service_tier="flex")
    assert whole.choices[0].message.content == "billing" and whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.service_tier == "flex" and whole.system_fingerprint
    chunks = pieces(TICKET, stream_options={"include_usage": True, "include_obfuscation": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "billing"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens and chunks[0].obfuscation
    assert create("Say: one, two. End", stop=["End", ". "]).choices[0].message.content == "one, two"
    cut = create("Say: one two three", max_completion_tokens=2).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("one two", "length")


def choices():
    whole = create(TICKET, n=3)
    said = [choice.message.content for choice in whole.choices]
    assert said == ["billing", "billing (2)", "billing (3)"] and whole.choices[2].index == 2
    streamed = ["", "", ""]
    for chunk in pieces(TICKET, n=3):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == said


def logprobs():
    whole = create(TICKET, logprobs=True, top_logprobs=3)
    entries = whole.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries) == "billing"
    for entry in entries:
        likely = [top.logprob for top in entry.top_logprobs]
        assert len(likely) == 3 and likely == sorted(likely, reverse=True) and likely[0] == entry.logprob
        assert bytes(entry.bytes).decode() == entry.token
    streamed = [chunk.choices[0].logprobs for chunk in pieces(TICKET, logprobs=True)]
    assert [entry.content[0].token for entry in streamed if entry] == ["bill", "ing"]


def reasoning():
    whole = create(TICKET, reasoning_effort="low")
    thought = whole.usage.completion_tokens_details.reasoning_tokens
    assert whole.usage.completion_tokens == thought + 2 and thought > 0
    cut = create(TICKET, reasoning_effort="high", max_completion_tokens=5).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("", "length")


def refusals():
    whole = create("Please refuse this").choices[0]
    assert whole.message.refusal and whole.message.content is None and whole.finish_reason == "stop"
    refused = "".join(chunk.choices[0].delta.refusal or "" for chunk in pieces("refuse this"))
    assert refused == whole.message.refusal


def forms():
    parsed = CLIENT.chat.completions.parse(**asked("Rain in Lisbon?", response_format=Weather))
    assert parsed.choices[0].message.parsed == Weather(city="Lisbon", unit="celsius", days=1)
    with CLIENT.chat.completions.stream(**asked("Rain in Lisbon?", response_format=Weather)) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    assert final.choices[0].message.parsed.city == "Lisbon"
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    free = create("Rain in Lisbon? As JSON.", response_format={"type": "json_object"})
    assert free.choices[0].message.content == '{"answer":"Lisbon"}'


def tools():
    tool = openai.pydantic_function_tool(Weather, name="weather")
    one = CLIENT.chat.completions.parse(**asked("Lisbon, twice", tools=[tool], parallel_tool_calls=False))
    call = one.choices[0].message.tool_calls[0]
    assert one.choices[0].finish_reason == "tool_calls" and len(one.choices[0].message.tool_calls) == 1
    assert call.function.parsed_arguments == Weather(city="Lisbon", unit="celsius", days=1)
    whole = create("Lisbon, twice", tools=[tool])
    two = whole.choices[0].message.tool_calls
    assert whole.choices[0].message.content is None and len({call.id for call in two}) == 2
    with CLIENT.chat.completions.stream(**asked("Lisbon, twice", tools=[tool])) as events:
        kinds = {event.type for event in events}
        streamed = events.get_final_completion().choices[0].message.tool_calls
    assert "tool_calls.function.arguments.done" in kinds, kinds
    assert [call.function.arguments for call in streamed] == [call.function.arguments for call in two]
    pieces("Lisbon, twice", tools=[tool])
    history = user("Lisbon, twice") + [whole.choices[0].message.model_dump(exclude_none=True)]
    told = [{"role": "tool", "tool_call_id": call.id, "content": f"wet {at}"} for at, call in enumerate(two)]
    after = CLIENT.chat.completions.create(model="any", messages=history + told, tools=[tool])
    assert after.choices[0].message.content == "The tool says: wet 0, wet 1"
    refused(lambda: CLIENT.chat.completions.create(model="any", messages=history + told[:1]), "messages")
    refused(lambda: CLIENT.chat.completions.create(model="any", messages=told), "messages[0].tool_call_id")


def choice_of_tools():
    weather, other = ({"type": "function", "function": {"name": name}} for name in ("weather", "other"))
    custom = {"type": "custom", "custom": {"name": "code"}}
    given = dict(tools=[weather, other, custom])
    named = lambda **more: create("Lisbon", **given, **more).choices[0].message.tool_calls
    assert named()[0].function.name == "weather"
    assert named(tool_choice="required")[0].function.arguments == "{}"
    assert named(tool_choice=other)[0].function.name == "other"
    assert named(tool_choice="none") is None
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [other, custom]}}
    assert named(tool_choice=allowed)[0].function.name == "other"
    call = named(tool_choice={"type": "custom", "custom": {"name": "code"}})[0]
    assert (call.type, call.custom.name, call.custom.input) == ("custom", "code", "Lisbon")
    absent = {"type": "function", "function": {"name": "absent"}}
    refused(lambda: create("Lisbon", **given, tool_choice=absent), "tool_choice")
    refused(lambda: create("Lisbon", tool_choice="auto"), "tool_choice")


def pictures():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}
    parts = [{"type": "text", "text": TICKET}, image, file]
    whole = CLIENT.chat.completions.create(model="any", messages=[{"role": "user", "content": parts}])
    assert whole.choices[0].message.content == "billing You also sent an image. You also sent a document."


def caching():
    long = dict(model="any", messages=[{"role": "system", "content": "word " * 1500}] + user(TICKET))
    first, second = (CLIENT.chat.completions.create(**long).usage for _ in range(2))
    assert first.prompt_tokens_details.cached_tokens == 0
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens == first.prompt_tokens


def refused(ask, param=None, kind=openai.BadRequestError):
    try:
        ask()
    except kind as error:
        assert param is None or error.param == param, error
        return error
    raise AssertionError(f"{kind} was expected")


def errors():
    refused(lambda: create("x", extra_body={"functions": [{"name": "f"}]}), "functions")
    refused(lambda: create("x", top_logprobs=2), "top_logprobs")
    refused(lambda: create("x", n=99), "n")
    refused(lambda: create("x", service_tier="best"), "service_tier")
    refused(lambda: create("x", tools=[{"type": "function", "function": {"name": "a b"}}]), "tools[0].function.name")
    refused(lambda: create("x", response_format={"type": "xml"}), "response_format.type")
    long = refused(lambda: create("word " * 60_000), "messages")
    assert long.code == "context_length_exceeded"
    failed = refused(lambda: create("x", extra_headers={"x-stand-in-fault": "status=500"}), kind=openai.APIError)
    assert "org-standin" in failed.message and "sk-r...abcd" in failed.message
    limited = dict(extra_headers={"x-stand-in-fault": "throttle=3s"})
    assert refused(lambda: create("x", **limited), kind=openai.RateLimitError).response.headers["retry-after"] == "3"
    raw = CLIENT.chat.completions.with_raw_response.create(**asked("x"))
    assert raw.headers["x-ratelimit-remaining-requests"] == "9999"
    assert raw.headers["openai-organization"] == "org-standin" and raw.headers["openai-processing-ms"].isdigit()
    assert [model.id for model in CLIENT.models.list()] == ["stand-in-frontier"]
    assert CLIENT.models.retrieve("stand-in-frontier").id == "stand-in-frontier"
    refused(lambda: CLIENT.models.retrieve("other"), kind=openai.NotFoundError)


def spellings():
    """What other writers of events do, the SDK must read."""
    for fault in ("crlf", "split-utf8", "drip=0", "compressed", "big-line=100000"):
        headers = {"x-stand-in-fault": fault}
        chunks = pieces("Say: für €5 – ok", extra_headers=headers)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "für €5 – ok", fault
        assert create("Say: für €5 – ok", extra_headers=headers).choices[0].message.content == "für €5 – ok", fault


for held in (texts, choices, logprobs, reasoning, refusals, forms, tools, choice_of_tools, pictures, caching, errors, spellings):
    held()
    print(held.__name__, flush=True)
print("all hold")
