"""What adapters take: decode with adapters mixed, beside the model alone.

    bench/run adapters [--rounds 15] [--llama BUILD]

On the 1B shape in Q4_0: steps of 8 sequences without adapters, with 1 and with 8, and of 32 sequences
without, with 1, 8 and 32; every mix in each round, so that all meet the machine as it is. Once with
adapters on every linear layer and once on queries and values only; rank 16, in bf16, of random numbers.
"""

import argparse
import json
import random
import struct
import subprocess
from pathlib import Path

from models import PARTS, ROOT, SHAPES, WORK, llama, model, run, shapes

EXAMPLE = ROOT / "target" / "release" / "examples" / "adapters"
RANK = 16
MIXES = ["8:0", "8:1", "8:8", "32:0", "32:1", "32:8", "32:32"]
KINDS = {"every linear layer": None, "queries and values": ["attn_q", "attn_v"]}


def numbers(draw, count):
    """In bf16, small."""
    some = b"".join(struct.pack("<f", draw.uniform(-0.02, 0.02))[2:] for _ in range(4096))
    return (some * (2 * count // len(some) + 1))[:2 * count]


def adapter(folder, name, parts):
    """Low-rank tensors for some of a shape's matrices, as PEFT writes them."""
    draw, header, data, targets = random.Random(1), {}, bytearray(), set()
    for part, layer, size in shapes(SHAPES[name]):
        part = part.removesuffix(".weight")
        if layer is None or len(size) < 2 or (parts and part not in parts):
            continue
        module = f"base_model.model.model.layers.{layer}.{PARTS[part]}"
        targets.add(PARTS[part].split(".")[-1])
        for half, shape in [("A", [RANK, size[1]]), ("B", [size[0], RANK])]:
            start = len(data)
            data += numbers(draw, shape[0] * shape[1])
            header[f"{module}.lora_{half}.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, len(data)]}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": sorted(targets)}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", default="15")
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-quantize")
    args = parser.parse_args()
    run("cargo", "build", "--quiet", "--release", "--package", "weir-model", "--example", "adapters", cwd=ROOT)
    path = model("1b", "Q4_0", llama(args.llama))
    print("| adapters on | MB each | streams | adapters | step | against none |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for kind, parts in KINDS.items():
        folder = WORK / f"adapter-{kind.replace(' ', '-')}"
        adapter(folder, "1b", parts)
        lines = run(EXAMPLE, path, folder, args.rounds, *MIXES, stdout=subprocess.PIPE).stdout.strip().splitlines()
        alone = {}
        for found in map(json.loads, lines):
            streams, step = found["streams"], found["step"]
            alone.setdefault(streams, step)
            print(
                f"| {kind} | {found['bytes'] / 1e6:.1f} | {streams} | {found['adapters']} "
                f"| {1e3 * step:.1f} ms | {step / alone[streams]:.2f} x |", flush=True,
            )


if __name__ == "__main__":
    main()
