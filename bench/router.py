#!/usr/bin/env python3
"""What the router takes and adds beside nginx and LiteLLM's proxy, all before one mock endpoint.

The mock and the clients are one process on one core, whatever is measured has the other. Each server is asked
in turn with the mock itself, `--rounds` times; clients come at random moments, whatever became of those before
them, and an answer counts from when it should have been asked for. `whole`: answers of 1 kB, first at
the highest rate at which the clients' core is less than 70 % busy and no server's more than half, then at a rate that LiteLLM can serve.
`streams`: 64 events, one every 10 ms. The router asks endpoints for streams only: so behind it the mock
sends the same kilobyte as the events of a stream, first as one of them, then as 64. It fails where ours is over a bar.

    bench/run router [--only whole,peer,streams] [--events 1,64] [--rounds 5] [--seconds 4] [--rate N] [--realtime] [--without-peer]

`--realtime` puts all of them before the machine's other work, for some minutes.
It wants nginx (the distribution's), and installs LiteLLM's proxy of the Python index beside the build.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from routers import RELEASE, TARGET, LiteLLM, Ours, build, client, running, target
from servers import free_port

BUSY, HALF = 0.7, 0.5
# Of whole answers: milliseconds, times nginx's processor time, and that part of LiteLLM's.
ADDED, BY_NGINX, OF_PEER = 0.4, 3, 50
# A second; the second is what LiteLLM's proxy can serve.
STREAMS, PEER_STREAMS = 30, 3
# Of the generator's core; the other is the server's.
CLIENTS, SERVER = 0, 1
TEXT = "x" * 300
# Where all of them go before the machine's other work: how a program is begun so, or told so later.
FIRST, REALTIME = [], ["chrt", "--rr", "1"]


class Mock:
    """An endpoint with its answers ready."""

    name = "mock"

    def __init__(self, **what):
        self.what = what

    def command(self, port, _folder):
        plan = {"measure": "mock", "listen": f"127.0.0.1:{port}"} | self.what
        return ["taskset", "-c", CLIENTS, RELEASE / "examples" / "client", json.dumps(plan)]


class Nginx:
    name = "nginx"

    def __init__(self, upstream):
        self.upstream = upstream

    def command(self, port, folder):
        (folder / "nginx.conf").write_text(f"""
            daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
            events {{ worker_connections 4096; }}
            http {{
                access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
                uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 100000000; client_body_buffer_size 64k;
                upstream mock {{ server 127.0.0.1:{self.upstream}; keepalive 1024; keepalive_requests 100000000; }}
                server {{
                    listen 127.0.0.1:{port} backlog=4096;
                    location / {{
                        proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
                    }}
                }}
            }}""")
        return ["taskset", "-c", SERVER, "nginx", "-c", folder / "nginx.conf", "-p", folder]


class Bare(Ours):
    name = "router, bare"

    def __init__(self, upstream):
        super().__init__([("big", "OpenAI", upstream)])

    def command(self, port, folder):
        return ["taskset", "-c", SERVER, *super().command(port, folder)]


class Full(Bare):
    """Keys, limits, rules, records, metrics and traces of one ask in a hundred, which go to a collector."""

    name = "router, everything"

    def __init__(self, upstream, collector):
        super().__init__(upstream)
        self.collector = collector

    def policy(self, *endpoint):
        policy = super().policy(*endpoint)
        policy["spec"] |= {
            "auth": {"keysSecretRef": {"name": "keys"}},
            "limits": {"asksPerMinute": 10_000_000, "tokensPerMinute": 2_000_000_000, "perTenant": {"asksPerMinute": 9_000_000}},
            "rules": [
                {"name": f"rule-{number}", "when": {"header": {"name": "x-team", "values": [f"team-{number}"]}}, "then": {"start": "one"}}
                for number in range(10)
            ] + [{"name": "long", "when": {"promptTokens": {"over": 6000}}, "then": {"start": "one"}}],
        }
        policy["spec"]["tiers"][0]["endpoint"]["price"] = {"inputPerMillion": "3", "outputPerMillion": "15"}
        return policy

    def command(self, port, folder):
        (folder / "keys").mkdir()
        (folder / "keys" / "team").write_text("plain:none")
        told = [str(part) for part in super().command(port, folder)]
        told[told.index("--log-level") + 1] = "info"
        environment = told.index("env") + 1
        told[environment:environment] = ["OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"]
        return [*told, "--otlp-endpoint", f"http://127.0.0.1:{self.collector}"]


class Peer(LiteLLM):
    def command(self, port, folder):
        return ["taskset", "-c", SERVER, *super().command(port, folder)]


def family(pid):
    """A process and those that it began."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def cpu(pid):
    """Seconds that a process and its children have used, to the microsecond and less."""
    spent = 0
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def load(what, rate, seconds, seed, connections):
    plan = {
        "measure": "load", "target": what, "connections": connections, "rate": rate, "seconds": seconds, "warm_seconds": 0.5, "seed": seed,
    }
    found = subprocess.run(
        [*FIRST, "taskset", "-c", str(CLIENTS), RELEASE / "examples" / "client"], input=json.dumps(plan) + "\n", capture_output=True, text=True,
    )
    if found.returncode:
        raise SystemExit(found.stderr[-3000:])
    return json.loads(found.stdout)


