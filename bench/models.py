"""Models of random weights in the shapes of real ones, for `bench/run worker` and `evidence`.

As GGUF in F16 with the gguf package, from which llama-quantize makes the other types, and in bf16
as a folder of Hugging Face's layout. Everything is kept in target/bench.
"""

import json
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
PACKAGE = "llama-cpp-python==0.3.36"

# As Llama 3.2 1B, Qwen 2.5 0.5B and 1.5B.
SHAPES = {
    "1b": dict(arch="llama", hidden=2048, inner=8192, layers=16, heads=32, kv=8, dim=64, vocabulary=128256, bias=False),
    "0.5b": dict(arch="qwen2", hidden=896, inner=4864, layers=24, heads=14, kv=2, dim=64, vocabulary=151936, bias=True),
    "1.5b": dict(arch="qwen2", hidden=1536, inner=8960, layers=28, heads=12, kv=2, dim=128, vocabulary=151936, bias=True),
}
CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
CONTEXT, BASE, EPSILON = 16384, 500000.0, 1e-5

# A layer's matrices and norms in GGUF and on the hub.
PARTS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


def python():
    """Python with the package that writes GGUF."""
    folder = WORK / "python"
    if not (folder / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "--quiet", "gguf==0.19.0", "numpy")
    return folder / "bin" / "python"


def llama(build):
    """llama.cpp's programs, from a build or built (about ten minutes, once)."""
    if build:
        return build / "bin"
    build = WORK / "llama-build"
    if not (build / "bin" / "llama-server").exists():
        WORK.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", WORK, PACKAGE)
        with tarfile.open(next(WORK.glob("llama_cpp_python-*.tar.gz"))) as packed:
            packed.extractall(WORK / "llama", filter="data")
        source = next((WORK / "llama").glob("*/vendor/llama.cpp"))
        run("cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_UI=OFF")
        run("ninja", "-C", build, "llama-bench", "llama-quantize", "llama-server")
    return build / "bin"


def model(name, kind, programs):
    """A GGUF file of that shape and type."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{name}-{kind}.gguf"
    if not path.exists():
        whole = WORK / f"{name}-F16.gguf"
        if not whole.exists():
            run(python(), __file__, "gguf", name, whole)
        run(programs / "llama-quantize", whole, path, kind, 2, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def folder(name):
    """The same shape in bf16, as Hugging Face lays models out."""
    path = WORK / f"{name}-bf16"
    if not (path / "config.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        run(python(), __file__, "folder", name, path)
    return path


def shapes(shape):
    """Each tensor's name in GGUF without its layer, its layer if it has one, and its shape."""
    hidden, query, kv, inner = shape["hidden"], shape["heads"] * shape["dim"], shape["kv"] * shape["dim"], shape["inner"]
    yield "token_embd.weight", None, (shape["vocabulary"], hidden)
    yield "output_norm.weight", None, (hidden,)
    for layer in range(shape["layers"]):
        yield "attn_norm.weight", layer, (hidden,)
        yield "ffn_norm.weight", layer, (hidden,)
        for name, rows, columns in [
            ("attn_q", query, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden), ("attn_output", hidden, query),
            ("ffn_gate", inner, hidden), ("ffn_up", inner, hidden), ("ffn_down", hidden, inner),
        ]:
            yield f"{name}.weight", layer, (rows, columns)
        if shape["bias"]:
            for name, length in [("attn_q", query), ("attn_k", kv), ("attn_v", kv)]:
                yield f"{name}.bias", layer, (length,)


def numbers(draw, shape):
    import numpy

    if len(shape) == 1:
        return numpy.ones(shape, dtype=numpy.float32)
    return draw.standard_normal(shape, dtype=numpy.float32) * shape[1] ** -0.5


def write_gguf(path, shape):
    """In f16; runs in the Python of `python()`."""
    import gguf
    import numpy

    draw = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, shape["arch"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["inner"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv"])
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(BASE)
    writer.add_rope_dimension_count(shape["dim"])
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    # The only merge makes one token of two.
    tokens = ["t", "0", *(f"t{index}" for index in range(shape["vocabulary"] - 2))]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["t 0"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, layer, size in shapes(shape):
        values = numbers(draw, size)
        place = name if layer is None else f"blk.{layer}.{name}"
        writer.add_tensor(place, values if len(size) == 1 else values.astype(numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_folder(path, shape):
    """In bf16, cut off and not rounded; runs in the Python of `python()`."""
    import numpy

    around = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    draw, header, offset = numpy.random.default_rng(1), {}, 0
    for name, layer, size in shapes(shape):
        part, kind = name.rsplit(".", 1)
        place = around[name] if layer is None else f"model.layers.{layer}.{PARTS[part]}.{kind}"
        end = offset + 2 * int(numpy.prod(size))
        header[place] = {"dtype": "BF16", "shape": list(size), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, size in shapes(shape):
            file.write((numbers(draw, size).view(numpy.uint32) >> 16).astype("<u2").tobytes())
    (path / "tokenizer.json").write_text("{}")
    (path / "config.json").write_text(json.dumps({
        "architectures": [CLASSES[shape["arch"]]], "vocab_size": shape["vocabulary"], "hidden_size": shape["hidden"],
        "intermediate_size": shape["inner"], "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv"], "max_position_embeddings": CONTEXT, "rms_norm_eps": EPSILON,
        "rope_theta": BASE, "tie_word_embeddings": True,
    }))


if __name__ == "__main__":
    kind, name, path = sys.argv[1:]
    {"gguf": write_gguf, "folder": write_folder}[kind](Path(path), SHAPES[name])
