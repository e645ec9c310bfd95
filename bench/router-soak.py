#!/usr/bin/env python3
"""Half an hour of the router at half of what its endpoints can do, while these die and hang, and clients misbehave.

Two mock endpoints stand behind it, one above the other; every quarter of a minute one of them is killed and started
again, or stopped for some seconds. Clients ask for whole answers and for streams at random moments; others leave in the middle of an
answer, send half a request, or do not read what they asked for. Printed are the router's memory (PSS), descriptors,
threads and tasks each minute, and at the end, once everybody has gone, beside what they were at the start; and what
became of the asks. It fails where descriptors or tasks do not come back to what they were, asks are still counted as running, or memory of
the last third of the time is a tenth above that of the third before.

    bench/run router-soak [--minutes 30]
"""

import argparse
import contextlib
import json
import random
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from routers import RELEASE, Ours, body, build, client, proportional, running, target
from servers import free_port

AT_ONCE, MILLISECONDS = 16, 40
CAPACITY = AT_ONCE * 1000 / MILLISECONDS
CHAOS_EVERY = 15


class Router(Ours):
    """Two tiers of its one policy, and an admin port that is known."""

    name = "router"

    def __init__(self, ports):
        super().__init__([("big", "OpenAI", ports[0])])
        self.second, self.admin = ports[1], free_port()

    def policy(self, model, provider, at):
        policy = super().policy(model, provider, at)
        tiers = policy["spec"]["tiers"]
        below = json.loads(json.dumps(tiers[0]))
        below["name"], below["accept"] = "below", {"threshold": "0.1"}
        below["endpoint"]["baseUrl"] = f"http://127.0.0.1:{self.second}/v1"
        for tier in (below, tiers[0]):
            tier["endpoint"]["timeouts"] = {"connect": "1s", "firstByte": "3s", "idle": "3s"}
        policy["spec"]["tiers"] = [below, *tiers]
        return policy

    def command(self, port, folder):
        told = [str(part) for part in super().command(port, folder)]
        told[told.index("--admin") + 1] = f"127.0.0.1:{self.admin}"
        return told

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


class Mock:
    def __init__(self):
        self.port = free_port()
        self.start()

    def start(self):
        plan = {
            "measure": "mock", "listen": f"127.0.0.1:{self.port}", "bytes": 1024, "events": 32, "every_ms": 2,
            "after_ms": MILLISECONDS, "at_once": AT_ONCE,
        }
        self.process = subprocess.Popen([RELEASE / "examples" / "client", json.dumps(plan)], stdout=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()


def state(server):
    """Megabytes, descriptors, threads and tasks."""
    parts, tasks = Path(f"/proc/{server.process.pid}"), int(server.metrics()["weir_process_tasks"])
    return proportional(server.process) / 1024, len(list((parts / "fd").iterdir())), len(list((parts / "task").iterdir())), tasks


def chaos(mocks, is_over, draw):
    while not is_over.wait(CHAOS_EVERY):
        mock = draw.choice(mocks)
        if draw.random() < 0.5:
            mock.kill()
            is_over.wait(draw.uniform(0.2, 3))
            mock.start()
        else:
            mock.process.send_signal(19)
            is_over.wait(draw.uniform(1, 6))
            mock.process.send_signal(18)


def misbehave(port, is_over, draw):
    """Asks, and then leaves, says half of it, or does not read."""
    said = json.dumps(body("chat", "big", "x" * 3000, True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(said)}\r\n\r\n".encode()
    while not is_over.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            whole = head + said
            match draw.randrange(3):
                case 0:
                    connection.sendall(whole)
                    is_over.wait(draw.uniform(0, 0.15))
                case 1:
                    connection.sendall(whole[: draw.randrange(len(whole))])
                    is_over.wait(draw.uniform(0, 2))
                case 2:
                    connection.sendall(whole)
                    is_over.wait(draw.uniform(0, 5))
        is_over.wait(draw.uniform(0, 0.2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--without-build", action="store_true")
    args = parser.parse_args()
    if not args.without_build:
        build()
    mocks = [Mock(), Mock()]
    server = Router([mock.port for mock in mocks])
    with running(server) as port:
        what = [target("whole", port, "chat", "big", "x" * 300, stream) for stream in (False, True)]
        ask = lambda stream, seconds, seed: client({
            "measure": "load", "target": what[stream], "connections": 256, "rate": CAPACITY / 4, "seconds": seconds,
            "warm_seconds": 0, "seed": seed,
        })
        ask(False, 10, 1)
        before = state(server)
        is_over, found, memory = threading.Event(), [], []
        rounds = max(1, round(args.minutes))
        def asking(stream):
            for number in range(rounds):
                found.append(ask(stream, 60 * args.minutes / rounds, number + 2))
        threads = [threading.Thread(target=asking, args=(stream,)) for stream in (False, True)]
        others = [threading.Thread(target=chaos, args=(mocks, is_over, random.Random(1)))]
        others += [threading.Thread(target=misbehave, args=(port, is_over, random.Random(number))) for number in range(8)]
        for thread in [*threads, *others]:
            thread.start()
        print("| minute | memory | descriptors | threads | tasks |\n| --- | --- | --- | --- | --- |")
        began = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            time.sleep(min(60, args.minutes * 6))
            now = state(server)
            memory.append(now[0])
            print(f"| {(time.monotonic() - began) / 60:.1f} | {now[0]:.1f} MB | {now[1]} | {now[2]} | {now[3]} |", flush=True)
        is_over.set()
        for thread in others:
            thread.join()
        # Idle connections to endpoints are kept for 50 seconds, whatever was in hand has its own times.
        time.sleep(75)
        after, metrics = state(server), server.metrics()
        print(f"at the start {before[0]:.1f} MB, {before[1]} descriptors, {before[2]} threads, {before[3]} tasks; at the end {after[0]:.1f} MB, {after[1]}, {after[2]}, {after[3]}")
        whole, refused = sum(one["count"] for one in found), sum(one["refused"] for one in found)
        outcomes = {name: int(value) for name, value in metrics.items() if name.startswith("weir_router_asks_total")}
        print(f"{whole} answered with 200, {refused} refused; by the router: {outcomes}")
        running_now = [value for name, value in metrics.items() if name.startswith("weir_router_running") or name.startswith("weir_router_asks_running")]
        third = max(1, len(memory) // 3)
        grows = max(memory[-third:]) > 1.1 * max(memory[-2 * third : -third] or memory)
        for mock in mocks:
            mock.kill()
        if after[1] > before[1] + 4 or after[3] > before[3] + 4 or any(running_now) or grows:
            raise SystemExit(f"something is left: descriptors {before[1]} and {after[1]}, tasks {before[3]} and {after[3]}, running {running_now}, memory {memory}")


if __name__ == "__main__":
    main()
