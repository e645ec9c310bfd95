"""Anthropic's messages, over the `anthropic` SDK."""

from typing import Literal

import anthropic
from anthropic import beta_async_tool, beta_tool
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from table import PROVIDERS, TICKET, dropped, each, feature, got, opened

WIRE = "Anthropic messages"
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
CITY = {"type": "string", "enum": ["Lisbon", "Rome"]}
TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": CITY}, "required": ["city"], "additionalProperties": False},
}
WET = "Is it wet in Lisbon?"


class Weather(BaseModel):
    city: Literal["Lisbon", "Rome"]
    unit: Literal["celsius", "fahrenheit"]


def user(content):
    return {"role": "user", "content": content}


def asked(seat, content=TICKET, **more):
    return {"model": seat.model, "max_tokens": 2000, "messages": [user(content)]} | more


def strict(message):
    TypeAdapter(Message).validate_json(message.model_dump_json(), strict=True)
    return message


async def create(seat, content=TICKET, **more):
    return strict(await got(seat.client.messages.create(**asked(seat, content, **more))))


async def streamed(seat, content=TICKET, **more):
    """The kinds of the events, and the message that the SDK made of them."""
    async for event in each(seat.client.messages.create(**asked(seat, content, stream=True, **more))):
        TypeAdapter(RawMessageStreamEvent).validate_json(event.model_dump_json(), strict=True)
    async with opened(seat.client.messages.stream(**asked(seat, content, **more))) as events:
        kinds = [event.type async for event in each(events)]
        return kinds, await got(events.get_final_message())


def nameless(value):
    """A message without the names that it and its parts were given."""
    if isinstance(value, dict):
        unlike = ("id", "tool_use_id", "parsed_output", "usage", "signature")
        return {key: nameless(entry) for key, entry in value.items() if key not in unlike}
    return [nameless(entry) for entry in value] if isinstance(value, list) else value


async def same(seat, content=TICKET, **more):
    """A message that is the same whole and streamed."""
    whole = await create(seat, content, **more)
    kinds, final = await streamed(seat, content, **more)
    one, other = nameless(whole.to_dict()), nameless(final.to_dict())
    assert one == other, (one, other)
    assert whole.usage.output_tokens == final.usage.output_tokens, (whole.usage, final.usage)
    return kinds, whole


def read(usage):
    """All of the prompt, with what came from a cache."""
    return usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens


@feature(WIRE, "create")
async def whole(seat):
    answer = await create(seat)
    assert answer.content[0].text == "billing" and answer.stop_reason == "end_turn" and answer.role == "assistant", answer
    assert answer.model == seat.model and answer.id.startswith("msg_") and read(answer.usage) > 0, answer
    assert answer.usage.output_tokens > 0, answer.usage


@feature(WIRE, "create, streamed")
async def raw_stream(seat):
    kinds, final = await streamed(seat)
    assert final.content[0].text == "billing" and final.stop_reason == "end_turn" and kinds[-1] == "message_stop", final
    alone = await create(seat)
    assert read(final.usage) == read(alone.usage), (final.usage, alone.usage)
    assert final.usage.output_tokens == alone.usage.output_tokens, (final.usage, alone.usage)


@feature(WIRE, "`stream()`: `text_stream`, `get_final_message()`")
async def text_stream(seat):
    async with opened(seat.client.messages.stream(**asked(seat))) as events:
        text = "".join([piece async for piece in each(events.text_stream)])
        final = await got(events.get_final_message())
    assert text == final.content[0].text == "billing" and await got(events.get_final_text()) == text


@feature(WIRE, "`system`")
async def system(seat):
    for said in ("Name the team.", [{"type": "text", "text": "Name the team."}]):
        assert (await create(seat, system=said)).content[0].text


def forced(seat):
    return dict(tool_choice={"type": "any"}) if seat.is_small else {}


def results(calls):
    return [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "wet"}]} for call in calls]


@feature(WIRE, "tools: call, result, answer, streamed and not")
async def tools(seat):
    kinds, called = await same(seat, WET, tools=[TOOL], **forced(seat))
    calls = [block for block in called.content if block.type == "tool_use"]
    assert calls[0].name == "weather" and calls[0].input["city"] in ("Lisbon", "Rome") and called.stop_reason == "tool_use"
    assert "input_json" in kinds, kinds
    history = [user(WET), {"role": "assistant", "content": called.content}, user(results(calls))]
    _, after = await same(seat, messages=history, tools=[TOOL], max_tokens=20)
    assert seat.is_small or after.stop_reason == "end_turn", after
    assert seat.is_small or after.content[0].text == "The tool says: wet", after


