#!/usr/bin/env python3
"""What the router adds to an endpoint's answer, against asking the endpoint directly.

The stand-in is asked by itself, through the router and through LiteLLM's proxy (from PyPI, one process) in
turn, so that whatever else the machine does hits all of them alike: whole answers and streamed ones, one at
a time and 16 at once. The client is a small program in Rust (`examples/frontier/examples/client`), of which the direct
figures are the floor. Then it is the endpoint as well, sends an event every so often, and says how much later
each came: once more directly, through the router and through LiteLLM.

    bench/run router-overhead [--realtime] [--without-peer]

`--realtime` puts all of them before the machine's other work, for a few minutes at most.
"""

import argparse
import contextlib

from routers import LiteLLM, Ours, StandIn, build, client, cpu_seconds, prefer, running, target
from servers import free_port, percentile

# The client's wire, the provider's kind, and the wire on which the endpoint is asked.
PAIRS = [
    ("chat", "OpenAI", "chat"), ("messages", "Anthropic", "messages"), ("messages", "OpenAI", "chat"), ("responses", "OpenAI", "responses"),
]
SENTENCE = "The printer in room four shows an error again and nobody knows why it does. "


def compared(values, share, unit=1e3):
    """Of each server the percentile, with its difference from and ratio to the first."""
    floor = percentile(values["direct"], share) / unit
    cells = [f"{floor:.2f}"]
    for name in values:
        if name != "direct":
            it = percentile(values[name], share) / unit
            cells.append(f"{it:.2f} (+{it - floor:.2f}, {it / floor:.2f} x)")
    return cells


def table(names, rows, head):
    head = [*head, *names]
    print("\n| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(row + ["-"] * (len(head) - len(row))) + " |", flush=True)


def asks(args, servers, endpoint):
    """Rows of times of asks; and what of processor time each server took an ask."""
    rows, asked, used = [], 0, {name: 0.0 for name in servers}
    for wire, provider, direct in PAIRS:
        for stream in (False, True):
            for at_once in (1, 16):
                rounds = args.rounds if at_once == 1 else max(args.rounds // 8, 2)
                one = lambda name, port, wire: target(name, port, wire, provider, SENTENCE * args.sentences, stream)
                targets = [one("direct", endpoint, direct), *(one(name, port, wire) for name, (port, _) in servers.items())]
                before = {name: cpu_seconds(process) for name, (_, process) in servers.items()}
                times = client({"measure": "ask", "targets": targets, "at_once": at_once, "rounds": rounds, "warm": 3}, args.realtime)
                for name, (_, process) in servers.items():
                    used[name] += cpu_seconds(process) - before[name]
                asked += (rounds + 3) * at_once
                for index, what in ((0, "first byte"), (1, "last byte")):
                    if index == 0 and not stream:
                        continue
                    values = {name: [pair[index] for pair in pairs] for name, pairs in times.items()}
                    for share in (0.5, 0.99):
                        rows.append([f"{wire} to {provider}", f"stream, {what}" if stream else "whole", str(at_once), f"p{share * 100:.0f}", *compared(values, share)])
    return rows, {name: seconds / asked * 1e3 for name, seconds in used.items()}


def lags(args, servers, endpoint):
    rows = []
    for wire in ("chat", "messages"):
        # LiteLLM asks OpenAI for responses there, which this endpoint has not.
        servers = {name: server for name, server in servers.items() if wire == "chat" or name == Ours.name}
        for at_once in (1, 16):
            targets = [target("direct", endpoint, "chat", "lag", "x", True), *(target(name, port, wire, "lag", "x", True) for name, (port, _) in servers.items())]
            plan = {"measure": "lag", "endpoint": f"127.0.0.1:{endpoint}", "targets": targets, "at_once": at_once,
                    "rounds": 8 if at_once == 1 else 2, "events": 100, "every_ms": 10}
            came = client(plan, args.realtime)
            for share in (0.5, 0.99):
                rows.append([f"{wire} to OpenAI", "event", str(at_once), f"p{share * 100:.0f}", *compared(came, share)])
            for name in servers:
                late = sum(micros > 1000 for micros in came[name]) / len(came[name])
                print(f"of {len(came[name])} events through {name}, {wire}, {at_once} at once, {late:.2%} came more than 1 ms after they were sent")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--sentences", type=int, default=4, help="of which an answer has so many")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--without-peer", action="store_true")
    args = parser.parse_args()
    build()
    stand_in, lagging = StandIn("0ms"), free_port()
    with running(stand_in) as endpoint, contextlib.ExitStack() as stack:
        endpoints = [("OpenAI", "OpenAI", endpoint), ("Anthropic", "Anthropic", endpoint), ("lag", "OpenAI", lagging)]
        routers = [Ours(endpoints)] + ([] if args.without_peer else [LiteLLM(endpoints)])
        servers = {router.name: (stack.enter_context(running(router)), router.process) for router in routers}
        if args.realtime:
            prefer(stand_in.process, *(process for _, process in servers.values()))
        rows, used = asks(args, servers, endpoint)
        names = ["direct, ms", *(f"{name}, ms" for name in servers)]
        table(names, rows, ["what", "answer", "at once", ""])
        print()
        for name, millis in used.items():
            print(f"processor time of {name}: {millis:.2f} ms an ask")
        table(names, lags(args, servers, lagging), ["what", "", "at once", ""])
        if not args.without_peer:
            print(f"\nLiteLLM {routers[-1].version()}")


if __name__ == "__main__":
    main()
