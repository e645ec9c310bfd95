"""The worker's engine beside llama.cpp and candle's own models, on models of random weights.

    bench/run worker [--rounds N] [--models 1b,0.5b] [--types Q4_0,Q4_K_M,Q8_0,BF16]
                     [--depths 0,2048,8192] [--peers llama,candle] [--candle-depths 0] [--llama BUILD]

Builds llama.cpp from the source distribution of llama-cpp-python (about ten minutes, once), makes
the models with the gguf package and llama-quantize, then runs the engines in turn, two threads
each, and prints tokens a second, ratios of the medians, and the share of the memory's read
bandwidth that decode reaches: bytes of the weights, read once a token, by the bandwidth that a loop
of our own has measured in the same rounds. Keys and values are in f16 with ours and llama.cpp, in
f32 with candle, which computes bf16 in f32 too. candle's reading is slow: at other depths than 0 it
takes minutes, so that it is left out there unless --candle-depths names them, and its model for
Llama in GGUF files ends at 4096 positions. Everything is kept in target/bench.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

from models import ROOT, folder, llama, model, run

EXAMPLES = ROOT / "target" / "release" / "examples"
THREADS = 2
PEERS = {"llama": "llama.cpp", "candle": "candle"}


def said(*command, **more):
    """What a program printed as JSON, on its last line."""
    lines = run(*command, stdout=subprocess.PIPE, **more).stdout.strip().splitlines()
    return json.loads(lines[-1])


def bandwidth():
    return said(EXAMPLES / "read_bandwidth", THREADS)["read"]


class Ours:
    def __init__(self, name, kind, args, programs):
        self.path, self.prompt = model(name, kind, programs), args.prompt

    def run(self, depth, tokens):
        found = said(EXAMPLES / "speed", self.path, self.prompt if depth == 0 else 1, depth, tokens)
        self.load = {"load": found["load"], **found["load_phases"]}
        return found


class Llama:
    def __init__(self, name, kind, args, programs):
        self.path, self.prompt = model(name, kind, programs), args.prompt
        self.program = programs / "llama-bench"

    def run(self, depth, tokens):
        more = ["-p", self.prompt] if depth == 0 else ["-p", 0]
        asked = ["-m", self.path, "-t", THREADS, "-r", 1, "-n", tokens, "-d", depth, *more, "-o", "json"]
        rows = json.loads(run(self.program, *asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
        return {"read" if row["n_prompt"] else "write": row["avg_ts"] for row in rows}


class Candle:
    def __init__(self, name, kind, args, programs):
        self.path = folder(name) if kind == "BF16" else model(name, kind, programs)
        self.prompt, self.depths = args.prompt, numbers(args.candle_depths)

    def run(self, depth, tokens):
        if depth not in self.depths:
            return None
        threads = os.environ | {"RAYON_NUM_THREADS": str(THREADS)}
        try:
            asked = (self.path, self.prompt if depth == 0 else 1, depth, tokens)
            return said(EXAMPLES / "candle_speed", *asked, env=threads)
        except subprocess.CalledProcessError:
            # What it lacks it has said on standard error.
            return None


def numbers(text):
    return [int(word) for word in text.split(",") if word]


def compare(name, kind, args, programs):
    engines = {"ours": Ours(name, kind, args, programs)}
    for peer in args.peers:
        engines[peer] = {"llama": Llama, "candle": Candle}[peer](name, kind, args, programs)
    size = engines["ours"].path.stat().st_size
    for depth in numbers(args.depths):
        bandwidths, runs = [], {engine: [] for engine in engines}
        for _ in range(args.rounds):
            bandwidths.append(bandwidth())
            for engine, of in engines.items():
                runs[engine].append(of.run(depth, args.tokens))
        for what in ("read", "write") if depth == 0 else ("write",):
            at = f"prefill {args.prompt}" if what == "read" else f"decode at {depth}"
            found = {engine: [one[what] for one in runs[engine] if one] for engine in engines}
            medians = {engine: statistics.median(rates) for engine, rates in found.items() if rates}
            line(f"{name} {kind} ({size / 1e6:.0f} MB)", at, medians, args.peers)
            if what == "write":
                share(size, medians, statistics.median(bandwidths), args.peers)
            print(flush=True)
    load = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in engines["ours"].load.items())
    print(f"{name} {kind}: {load}", flush=True)


def line(model, at, medians, peers):
    ours = medians["ours"]
    cells = [model, at, f"{ours:.1f}"]
    for peer in peers:
        theirs = medians.get(peer)
        cells += [f"{theirs:.1f}", f"{ours / theirs:.2f} x"] if theirs else ["-", "-"]
    print("|", " | ".join(cells), "|", end="")


def share(size, medians, read, peers):
    """How much of the bandwidth each engine's decode takes."""
    shares = [f"{100 * size * medians[engine] / read / 1e9:.0f} %" if engine in medians else "-" for engine in ("ours", *peers)]
    print(f" {read:.1f} | {' | '.join(shares)} |", end="")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="1b,0.5b")
    parser.add_argument("--types", default="Q4_0,Q4_K_M,Q8_0,BF16")
    parser.add_argument("--depths", default="0,2048,8192")
    parser.add_argument("--prompt", type=int, default=512, help="how many are read at once")
    parser.add_argument("--tokens", type=int, default=32, help="how many are written in one run")
    parser.add_argument("--peers", default="llama,candle", type=lambda text: [peer for peer in text.split(",") if peer])
    parser.add_argument("--candle-depths", default="0")
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-bench and llama-quantize")
    args = parser.parse_args()
    programs = llama(args.llama)
    for package, example in (("weir-model", "speed"), ("weir-kernels", "read_bandwidth"), ("weir-reference", "candle_speed")):
        run("cargo", "build", "--quiet", "--release", "--package", package, "--example", example, cwd=ROOT)
    names = [name for peer in args.peers for name in (f"{PEERS[peer]} tok/s", "ratio")]
    shares = ["our share", *(f"{PEERS[peer]}'s share" for peer in args.peers)]
    heads = ["model", "what", "ours tok/s", *names, "read GB/s", *shares]
    print("|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|", flush=True)
    for name in args.models.split(","):
        for kind in args.types.split(","):
            compare(name, kind, args, programs)


if __name__ == "__main__":
    main()
