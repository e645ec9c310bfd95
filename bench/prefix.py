"""What a shared beginning saves: conversations that all begin with the same tokens.

    bench/run prefix [--model 1b] [--type Q4_0] [--conversations 50] [--shared 2048] [--own 32]

One after another they ask a worker that keeps what it computed, and one that does not; printed is
the time to the first token, without the first conversation, which finds nothing either way.
"""

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path

from models import ROOT, SHAPES, llama, model, run
from servers import Ours, percentile, serving, stream


async def waits(server, port, args):
    draw = random.Random(1)
    shared = [draw.randrange(2, 50_000) for _ in range(args.shared)]
    found = []
    for _ in range(args.conversations):
        own = [draw.randrange(2, 50_000) for _ in range(args.own)]
        began = time.perf_counter()
        moments = await stream(port, server.body(shared + own, 2))
        found.append(moments[0] - began)
    return found[1:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="1b", choices=SHAPES)
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--shared", type=int, default=2048)
    parser.add_argument("--own", type=int, default=32)
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-quantize")
    args = parser.parse_args()
    run("cargo", "build", "--quiet", "--release", "--package", "weir-worker", cwd=ROOT)
    path = model(args.model, args.type, llama(args.llama))
    print(f"{args.model} {args.type}: {args.conversations} conversations, {args.shared} tokens alike, {args.own} of their own\n")
    print("| prefix cache | first token p50 | p99 | tokens found computed |\n| --- | --- | --- | --- |")
    medians = {}
    for cache in ("Enabled", "Disabled"):
        server = Ours(path, {"--prefix-cache": cache, "--context-tokens": args.shared + args.own + 64})
        with serving(server, 8) as port:
            found = asyncio.run(waits(server, port, args))
            load = server.load()["worker"]
        medians[cache] = statistics.median(found)
        share = load["hit_tokens"] / max(1, load["queried_tokens"])
        print(f"| {cache} | {1e3 * medians[cache]:.0f} ms | {1e3 * percentile(found, 0.99):.0f} ms | {100 * share:.0f} % |", flush=True)
    print(f"\n{medians['Disabled'] / medians['Enabled']:.1f} x")


if __name__ == "__main__":
    main()
