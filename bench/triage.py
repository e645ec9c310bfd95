#!/usr/bin/env python3
"""What the cascade costs and gives on the held-out tickets of examples/triage, from one end to the other.

`weir up` serves the small model that comes with Weir; above it stands the stand-in frontier, which is right about every
ticket. Each threshold is a policy of its own; `all frontier` has no small tier. Every ticket is asked of each of them as
a stream, in turn, by so many clients at once. Right, cost, who answered and when the first token came are
taken from the answers and from the router's own records; what an abandoned small answer would have been long, from
asking the small model for it.

    bench/run triage [--tickets 300] [--clients 4] [--picture docs/triage.svg]
"""

import argparse
import concurrent.futures
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from models import ROOT
from routers import RELEASE, StandIn, running
from servers import free_port

THRESHOLDS = [0.3, 0.5, 0.7, 0.9, 0.97, 0.99]
PRICE = {"inputPerMillion": "3", "outputPerMillion": "15"}


def policies(frontier):
    above = {"name": "frontier", "endpoint": {
        "provider": "OpenAICompatible", "model": "stand-in-frontier", "baseUrl": f"http://127.0.0.1:{frontier}/v1", "price": PRICE,
    }}
    small = {"name": "small", "deployment": {"name": "triage"}}
    tiers = {"all-small": [small], "all-frontier": [above]}
    for threshold in THRESHOLDS:
        tiers[f"at-{threshold}"] = [small | {"accept": {"task": "Choice", "threshold": str(threshold)}}, above]
    for name, of in tiers.items():
        yield {"apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy", "metadata": {"name": name.replace(".", "-")}, "spec": {"models": [name], "tiers": of}}


