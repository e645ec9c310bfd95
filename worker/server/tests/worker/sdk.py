"""The real `openai` SDK, and LangChain over it, against a worker: sdk.py BASE_URL CONTEXT_TOKENS.

What SDKs make of answers is held here; what answers say is held by the tests around it. A line that
does not hold ends the program.
"""

import asyncio
import sys
from typing import Literal

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field

BASE, CONTEXT = sys.argv[1], int(sys.argv[2])
KNOWN = dict(base_url=BASE, api_key="any", max_retries=0)
TICKET = "Hello, I was charged twice for my subscription this month. Please help!"
CHAT = dict(model="triage", messages=[{"role": "user", "content": TICKET}])


class Person(BaseModel):
    name: str = Field(max_length=8)
    kind: Literal["customer", "employee"]
    age: int = Field(ge=0, le=99)


class Rain(BaseModel):
    days: Literal[1, 2, 3]


def chats(client):
    whole = client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2)
    assert whole.choices[0].message.content == "billing", whole
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2
    raw = client.chat.completions.with_raw_response.create(**CHAT, user="somebody")
    assert raw.headers["x-weir-dropped"] == "user" and raw.parse().choices[0].message.content == "billing"
    text, usage = "", None
    for piece in client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}):
        text += piece.choices[0].delta.content or "" if piece.choices else ""
        usage = piece.usage or usage
    assert text == "billing" and usage.total_tokens == whole.usage.total_tokens
    assert [model.id for model in client.models.list()] == ["triage"]
    assert client.models.retrieve("triage").id == "triage"


def forms(client):
    asked = dict(CHAT, response_format=Person, temperature=1, seed=3)
    parsed = client.chat.completions.parse(**asked).choices[0].message.parsed
    assert isinstance(parsed, Person), parsed
    with client.chat.completions.stream(**asked) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    assert final.choices[0].message.parsed == parsed
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds


def tools(client):
    tool = openai.pydantic_function_tool(Rain, name="rain")
    asked = dict(CHAT, tools=[tool], tool_choice="required", parallel_tool_calls=False, seed=1)
    whole = client.chat.completions.parse(**asked).choices[0]
    call = whole.message.tool_calls[0]
    assert whole.finish_reason == "tool_calls" and isinstance(call.function.parsed_arguments, Rain)
    with client.chat.completions.stream(**asked) as events:
        final = events.get_final_completion()
    streamed = final.choices[0].message.tool_calls[0]
    assert (streamed.id, streamed.function.arguments) == (call.id, call.function.arguments)
    told = {"role": "tool", "tool_call_id": call.id, "content": "wet"}
    history = CHAT["messages"] + [whole.message.model_dump(exclude_none=True, exclude={"parsed"}), told]
    for made in history[1].get("tool_calls", []):
        made["function"].pop("parsed_arguments", None)
    after = client.chat.completions.create(model="triage", messages=history, max_tokens=4)
    assert after.usage.completion_tokens <= 4


def completions(client):
    whole = client.completions.create(model="triage", prompt=TICKET, temperature=0, echo=True, logprobs=1, max_tokens=4)
    choice = whole.choices[0]
    assert choice.text.startswith(TICKET) and choice.logprobs.token_logprobs[0] is None
    assert len(choice.logprobs.tokens) == whole.usage.total_tokens == len(choice.logprobs.text_offset)
    pieces = client.completions.create(
        model="triage", prompt=TICKET, temperature=0, echo=True, max_tokens=4, stream=True
    )
    assert "".join(piece.choices[0].text for piece in pieces) == choice.text


def embeddings(client):
    texts = [TICKET, "Where is my parcel?"]
    # The SDK asks for base64 by itself, and turns it into numbers again.
    made = client.embeddings.create(model="triage", input=texts)
    plain = client.embeddings.create(model="triage", input=texts, encoding_format="float")
    vectors = [entry.embedding for entry in made.data]
    for entry, vector in zip(plain.data, vectors, strict=True):
        assert all(abs(one - other) < 1e-6 for one, other in zip(entry.embedding, vector, strict=True))
    assert made.usage.total_tokens == made.usage.prompt_tokens > 0
    cut = client.embeddings.create(model="triage", input=TICKET, dimensions=5).data[0].embedding
    assert len(cut) == 5 and abs(sum(value * value for value in cut) - 1) < 1e-5


def errors(client):
    def refused(kind, ask, param=None):
        try:
            ask()
        except kind as error:
            assert param is None or error.param == param, error
            return error
        raise AssertionError(f"{kind} was expected")

    refused(openai.BadRequestError, lambda: client.chat.completions.create(**CHAT, temperature=7), "temperature")
    refused(openai.NotFoundError, lambda: client.chat.completions.create(**dict(CHAT, model="other")), "model")
    refused(openai.NotFoundError, lambda: client.models.retrieve("other"))
    refused(openai.NotFoundError, lambda: client.moderations.create(input="x"))
    long = dict(CHAT, messages=[{"role": "user", "content": "parcel " * CONTEXT}])
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(**long), "messages")
    assert error.code == "context_length_exceeded"
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    seen = dict(CHAT, messages=[{"role": "user", "content": picture}])
    refused(openai.BadRequestError, lambda: client.chat.completions.create(**seen), "messages[0].content[0].type")


async def asynchronously():
    async with AsyncOpenAI(**KNOWN) as client:
        asks = [client.chat.completions.create(**CHAT) for _ in range(6)]
        assert {answer.choices[0].message.content for answer in await asyncio.gather(*asks)} == {"billing"}
        stream = await client.chat.completions.create(**CHAT, stream=True)
        pieces = [piece.choices[0].delta.content or "" async for piece in stream]
        assert "".join(pieces) == "billing"
        parsed = await client.chat.completions.parse(**CHAT, response_format=Person, seed=3)
        assert isinstance(parsed.choices[0].message.parsed, Person)


def langchain():
    chat = ChatOpenAI(model="triage", base_url=BASE, api_key="any", max_retries=0, temperature=0)
    assert chat.invoke(TICKET).content == "billing"
    assert "".join(piece.content for piece in chat.stream(TICKET)) == "billing"
    assert isinstance(chat.with_structured_output(Person, method="json_schema").invoke(TICKET), Person)
    # Without counting tokens by itself, for which it would fetch a vocabulary.
    known = dict(model="triage", base_url=BASE, api_key="any", max_retries=0)
    vectors = OpenAIEmbeddings(**known, check_embedding_ctx_length=False).embed_documents([TICKET, "parcel"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1])
    calls = chat.bind_tools([Rain], tool_choice="Rain", strict=True).invoke(TICKET).tool_calls
    assert calls[0]["name"] == "Rain" and calls[0]["args"]["days"] in (1, 2, 3)


def main():
    with OpenAI(**KNOWN) as client:
        for held in (chats, forms, tools, completions, embeddings, errors):
            held(client)
            print(held.__name__, flush=True)
    asyncio.run(asynchronously())
    langchain()
    print("all hold")


main()