@feature(WIRE, "tools: several calls at once")
async def parallel(seat):
    _, called = await same(seat, WET + " twice", tools=[TOOL], **forced(seat))
    calls = [block for block in called.content if block.type == "tool_use"]
    assert seat.is_small or len(calls) == 2, calls
    history = [user(WET), {"role": "assistant", "content": called.content}, user(results(calls))]
    _, after = await same(seat, messages=history, tools=[TOOL], max_tokens=20)
    assert seat.is_small or after.content[0].text == "The tool says: wet, wet", after
    single = {"type": "any", "disable_parallel_tool_use": True}
    assert len((await create(seat, WET + " twice", tools=[TOOL], tool_choice=single)).content) == 1


@feature(WIRE, "tools: forced, named, none")
async def choice_of_tools(seat):
    other = dict(TOOL, name="other")
    assert (await create(seat, WET, tools=[TOOL, other], tool_choice={"type": "any"})).stop_reason == "tool_use"
    named = await create(seat, WET, tools=[TOOL, other], tool_choice={"type": "tool", "name": "other"})
    assert named.content[0].name == "other", named
    none = await create(seat, tools=[TOOL, other], tool_choice={"type": "none"})
    assert {block.type for block in none.content} == {"text"}, none


@feature(WIRE, "`beta.messages.tool_runner()`, streamed and not")
async def runner(seat):
    calls = []
    is_async = isinstance(seat.client, anthropic.AsyncAnthropic)

    def noted(city):
        calls.append(city)
        return f"wet in {city}"

    if is_async:

        @beta_async_tool
        async def weather(city: Literal["Lisbon", "Rome"]) -> str:
            """The weather somewhere."""
            return noted(city)
    else:

        @beta_tool
        def weather(city: Literal["Lisbon", "Rome"]) -> str:
            """The weather somewhere."""
            return noted(city)

    given = asked(seat, WET, tools=[weather], max_iterations=2, **forced(seat))
    last = await got(seat.client.beta.messages.tool_runner(**given).until_done())
    assert calls and (seat.is_small or calls == ["Lisbon"]), calls
    assert seat.is_small or last.content[0].text == "The tool says: wet in Lisbon", last
    before = len(calls)
    async for turn in each(seat.client.beta.messages.tool_runner(**given, stream=True)):
        async for _ in each(turn):
            pass
    assert len(calls) > before, calls


@feature(WIRE, "`parse()`")
async def parsed(seat):
    answer = await got(seat.client.messages.parse(**asked(seat, "Rain in Lisbon?", output_format=Weather)))
    assert isinstance(answer.parsed_output, Weather), answer
    assert seat.is_small or answer.parsed_output.city == "Lisbon"


@feature(WIRE, "`parse()`, streamed")
async def parsed_stream(seat):
    async with opened(seat.client.messages.stream(**asked(seat, "Rain in Lisbon?", output_format=Weather))) as events:
        final = await got(events.get_final_message())
    assert isinstance(final.parsed_output, Weather), final


THINKS = dict(thinking={"type": "enabled", "budget_tokens": 1024})


NOT_THINKING = dict(worker="thinking", compatible="thinking", openai="thinking")


@feature(WIRE, "thinking", left_out=NOT_THINKING)
async def thinking(seat):
    raw = await got(seat.client.messages.with_raw_response.create(**asked(seat, **THINKS)))
    assert dropped(raw) == [field for field in [NOT_THINKING.get(seat.upstream)] if field], dropped(raw)
    kinds, answer = await same(seat, **THINKS)
    assert answer.content[-1].text == "billing", answer
    if seat.upstream == "anthropic":
        assert [block.type for block in answer.content] == ["thinking", "text"] and "signature" in kinds
        assert answer.content[0].signature and answer.usage.output_tokens_details.thinking_tokens > 0
    history = [user(TICKET), {"role": "assistant", "content": answer.content}, user(TICKET)]
    again = await create(seat, messages=history, **THINKS)
    assert again.content[-1].text, again


