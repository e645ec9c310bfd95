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
import contextlib
import json
import random
import re
import socket
import statistics
import subprocess
import time
from pathlib import Path

from models import ROOT, SHAPES, llama, model, run

LOADS = {"short": (64, 64), "long": (1024, 32)}
THREADS = 2
CONTEXT = 2048
# The last would take the peer some ten minutes.
TOO_MUCH = {("long", 64)}
FORM = "[t0-9]*"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Ours:
    name = "ours"

    def __init__(self, path, programs):
        self.path = path

    def command(self, port, streams):
        return [
            ROOT / "target" / "release" / "weir-worker", "--model-name", "m", "--source", f"file://{self.path}",
            "--file-root", "/", "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--threads", THREADS,
            "--context-tokens", CONTEXT, "--max-sequences", streams, "--max-waiting", 64, "--log-level", "warn",
        ]

    def body(self, prompt, tokens, form):
        more = {"guided_regex": FORM} if form else {}
        return {"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, **more}


class Llama:
    name = "llama-server"

    def __init__(self, path, programs):
        self.path, self.program = path, programs / "llama-server"

    def command(self, port, streams):
        return [
            self.program, "-m", self.path, "--host", "127.0.0.1", "--port", port, "-t", THREADS, "-tb", THREADS,
            "-np", streams, "-c", streams * CONTEXT, "--cache-ram", 0,
        ]

    def body(self, prompt, tokens, form):
        more = {"grammar": "root ::= [t0-9]*"} if form else {}
        return {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "cache_prompt": False, **more}


@contextlib.contextmanager
def serving(server, streams):
    port = free_port()
    command = [str(part) for part in server.command(port, streams)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.wait()


def until_ready(process, port):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode}: {' '.join(process.args)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as asked:
            asked.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
            if re.match(rb"HTTP/1\.\d 200", asked.recv(64)):
                return
        time.sleep(0.05)
    raise SystemExit(f"not ready within two minutes: {' '.join(process.args)}")


async def stream(port, body):
    """The moments at which a piece came."""
    payload = json.dumps({**body, "stream": True, "temperature": 0}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n"
    writer.write(head.encode() + b"connection: close\r\n\r\n" + payload)
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"{status!r}: {(await reader.read())[-500:]!r}")
    moments, finish = [], None
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        choice = json.loads(line[6:])["choices"][:1]
        if choice and choice[0].get("text"):
            moments.append(time.perf_counter())
        finish = (choice[0].get("finish_reason") if choice else None) or finish
    writer.close()
    assert finish == "length", f"an answer ended with {finish}"
    return moments


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


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


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
    servers = [Ours(path, programs)] + ([] if args.only_ours else [Llama(path, programs)])
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
