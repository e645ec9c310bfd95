"""How a worker starts, and what memory it takes against what it planned.

    bench/run start [--models 0.5b,1.5b] [--type Q4_0] [--rounds 5] [--streams 64]

Starts a worker with the file in the page cache: with packed weights to make, and with those that the
start before left on disk. Printed are its own phases (`cold_start` of /load), the time from the
start of the process to ready and to the first token, medians of the rounds. Then the memory of a
worker that keeps packed weights on disk and of one that does not: at rest, and at the most while so
many streams run to the end of their contexts (512 tokens), beside weights plus keys and values as
`/load` has them.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

from models import ROOT, SHAPES, llama, model, run
from servers import Ours, memory, serving, stream

CONTEXT = 512


def packed_away(path, packed):
    """Has packed weights written, which a worker does beside its first answers."""
    server = Ours(path, packed)
    with serving(server, 64):
        size = lambda: sum(file.stat().st_size for file in Path(packed["--packed-cache"]).rglob("*") if file.is_file())
        before = 0
        while before != size() or not before:
            before = size()
            time.sleep(2)


def started(path, packed):
    """Seconds of one start, by what was reached."""
    server = Ours(path, packed)
    began = time.perf_counter()
    with serving(server, 64) as port:
        ready = time.perf_counter() - began
        moments = asyncio.run(stream(port, server.body([5, 6, 7, 8], 2)))
        phases = server.load()["worker"]["cold_start"]
        return {**{name: value / 1e3 for name, value in phases.items()}, "ready": ready, "token": moments[0] - began}


async def fill(server, port, streams):
    draw = random.Random(1)
    prompt = lambda: [draw.randrange(2, 50_000) for _ in range(CONTEXT - 64)]
    await asyncio.gather(*(stream(port, server.body(prompt(), 60)) for _ in range(streams)))


def taken(path, packed, streams):
    server = Ours(path, packed | {"--context-tokens": CONTEXT})
    with serving(server, streams) as port:
        asyncio.run(stream(port, server.body([5, 6, 7, 8], 2)))
        rest, load = memory(server.process), server.load()["worker"]
        asyncio.run(fill(server, port, streams))
        after = memory(server.process)
        preempted = server.load()["worker"]["preemptions"]
    return load, rest, after, preempted


def keys_and_values(name, load):
    """Bytes that were planned for keys and values, in f16: a block is of one layer and 16 tokens."""
    shape = SHAPES[name]
    return load["blocks_total"] * 16 * 2 * shape["kv"] * shape["dim"] * 2


def mega(count):
    return f"{count / 1e6:.0f} MB"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="0.5b,1.5b")
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-quantize")
    args = parser.parse_args()
    run("cargo", "build", "--quiet", "--release", "--package", "weir-worker", cwd=ROOT)
    paths = {name: model(name, args.type, llama(args.llama)) for name in args.models.split(",")}
    heads = ["model", "packed weights", "download", "load", "warm-up", "process to ready", "to first token"]
    print("|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|", flush=True)
    for name, path in paths.items():
        with tempfile.TemporaryDirectory() as folder:
            kinds = {"made": {}, "on disk": {"--packed-cache": folder}}
            packed_away(path, kinds["on disk"])
            started(path, {})
            for kind, packed in kinds.items():
                rounds = [started(path, packed) for _ in range(args.rounds)]
                of = lambda part: f"{statistics.median(one[part] for one in rounds):.2f} s"
                parts = ["download_ms", "load_ms", "warm_up_ms", "ready", "token"]
                print("|", " | ".join([f"{name} {args.type}", kind, *map(of, parts)]), "|", flush=True)
    heads = ["model", "packed weights", "planned: weights", "keys and values", "at rest: own", "of files"]
    heads += [f"with {args.streams} full contexts: own", "of files", "preempted"]
    print("\n|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|", flush=True)
    for name, path in paths.items():
        with tempfile.TemporaryDirectory() as folder:
            kinds = {"made": {}, "on disk": {"--packed-cache": folder}}
            packed_away(path, kinds["on disk"])
            for kind, packed in kinds.items():
                load, rest, after, preempted = taken(path, packed, args.streams)
                sizes = [load["model"]["bytes"], keys_and_values(name, load)]
                sizes += [rest["own"], rest["mapped"], after["own"], after["mapped"]]
                cells = [f"{name} {args.type}", kind, *map(mega, sizes), str(preempted)]
                print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
