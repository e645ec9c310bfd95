"""What being sure costs: the engine's evidence beside a step of the model, and the router's cascade.

    bench/run evidence [--rows 1,64] [--llama BUILD]

On the 1B shape in Q4_0, whose vocabulary has 128256 tokens: a step of so many sequences, one token
each, and the pass over its logits from which evidence is taken. Then what the cascade takes of a
processor for each token that it follows.
"""

import argparse
import json
import subprocess
from pathlib import Path

from models import ROOT, llama, model, run

EXAMPLES = ROOT / "target" / "release" / "examples"


def said(*command):
    lines = run(*command, stdout=subprocess.PIPE).stdout.strip().splitlines()
    return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="1,64")
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-quantize")
    args = parser.parse_args()
    run("cargo", "build", "--quiet", "--release", "--package", "weir-model", "--example", "evidence", cwd=ROOT)
    run("cargo", "build", "--quiet", "--release", "--package", "weir-cascade", "--example", "follow", cwd=ROOT)
    path = model("1b", "Q4_0", llama(args.llama))
    print("| rows | step | evidence | share of both |\n| --- | --- | --- | --- |", flush=True)
    for found in said(EXAMPLES / "evidence", path, *args.rows.split(",")):
        step, evidence = found["step"], found["evidence"]
        share = 100 * evidence / (step + evidence)
        print(f"| {found['rows']} | {1e3 * step:.2f} ms | {1e3 * evidence:.3f} ms | {share:.2f} % |", flush=True)
    followed = said(EXAMPLES / "follow")[-1]["nanoseconds"]
    print(f"\nThe cascade follows a token in {followed:.0f} ns.", flush=True)


if __name__ == "__main__":
    main()
