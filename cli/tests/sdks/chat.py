"""OpenAI's chat completions, over the `openai` SDK."""

import json
from typing import Literal

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter

from table import TICKET, dropped, each, feature, got, opened

WIRE = "OpenAI chat"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


class Weather(BaseModel):
    city: Literal["Lisbon", "Rome"]
    unit: Literal["celsius", "fahrenheit"]


TOOL = openai.pydantic_function_tool(Weather, name="weather")


def user(text):
    return [{"role": "user", "content": text}]


def strict(kind, value):
    """Holds an answer to the SDK's types, which the SDK itself does not do."""
    TypeAdapter(kind).validate_json(value.model_dump_json(), strict=True)
    return value


async def create(seat, text=TICKET, **more):
    asked = dict(model=seat.model, messages=user(text)) | more
    return strict(ChatCompletion, await got(seat.client.chat.completions.create(**asked)))


async def chunks(seat, text=TICKET, **more):
    asked = dict(model=seat.model, messages=user(text), stream=True) | more
    return [strict(ChatCompletionChunk, chunk) async for chunk in each(seat.client.chat.completions.create(**asked))]


def said(chunks, choice=0):
    choices = [one for chunk in chunks for one in chunk.choices if one.index == choice]
    return "".join(one.delta.content or "" for one in choices), choices[-1].finish_reason


@feature(WIRE, "create")
async def whole(seat):
    answer = await create(seat, temperature=0)
    assert answer.choices[0].message.content == "billing" and answer.choices[0].finish_reason == "stop", answer
    assert answer.model == seat.model and answer.id.startswith("chatcmpl-") and answer.choices[0].message.role == "assistant"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > usage.prompt_tokens > 0, usage


@feature(WIRE, "create, streamed")
async def streamed(seat):
    pieces = await chunks(seat, temperature=0)
    assert said(pieces) == ("billing", "stop"), pieces
    assert len({piece.id for piece in pieces}) == 1 and pieces[0].choices[0].delta.role == "assistant"
    assert all(piece.usage is None for piece in pieces), "usage that nobody asked for"


@feature(WIRE, "usage in a stream")
async def usage(seat):
    pieces = await chunks(seat, temperature=0, stream_options={"include_usage": True})
    alone = await create(seat, temperature=0)
    assert pieces[-1].choices == [] and pieces[-1].usage.total_tokens == alone.usage.total_tokens, pieces[-1]
    assert all(piece.usage is None for piece in pieces[:-1])


@feature(WIRE, "`stream()`")
async def helper(seat):
    async with opened(seat.client.chat.completions.stream(model=seat.model, messages=user(TICKET), temperature=0)) as events:
        kinds = {event.type async for event in each(events)}
        final = await got(events.get_final_completion())
    assert final.choices[0].message.content == "billing"
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds


@feature(WIRE, "`parse()`")
async def parsed(seat):
    asked = dict(model=seat.model, messages=user("Rain in Lisbon?"), response_format=Weather)
    answer = await got(seat.client.chat.completions.parse(**asked))
    assert isinstance(answer.choices[0].message.parsed, Weather), answer
    assert seat.is_small or answer.choices[0].message.parsed.city == "Lisbon"


@feature(WIRE, "`parse()`, streamed")
async def parsed_stream(seat):
    asked = dict(model=seat.model, messages=user("Rain in Lisbon?"), response_format=Weather)
    async with opened(seat.client.chat.completions.stream(**asked)) as events:
        kinds = {event.type async for event in each(events)}
        final = await got(events.get_final_completion())
    assert isinstance(final.choices[0].message.parsed, Weather) and "content.done" in kinds, final


@feature(WIRE, "`response_format: json_object`", anthropic="response_format")
async def any_object(seat):
    answer = await create(seat, "Rain in Lisbon? As JSON.", response_format={"type": "json_object"}, max_tokens=200)
    content, finish = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert content.lstrip().startswith("{") and (finish == "length" or isinstance(json.loads(content), dict)), content


def forced(seat):
    """What makes a model that knows no tools call one."""
    return dict(tool_choice="required") if seat.is_small else {}


async def finish_round(seat, message, calls, **more):
    told = [{"role": "tool", "tool_call_id": call.id, "content": f"wet {at}"} for at, call in enumerate(calls)]
    history = user("Is it wet in Lisbon?") + [message] + told
    answer = await create(seat, messages=history, tools=[TOOL], max_tokens=20, **more)
    content = answer.choices[0].message.content
    assert seat.is_small or content == "The tool says: " + ", ".join(entry["content"] for entry in told), content
    assert seat.is_small or answer.choices[0].finish_reason == "stop", answer


@feature(WIRE, "tools: call, result, answer")
async def tools(seat):
    answer = await create(seat, "Is it wet in Lisbon?", tools=[TOOL], parallel_tool_calls=False, **forced(seat))
    choice = answer.choices[0]
    call = choice.message.tool_calls[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None and call.id, choice
    assert call.function.name == "weather" and Weather.model_validate_json(call.function.arguments)
    await finish_round(seat, choice.message.model_dump(exclude_none=True), [call])


@feature(WIRE, "tools: call, result, answer, streamed")
async def tools_streamed(seat):
    asked = dict(model=seat.model, messages=user("Is it wet in Lisbon?"), tools=[TOOL], **forced(seat))
    pieces = await chunks(seat, **{**asked, "text": ""})
    assert pieces[-1].choices[0].finish_reason == "tool_calls"
    async with opened(seat.client.chat.completions.stream(**asked, parallel_tool_calls=False)) as events:
        kinds = {event.type async for event in each(events)}
        final = await got(events.get_final_completion())
    call = final.choices[0].message.tool_calls[0]
    assert "tool_calls.function.arguments.done" in kinds and isinstance(call.function.parsed_arguments, Weather), kinds
    message = {
        "role": "assistant",
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}}
        ],
    }
    pieces = await chunks(
        seat,
        messages=user("Is it wet in Lisbon?") + [message, {"role": "tool", "tool_call_id": call.id, "content": "wet"}],
        tools=[TOOL],
        max_tokens=20,
    )
    assert seat.is_small or said(pieces) == ("The tool says: wet", "stop"), pieces


