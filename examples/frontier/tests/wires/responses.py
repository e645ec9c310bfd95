"""Responses, completions and embeddings over the real `openai` SDK, against a stand-in: responses.py ADDRESS.

What the SDK makes of answers is held here. A line that does not hold ends the program.
"""

import sys
from typing import Literal

import openai
from openai import OpenAI
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

CLIENT = OpenAI(base_url=f"http://{sys.argv[1]}/v1", api_key="sk-real-1234-abcd", max_retries=0)
TICKET = "Hello, I was charged again for my subscription this month. Please help!"
WEATHER = {
    "type": "function",
    "name": "weather",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Weather(BaseModel):
    city: str
    unit: Literal["celsius", "fahrenheit"]


def strict(model, value):
    """Holds an answer to the SDK's types, which the SDK itself does not do."""
    TypeAdapter(model).validate_json(value.model_dump_json(by_alias=True, warnings=False), strict=True)
    return value


def create(text, **more):
    return strict(Response, CLIENT.responses.create(model="any", input=text, **more))


def streamed(text, **more):
    """The events, counted without a gap, and the response that they end in."""
    events = list(CLIENT.responses.create(model="any", input=text, stream=True, **more))
    for event in events:
        strict(ResponseStreamEvent, event)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return [event.type.removeprefix("response.") for event in events], events[-1].response


def same(text, **more):
    """The kinds of the events, and the response, which is the same whole and streamed."""
    whole = create(text, **more)
    kinds, final = streamed(text, **more)

    def nameless(value):
        if isinstance(value, dict):
            return {key: nameless(entry) for key, entry in value.items() if key not in ("id", "call_id", "created_at")}
        return [nameless(entry) for entry in value] if isinstance(value, list) else value

    one, other = (nameless(response.to_dict()) for response in (whole, final))
    assert one == other, (one, other)
    with CLIENT.responses.stream(model="any", input=text, **more) as events:
        for _ in events:
            pass
        # The SDK knows no final response but a completed one.
        if whole.status == "completed":
            assert events.get_final_response().output_text == whole.output_text
    return kinds, whole


def texts():
    kinds, whole = same(TICKET, instructions="Route it.", service_tier="flex")
    assert whole.output_text == "billing" and whole.status == "completed" and whole.service_tier == "flex"
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    assert kinds == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ], kinds  # fmt: skip
    kinds, cut = same("Say: one two three", max_output_tokens=2)
    assert (cut.output_text, cut.status, kinds[-1]) == ("one two", "incomplete", "incomplete")
    assert cut.incomplete_details.reason == "max_output_tokens" and cut.output[0].status == "incomplete"
    kinds, refused = same("Please refuse this")
    assert refused.output[0].content[0].type == "refusal" and {"refusal.delta", "refusal.done"} <= set(kinds)
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}
    parts = [{"type": "input_text", "text": TICKET}, image]
    assert create([{"role": "user", "content": parts}]).output_text == "billing You also sent an image."
    logprobs = create(TICKET, include=["message.output_text.logprobs"], top_logprobs=2).output[0].content[0].logprobs
    assert [entry.token for entry in logprobs] == ["bill", "ing"] and len(logprobs[0].top_logprobs) == 2


def reasoning():
    asked = dict(reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"])
    kinds, whole = same(TICKET, store=False, **asked)
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert whole.output[0].summary[0].text and whole.usage.output_tokens_details.reasoning_tokens > 0
    assert {"reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_part.done"} <= set(kinds)
    user = {"role": "user", "content": TICKET}
    back = [user] + [item.to_dict() for item in whole.output] + [user]
    assert create(back).output_text == "billing"
    back[1]["encrypted_content"] = "AAAA"
    assert refused(lambda: create(back), "input[1].encrypted_content").code == "invalid_encrypted_content"
    assert create(TICKET, reasoning={"effort": "high"}).output[0].encrypted_content is None


def tools():
    kinds, two = same("Lisbon, twice", tools=[WEATHER])
    assert [call.arguments for call in two.output] == ['{"city":"Lisbon"}', '{"city":"twice"}']
    assert {"function_call_arguments.delta", "function_call_arguments.done"} <= set(kinds)
    assert len(create("Lisbon, twice", tools=[WEATHER], parallel_tool_calls=False).output) == 1
    assert create("Lisbon", tools=[WEATHER], tool_choice="none").output[0].type == "message"
    custom = {"type": "custom", "name": "code"}
    kinds, called = same("Lisbon", tools=[WEATHER, custom], tool_choice={"type": "custom", "name": "code"})
    assert (called.output[0].type, called.output[0].input) == ("custom_tool_call", "Lisbon")
    assert {"custom_tool_call_input.delta", "custom_tool_call_input.done"} <= set(kinds)
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "code"}]}
    assert create("Lisbon", tools=[WEATHER, custom], tool_choice=allowed).output[0].type == "custom_tool_call"
    said = [{"role": "user", "content": "Lisbon, twice"}] + [item.to_dict() for item in two.output]
    told = [{"type": "function_call_output", "call_id": call.call_id, "output": "wet"} for call in two.output]
    assert create(said + told, tools=[WEATHER]).output_text == "The tool says: wet, wet"
    assert create(told, previous_response_id=two.id).output_text == "The tool says: wet, wet"
    refused(lambda: create(said + told[:1]), "input")
    refused(lambda: create(told), "input")


