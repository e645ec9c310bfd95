#!/usr/bin/env python3
"""What the router adds to an answer, against asking the worker directly.

Both are asked the same tickets in turn, one at a time over kept-alive connections, so that
whatever else the machine does hits both alike. Prints the percentiles of both, their ratio and
their difference. Streamed answers are timed to the first byte of the first token's event.

    bench/run router-overhead
"""

import argparse
import http.client
import json
import statistics
import time


def ask(connection: http.client.HTTPConnection, model: str, question: str, stream: bool):
    body = json.dumps({
        "model": model, "stream": stream, "temperature": 0, "max_completion_tokens": 16,
        "messages": [{"role": "user", "content": question}],
    })
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    first = None
    if stream:
        while line := response.readline():
            if first is None and b'"content":"' in line.replace(b'": "', b'":"') and b'""' not in line:
                first = time.perf_counter()
    else:
        response.read()
    ended = time.perf_counter()
    if response.status != 200:
        raise SystemExit(f"{connection.host}:{connection.port} answered {response.status}")
    return ((first or ended) - began) * 1e3, (ended - began) * 1e3


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", required=True, help="host:port of the worker")
    parser.add_argument("--router", required=True, help="host:port of the router")
    parser.add_argument("--model", default="triage", help="a name both know: the deployment's")
    parser.add_argument("--tickets", default="examples/triage/heldout.jsonl")
    parser.add_argument("--rounds", type=int, default=400)
    args = parser.parse_args()

    tickets = [json.loads(line) for line in open(args.tickets, encoding="utf-8")]
    texts = [t.get("ticket") or t.get("text") or t["question"] for t in tickets][: args.rounds]
    connections = {n: http.client.HTTPConnection(*getattr(args, n).split(":")) for n in ("worker", "router")}
    for stream in (False, True):
        times = {"worker": [], "router": []}
        for index, text in enumerate(texts):
            order = ("worker", "router") if index % 2 else ("router", "worker")
            for name in order:
                first, whole = ask(connections[name], args.model, text, stream)
                if index >= 20:  # connections and caches are warm by then
                    times[name].append(first if stream else whole)
        what = "first token, streamed" if stream else "whole answer"
        for share, label in ((0.5, "p50"), (0.99, "p99")):
            worker, router = (percentile(times[n], share) for n in ("worker", "router"))
            print(f"{what:22} {label}: worker {worker:7.3f} ms, router {router:7.3f} ms, "
                  f"ratio {router / worker:.3f}, difference {router - worker:+.3f} ms")
        paired = [r - w for r, w in zip(times["router"], times["worker"])]
        print(f"{what:22} median of the paired differences: {statistics.median(paired):+.3f} ms over {len(paired)} asks")


if __name__ == "__main__":
    main()