class Measured:
    """One server, its rounds."""

    def __init__(self, server, port, mock):
        self.server, self.port, self.mock, self.rounds = server, port, mock, []

    def round(self, streams, rate, seconds, seed, connections=64):
        pid = self.server.process.pid
        before, mock_before = cpu(pid), cpu(self.mock.process.pid)
        found = load(target(self.server.name, self.port, "chat", "big", TEXT, streams), rate, seconds, seed, connections)
        found["cpu"] = (cpu(pid) - before) / (rate * (seconds + 0.5)) * 1e6
        found["clients"] = found["busy"] + (cpu(self.mock.process.pid) - mock_before) / found["seconds"]
        if found["refused"]:
            raise SystemExit(f"{self.server.name} refused {found['refused']} of {found['count']}")
        self.rounds.append(found)
        return found

    def median(self, *path):
        def at(found):
            for part in path:
                found = found[part]
            return found
        return statistics.median(at(found) for found in self.rounds)


def rounds(measured, streams, rate, args, connections=64):
    for one in measured:
        one.rounds.clear()
    for number in range(args.rounds):
        # Nobody always comes behind the same other.
        turned = measured[number % len(measured):] + measured[: number % len(measured)]
        for one in turned:
            one.round(streams, rate, args.seconds, number + 1, connections)


def highest(measured, args):
    """The most asks a second at which the clients' core is less than 70 % busy, and each server's less than half: by a hundred."""
    if args.rate:
        return args.rate
    rate = 1000
    while rate < 40_000:
        found = [one.round(False, rate * 1.25, 2, 1) for one in measured]
        if found[0]["clients"] > BUSY or any(one["cpu"] * rate * 1.25 > HALF * 1e6 for one in found[1:]):
            break
        rate *= 1.25
    return round(rate, -2)


def ratio(one, other):
    return f"{one / other:.2f} x" if other else "-"