def searching():
    kinds, whole = same("Find Lisbon", tools=[{"type": "web_search"}])
    assert [item.type for item in whole.output] == ["web_search_call", "message"]
    assert whole.output[1].content[0].annotations[0].type == "url_citation"
    assert {"web_search_call.searching", "web_search_call.completed", "output_text.annotation.added"} <= set(kinds)
    back = [{"role": "user", "content": "Find Lisbon"}] + [item.to_dict() for item in whole.output]
    assert create(back + [{"role": "user", "content": TICKET}]).output_text == "billing"


def forms():
    parsed = CLIENT.responses.parse(model="any", input="Rain in Lisbon?", text_format=Weather)
    assert parsed.output_parsed == Weather(city="Lisbon", unit="celsius")
    with CLIENT.responses.stream(model="any", input="Rain in Lisbon?", text_format=Weather) as events:
        assert events.until_done().get_final_response().output_parsed == parsed.output_parsed
    tool = openai.pydantic_function_tool(Weather, name="weather")
    tool = {"type": "function", **tool["function"]}
    called = CLIENT.responses.parse(model="any", input="Rain in Lisbon?", tools=[tool])
    assert called.output[0].parsed_arguments == {"city": "Lisbon", "unit": "celsius"}, called.output[0]


def counting():
    counted = CLIENT.responses.input_tokens.count(model="any", input=TICKET, tools=[WEATHER])
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == create(TICKET, tools=[WEATHER]).usage.input_tokens


def refused(ask, param=None, kind=openai.BadRequestError):
    try:
        ask()
    except kind as error:
        assert param is None or error.param == param, error
        return error
    raise AssertionError(f"{kind} was expected")


def errors():
    unknown = refused(lambda: create("x", previous_response_id="resp_1"), "previous_response_id")
    assert unknown.code == "previous_response_not_found"
    unkept = create("x", store=False)
    refused(lambda: create("x", previous_response_id=unkept.id), "previous_response_id")
    refused(lambda: create("x", background=True), "background")
    refused(lambda: create("x", conversation="conv_1"), "conversation")
    refused(lambda: create([{"type": "item_reference", "id": "rs_1"}]), "input[0]", openai.NotFoundError)
    late = dict(extra_headers={"x-stand-in-fault": "error-after=1"})
    kinds, failed = streamed(TICKET, **late)
    assert kinds[-1] == "failed" and failed.status == "failed" and "org-standin" in failed.error.message
    inside = dict(extra_headers={"x-stand-in-fault": "error-in-200"})
    assert create(TICKET, **inside).status == "failed"
    refused(lambda: streamed(TICKET, **inside), kind=(openai.APIError, AttributeError))
    for fault in ("crlf", "split-utf8", "compressed"):
        for event in CLIENT.responses.create(model="any", input="Say: für €5", stream=True, extra_headers={"x-stand-in-fault": fault}):
            pass
        assert event.response.output_text == "für €5", fault


def completions():
    def complete(prompt, **more):
        return strict(Completion, CLIENT.completions.create(model="any", prompt=prompt, **more))

    assert complete(TICKET).choices[0].text == "billing"
    many = complete([TICKET, "Say: one two"], n=2, max_tokens=2)
    assert [choice.text for choice in many.choices] == ["billing", "billing", "one two", "one two"]
    assert [choice.finish_reason for choice in many.choices] == ["stop", "length", "stop", "length"]
    echoed = CLIENT.completions.create(model="any", prompt="Say: one two", echo=True, logprobs=2, stop=" two")
    choice = echoed.choices[0]
    assert choice.text == "Say: one twoone" and choice.logprobs.token_logprobs[0] is None
    assert "".join(choice.logprobs.tokens) == choice.text and choice.logprobs.text_offset[1] == 3
    assert len(choice.logprobs.top_logprobs[1]) == 2
    stream = CLIENT.completions.create(model="any", prompt=TICKET, stream=True, stream_options={"include_usage": True})
    # Not held to the types: they have no word for a chunk that is not the last.
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "billing"
    assert chunks[-1].usage.completion_tokens == 2
    refused(lambda: complete("x", suffix="y"), "suffix")
    refused(lambda: complete([]), "prompt")


def embeddings():
    texts = [TICKET, "Where is my parcel?"]
    # The SDK asks for base64 by itself, and turns it into numbers again.
    made = strict(CreateEmbeddingResponse, CLIENT.embeddings.create(model="any", input=texts))
    plain = CLIENT.embeddings.create(model="any", input=texts, encoding_format="float")
    for one, other in zip(made.data, plain.data, strict=True):
        assert len(one.embedding) == 256 and abs(sum(value * value for value in one.embedding) - 1) < 1e-5
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding, strict=True))
    assert made.usage.total_tokens > 20
    assert len(CLIENT.embeddings.create(model="any", input=TICKET, dimensions=5).data[0].embedding) == 5
    refused(lambda: CLIENT.embeddings.create(model="any", input="x", dimensions=9999), "dimensions")
    refused(lambda: CLIENT.embeddings.create(model="any", input=[]), "input")


for held in (texts, reasoning, tools, searching, forms, counting, errors, completions, embeddings):
    held()
    print(held.__name__, flush=True)
print("all hold")
