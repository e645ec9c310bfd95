"""OpenAI's responses, over the `openai` SDK."""

from typing import Literal

import openai
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from table import TICKET, dropped, each, feature, got, opened, raises

WIRE = "OpenAI responses"
WET = "Is it wet in Lisbon?"
CITY = {"type": "string", "enum": ["Lisbon", "Rome"]}
TOOL = {
    "type": "function",
    "name": "weather",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": CITY}, "required": ["city"], "additionalProperties": False},
}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}


class Weather(BaseModel):
    city: Literal["Lisbon", "Rome"]
    unit: Literal["celsius", "fahrenheit"]


def user(content):
    return {"role": "user", "content": content}


def strict(kind, value):
    """Holds an answer to the SDK's types, which the SDK itself does not do."""
    TypeAdapter(kind).validate_json(value.model_dump_json(by_alias=True, warnings=False), strict=True)
    return value


async def create(seat, text=TICKET, **more):
    asked = dict(model=seat.model, input=text) | more
    return strict(Response, await got(seat.client.responses.create(**asked)))


def nameless(value):
    """A response without the names that it and its parts were given."""
    if isinstance(value, dict):
        unlike = ("id", "call_id", "created_at", "completed_at", "encrypted_content", "cached_tokens", "cache_write_tokens")
        return {key: nameless(entry) for key, entry in value.items() if key not in unlike}
    return [nameless(entry) for entry in value] if isinstance(value, list) else value


async def same(seat, text=TICKET, **more):
    """The kinds of the events, and the response, which is the same whole and streamed."""
    whole = await create(seat, text, **more)
    events = [event async for event in each(seat.client.responses.create(model=seat.model, input=text, stream=True, **more))]
    for event in events:
        strict(ResponseStreamEvent, event)
    assert [event.sequence_number for event in events] == list(range(len(events))), events
    one, other = nameless(whole.to_dict()), nameless(events[-1].response.to_dict())
    assert one == other, (one, other)
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[0] == "created" and kinds[-1] in ("completed", "incomplete"), kinds
    return kinds, whole


@feature(WIRE, "create")
async def whole(seat):
    answer = await create(seat, instructions="Name the team.", temperature=0)
    assert answer.output_text == "billing" and answer.status == "completed", answer
    assert answer.model == seat.model and answer.id.startswith("resp_") and answer.instructions == "Name the team."
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0, answer.usage
    assert answer.store is False, "nothing is stored"


@feature(WIRE, "create, streamed")
async def streamed(seat):
    kinds, answer = await same(seat, temperature=0)
    once = [kind for at, kind in enumerate(kinds) if kinds[at - 1 : at] != [kind]]
    assert answer.output_text == "billing" and once == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ], kinds  # fmt: skip


@feature(WIRE, "`stream()`")
async def helper(seat):
    async with opened(seat.client.responses.stream(model=seat.model, input=TICKET, temperature=0)) as events:
        text = "".join([event.delta async for event in each(events) if event.type == "response.output_text.delta"])
        final = await got(events.get_final_response())
    assert text == final.output_text == "billing", final


@feature(WIRE, "`parse()`")
async def parsed(seat):
    answer = await got(seat.client.responses.parse(model=seat.model, input="Rain in Lisbon?", text_format=Weather))
    assert isinstance(answer.output_parsed, Weather) and (seat.is_small or answer.output_parsed.city == "Lisbon"), answer


@feature(WIRE, "`parse()`, streamed")
async def parsed_stream(seat):
    asked = dict(model=seat.model, input="Rain in Lisbon?", text_format=Weather)
    async with opened(seat.client.responses.stream(**asked)) as events:
        async for _ in each(events):
            pass
        final = await got(events.get_final_response())
    assert isinstance(final.output_parsed, Weather), final


def forced(seat):
    return dict(tool_choice="required") if seat.is_small else {}


def calls_of(answer):
    return [item for item in answer.output if item.type == "function_call"]


async def finish_round(seat, answer, **more):
    told = [{"type": "function_call_output", "call_id": call.call_id, "output": "wet"} for call in calls_of(answer)]
    history = [user(WET)] + [item.to_dict() for item in answer.output] + told
    kinds, after = await same(seat, history, tools=[TOOL], max_output_tokens=30, **more)
    assert seat.is_small or after.output_text == "The tool says: " + ", ".join("wet" for _ in told), after
    return kinds, after


@feature(WIRE, "tools: call, result, answer, streamed and not")
async def tools(seat):
    kinds, called = await same(seat, WET, tools=[TOOL], parallel_tool_calls=False, **forced(seat))
    assert len(calls_of(called)) == 1 and called.output[-1].name == "weather" and called.status == "completed", called
    assert {"function_call_arguments.delta", "function_call_arguments.done"} <= set(kinds), kinds
    await finish_round(seat, called)


@feature(WIRE, "tools: several calls at once")
async def parallel(seat):
    _, called = await same(seat, WET + " twice", tools=[TOOL], **forced(seat))
    assert seat.is_small or len(calls_of(called)) == 2, called
    await finish_round(seat, called)


@feature(WIRE, "tools: forced, named, none")
async def choice_of_tools(seat):
    other = dict(TOOL, name="other")
    assert calls_of(await create(seat, "Lisbon", tools=[TOOL, other], tool_choice="required"))
    named = await create(seat, "Lisbon", tools=[TOOL, other], tool_choice={"type": "function", "name": "other"})
    assert named.output[-1].name == "other", named
    none = await create(seat, tools=[TOOL, other], tool_choice="none", temperature=0)
    assert none.output[-1].type == "message", none


