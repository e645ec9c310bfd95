"""Every feature of the SDKs at every upstream of a router: main.py BASE UPSTREAM=MODEL[@CONTROL]…

Prints one line of JSON for each, and the versions first. The program that started it judges.
"""

import asyncio
import json
import sys
from importlib.metadata import version

from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

import chat
import messages
import responses
from table import FEATURES, Seat, run

BASE = sys.argv[1]
KEY = dict(api_key="any", max_retries=0)


def seats(clients):
    for given in sys.argv[2:]:
        upstream, _, rest = given.partition("=")
        model, _, control = rest.partition("@")
        for family, client in clients.items():
            yield family, Seat(upstream, client, model, BASE, control or None)


async def all_of(kind, clients):
    known = list(seats(clients))
    for feature in FEATURES:
        for family, seat in known:
            if feature.wire.startswith(family):
                await run(feature, seat, kind)


async def asynchronously():
    async with AsyncOpenAI(base_url=f"{BASE}/v1", **KEY) as openai, AsyncAnthropic(base_url=BASE, **KEY) as anthropic:
        await all_of("async", {"OpenAI": openai, "Anthropic": anthropic})


def main():
    print(json.dumps({name: version(name) for name in ("openai", "anthropic")}), flush=True)
    clients = {"OpenAI": OpenAI(base_url=f"{BASE}/v1", **KEY), "Anthropic": Anthropic(base_url=BASE, **KEY)}
    asyncio.run(all_of("sync", clients))
    asyncio.run(asynchronously())


main()
