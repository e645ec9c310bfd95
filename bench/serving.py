"""The worker beside llama-server, with the same file, two threads each, and clients that stream.

    bench/run serving [--model 1b] [--type Q4_0] [--streams 1,4,8,16,64] [--loads short,long]
                      [--rounds 1] [--form] [--llama BUILD]

Every stream asks once over /v1/completions with tokens drawn for it alone, so that nothing is found
computed: `short` reads 64 and writes 64, `long` reads 1024 and writes 32. Both servers run in turn,
as often as there are rounds; a figure is the median of the rounds. Printed are the tokens written a
second over all streams, from the first request to the last token, and of all tokens the time to the
first and from one to the next. --form has a run more, in which every answer must match a form that
takes almost any token, beside free text.
"""

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path

from models import ROOT, SHAPES, llama, model, run
from servers import Llama, Ours, percentile, serving, stream

LOADS = {"short": (64, 64), "long": (1024, 32)}
# The last would take the peer some ten minutes.
TOO_MUCH = {("long", 64)}


async def once(server, port, load, streams, form, draw):
    reads, writes = LOADS[load]
    prompts = [[draw.randrange(2, 50_000) for _ in range(reads)] for _ in range(streams)]
    began = time.perf_counter()
    all_moments = await asyncio.gather(*(stream(port, server.body(prompt, writes, form)) for prompt in prompts))
    took = max(moments[-1] for moments in all_moments) - began
    between = [after - before for moments in all_moments for before, after in zip(moments, moments[1:])]
    return {
        "rate": streams * writes / took,
        "first": [moments[0] - began for moments in all_moments],
        "between": between,
    }


def measured(server, load, streams, form, seed):
    draw = random.Random(seed)
    with serving(server, streams) as port:
        # What only the first request waits for.
        asyncio.run(once(server, port, "short", 1, form, draw))
        return asyncio.run(once(server, port, load, streams, form, draw))


def told(rounds):
    """Rate, and the percentiles of both waits in milliseconds."""
    rate = statistics.median(one["rate"] for one in rounds)
    waits = []
    for wait in ("first", "between"):
        for share in (0.5, 0.99):
            waits.append(1e3 * statistics.median(percentile(one[wait], share) for one in rounds))
    return rate, waits


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="1b", choices=SHAPES)
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--streams", default="1,4,8,16,64")
    parser.add_argument("--loads", default="short,long")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--form", action="store_true")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-server and llama-quantize")
    args = parser.parse_args()
    programs = llama(args.llama)
    run("cargo", "build", "--quiet", "--release", "--package", "weir-worker", cwd=ROOT)
    path = model(args.model, args.type, programs)
    servers = [Ours(path)] + ([] if args.only_ours else [Llama(path, programs)])
    heads = ["load", "streams", "server", "tok/s", "ratio", "first p50 ms", "p99", "between p50 ms", "p99"]
    print(f"{args.model} {args.type}\n\n|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|", flush=True)
    for load in args.loads.split(","):
        for streams in map(int, args.streams.split(",")):
            if (load, streams) in TOO_MUCH:
                continue
            compare(servers, load, streams, args)


def compare(servers, load, streams, args):
    kinds = [(server, form) for server in servers for form in ((False, True) if args.form else (False,))]
    rounds = {kind: [] for kind in kinds}
    for seed in range(args.rounds):
        for kind in kinds:
            rounds[kind].append(measured(kind[0], load, streams, kind[1], seed))
    base = {kind: told(rounds[kind]) for kind in kinds}
    ours = base[kinds[0]][0]
    for server, form in kinds:
        rate, waits = base[server, form]
        name = server.name + (", with a form" if form else "")
        ratio = "" if (server, form) == kinds[0] else f"{ours / rate:.2f} x"
        cells = [load, str(streams), name, f"{rate:.1f}", ratio, *(f"{wait:.0f}" for wait in waits)]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