@feature(WIRE, "tools in `stream()`: `parsed_arguments`")
async def tools_helper(seat):
    tool = openai.pydantic_function_tool(Weather, name="weather")
    tool = {"type": "function", **tool["function"]}
    asked = dict(model=seat.model, input=WET, tools=[tool], **forced(seat))
    async with opened(seat.client.responses.stream(**asked)) as events:
        kinds = {event.type async for event in each(events)}
        final = await got(events.get_final_response())
    call = calls_of(final)[0]
    assert Weather.model_validate(call.parsed_arguments) and "response.function_call_arguments.done" in kinds, final


@feature(WIRE, "custom tools", worker="tools[0]", compatible="tools[0]", anthropic="tools[0]")
async def custom(seat):
    tool = {"type": "custom", "name": "code"}
    kinds, called = await same(seat, "Lisbon", tools=[tool], tool_choice={"type": "custom", "name": "code"})
    assert (called.output[0].type, called.output[0].input) == ("custom_tool_call", "Lisbon"), called
    assert {"custom_tool_call_input.delta", "custom_tool_call_input.done"} <= set(kinds), kinds


@feature(WIRE, "hosted tools", worker="tools[0]", compatible="tools[0]", anthropic="tools[0]")
async def hosted(seat):
    kinds, answer = await same(seat, "Find Lisbon", tools=[{"type": "web_search"}])
    assert [item.type for item in answer.output] == ["web_search_call", "message"], answer
    assert {"web_search_call.searching", "output_text.annotation.added"} <= set(kinds), kinds


NOT_REASONING = dict(worker="reasoning.effort")


@feature(WIRE, "reasoning, and `reasoning.encrypted_content` back", left_out=NOT_REASONING)
async def reasoning(seat):
    asked = dict(reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"], store=False)
    raw = await got(seat.client.responses.with_raw_response.create(model=seat.model, input=TICKET, **asked))
    assert ("reasoning.effort" in dropped(raw)) == seat.is_small, dropped(raw)
    kinds, answer = await same(seat, **asked)
    assert answer.output_text == "billing" or seat.is_small, answer
    if seat.upstream == "openai":
        assert [item.type for item in answer.output] == ["reasoning", "message"] and answer.output[0].encrypted_content
        assert "reasoning_summary_text.delta" in kinds and answer.usage.output_tokens_details.reasoning_tokens > 0
    again = await create(seat, [user(TICKET)] + [item.to_dict() for item in answer.output] + [user(TICKET)], **asked)
    assert again.output_text, again


@feature(WIRE, "reasoning between tools", left_out=NOT_REASONING)
async def reasoning_tools(seat):
    asked = dict(reasoning={"effort": "low"}, include=["reasoning.encrypted_content"], store=False)
    _, called = await same(seat, WET, tools=[TOOL], **asked, **forced(seat))
    if seat.upstream == "openai":
        assert [item.type for item in called.output] == ["reasoning", "function_call"], called
    told = {"type": "function_call_output", "call_id": calls_of(called)[0].call_id, "output": "wet"}
    history = [user(WET)] + [item.to_dict() for item in called.output] + [told]
    after = await create(seat, history, tools=[TOOL], max_output_tokens=99, **asked)
    assert after.output_text == "The tool says: wet" or seat.is_small, after


@feature(WIRE, "images", worker="input[0].content[1]")
async def images(seat):
    answer = await create(seat, [user([{"type": "input_text", "text": TICKET}, PICTURE])])
    assert answer.output_text == "billing You also sent an image.", answer


@feature(WIRE, "`message.output_text.logprobs`", anthropic="top_logprobs")
async def logprobs(seat):
    answer = await create(seat, include=["message.output_text.logprobs"], top_logprobs=2, temperature=0)
    entries = answer.output[0].content[0].logprobs
    assert "".join(entry.token for entry in entries).strip() == "billing" and len(entries[0].top_logprobs) == 2, entries


@feature(WIRE, "`max_output_tokens`")
async def length(seat):
    kinds, cut = await same(seat, TICKET if seat.is_small else "Say: one two three", max_output_tokens=2)
    assert cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens", cut
    assert kinds[-1] == "incomplete" and cut.output[0].status == "incomplete", kinds


@feature(WIRE, "refusals")
async def refusals(seat):
    kinds, refused = await same(seat, "Please refuse this", max_output_tokens=99)
    if seat.upstream in ("compatible", "openai"):
        assert refused.output[0].content[0].type == "refusal" and {"refusal.delta", "refusal.done"} <= set(kinds), kinds
    if seat.upstream == "anthropic":
        assert refused.incomplete_details.reason == "content_filter", refused


@feature(WIRE, "`input_tokens.count()`")
async def counting(seat):
    counted = await got(seat.client.responses.input_tokens.count(model=seat.model, input=TICKET))
    more = await got(seat.client.responses.input_tokens.count(model=seat.model, input=TICKET * 2, tools=[TOOL]))
    assert counted.object == "response.input_tokens" and 0 < counted.input_tokens < more.input_tokens, (counted, more)
    if seat.upstream in ("worker", "openai", "anthropic"):
        assert counted.input_tokens == (await create(seat)).usage.input_tokens, counted


@feature(WIRE, "what needs a store is refused by name")
async def stored(seat):
    for field, value in (("previous_response_id", "resp_1"), ("conversation", "conv_1"), ("background", True)):
        error = await raises(openai.BadRequestError, lambda: seat.client.responses.create(model=seat.model, input="x", **{field: value}))
        assert error.param == field, error
    await raises(openai.NotFoundError, lambda: seat.client.responses.retrieve("resp_1"))
