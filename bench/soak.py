"""Clients that come, cancel, stall and leave, for as long as wanted, and what the worker is left with.

    bench/run soak [--minutes 30] [--clients 48] [--seed 1]

The worker runs the example's model with adapters that come and go. Each client in turn draws what it
does: chats, streamed or not, with forms, tools, several choices, log-probabilities and adapters;
completions, vectors, tokens; what is malformed or too long; and it may leave in the middle, or not
read at all what is more than sockets hold, for longer than the worker waits for it. Printed each minute: answers so far, the worker's memory, open descriptors,
threads, and sequences and blocks in use. In the end all clients go, and it fails if sequences or
blocks are still in use, if there are more descriptors than in the beginning or more threads than in
the third minute, if memory grew by more than a quarter since then, or if any answer was a 5xx or
broke off.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import struct
import tempfile
import time
from pathlib import Path

from models import ROOT, run
from servers import Ours, memory, serving

MODEL = ROOT / "examples" / "triage" / "model"
ADAPTERS = [f"a{index}" for index in range(6)]
# Of the worker with those who do not read; it closes their connections half a minute after.
PATIENCE = 5
WORDS = "the printer is on fire again please refund my invoice number 4711 and reset the password of our admin".split()


def write_adapter(folder, seed):
    """One of rank 4 on queries and values, in f32."""
    config = json.loads((MODEL / "config.json").read_text())
    hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    draw, header, parts, offset = random.Random(seed), {}, [], 0
    for layer in range(config["num_hidden_layers"]):
        for name, rows in (("q_proj", heads * config["head_dim"]), ("v_proj", kv * config["head_dim"])):
            for side, shape in (("lora_A", (4, hidden)), ("lora_B", (rows, 4))):
                numbers = [draw.gauss(0, 0.02) for _ in range(shape[0] * shape[1])]
                end = offset + 4 * len(numbers)
                place = f"base_model.model.model.layers.{layer}.self_attn.{name}.{side}.weight"
                header[place] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
                parts.append(struct.pack(f"<{len(numbers)}f", *numbers))
                offset = end
    folder.mkdir()
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(told))


def list_adapters(folder, names):
    """As a whole or not at all, as a ConfigMap changes."""
    entries = [{"name": name, "source": f"file://{folder / name}"} for name in names]
    (folder / "adapters.json.new").write_text(json.dumps(entries))
    os.replace(folder / "adapters.json.new", folder / "adapters.json")


def text(draw, most=60):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))


def form(draw):
    """One of some hundred, so that compiled ones are let go of."""
    names = [f"field{draw.randrange(12)}" for _ in range(draw.randint(1, 3))]
    kinds = [{"type": "integer"}, {"type": "string", "maxLength": draw.randint(3, 9)}, {"enum": ["a", "b"]}]
    schema = {"type": "object", "properties": {name: draw.choice(kinds) for name in names}, "required": names}
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def chat(draw):
    body = {"model": draw.choice(["m", "m", "m", *(f"m:{name}" for name in ADAPTERS)])}
    body["messages"] = [{"role": "user", "content": text(draw)}]
    body["max_tokens"] = draw.randint(1, 200)
    body["stream"] = draw.random() < 0.6
    if draw.random() < 0.5:
        body |= {"temperature": draw.random() * 2, "seed": draw.randrange(99), "ignore_eos": draw.random() < 0.7}
    if draw.random() < 0.2:
        body |= {"n": draw.randint(2, 4), "temperature": 1}
    if draw.random() < 0.2:
        body |= {"logprobs": True, "top_logprobs": draw.randint(0, 20)}
    if draw.random() < 0.15:
        body["response_format"] = form(draw)
    elif draw.random() < 0.1:
        parameters = {"type": "object", "properties": {"x": {"type": "integer"}}}
        body["tools"] = [{"type": "function", "function": {"name": "look", "parameters": parameters}}]
        body["tool_choice"] = draw.choice(["auto", "required"])
    return "/v1/chat/completions", body


def request(draw):
    """A path, and a body that should be answered or refused."""
    kind = draw.random()
    if kind < 0.6:
        return chat(draw)
    if kind < 0.75:
        echo = {"echo": True, "logprobs": 3} if draw.random() < 0.3 else {}
        body = {"model": "m", "prompt": [text(draw) for _ in range(draw.randint(1, 4))], "max_tokens": draw.randint(1, 60)}
        return "/v1/completions", body | echo | {"stream": draw.random() < 0.5 and not echo}
    if kind < 0.82:
        return "/v1/embeddings", {"model": "m", "input": [text(draw) for _ in range(draw.randint(1, 8))]}
    if kind < 0.86:
        return "/tokenize", {"model": "m", "prompt": text(draw)}
    path, body = chat(draw)
    wrong = [
        {"messages": []}, {"messages": [{"role": "user", "content": text(draw, 5000)}]}, {"max_tokens": -1}, {"n": 500},
        {"model": "nobody"}, {"stop": ["x"] * 5000}, {"logit_bias": {"999999": 1}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "(a|b)*a(a|b){28}"}}}},
    ]
    return path, body | draw.choice(wrong)


def much(draw):
    """What is more than sockets hold, so that it is not taken if it is not read."""
    body = {"model": "m", "messages": [{"role": "user", "content": text(draw)}], "max_tokens": 400, "ignore_eos": True}
    body |= {"temperature": 2, "n": 8, "logprobs": True, "top_logprobs": 20, "stream": draw.random() < 0.7}
    return "/v1/chat/completions", body


async def ask(port, draw):
    """How it ended, as a client sees it."""
    behaviour = draw.choices(["reads", "leaves", "stalls", "breaks"], [70, 15, 8, 4])[0]
    path, body = much(draw) if behaviour == "stalls" else request(draw)
    payload = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12)
    try:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n"
        writer.write(head.encode() + b"connection: close\r\n\r\n")
        if behaviour == "breaks":
            writer.write(payload[: draw.randrange(len(payload))])
            await asyncio.sleep(draw.random() * 2)
            return "broke the request off"
        writer.write(payload)
        await writer.drain()
        if behaviour == "leaves":
            await asyncio.sleep(draw.expovariate(4))
            return "left"
        status = int((await reader.readline()).split()[1])
        if behaviour == "stalls":
            # Longer than anybody waits for it: the worker closes what it could not send.
            await asyncio.sleep(PATIENCE + 40)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 30)
            return "stalled"
        said = await reader.read()
        if status == 200 and body.get("stream") and b"data: [DONE]" not in said:
            return "200, and broke off"
        return str(status)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def client(port, draw, until, ended):
    while time.monotonic() < until:
        try:
            ended[await ask(port, draw)] += 1
        except (OSError, IndexError, asyncio.IncompleteReadError) as error:
            ended[f"no answer: {type(error).__name__}"] += 1
        await asyncio.sleep(draw.expovariate(20))


def look(server):
    process, load = server.process.pid, server.load()["worker"]
    return {
        "own": memory(server.process)["own"],
        "descriptors": len(os.listdir(f"/proc/{process}/fd")),
        "threads": len(os.listdir(f"/proc/{process}/task")),
        "running": load["running"],
        "waiting": load["waiting"],
        "blocks": load["blocks_used"],
    }


def tell(minute, ended, seen):
    cells = [f"{minute:.0f}", sum(ended.values()), f"{seen['own'] / 1e6:.1f}"]
    print("|", " | ".join(map(str, [*cells, *list(seen.values())[1:]])), "|", flush=True)


async def soak(server, port, folder, args):
    ended, draws = collections.Counter(), random.Random(args.seed)
    began = time.monotonic()
    until = began + 60 * args.minutes
    clients = [
        asyncio.create_task(client(port, random.Random(draws.random()), until, ended)) for _ in range(args.clients)
    ]
    first, settled, told = look(server), None, 0
    tell(0, ended, first)
    while time.monotonic() < until:
        await asyncio.sleep(min(10, max(0.1, until - time.monotonic())))
        list_adapters(folder, [name for name in ADAPTERS if draws.random() < 0.7])
        minute = int((time.monotonic() - began) // 60)
        if minute > told:
            told, seen = minute, await asyncio.to_thread(look, server)
            tell(minute, ended, seen)
            settled = seen if minute == int(args.minutes / 3) else settled
    await asyncio.gather(*clients)
    # Answers that were left are still written to the end of a step or two.
    for _ in range(30):
        last = await asyncio.to_thread(look, server)
        if not (last["running"] or last["waiting"] or last["blocks"]) and last["descriptors"] <= first["descriptors"]:
            break
        await asyncio.sleep(1)
    tell(args.minutes, ended, last)
    print("\nended:", ", ".join(f"{how}: {count}" for how, count in ended.most_common()))
    return first, settled, last, ended


def judge(first, settled, last, ended):
    wrong = [f"{name} is {last[name]}, and not 0" for name in ("running", "waiting", "blocks") if last[name]]
    for name, before in (("descriptors", first), ("threads", settled)):
        if last[name] > before[name]:
            wrong.append(f"{name}: {before[name]}, then {last[name]}")
    if last["own"] > 1.25 * settled["own"]:
        wrong.append(f"memory grew from {settled['own']} to {last['own']}")
    wrong += [f"{how}: {count}" for how, count in ended.items() if how.startswith(("5", "no answer", "200,"))]
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.minutes < 6:
        parser.error("what grows after a third of the time is seen in six minutes at least")
    run("cargo", "build", "--quiet", "--release", "--package", "weir-worker", cwd=ROOT)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed, name in enumerate(ADAPTERS):
            write_adapter(folder / name, seed)
        list_adapters(folder, ADAPTERS)
        server = Ours(MODEL, {"--adapters": folder, "--context-tokens": 512, "--max-waiting": 8, "--reader-patience": f"{PATIENCE}s"})
        with serving(server, 16) as port:
            heads = ["minute", "ended", "own MB", "descriptors", "threads", "running", "waiting", "blocks"]
            print("|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|")
            wrong = judge(*asyncio.run(soak(server, port, folder, args)))
    raise SystemExit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
