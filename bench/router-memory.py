#!/usr/bin/env python3
"""What of memory the router's process takes for connections and streams that do next to nothing.

Idle connections have had one answer each; streams are answers of a stand-in that says a word every two
seconds. Over HTTP/1.1 each has a connection of its own; over HTTP/2 an idle connection too, while streams
share one by the hundred. For each kind there is a fresh router, and one of LiteLLM's for fewer. Memory is the
process's share of what it maps (PSS), two seconds after the last was there.

    bench/run router-memory [--counts 500,1000,2000] [--without-peer]
"""

import argparse
import json
import subprocess
import time

from routers import RELEASE, LiteLLM, Ours, StandIn, build, proportional, running, target

WORD = "another " * 400
SHARED = 100


class Holding:
    """The client, told how many to hold."""

    def __init__(self, what, streams, over_one):
        plan = {"measure": "hold", "target": what, "streams": streams, "over_one": over_one}
        self.process = subprocess.Popen([RELEASE / "examples" / "client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say(json.dumps(plan))

    def say(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hold(self, count):
        self.say(count)
        answer = self.process.stdout.readline()
        if answer.strip() != f"held {count}":
            raise SystemExit(f"the client holds no {count}: {answer}")
        time.sleep(2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def measured(server, counts, streams, over_one, text):
    """Kilobytes at none, at each of `counts`, when all have gone, and when as many have come again."""
    with running(server) as port:
        what = target(server.name, port, "chat", "slow" if streams else "quick", text, streams)
        with Holding(what, streams, over_one) as holding:
            # What is made once is there before anything is counted.
            holding.hold(1)
            holding.hold(0)
            sizes = []
            for count in [0, *counts, 0, counts[-1]]:
                holding.hold(count)
                sizes.append(proportional(server.process))
            return sizes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="500,1000,2000")
    parser.add_argument("--peer-counts", default="100,200")
    parser.add_argument("--without-peer", action="store_true")
    args = parser.parse_args()
    build()
    numbers = lambda text: [int(count) for count in text.split(",")]
    with running(StandIn("0ms")) as quick, running(StandIn("2s")) as slow:
        endpoints = [("quick", "OpenAI", quick), ("slow", "OpenAI", slow)]
        kinds = [("idle, HTTP/1.1", False, None), ("idle, HTTP/2", False, 1), ("streams, HTTP/1.1", True, None), (f"streams, HTTP/2, {SHARED} on each", True, SHARED)]
        print("\n| of | what | MB at " + ", ".join(["0", "each number"]) + " | KB each | when all have gone | when as many have come again |")
        print("| --- | --- | --- | --- | --- | --- |")
        runs = [(Ours, args.counts, kinds)] + ([] if args.without_peer else [(LiteLLM, args.peer_counts, [kinds[0], kinds[2]])])
        for make, counts, of in runs:
            counts = numbers(counts)
            for kind, streams, over_one in of:
                server = make(endpoints)
                *sizes, gone, again = measured(server, counts, streams, over_one, WORD if streams else "Hello.")
                each = (sizes[-1] - sizes[0]) / counts[-1]
                steps = ", ".join(f"{count}: {size / 1024:.1f}" for count, size in zip([0, *counts], sizes))
                print(f"| {server.name} | {kind} | {steps} | {each:.1f} | {gone / 1024:.1f} MB | {again / 1024:.1f} MB |", flush=True)


if __name__ == "__main__":
    main()
