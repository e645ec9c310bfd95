"""What goes wrong, over both SDKs: the exceptions, and the SDKs' own retries."""

import anthropic
import openai

from table import PROVIDERS, TICKET, each, feature, got, raises

OPENAI = "OpenAI errors"
ANTHROPIC = "Anthropic errors"


def chat(seat, client=None, **more):
    asked = dict(model=seat.model, messages=[{"role": "user", "content": TICKET}]) | more
    return (client or seat.client).chat.completions.create(**asked)


def message(seat, client=None, **more):
    asked = dict(model=seat.model, max_tokens=99, messages=[{"role": "user", "content": TICKET}]) | more
    return (client or seat.client).messages.create(**asked)


def response(seat, client=None, **more):
    return (client or seat.client).responses.create(**dict(model=seat.model, input=TICKET) | more)


@feature(OPENAI, "`NotFoundError`: a model that is not there")
async def openai_model(seat):
    for ask in (chat, response):
        error = await raises(openai.NotFoundError, lambda: ask(seat, model="other"))
        assert (error.param, error.code) == ("model", "model_not_found"), error
    await raises(openai.NotFoundError, lambda: seat.client.moderations.create(input="x"))


@feature(OPENAI, "`BadRequestError`: names the field")
async def openai_field(seat):
    for ask in (chat, response):
        error = await raises(openai.BadRequestError, lambda: ask(seat, temperature=7))
        assert error.param == "temperature" and error.type == "invalid_request_error", error
        error = await raises(openai.BadRequestError, lambda: ask(seat, stream=True, temperature=7))
        assert error.param == "temperature", error


@feature(OPENAI, "`AuthenticationError`, and the right key", at=PROVIDERS)
async def openai_key(seat):
    keyed = seat.model.replace("by-", "keyed-")
    error = await raises(openai.AuthenticationError, lambda: chat(seat, model=keyed))
    assert error.code == "invalid_api_key" and "any" not in error.message.split(), error
    right = seat.client.with_options(api_key=seat.key)
    assert (await got(chat(seat, right, model=keyed))).choices[0].message.content == "billing"
    names = [model.id async for model in each(right.models.list())]
    assert keyed in names and keyed not in [model.id async for model in each(seat.client.models.list())], names


@feature(OPENAI, "`InternalServerError`: the provider fails, and is not quoted", at=PROVIDERS)
async def openai_failed(seat):
    for ask in (chat, response):
        seat.plan("status=500")
        error = await raises(openai.InternalServerError, lambda: ask(seat))
        assert "org-standin" not in str(error.body) and error.body["attempts"], error.body


@feature(OPENAI, "retries by `max_retries`: overload passes", at=PROVIDERS)
async def openai_retries(seat):
    patient = seat.client.with_options(max_retries=3)
    for fault in ("throttle=1s", "status=503"):
        seat.plan(fault)
        assert (await got(chat(seat, patient))).choices[0].message.content == "billing"
    seat.plan("status=503")
    assert (await got(response(seat, patient))).output_text == "billing"


@feature(OPENAI, "retries: `x-should-retry: false` is obeyed", at=PROVIDERS)
async def openai_hopeless(seat):
    seat.forget()
    seat.plan("status=401")
    error = await raises(openai.APIStatusError, lambda: chat(seat, seat.client.with_options(max_retries=3)))
    assert error.status_code == 502 and error.response.headers["x-should-retry"] == "false", error
    assert len(seat.journal()) == 1, seat.journal()


@feature(OPENAI, "a stream that breaks off ends in an error", at=PROVIDERS)
async def openai_cut(seat):
    text = "Say: " + "word " * 40

    async def read(ask):
        async for event in each(ask):
            if event.__class__.__name__ == "ResponseFailedEvent":
                raise openai.APIError(event.response.error.message, request=None, body=None)

    for fault in ("cut-after=20", "error-after=20"):
        seat.plan(fault)
        error = await raises(openai.APIError, lambda: read(chat(seat, stream=True, messages=[{"role": "user", "content": text}])))
        assert "org-standin" not in str(error), error
        seat.plan(fault)
        error = await raises(openai.APIError, lambda: read(response(seat, stream=True, input=text)))
        assert "org-standin" not in str(error), error


@feature(ANTHROPIC, "`NotFoundError`: a model that is not there")
async def anthropic_model(seat):
    error = await raises(anthropic.NotFoundError, lambda: message(seat, model="other"))
    assert error.body["error"]["type"] == "not_found_error", error.body
    await raises(anthropic.NotFoundError, lambda: seat.client.models.retrieve("other"))


@feature(ANTHROPIC, "`BadRequestError`: names the field")
async def anthropic_field(seat):
    for more in ({}, {"stream": True}):
        error = await raises(anthropic.BadRequestError, lambda: message(seat, max_tokens=-1, **more))
        assert error.body["error"]["message"].startswith("max_tokens"), error.body
        assert error.body["error"]["type"] == "invalid_request_error", error.body


@feature(ANTHROPIC, "`AuthenticationError`, and the right key", at=PROVIDERS)
async def anthropic_key(seat):
    keyed = seat.model.replace("by-", "keyed-")
    error = await raises(anthropic.AuthenticationError, lambda: message(seat, model=keyed))
    assert error.body["error"]["type"] == "authentication_error", error.body
    for more in ({"api_key": seat.key}, {"api_key": None, "auth_token": seat.key}):
        right = seat.client.__class__(base_url=seat.base, max_retries=0, **more)
        assert (await got(message(seat, right, model=keyed))).content[0].text == "billing"
        await got(right.close())


@feature(ANTHROPIC, "`InternalServerError`: the provider fails, and is not quoted", at=PROVIDERS)
async def anthropic_failed(seat):
    seat.plan("status=500")
    error = await raises(anthropic.InternalServerError, lambda: message(seat))
    assert "org-standin" not in str(error.body) and error.body["error"]["type"] == "api_error", error.body


@feature(ANTHROPIC, "`OverloadedError`, and retries by `max_retries`", at=PROVIDERS)
async def anthropic_retries(seat):
    patient = seat.client.with_options(max_retries=3)
    for fault in ("throttle=1s", "status=529"):
        seat.plan(fault)
        assert (await got(message(seat, patient))).content[0].text == "billing"
    # The router tries twice more itself.
    seat.plan("status=529", 3)
    error = await raises(anthropic.OverloadedError, lambda: message(seat))
    assert error.status_code == 529 and error.body["error"]["type"] == "overloaded_error", error.body
    assert error.response.headers["retry-after"] and error.response.headers["x-should-retry"] == "true"


@feature(ANTHROPIC, "retries: `x-should-retry: false` is obeyed", at=PROVIDERS)
async def anthropic_hopeless(seat):
    seat.forget()
    seat.plan("status=401")
    error = await raises(anthropic.APIStatusError, lambda: message(seat, seat.client.with_options(max_retries=3)))
    assert error.status_code == 502 and error.response.headers["x-should-retry"] == "false", error
    assert len(seat.journal()) == 1, seat.journal()


@feature(ANTHROPIC, "a stream that breaks off ends in an error", at=PROVIDERS)
async def anthropic_cut(seat):
    async def read(ask):
        async for _ in each(ask):
            pass

    for fault in ("cut-after=20", "error-after=20"):
        seat.plan(fault)
        said = [{"role": "user", "content": "Say: " + "word " * 40}]
        error = await raises(anthropic.APIStatusError, lambda: read(message(seat, stream=True, messages=said)))
        assert "org-standin" not in str(error) and error.body["type"] == "error", error
