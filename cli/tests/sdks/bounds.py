"""What a policy bounds, over both SDKs: asks a minute and money; and answers that are given again."""

import anthropic
import openai

from errors import chat, message
from table import PROVIDERS, TICKET, each, feature, got, raises

OPENAI = "OpenAI: limits, budgets, cache"
ANTHROPIC = "Anthropic: limits, budgets, cache"


def of(seat, policy):
    """The policy of this name that asks the same endpoint."""
    return seat.model.replace("by-", f"{policy}-")


async def until_refused(seat, kind, ask):
    """The error in which asks end that are more than a minute may have."""
    for _ in range(25):
        try:
            await got(ask())
        except kind as error:
            return error
    raise AssertionError("nobody keeps to the limit")


async def comes_back(seat, kind, ask):
    """What an SDK is told, that it waits so long and gets its answer, and that only that was asked."""
    error = await until_refused(seat, kind, lambda: ask(seat, model=of(seat, "limited")))
    headers = error.response.headers
    assert error.status_code == 429 and headers["x-should-retry"] == "true", error
    assert 1 <= int(headers["retry-after"]) <= 3 and 0 < int(headers["retry-after-ms"]) <= 3000, headers
    seat.forget()
    answer = await got(ask(seat, seat.client.with_options(max_retries=4), model=of(seat, "limited")))
    assert len(seat.journal()) == 1, seat.journal()
    return error, answer


@feature(OPENAI, "`RateLimitError`, its headers, and `max_retries` waits as long as it is told", at=PROVIDERS)
async def openai_limits(seat):
    error, answer = await comes_back(seat, openai.RateLimitError, chat)
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded"), error.body
    assert error.response.headers["x-ratelimit-limit-requests"] == "20", error.response.headers
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0", error.response.headers
    assert answer.choices[0].message.content == "billing", answer


@feature(OPENAI, "an exhausted budget: `insufficient_quota`, not tried again", at=PROVIDERS)
async def openai_budget(seat):
    seat.forget()
    patient = seat.client.with_options(max_retries=3)
    error = await raises(openai.RateLimitError, lambda: chat(seat, patient, model=of(seat, "broke")))
    assert error.code == "insufficient_quota" and error.response.headers["x-should-retry"] == "false", error
    assert seat.journal() == [], seat.journal()


@feature(OPENAI, "an exhausted budget: a small answer, marked", at=PROVIDERS)
async def openai_local(seat):
    raw = seat.client.chat.completions.with_raw_response
    for more in ({}, {"stream": True}):
        asked = dict(model=of(seat, "thrifty"), messages=[{"role": "user", "content": TICKET}]) | more
        headers = (await got(raw.create(**asked))).headers
        assert (headers["x-weir-tier"], headers["x-weir-local"]) == ("small", "true"), headers


@feature(OPENAI, "an answer from the cache, streamed as a stream", at=PROVIDERS)
async def openai_cache(seat):
    seat.forget()
    text = f"Say: one two three, {type(seat.client).__name__}"
    asked = dict(model=of(seat, "cached"), messages=[{"role": "user", "content": text}])

    async def streamed():
        raw = await got(seat.client.chat.completions.with_raw_response.create(stream=True, **asked))
        said = [chunk.choices[0].delta.content or "" async for chunk in each(raw.parse()) if chunk.choices]
        return raw.headers["x-weir-cache"], said

    (first, said), (second, again) = await streamed(), await streamed()
    assert (first, second) == ("miss", "hit") and said == again and len(said) > 3, (first, second, said, again)
    raw = await got(seat.client.chat.completions.with_raw_response.create(**asked))
    assert raw.headers["x-weir-cache"] == "hit" and raw.headers["x-weir-cost"] == "0", raw.headers
    assert (await got(raw.parse())).choices[0].message.content == "".join(said)
    assert len(seat.journal()) == 1, seat.journal()


@feature(ANTHROPIC, "`RateLimitError`, its headers, and `max_retries` waits as long as it is told", at=PROVIDERS)
async def anthropic_limits(seat):
    error, answer = await comes_back(seat, anthropic.RateLimitError, message)
    assert error.body["error"]["type"] == "rate_limit_error", error.body
    assert error.response.headers["anthropic-ratelimit-requests-limit"] == "20", error.response.headers
    assert error.response.headers["anthropic-ratelimit-requests-remaining"] == "0", error.response.headers
    assert answer.content[0].text == "billing", answer


@feature(ANTHROPIC, "an exhausted budget: `billing_error`, not tried again", at=PROVIDERS)
async def anthropic_budget(seat):
    seat.forget()
    patient = seat.client.with_options(max_retries=3)
    error = await raises(anthropic.APIStatusError, lambda: message(seat, patient, model=of(seat, "broke")))
    assert error.status_code == 402 and error.body["error"]["type"] == "billing_error", error.body
    assert error.response.headers["x-should-retry"] == "false" and seat.journal() == [], error.response.headers


@feature(ANTHROPIC, "an exhausted budget: a small answer, marked", at=PROVIDERS)
async def anthropic_local(seat):
    for more in ({}, {"stream": True}):
        said = [{"role": "user", "content": TICKET}]
        asked = dict(model=of(seat, "thrifty"), max_tokens=99, messages=said) | more
        headers = (await got(seat.client.messages.with_raw_response.create(**asked))).headers
        assert (headers["x-weir-tier"], headers["x-weir-local"]) == ("small", "true"), headers


@feature(ANTHROPIC, "an answer from the cache, streamed as a stream", at=PROVIDERS)
async def anthropic_cache(seat):
    seat.forget()
    text = f"Say: one two three, {type(seat.client).__name__}"
    asked = dict(model=of(seat, "cached"), max_tokens=99, messages=[{"role": "user", "content": text}])

    async def streamed():
        raw = await got(seat.client.messages.with_raw_response.create(stream=True, **asked))
        events = [event async for event in each(raw.parse())]
        texts = [event.delta.text for event in events if event.type == "content_block_delta"]
        return raw.headers["x-weir-cache"], [event.type for event in events], texts

    (first, kinds, said), (second, *again) = await streamed(), await streamed()
    assert (first, second) == ("miss", "hit"), (first, second)
    assert again == [kinds, said] and len(said) > 3 and kinds[-1] == "message_stop", (kinds, said, again)
    raw = await got(seat.client.messages.with_raw_response.create(**asked))
    assert raw.headers["x-weir-cache"] == "hit" and raw.headers["x-weir-cost"] == "0", raw.headers
    assert (await got(raw.parse())).content[0].text == "".join(said)
    assert len(seat.journal()) == 1, seat.journal()