@feature(WIRE, "thinking between tools", left_out=NOT_THINKING)
async def thinking_tools(seat):
    _, called = await same(seat, WET, tools=[TOOL], **THINKS)
    kinds = [block.type for block in called.content]
    if not seat.is_small:
        assert kinds == (["thinking", "tool_use"] if seat.upstream == "anthropic" else ["tool_use"]), kinds
    calls = [block for block in called.content if block.type == "tool_use"]
    if calls:
        history = [user(WET), {"role": "assistant", "content": called.content}, user(results(calls))]
        after = await create(seat, messages=history, tools=[TOOL], **THINKS)
        assert after.content[-1].text == "The tool says: wet", after


@feature(WIRE, "images", worker="messages[0].content[0]")
async def images(seat):
    answer = await create(seat, [PICTURE, {"type": "text", "text": TICKET}])
    assert answer.content[0].text == "billing You also sent an image.", answer


@feature(WIRE, "documents", worker="messages[0].content[0]", compatible="messages[0].content[0]", openai="messages[0].content[0]")
async def documents(seat):
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "First. Second."}}
    _, answer = await same(seat, [dict(text, citations={"enabled": True}), {"type": "text", "text": TICKET}])
    assert answer.content[0].citations[0].cited_text == "First.", answer


@feature(WIRE, "hosted tools", worker="tools[0]", compatible="tools[0]", openai="tools[0]")
async def hosted(seat):
    _, answer = await same(seat, "Find Lisbon", tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert [block.type for block in answer.content] == ["server_tool_use", "web_search_tool_result", "text"], answer


@feature(WIRE, "`stop_sequences`")
async def stops(seat):
    text = TICKET if seat.is_small else "Say: one, two. End"
    _, answer = await same(seat, text, stop_sequences=["End", ". ", "ing"])
    assert answer.content[0].text == ("bill" if seat.is_small else "one, two"), answer
    # OpenAI's wire does not say which one it was, nor that it was one.
    told = (answer.stop_reason, answer.stop_sequence)
    wanted = {"worker": ("stop_sequence", "ing"), "anthropic": ("stop_sequence", ". ")}
    assert told == wanted.get(seat.upstream, ("end_turn", None)), told


@feature(WIRE, "`max_tokens`")
async def length(seat):
    _, answer = await same(seat, TICKET if seat.is_small else "Say: one two three", max_tokens=1)
    assert answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 1, answer


@feature(WIRE, "refusals", at=PROVIDERS)
async def refusals(seat):
    _, answer = await same(seat, "Please refuse this")
    assert answer.stop_reason == "refusal", answer


@feature(WIRE, "prompt caching: `cache_control` on blocks, and its usage")
async def caching(seat):
    rules = {"type": "text", "text": f"Rules for {id(seat)}. " * 20, "cache_control": {"type": "ephemeral"}}
    first, second = [(await create(seat, text, system=[rules])).usage for text in (TICKET, "Something else")]
    if seat.upstream == "anthropic":
        assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 0, (first, second)
        assert first.cache_creation.ephemeral_5m_input_tokens == first.cache_creation_input_tokens
    else:
        assert read(first) > 0 and first.cache_creation_input_tokens == 0, first


@feature(WIRE, "`count_tokens()`")
async def counting(seat):
    plain = await got(seat.client.messages.count_tokens(model=seat.model, messages=[user(TICKET)]))
    more = await got(seat.client.messages.count_tokens(model=seat.model, messages=[user(TICKET * 2)], tools=[TOOL]))
    assert 0 < plain.input_tokens < more.input_tokens, (plain, more)
    if seat.upstream in ("worker", "anthropic"):
        assert plain.input_tokens == read((await create(seat)).usage)


@feature(WIRE, "`with_raw_response`: headers")
async def headers(seat):
    raw = await got(seat.client.messages.with_raw_response.create(**asked(seat)))
    answer = await got(raw.parse())
    assert raw.headers["request-id"] == answer._request_id and raw.headers["x-weir-decision"]
    assert "organization" not in str(raw.headers), raw.headers


@feature(WIRE, "`metadata`, `service_tier`, `temperature`")
async def settings(seat):
    answer = await create(seat, metadata={"user_id": "u-1"}, service_tier="auto", extra_body={"temperature": 0.5})
    assert answer.content[0].text, answer
