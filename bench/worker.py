"""The worker's engine beside llama.cpp, on models of random weights in the shapes of real ones.

    bench/run worker [--rounds N] [--models 1b,0.5b] [--types Q4_0,Q4_K_M,Q8_0,BF16]
                     [--depths 0,2048,8192] [--llama BUILD]

Builds llama.cpp from the source distribution of llama-cpp-python (about ten minutes, once), makes
the models with the gguf package and llama-quantize, then runs both engines in turn, two threads
each, and prints tokens a second and ratios of the medians. Keys and values are in f16 on both
sides. Everything is kept in target/bench.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
PACKAGE = "llama-cpp-python==0.3.36"

# As Llama 3.2 1B and Qwen 2.5 0.5B.
SHAPES = {
    "1b": dict(arch="llama", hidden=2048, inner=8192, layers=16, heads=32, kv=8, dim=64, vocabulary=128256, bias=False),
    "0.5b": dict(arch="qwen2", hidden=896, inner=4864, layers=24, heads=14, kv=2, dim=64, vocabulary=151936, bias=True),
}
PROMPT, TOKENS = 512, 32


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


def python():
    """Python with the package that writes GGUF."""
    folder = WORK / "python"
    if not (folder / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "--quiet", "gguf==0.19.0", "numpy")
    return folder / "bin" / "python"


def llama():
    """llama.cpp's programs, built."""
    build = WORK / "llama-build"
    if not (build / "bin" / "llama-bench").exists():
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", WORK, PACKAGE)
        with tarfile.open(next(WORK.glob("llama_cpp_python-*.tar.gz"))) as packed:
            packed.extractall(WORK / "llama", filter="data")
        source = next((WORK / "llama").glob("*/vendor/llama.cpp"))
        run("cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF")
        run("ninja", "-C", build, "llama-bench", "llama-quantize")
    return build / "bin"


def make(path, shape):
    """Writes a model of random weights in f16; runs in the Python of `python()`."""
    import gguf
    import numpy

    draw = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, shape["arch"])
    writer.add_context_length(16384)
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["inner"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_rope_dimension_count(shape["dim"])
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tokens = [f"t{index}" for index in range(shape["vocabulary"])]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["t 0"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)

    def matrix(name, rows, columns):
        numbers = draw.standard_normal((rows, columns), dtype=numpy.float32) * columns**-0.5
        writer.add_tensor(f"{name}.weight", numbers.astype(numpy.float16))

    def vector(name, length, kind="weight"):
        writer.add_tensor(f"{name}.{kind}", numpy.ones(length, dtype=numpy.float32))

    hidden, query, kv = shape["hidden"], shape["heads"] * shape["dim"], shape["kv"] * shape["dim"]
    matrix("token_embd", shape["vocabulary"], hidden)
    vector("output_norm", hidden)
    for layer in range(shape["layers"]):
        block = f"blk.{layer}."
        vector(block + "attn_norm", hidden)
        vector(block + "ffn_norm", hidden)
        for name, rows, columns in [
            ("attn_q", query, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden), ("attn_output", hidden, query),
            ("ffn_gate", shape["inner"], hidden), ("ffn_up", shape["inner"], hidden), ("ffn_down", hidden, shape["inner"]),
        ]:
            matrix(block + name, rows, columns)
        if shape["bias"]:
            for name, length in [("attn_q", query), ("attn_k", kv), ("attn_v", kv)]:
                vector(block + name, length, "bias")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def model(name, kind, programs):
    whole = WORK / f"{name}-F16.gguf"
    if not whole.exists():
        run(python(), __file__, "--make", name, whole)
    path = WORK / f"{name}-{kind}.gguf"
    if not path.exists():
        run(programs / "llama-quantize", whole, path, kind, 2, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def ours(path, depth):
    speed = ROOT / "target" / "release" / "examples" / "speed"
    said = run(speed, path, PROMPT if depth == 0 else 1, depth, TOKENS, stdout=subprocess.PIPE).stdout
    return json.loads(said)


def theirs(path, depth, programs):
    more = ["-p", PROMPT] if depth == 0 else ["-p", 0]
    said = run(programs / "llama-bench", "-m", path, "-t", 2, "-r", 1, "-n", TOKENS, "-d", depth, *more, "-o", "json",
               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    found = {}
    for row in json.loads(said):
        found["read" if row["n_prompt"] else "write"] = row["avg_ts"]
    return found


def compare(name, kind, args, programs):
    path = model(name, kind, programs)
    for depth in map(int, args.depths.split(",")):
        mine, peer = [], []
        for _ in range(args.rounds):
            mine.append(ours(path, depth))
            peer.append(theirs(path, depth, programs))
        for what in ("read", "write") if depth == 0 else ("write",):
            a, b = (statistics.median(one[what] for one in side) for side in (mine, peer))
            size = path.stat().st_size / 1e6
            at = f"prefill {PROMPT}" if what == "read" else f"decode at {depth}"
            print(f"| {name} {kind} ({size:.0f} MB) | {at} | {a:.1f} | {b:.1f} | {a / b:.2f} x |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="1b,0.5b")
    parser.add_argument("--types", default="Q4_0,Q4_K_M,Q8_0,BF16")
    parser.add_argument("--depths", default="0,2048,8192")
    parser.add_argument("--llama", type=Path, help="a build of llama.cpp with llama-bench and llama-quantize")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if args.make:
        make(args.make[1], SHAPES[args.make[0]])
        return
    programs = args.llama / "bin" if args.llama else llama()
    run("cargo", "build", "--quiet", "--release", "--package", "weir-model", "--example", "speed", cwd=ROOT)
    print("| model | what | ours tok/s | llama.cpp tok/s | ratio |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in args.models.split(","):
        for kind in args.types.split(","):
            compare(name, kind, args, programs)


if __name__ == "__main__":
    main()