def tell(title, measured, count=1):
    direct = measured[0]
    nginx = next((one for one in measured if one.server.name == "nginx"), None)
    added = lambda one, *path: (one.median(*path) - direct.median(*path)) / 1e3
    print(f"\n== {title}")
    print("| server | p50 ms | p99 ms | p99.9 ms | added p50 | added p99 | CPU µs | by nginx's | clients' core busy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for one in measured:
        p50, p99, p999 = (one.median("last", share) / 1e3 for share in ("p50", "p99", "p999"))
        takes = one.median("cpu") / count
        mine = "" if one is direct else f"+{added(one, 'last', 'p50'):.3f} | +{added(one, 'last', 'p99'):.3f} | {takes:.1f} | {ratio(takes, nginx.median('cpu') / count) if nginx else '-'}"
        print(f"| {one.server.name} | {p50:.3f} | {p99:.3f} | {p999:.3f} | {mine or '- | - | - | -'} | {one.median('clients') * 100:.0f} % |", flush=True)


def tell_gaps(measured):
    """What is between two parts of a stream: those of the endpoint are 10 ms apart."""
    print("\n| server | between tokens: p50 ms | p99 | p99.9 |\n| --- | --- | --- | --- |")
    for one in measured:
        p50, p99, p999 = (one.median("gaps", share) / 1e3 for share in ("p50", "p99", "p999"))
        print(f"| {one.server.name} | {p50:.3f} | {p99:.3f} | {p999:.3f} |", flush=True)


def verdict(measured, peer=None):
    """Says of ours what is over a bar; whether anything is."""
    direct, nginx = measured[:2]
    is_over = False
    for one in measured[2:]:
        added = (one.median("last", "p99") - direct.median("last", "p99")) / 1e3
        takes = one.median("cpu")
        found = {f"added p99 {added:.2f} ms of {ADDED}": added > ADDED, f"{takes / nginx.median('cpu'):.2f} of {BY_NGINX} x nginx's": takes > BY_NGINX * nginx.median("cpu")}
        if peer:
            share = peer.median("cpu") / takes
            found = {f"1/{share:.0f} of LiteLLM's, bar 1/{OF_PEER}": share < OF_PEER}
        for words, over in found.items():
            print(f"{one.server.name}: {words}{': OVER THE BAR' if over else ''}", flush=True)
            is_over |= over
    return is_over


def stolen():
    """Of the machine's time so far: what its host took, and all."""
    times = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[7], sum(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="whole,peer,streams")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--peer-rate", type=float, default=30)
    parser.add_argument("--events", default="1,64", help="of a whole answer, as the endpoint streams it to the router")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--without-build", action="store_true")
    args = parser.parse_args()
    if not shutil.which("nginx"):
        raise SystemExit("nginx is not there: install the distribution's, for instance with `apt-get install nginx-light`")
    if not args.without_build:
        build()
    if args.realtime:
        FIRST.extend(REALTIME)
    only, is_over = args.only.split(","), False
    began = stolen()
    for events in (int(number) for number in args.events.split(",")):
        said = f"whole answers of 1 kB, {events} event{'s' * (events > 1)} behind the router"
        with everybody(bytes=1024, events=events, every_ms=0) as (begin, mock, measured):
            if "whole" in only:
                rate = highest(measured, args)
                rounds(measured, False, rate, args)
                tell(f"{said}, {rate:.0f} a second", measured)
                is_over |= verdict(measured)
            if "peer" in only and not args.without_peer:
                peer = begin(Peer([("big", "OpenAI", measured[0].port)]))
                peer.round(False, 5, 2, 1)
                rounds([*measured, peer], False, args.peer_rate, args)
                tell(f"{said}, {args.peer_rate:.0f} a second", [*measured, peer])
                is_over |= verdict(measured, peer)
    if "streams" in only:
        with everybody(bytes=320, events=64, every_ms=10) as (begin, _, measured):
            for one in measured:
                one.round(True, STREAMS, 1, 1, 256)
            rounds(measured, True, STREAMS, args, 256)
            tell(f"streams of 64 events, {STREAMS} a second: CPU is of an event", measured, 64)
            tell_gaps(measured)
            if not args.without_peer:
                peer = begin(Peer([("big", "OpenAI", measured[0].port)]))
                peer.round(True, 1, 2, 1)
                rounds([*measured, peer], True, PEER_STREAMS, args, 256)
                tell(f"streams of 64 events, {PEER_STREAMS} a second: CPU is of an event", [*measured, peer], 64)
                tell_gaps([*measured, peer])
    took, time_of_all = (now - then for now, then in zip(stolen(), began))
    print(f"\nmeanwhile the host took {took / time_of_all:.1%} of the machine's time")
    raise SystemExit(is_over)


@contextlib.contextmanager
def everybody(**what):
    """What begins a server and measures it; the mock; and all but the peer, the mock itself first."""
    with contextlib.ExitStack() as stack:
        def start(server):
            port = stack.enter_context(running(server))
            for pid in family(server.process.pid) if FIRST else []:
                subprocess.run(["chrt", "--all-tasks", "--rr", "--pid", "1", str(pid)], check=True)
            return server, port
        mock, port = start(Mock(**what))
        collector = start(Sink())[1]
        begin = lambda server: Measured(*start(server), mock)
        yield begin, mock, [Measured(mock, port, mock), begin(Nginx(port)), begin(Bare(port)), begin(Full(port, collector))]


class Sink:
    """A collector of traces that throws them away."""

    name = "collector"

    def command(self, port, _folder):
        plan = json.dumps({"measure": "sink", "listen": f"127.0.0.1:{port}"})
        return ["taskset", "-c", CLIENTS, RELEASE / "examples" / "client", plan]


if __name__ == "__main__":
    main()
