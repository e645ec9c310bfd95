"""The table of features and upstreams: what each feature is, who runs it, and what came of it.

A feature is written once and run by the synchronous and the asynchronous client.
"""

import inspect
import json
import re
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Callable
from urllib.request import Request, urlopen

UPSTREAMS = ("worker", "compatible", "openai", "anthropic")
PROVIDERS = UPSTREAMS[1:]
TICKET = "Hello, I was charged again for my subscription this month. Please help!"

FEATURES = []


@dataclass
class Feature:
    wire: str
    name: str
    # The field that an upstream cannot serve, by upstream.
    refused: dict[str, str]
    # The field that an upstream does without, by upstream.
    left_out: dict[str, str]
    # Where there is something to try.
    at: tuple[str, ...]
    # The clients that can run it.
    kinds: tuple[str, ...]
    run: Callable


def feature(wire, name, at=UPSTREAMS, kinds=("sync", "async"), left_out=None, **refused):
    def known(run):
        FEATURES.append(Feature(wire, name, refused, left_out or {}, at, kinds, run))
        return run

    return known


class Untried(Exception):
    """It takes a stand-in, which does what it is told."""


@dataclass
class Seat:
    """A client that asks one upstream."""

    upstream: str
    client: Any
    model: str
    base: str
    # Opens what asks for one.
    key: str
    # Of the stand-in, where it is one.
    control: str | None

    @property
    def is_small(self):
        """A model of a megabyte: it keeps to forms and calls tools that it must, and knows tickets."""
        return self.upstream == "worker"

    def controlled(self, what, **request):
        if not self.control:
            raise Untried
        return urlopen(Request(f"http://{self.control}/control/{what}", **request)).read()

    def plan(self, fault, count=1):
        """The next requests at the stand-in fail so."""
        body = json.dumps({"fault": fault, "count": count}).encode()
        self.controlled("faults", data=body, headers={"content-type": "application/json"})

    def forget(self):
        self.controlled("requests", method="DELETE")

    def journal(self):
        """The bodies of what the stand-in was asked since it forgot."""
        kept = json.loads(self.controlled("requests"))
        return kept["requests"] if isinstance(kept, dict) else kept


async def got(value):
    return await value if inspect.isawaitable(value) else value


async def each(stream):
    stream = await got(stream)
    if hasattr(stream, "__aiter__"):
        async for entry in stream:
            yield entry
    else:
        for entry in stream:
            yield entry


@asynccontextmanager
async def opened(manager):
    manager = await got(manager)
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


async def raises(kind, ask):
    """The error that asking must end in."""
    try:
        said = await got(ask())
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected, and not {said}")


def dropped(raw):
    """The fields that an answer says were left out."""
    return [field for field in raw.headers.get("x-weir-dropped", "").split(", ") if field]


def field_of(error):
    """The field that an error names, on either wire; nothing where it is not about one."""
    if getattr(error, "status_code", None) != 400:
        return None
    if getattr(error, "code", None) == "unsupported_parameter":
        return error.param
    told = re.search(r"can serve the field ([^ \"'}]+)", str(error))
    return told and told.group(1)


def outcome(feature, seat, error):
    wanted = feature.refused.get(seat.upstream)
    field = field_of(error) if error else None
    if wanted:
        return ("refused", wanted) if field == wanted else ("fail", f"{wanted} was to be refused, but: {error!r}")
    if error is None:
        return "pass", feature.left_out.get(seat.upstream, "")
    return "fail", "".join(traceback.format_exception(error))[-3000:]


async def run(feature, seat, kind):
    result, why = "none", ""
    if seat.upstream in feature.at:
        error = None
        try:
            await feature.run(seat)
        except Exception as caught:  # noqa: BLE001
            error = caught
        if not isinstance(error, Untried):
            result, why = outcome(feature, seat, error)
    row = {"client": kind, "wire": feature.wire, "feature": feature.name, "upstream": seat.upstream}
    return row | {"outcome": result, "why": why}
