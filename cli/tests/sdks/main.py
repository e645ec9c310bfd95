"""Every feature of the SDKs at every upstream of a router: main.py BASE KEY UPSTREAM=MODEL[@CONTROL]…

Prints the versions, and then a line of JSON for each. The program that started it judges.
"""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

import chat  # noqa: F401
import errors  # noqa: F401
import bounds  # noqa: F401
import frameworks  # noqa: F401
import messages  # noqa: F401
import older  # noqa: F401
import responses  # noqa: F401
from table import FEATURES, Seat, got, run

BASE, KEY = sys.argv[1:3]
KNOWN = dict(api_key="any", max_retries=0)
PACKAGES = ("openai", "anthropic", "openai-agents", "langchain-openai", "pydantic-ai-slim")
CLIENTS = {
    "sync": {"OpenAI": OpenAI, "Anthropic": Anthropic},
    "async": {"OpenAI": AsyncOpenAI, "Anthropic": AsyncAnthropic},
}
BASES = {"OpenAI": f"{BASE}/v1", "Anthropic": BASE}


async def features(upstream, model, control, kind):
    """What comes of each feature at one upstream."""
    rows = []
    for family, client in CLIENTS[kind].items():
        client = client(base_url=BASES[family], **KNOWN)
        seat = Seat(upstream, client, model, BASE, KEY, control or None)
        known = [feature for feature in FEATURES if feature.wire.startswith(family) and kind in feature.kinds]
        rows += [await run(feature, seat, kind) for feature in known]
        await got(client.close())
    return rows


def at(given):
    """An upstream's clients ask one after the other, as a fault that is planned is for the next of them."""
    upstream, _, rest = given.partition("=")
    model, _, control = rest.partition("@")
    return [row for kind in CLIENTS for row in asyncio.run(features(upstream, model, control, kind))]


def main():
    # Which fix of a release it was is no part of the page.
    print(json.dumps({name: version(name).rpartition(".")[0] for name in PACKAGES}))
    upstreams = sys.argv[3:]
    with ThreadPoolExecutor(len(upstreams)) as threads:
        for rows in threads.map(at, upstreams):
            for row in rows:
                print(json.dumps(row))


main()
