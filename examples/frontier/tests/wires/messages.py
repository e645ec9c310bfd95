"""Messages over the real `anthropic` SDK, against a stand-in: messages.py ADDRESS.

What the SDK makes of answers is held here. A line that does not hold ends the program.
"""

import sys
from typing import Literal

import anthropic
from anthropic import Anthropic, beta_tool
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

BASE = f"http://{sys.argv[1]}"
CLIENT = Anthropic(base_url=BASE, api_key="sk-real-1234-abcd", max_retries=0)
# What older clients send.
FIRST = Anthropic(base_url=BASE, auth_token="sk-real-1234-abcd", max_retries=0, default_headers={"anthropic-version": "2023-06-01"})
TICKET = "Hello, I was charged again for my subscription this month. Please help!"
WEATHER = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


class Weather(BaseModel):
    city: str
    unit: Literal["celsius", "fahrenheit"]


def user(content):
    return {"role": "user", "content": content}


def asked(content, **more):
    return {"model": "any", "max_tokens": 4000, "messages": [user(content)], **more}


def create(content, client=CLIENT, **more):
    message = client.messages.create(**asked(content, **more))
    TypeAdapter(Message).validate_json(message.model_dump_json(), strict=True)
    return message


def streamed(content, **more):
    """The events' kinds, the deltas' kinds and the message that the SDK made of them."""
    for event in CLIENT.messages.create(**asked(content, stream=True, **more)):
        TypeAdapter(RawMessageStreamEvent).validate_json(event.model_dump_json(), strict=True)
    with CLIENT.messages.stream(**asked(content, **more)) as events:
        kinds = [event.type for event in events]
        return kinds, events.get_final_message()


def alike(whole, streamed):
    """Whole and streamed are the same, but for the names that they and their parts were given."""
    def nameless(value):
        if isinstance(value, dict):
            return {key: nameless(entry) for key, entry in value.items() if key not in ("id", "tool_use_id", "parsed_output", "usage")}
        return [nameless(entry) for entry in value] if isinstance(value, list) else value
    one, other = nameless(whole.to_dict()), nameless(streamed.to_dict())
    assert one == other, (one, other)
    assert whole.usage.output_tokens == streamed.usage.output_tokens, (whole.usage, streamed.usage)


def same(content, **more):
    whole = create(content, **more)
    kinds, final = streamed(content, **more)
    alike(whole, final)
    return kinds, whole


def texts():
    kinds, whole = same(TICKET)
    assert whole.content[0].text == "billing" and whole.stop_reason == "end_turn"
    assert "text" in kinds and kinds[-1] == "message_stop"
    assert create(TICKET, client=FIRST, extra_body={"temperature": 0.5, "top_k": 3}).content[0].text == "billing"
    _, cut = same("Say: one two three", max_tokens=2)
    assert (cut.content[0].text, cut.stop_reason) == ("one two", "max_tokens")
    _, stopped = same("Say: one, two. End", stop_sequences=["End", ". "])
    assert (stopped.content[0].text, stopped.stop_sequence) == ("one, two", ". ") and stopped.stop_reason == "stop_sequence"
    assert create(TICKET, max_tokens=0).content == []


def endings():
    _, refused = same("Please refuse this")
    assert refused.stop_reason == "refusal" and refused.stop_details.category == "general_harms"
    assert create("word " * 60_000).stop_reason == "model_context_window_exceeded"


