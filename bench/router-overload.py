#!/usr/bin/env python3
"""What the router still does when three times as much is asked of it as the endpoint behind it can do.

The mock endpoint answers eight asks at once, each in 50 ms: 160 a second, far below what any processor here can
do. The router gives it that many at once and keeps others waiting; beyond `--max-asks` it refuses. First one tenant
asks for as much as there is, and goodput at its most is measured; then a greedy tenant asks for 2.7 times as much as there is,
and a modest one for 0.3 times, both at random moments. Printed are what each got of what it asked for, how long that
took, and the router's memory (PSS) through the minute. It fails where goodput is under 90 % of its most, or the modest
tenant is refused more than one ask in a hundred, or waits more than half as long as the greedy one (in the median).

    bench/run router-overload [--seconds 60]
"""

import argparse
import concurrent.futures
import contextlib
import threading
import time

from router import Bare, Mock
from routers import build, client, proportional, running, target

AT_ONCE, MILLISECONDS = 8, 50
CAPACITY = AT_ONCE * 1000 / MILLISECONDS
BAR, REFUSED, WAITS = 0.9, 0.01, 0.5


class Ours(Bare):
    def policy(self, *endpoint):
        policy = super().policy(*endpoint)
        policy["spec"] |= {"auth": {"keysSecretRef": {"name": "keys"}}}
        return policy

    def command(self, port, folder):
        (folder / "keys").mkdir()
        # The first is asked for the models that there are.
        for name in ("none", "greedy", "modest"):
            (folder / "keys" / name).write_text(f"plain:{name}")
        told = [str(part) for part in super().command(port, folder)]
        told[told.index("--max-endpoint-asks") + 1] = str(AT_ONCE)
        told[told.index("--max-asks") + 1] = "1024"
        return told


def asked(port, tenant, rate, seconds, seed):
    what = target(tenant, port, "chat", "big", "x" * 300, False)
    what["headers"] = [("authorization", f"Bearer {tenant}")]
    return client({"measure": "load", "target": what, "connections": 2048, "rate": rate, "seconds": seconds, "warm_seconds": 3, "seed": seed})


def memory(process):
    return proportional(process) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--without-build", action="store_true")
    args = parser.parse_args()
    if not args.without_build:
        build()
    with contextlib.ExitStack() as stack:
        begin = lambda server: (server, stack.enter_context(running(server)))
        _, upstream = begin(Mock(bytes=1024, events=1, every_ms=0, after_ms=MILLISECONDS, at_once=AT_ONCE))
        server, port = begin(Ours(upstream))
        alone = asked(port, "greedy", CAPACITY, args.seconds / 3, 1)
        most = alone["within"] / alone["asking"]
        print(f"alone, at {CAPACITY:.0f} a second: {most:.1f} answers a second, p50 {alone['last']['p50'] / 1e3:.0f} ms, {memory(server.process):.1f} MB")
        sizes, is_over = [], threading.Event()
        def watch():
            while not is_over.wait(1):
                sizes.append(memory(server.process))
        watching = threading.Thread(target=watch)
        watching.start()
        with concurrent.futures.ThreadPoolExecutor(2) as tenants:
            shares = {"greedy": 2.7, "modest": 0.3}
            found = {name: tenants.submit(asked, port, name, CAPACITY * share, args.seconds, 2) for name, share in shares.items()}
            found = {name: one.result() for name, one in found.items()}
        is_over.set()
        watching.join()
        print("| tenant | asked a second | answered a second | refused | p50 | p99 |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, one in found.items():
            p50, p99 = (one["last"][share] / 1e3 for share in ("p50", "p99"))
            print(f"| {name} | {CAPACITY * shares[name]:.0f} | {one['within'] / one['asking']:.1f} | {one['refused'] / (one['count'] + one['refused']):.1%} | {p50:.0f} ms | {p99:.0f} ms |")
        goodput = sum(one["within"] / one["asking"] for one in found.values())
        third = len(sizes) // 3
        print(f"goodput {goodput:.1f} a second: {goodput / most:.0%} of its most; memory {min(sizes):.1f} to {max(sizes):.1f} MB, in the last third {min(sizes[-third:]):.1f} to {max(sizes[-third:]):.1f} MB")
        modest = found["modest"]
        waits = modest["last"]["p50"] / found["greedy"]["last"]["p50"]
        print(f"the modest tenant waits {waits:.2f} of what the greedy one does")
        if goodput < BAR * most or modest["refused"] > REFUSED * (modest["count"] + modest["refused"]) or waits > WAITS:
            raise SystemExit("that is under the bar")


if __name__ == "__main__":
    main()