class Weir:
    def __init__(self, frontier, folder):
        self.process, self.folder, self.port = None, Path(folder), free_port()
        deployment = (ROOT / "examples/triage/slmdeployment.yaml").read_text()
        documents = [deployment, *(json.dumps(policy) for policy in policies(frontier))]
        (self.folder / "world.yaml").write_text("\n---\n".join(documents))

    def __enter__(self):
        self.process = subprocess.Popen([
            RELEASE / "weir", "up", "--file", self.folder / "world.yaml", "--mount", f"/models/triage={ROOT}/examples/triage/model",
            "--listen", f"127.0.0.1:{self.port}", "--admin", "127.0.0.1:0", "--log-level", "warn", "--state", self.folder / "state",
        ], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("ready"):
                return self
        raise SystemExit("weir up did not come up")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def ask(port, model, ticket):
    """The words of the answer, milliseconds to the first of them, and the record."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {"model": model, "stream": True, "temperature": 0, "max_completion_tokens": 16, "messages": [{"role": "user", "content": ticket}]}
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{model} answered {response.status}: {response.read()}")
    text, first = "", None
    while line := response.readline():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                word = choice["delta"].get("content") or ""
                if word and first is None:
                    first = (time.perf_counter() - began) * 1e3
                text += word
    decision = response.getheader("x-weir-decision")
    for _ in range(50):
        connection.request("GET", f"/v1/decisions/{decision}")
        record = json.load(connection.getresponse())
        if record["outcome"] != "running":
            return text.strip(), first, record
        time.sleep(0.01)
    raise SystemExit(f"{decision} does not end")


class Found:
    def __init__(self, name, answers, tickets, whole):
        self.name = name
        self.right = statistics.mean(text == ticket["truth"] for (text, _, _), ticket in zip(answers, tickets))
        records = [record for _, _, record in answers]
        self.paid = sum(float(record["cost"]) for record in records)
        dear = [attempt for record in records for attempt in record["attempts"] if attempt["tier"] == "frontier"]
        self.frontier = sum(float(attempt["cost"]) for attempt in dear)
        self.kept = statistics.mean(record["tier"] == "small" for record in records)
        times = lambda tier: sorted(first for _, first, record in answers if record["tier"] == tier and first)
        self.small, self.big = times("small"), times("frontier")
        written = could = 0
        for (_, _, record), length in zip(answers, whole):
            for attempt in record["attempts"]:
                if attempt["tier"] == "small" and attempt["outcome"] == "dropped":
                    written, could = written + attempt["tokensOut"], could + length
        self.dropped = (written, could)


def median(times):
    return f"{statistics.median(times):.1f} ms" if times else "-"


def picture(found, path):
    """Right against cost, both beside asking the frontier for everything."""
    dear = next(one for one in found if one.name == "all-frontier")
    width, height, left, top, low = 640, 400, 60, 24, 0.7
    x = lambda one: left + (width - left - 30) * one.paid / dear.paid
    y = lambda right: top + (height - top - 50) * (1 - right) / (1 - low)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for share in range(0, 11, 2):
        at = left + (width - left - 30) * share / 10
        parts.append(f'<line x1="{at:.0f}" y1="{top}" x2="{at:.0f}" y2="{height - 50}" stroke="#ddd"/><text x="{at:.0f}" y="{height - 32}" text-anchor="middle" fill="#444">{share * 10} %</text>')
    for right in (0.7, 0.8, 0.9, 1.0):
        parts.append(f'<line x1="{left}" y1="{y(right):.0f}" x2="{width - 30}" y2="{y(right):.0f}" stroke="#ddd"/><text x="{left - 6}" y="{y(right) + 4:.0f}" text-anchor="end" fill="#444">{right:.0%}</text>')
    curve = sorted((one for one in found), key=lambda one: one.paid)
    line = " ".join(f"{x(one):.1f},{y(one.right):.1f}" for one in curve)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#1668a8" stroke-width="2"/>')
    for place, one in enumerate(curve):
        name = one.name.replace("at-", "").replace("-", " ")
        below = 18 if place % 2 else -9
        anchor = "end" if one is curve[-1] else "start"
        parts.append(f'<circle cx="{x(one):.1f}" cy="{y(one.right):.1f}" r="4" fill="#1668a8"/><text x="{x(one) + (-6 if anchor == "end" else 6):.1f}" y="{y(one.right) + below:.1f}" text-anchor="{anchor}" fill="#000">{name}</text>')
    parts.append(f'<text x="{(width + left) / 2:.0f}" y="{height - 10}" text-anchor="middle">cost, of asking the frontier for everything</text>')
    parts.append(f'<text x="16" y="{height / 2:.0f}" text-anchor="middle" transform="rotate(-90 16 {height / 2:.0f})">right</text></svg>')
    Path(path).write_text("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickets", type=int, default=300)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--picture")
    parser.add_argument("--without-build", action="store_true")
    args = parser.parse_args()
    if not args.without_build:
        subprocess.run(["cargo", "build", "--release", "-p", "weir", "-p", "weir-stand-in", "--bins"], cwd=ROOT, check=True)
    lines = (ROOT / "examples/triage/heldout.jsonl").read_text().splitlines()
    tickets = [json.loads(line) for line in lines[:: max(1, len(lines) // args.tickets)]]
    names = ["all-small", *(f"at-{threshold}" for threshold in THRESHOLDS), "all-frontier"]
    answers = {name: [] for name in names}
    with running(StandIn("20ms")) as frontier, tempfile.TemporaryDirectory() as folder, Weir(frontier, folder) as weir:
        with concurrent.futures.ThreadPoolExecutor(args.clients) as clients:
            for name in names:
                ask(weir.port, name, tickets[0]["ticket"])
            # By the ticket, so that whatever else the machine does hits all alike.
            for first in range(0, len(tickets), args.clients):
                some = tickets[first : first + args.clients]
                for name in names:
                    answers[name] += clients.map(lambda ticket: ask(weir.port, name, ticket["ticket"]), some)
    whole = [record["attempts"][0]["tokensOut"] for _, _, record in answers["all-small"]]
    found = [Found(name, answers[name], tickets, whole) for name in names]
    dear = found[-1]
    print(f"\n{len(tickets)} tickets of {len(lines)}, {args.clients} clients")
    print("| policy | kept by the small model | right | paid, of all frontier | first token, kept | first token, escalated | tokens of dropped answers: written, of |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for one in found:
        written, could = one.dropped
        saved = f"{written}, {could}: {1 - written / could:.0%} saved" if could else "-"
        print(f"| {one.name} | {one.kept:.1%} | {one.right:.1%} | {one.paid / dear.paid:.1%} | {median(one.small)} | {median(one.big)} | {saved} |")
    if args.picture:
        picture(found, args.picture)


if __name__ == "__main__":
    main()