def thinking():
    kinds, whole = same(TICKET, thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert {"thinking", "signature"} <= set(kinds), kinds
    assert 0 < whole.usage.output_tokens_details.thinking_tokens < whole.usage.output_tokens
    back = [user(TICKET), {"role": "assistant", "content": whole.content}, user("Thank you")]
    CLIENT.messages.create(model="any", max_tokens=9, messages=back)
    wrong = whole.content[0].model_copy(update={"thinking": "something else"})
    back[1]["content"] = [wrong]
    refused(lambda: CLIENT.messages.create(model="any", max_tokens=9, messages=back), "messages.1.content.0.signature")
    _, more = same(TICKET, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert len(more.content[0].thinking) > len(whole.content[0].thinking)
    _, omitted = same(TICKET, thinking={"type": "adaptive", "display": "omitted"})
    assert omitted.content[0].thinking == "" and omitted.content[0].signature
    _, secret = same("Please think in secret", thinking={"type": "adaptive"})
    assert secret.content[0].type == "redacted_thinking"
    back[1]["content"] = secret.content
    CLIENT.messages.create(model="any", max_tokens=9, messages=back)
    back[1]["content"] = [secret.content[0].model_copy(update={"data": "AAAA"})]
    refused(lambda: CLIENT.messages.create(model="any", max_tokens=9, messages=back), "messages.1.content.0.data")
    small = {"type": "enabled", "budget_tokens": 100}
    refused(lambda: create(TICKET, thinking=small), "thinking.budget_tokens")


def tools():
    kinds, two = same("Lisbon, twice", tools=[WEATHER])
    assert [call.input for call in two.content] == [{"city": "Lisbon"}, {"city": "twice"}]
    assert two.stop_reason == "tool_use" and "input_json" in kinds
    one = create("Lisbon, twice", tools=[WEATHER], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert len(one.content) == 1
    assert create("Lisbon", tools=[WEATHER], tool_choice={"type": "none"}).content[0].type == "text"
    other = dict(WEATHER, name="other")
    named = create("Lisbon", tools=[WEATHER, other], tool_choice={"type": "tool", "name": "other"})
    assert named.content[0].name == "other"
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "wet"}]} for call in two.content]
    history = [user("Lisbon, twice"), {"role": "assistant", "content": two.content}]
    after = CLIENT.messages.create(model="any", max_tokens=99, messages=history + [user(results)], tools=[WEATHER])
    assert after.content[0].text == "The tool says: wet, wet"
    refused(lambda: CLIENT.messages.create(model="any", max_tokens=9, messages=history + [user(results[:1])]), "messages.1")
    refused(lambda: create(results), "messages.0.content.0.tool_use_id")


def runner():
    """The beta helpers, which use the beta path."""
    calls = []

    @beta_tool
    def weather(city: str) -> str:
        """The weather somewhere."""
        calls.append(city)
        return f"wet in {city}"

    last = CLIENT.beta.messages.tool_runner(**asked("Is it wet in Lisbon, twice?"), tools=[weather]).until_done()
    assert calls == ["Lisbon", "twice"], calls
    assert last.content[0].text == "The tool says: wet in Lisbon, wet in twice"
    turns = CLIENT.beta.messages.tool_runner(**asked("Is it wet in Lisbon?"), tools=[weather], stream=True)
    for turn in turns:
        for _ in turn:
            pass
    assert calls[2:] == ["Lisbon"], calls
    # Where threads are not supported the runner sends everything again.
    alone = CLIENT.beta.messages.tool_runner(**asked("Is it wet in Rome?", thinking={"type": "adaptive"}), tools=[weather])
    assert alone.until_done().content[-1].text == "The tool says: wet in Rome" and calls[3:] == ["Rome"], calls
    lost = {"thread": {"type": "continue", "previous_message_id": "msg_lost"}}
    betas = ["message-threads-2026-08-12"]
    error = refused(lambda: CLIENT.beta.messages.create(**asked("x"), betas=betas, extra_body=lost), kind=anthropic.NotFoundError)
    assert error.body["error"]["details"]["error_code"] == "thread_not_found"
    beta = CLIENT.beta.messages.create(**asked(TICKET), betas=["context-1m-2025-08-07"])
    assert beta.content[0].text == "billing"


def forms():
    parsed = CLIENT.messages.parse(**asked("Rain in Lisbon?", output_format=Weather))
    assert parsed.parsed_output == Weather(city="Lisbon", unit="celsius")
    with CLIENT.messages.stream(**asked("Rain in Lisbon?", output_format=Weather)) as events:
        assert events.get_final_message().parsed_output == parsed.parsed_output


