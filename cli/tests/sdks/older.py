"""OpenAI's completions, embeddings and models, over the `openai` SDK."""

import openai
from openai.types import Completion, CreateEmbeddingResponse
from pydantic import TypeAdapter

from table import TICKET, each, feature, got, raises

COMPLETIONS = "OpenAI completions"
EMBEDDINGS = "OpenAI embeddings"
MODELS = "OpenAI models"
NOT_ANTHROPIC = dict(anthropic="model")


def strict(kind, value):
    TypeAdapter(kind).validate_json(value.model_dump_json(), strict=True)
    return value


@feature(COMPLETIONS, "create", **NOT_ANTHROPIC)
async def completion(seat):
    answer = strict(Completion, await got(seat.client.completions.create(model=seat.model, prompt=TICKET, max_tokens=9)))
    assert answer.choices[0].text and answer.choices[0].finish_reason in ("stop", "length"), answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0, answer
    assert seat.is_small or answer.choices[0].text == "billing"


@feature(COMPLETIONS, "create, streamed", **NOT_ANTHROPIC)
async def streamed(seat):
    asked = dict(model=seat.model, prompt=TICKET, max_tokens=9, temperature=0)
    whole = await got(seat.client.completions.create(**asked))
    more = dict(stream=True, stream_options={"include_usage": True})
    pieces = [piece async for piece in each(seat.client.completions.create(**asked, **more))]
    text = "".join(piece.choices[0].text for piece in pieces if piece.choices)
    assert text == whole.choices[0].text and pieces[-1].usage.total_tokens == whole.usage.total_tokens, pieces


@feature(COMPLETIONS, "`n`, `stop`, `logprobs`", **NOT_ANTHROPIC)
async def settings(seat):
    asked = dict(model=seat.model, prompt=TICKET, max_tokens=9, temperature=0)
    several = await got(seat.client.completions.create(**asked, n=2))
    assert [choice.index for choice in several.choices] == [0, 1], several
    whole = await got(seat.client.completions.create(**asked, logprobs=2))
    told = whole.choices[0].logprobs
    assert "".join(told.tokens).strip() == whole.choices[0].text.strip() and len(told.top_logprobs[0]) >= 2, told
    assert len(told.text_offset) == len(told.tokens) == len(told.token_logprobs), told
    cut = await got(seat.client.completions.create(**asked, stop=[whole.choices[0].text[2:4]]))
    assert cut.choices[0].text == whole.choices[0].text[:2] and cut.choices[0].finish_reason == "stop", cut


@feature(EMBEDDINGS, "create, as base64 (the default) and as numbers", **NOT_ANTHROPIC)
async def embeddings(seat):
    texts = [TICKET, "Where is my parcel?"]
    made = strict(CreateEmbeddingResponse, await got(seat.client.embeddings.create(model=seat.model, input=texts)))
    plain = await got(seat.client.embeddings.create(model=seat.model, input=texts, encoding_format="float"))
    for one, other in zip(made.data, plain.data, strict=True):
        assert len(one.embedding) > 8 and abs(sum(value * value for value in one.embedding) - 1) < 1e-4
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding, strict=True))
    assert made.usage.total_tokens == made.usage.prompt_tokens > 0 and made.model == seat.model, made.usage


@feature(EMBEDDINGS, "`dimensions`", **NOT_ANTHROPIC)
async def dimensions(seat):
    cut = await got(seat.client.embeddings.create(model=seat.model, input=TICKET, dimensions=5))
    assert len(cut.data[0].embedding) == 5, cut


@feature(MODELS, "list, retrieve")
async def models(seat):
    assert seat.model in [model.id async for model in each(seat.client.models.list())]
    model = await got(seat.client.models.retrieve(seat.model))
    assert model.id == seat.model and model.object == "model", model
    await raises(openai.NotFoundError, lambda: seat.client.models.retrieve("other"))


@feature("Anthropic models", "list, retrieve")
async def anthropic_models(seat):
    listed = [model async for model in each(seat.client.models.list())]
    assert seat.model in [model.id for model in listed] and {model.type for model in listed} == {"model"}, listed
    model = await got(seat.client.models.retrieve(seat.model))
    assert model.id == seat.model and model.display_name and model.created_at, model