@feature(WIRE, "tools: several calls at once")
async def parallel(seat):
    asked = dict(tools=[TOOL], **forced(seat))
    answer = await create(seat, "Is it wet in Lisbon, twice?", **asked)
    calls = answer.choices[0].message.tool_calls
    assert seat.is_small or len(calls) == 2, calls
    assert len({call.id for call in calls}) == len(calls), calls
    await finish_round(seat, answer.choices[0].message.model_dump(exclude_none=True), calls)
    single = await create(seat, "Is it wet in Lisbon, twice?", parallel_tool_calls=False, **asked)
    assert len(single.choices[0].message.tool_calls) == 1


@feature(WIRE, "tools: forced, named, none")
async def choice_of_tools(seat):
    other = {"type": "function", "function": {"name": "other"}}
    forced = await create(seat, "Lisbon", tools=[TOOL, other], tool_choice="required")
    assert forced.choices[0].finish_reason == "tool_calls" and forced.choices[0].message.tool_calls
    named = await create(seat, "Lisbon", tools=[TOOL, other], tool_choice=other)
    assert named.choices[0].message.tool_calls[0].function.name == "other", named
    none = await create(seat, tools=[TOOL, other], tool_choice="none")
    assert none.choices[0].message.tool_calls is None and none.choices[0].finish_reason == "stop", none


@feature(WIRE, "`n`", anthropic="n")
async def several(seat):
    answer = await create(seat, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1] and all(choice.message.content for choice in answer.choices)
    pieces = await chunks(seat, n=2)
    assert all(said(pieces, index)[1] == "stop" and said(pieces, index)[0] for index in (0, 1)), pieces


@feature(WIRE, "`logprobs`", anthropic="logprobs")
async def logprobs(seat):
    answer = await create(seat, temperature=0, logprobs=True, top_logprobs=2)
    entries = answer.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries).strip() == "billing" and len(entries[0].top_logprobs) == 2, entries
    pieces = await chunks(seat, temperature=0, logprobs=True, top_logprobs=2)
    streamed = [one for piece in pieces for choice in piece.choices if choice.logprobs for one in choice.logprobs.content]
    assert [one.token for one in streamed] == [one.token for one in entries], streamed


@feature(WIRE, "`stop`")
async def stop(seat):
    answer = await create(seat, TICKET if seat.is_small else "Say: one, two. End", stop=["End", ". ", "ing"], temperature=0)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("bill" if seat.is_small else "one, two", "stop"), choice


@feature(WIRE, "`max_tokens` and `max_completion_tokens`")
async def length(seat):
    text = TICKET if seat.is_small else "Say: one two three"
    for field in ("max_tokens", "max_completion_tokens"):
        answer = await create(seat, text, **{field: 1})
        assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 1, answer
        assert said(await chunks(seat, text, **{field: 1}))[1] == "length"


@feature(WIRE, "roles `system` and `developer`")
async def roles(seat):
    for role in ("system", "developer"):
        messages = [{"role": role, "content": "Name the team."}] + user(TICKET)
        answer = await create(seat, messages=messages, temperature=0)
        assert answer.choices[0].message.content, answer


@feature(WIRE, "refusals")
async def refusals(seat):
    answer = await create(seat, "Please refuse this")
    pieces = await chunks(seat, "Please refuse this")
    if seat.is_small:
        assert answer.choices[0].message.refusal is None
        return
    message, finish = answer.choices[0].message, answer.choices[0].finish_reason
    told = "".join(one.delta.refusal or one.delta.content or "" for chunk in pieces for one in chunk.choices)
    # Anthropic's models say nothing when they refuse.
    assert (message.refusal or message.content or "") == told, (message, pieces)
    assert told or seat.upstream == "anthropic", message
    assert finish == ("content_filter" if seat.upstream == "anthropic" else "stop") == said(pieces)[1], finish


@feature(WIRE, "images", worker="messages[0].content[1]")
async def images(seat):
    parts = [{"type": "text", "text": TICKET}, PICTURE]
    answer = await create(seat, messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "billing You also sent an image.", answer


@feature(WIRE, "`reasoning_effort`", left_out=dict(worker="reasoning_effort"))
async def reasoning(seat):
    raw = await got(
        seat.client.chat.completions.with_raw_response.create(
            model=seat.model, messages=user(TICKET), reasoning_effort="low", temperature=0
        )
    )
    answer = strict(ChatCompletion, await got(raw.parse()))
    assert answer.choices[0].message.content == "billing"
    assert ("reasoning_effort" in dropped(raw)) == seat.is_small, dropped(raw)
    thought = answer.usage.completion_tokens_details.reasoning_tokens
    # To Anthropic's models it is how much they say in all.
    assert (thought > 0) == (seat.upstream in ("compatible", "openai")), answer.usage


@feature(WIRE, "`with_raw_response`: headers")
async def headers(seat):
    raw = await got(seat.client.chat.completions.with_raw_response.create(model=seat.model, messages=user(TICKET)))
    answer = await got(raw.parse())
    assert answer.choices and raw.headers["x-request-id"] and answer._request_id == raw.headers["x-request-id"]
    assert raw.headers["x-weir-decision"] and "organization" not in str(raw.headers)