def searching():
    _, whole = same("Find Lisbon", tools=[SEARCH])
    assert [block.type for block in whole.content] == ["server_tool_use", "web_search_tool_result", "text"]
    assert whole.content[2].citations[0].type == "web_search_result_location"
    assert whole.usage.server_tool_use.web_search_requests == 1
    question = user("Find Lisbon and take a break")
    _, paused = same(question["content"], tools=[SEARCH])
    assert paused.stop_reason == "pause_turn"
    rest = dict(model="any", max_tokens=99, tools=[SEARCH])
    rest = CLIENT.messages.create(messages=[question, {"role": "assistant", "content": paused.content}], **rest)
    assert rest.content[0].tool_use_id == paused.content[0].id and rest.stop_reason == "end_turn"
    back = [user("Find Lisbon"), {"role": "assistant", "content": whole.content}, user(TICKET)]
    assert CLIENT.messages.create(model="any", max_tokens=99, messages=back).content[0].text == "billing"


def documents():
    text = {"type": "document", "title": "Rules", "source": {"type": "text", "media_type": "text/plain", "data": "First. Second."}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    cited = dict(text, citations={"enabled": True})
    kinds, whole = same([cited, image, {"type": "text", "text": TICKET}])
    assert whole.content[0].text == "billing You also sent an image. You also sent a document."
    citation = whole.content[0].citations[0]
    assert (citation.cited_text, citation.end_char_index, citation.document_title) == ("First.", 6, "Rules")
    assert "citation" in kinds, kinds
    assert create([text, {"type": "text", "text": TICKET}]).content[0].citations is None


def caching():
    system = [{"type": "text", "text": "Some long rules.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    first, second = (create(question, system=system).usage for question in (TICKET, "Something else"))
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 0
    assert first.cache_creation.ephemeral_1h_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0 and first.cache_read_input_tokens == 0
    _, again = same(TICKET, system=system)
    counted = CLIENT.messages.count_tokens(model="any", messages=[user(TICKET)], system=system, tools=[WEATHER])
    plain = CLIENT.messages.count_tokens(model="any", messages=[user(TICKET)], system=system)
    assert plain.input_tokens == again.usage.input_tokens + again.usage.cache_read_input_tokens
    assert counted.input_tokens > plain.input_tokens


def refused(ask, start="", kind=anthropic.BadRequestError):
    try:
        ask()
    except kind as error:
        assert error.body["error"]["message"].startswith(start), error
        return error
    raise AssertionError(f"{kind} was expected")


def errors():
    for field in ("temperature", "top_p", "top_k"):
        refused(lambda: create("x", **{"extra_body": {field: 1}}), field)
    prefilled = [user("x"), {"role": "assistant", "content": "The team is"}]
    refused(lambda: CLIENT.messages.create(model="any", max_tokens=9, messages=prefilled), "messages")
    FIRST.messages.create(model="any", max_tokens=9, messages=prefilled)
    among = [{"role": "system", "content": "Be brief."}, user(TICKET)]
    assert CLIENT.messages.create(model="any", max_tokens=9, messages=among).content[0].text == "billing"
    refused(lambda: FIRST.messages.create(model="any", max_tokens=9, messages=among), "messages.0.role")
    failing = dict(extra_headers={"x-stand-in-fault": "status=529"})
    failed = refused(lambda: create("x", **failing), kind=anthropic.APIStatusError)
    assert failed.status_code == 529 and "org-standin" in failed.message and "sk-r...abcd" in failed.message
    late = dict(extra_headers={"x-stand-in-fault": "error-after=1"})
    refused(lambda: list(CLIENT.messages.create(**asked(TICKET, stream=True, **late))), kind=anthropic.APIStatusError)
    raw = CLIENT.messages.with_raw_response.create(**asked(TICKET))
    assert raw.headers["anthropic-ratelimit-input-tokens-remaining"] == "1999000" and raw.headers["request-id"]
    assert raw.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert [model.id for model in CLIENT.models.list()] == ["stand-in-frontier"]
    assert CLIENT.models.retrieve("stand-in-frontier").id == "stand-in-frontier"
    refused(lambda: CLIENT.models.retrieve("other"), kind=anthropic.NotFoundError)


def spellings():
    """What other writers of events do, the SDK must read."""
    for fault in ("crlf", "split-utf8", "drip=0", "compressed", "big-line=100000"):
        with CLIENT.messages.stream(**asked("Say: für €5 – ok", extra_headers={"x-stand-in-fault": fault})) as events:
            assert events.get_final_text() == "für €5 – ok", fault


for held in (texts, endings, thinking, tools, runner, forms, searching, documents, caching, errors, spellings):
    held()
    print(held.__name__, flush=True)
print("all hold")
