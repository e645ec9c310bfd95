"""What a worker still does when more is asked of it than it can do.

    bench/run overload [--model 0.5b] [--type Q4_0] [--seconds 60] [--patience 30] [--times 0.5,1,2,3]

First 64 clients that come back at once say what the worker can do: answers a second. Then clients
come at random moments, in the mean at so many times that rate, whatever became of those before
them; each asks once (16 to 256 tokens of its own in, 8 to 56 out) and leaves when its patience is over. Printed
are, of the clients who came, how many had their whole answer, how many were refused at once (429)
and how many left, and the goodput: whole answers a second, and by the most that there was, the first figure included. It fails where the
last line is under 90 %. What is still running when the last client has come is waited for and counted
in both, its time too.
"""

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path

from models import ROOT, SHAPES, llama, model, run
from servers import Ours, Refused, percentile, serving, stream

CLIENTS = 64
# Of the best, at three times what it can do.
BAR = 0.9


def body(server, draw):
    prompt = [draw.randrange(2, 50_000) for _ in range(draw.randint(16, 256))]
    return server.body(prompt, draw.randint(8, 56))


async def capacity(server, port, seconds, draw):
    """Answers a second where there is always another client."""
    ends, until = [], time.perf_counter() + seconds

    async def client():
        while time.perf_counter() < until:
            await stream(port, body(server, draw))
            ends.append(time.perf_counter())

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(ends) / (max(ends) - began)


async def one(server, port, patience, draw):
    began = time.perf_counter()
    try:
        moments = await asyncio.wait_for(stream(port, body(server, draw)), patience)
        return "whole", moments[0] - began
    except Refused as refused:
        return f"refused with {refused.status}", None
    except TimeoutError:
        return "left", None


async def flood(server, port, rate, args, draw):
    clients, began = [], time.perf_counter()
    moment = 0.0
    while (moment := moment + draw.expovariate(rate)) < args.seconds:
        await asyncio.sleep(max(0, began + moment - time.perf_counter()))
        clients.append(asyncio.create_task(one(server, port, args.patience, draw)))
    ended = await asyncio.gather(*clients)
    return ended, time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="0.5b", choices=SHAPES)
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--patience", type=float, default=30)
    parser.add_argument("--times", default="0.5,1,2,3")
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-quantize")
    args = parser.parse_args()
    run("cargo", "build", "--quiet", "--release", "--package", "weir-worker", cwd=ROOT)
    server = Ours(model(args.model, args.type, llama(args.llama)))
    draw, lines = random.Random(1), []
    with serving(server, CLIENTS) as port:
        most = asyncio.run(capacity(server, port, args.seconds / 3, draw))
        print(f"{args.model} {args.type}: {most:.2f} answers a second with {CLIENTS} clients")
        for times in map(float, args.times.split(",")):
            ended, took = asyncio.run(flood(server, port, times * most, args, draw))
            lines.append((times, ended, took, sum(how == "whole" for how, _ in ended) / took))
    best = max(most, *(goodput for *_, goodput in lines))
    heads = ["asked", "came", "whole", "refused (429)", "left", "goodput a second", "of the best", "first token p50 s", "p99"]
    print("\n|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|")
    for times, ended, _, goodput in lines:
        kinds = {how: sum(other == how for other, _ in ended) for how, _ in ended}
        known = kinds.pop("whole", 0), kinds.pop("refused with 429", 0), kinds.pop("left", 0)
        assert not kinds, f"answers that nobody expected: {kinds}"
        first = [waited for _, waited in ended if waited is not None]
        waits = [f"{statistics.median(first):.2f}", f"{percentile(first, 0.99):.2f}"]
        cells = [f"{times:g} x", len(ended), *known, f"{goodput:.2f}", f"{100 * goodput / best:.0f} %", *waits]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
    if goodput < BAR * best:
        raise SystemExit(f"the last is under {100 * BAR:.0f} % of the best")


if __name__ == "__main__":
    main()
