"""Servers to measure: ours and llama-server, and a client that streams from them."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.request

from models import ROOT

THREADS = 2
CONTEXT = 2048
FORM = "[t0-9]*"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Ours:
    name = "ours"

    def __init__(self, path, more=None):
        """`more` arguments go with, or take the place of, those that are given anyway."""
        self.path, self.more, self.admin = path, more or {}, free_port()

    def command(self, port, streams):
        return [
            ROOT / "target" / "release" / "weir-worker", "--model-name", "m", "--source", f"file://{self.path}",
            "--file-root", "/", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{self.admin}", "--threads", THREADS,
            "--log-level", "warn",
            *(part for name, value in ({"--context-tokens": CONTEXT, "--max-waiting": 64} | self.more).items() for part in (name, value)),
            "--max-sequences", streams,
        ]

    def body(self, prompt, tokens, form=False):
        more = {"guided_regex": FORM} if form else {}
        return {"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, **more}

    def load(self):
        """What it says of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/load", timeout=30) as answer:
            return json.load(answer)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


class Llama:
    name = "llama-server"

    def __init__(self, path, programs):
        self.path, self.program = path, programs / "llama-server"

    def command(self, port, streams):
        return [
            self.program, "-m", self.path, "--host", "127.0.0.1", "--port", port, "-t", THREADS, "-tb", THREADS,
            "-np", streams, "-c", streams * CONTEXT, "--cache-ram", 0,
        ]

    def body(self, prompt, tokens, form=False):
        more = {"grammar": "root ::= [t0-9]*"} if form else {}
        return {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "cache_prompt": False, **more}


@contextlib.contextmanager
def serving(server, streams):
    """Runs it as `server.process`, and yields its port once it is ready."""
    port = free_port()
    command = [str(part) for part in server.command(port, streams)]
    server.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_ready(server.process, port)
        yield port
    finally:
        server.process.terminate()
        server.process.wait()


def until_ready(process, port):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode}: {' '.join(process.args)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as asked:
            asked.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
            if re.match(rb"HTTP/1\.\d 200", asked.recv(64)):
                return
        time.sleep(0.05)
    raise SystemExit(f"not ready within two minutes: {' '.join(process.args)}")


class Refused(Exception):
    """Another status than 200."""

    def __init__(self, status, said):
        super().__init__(f"{status}: {said[-500:]}")
        self.status = status


async def stream(port, body):
    """The moments at which a piece came."""
    payload = json.dumps({**body, "stream": True, "temperature": 0}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n"
    writer.write(head.encode() + b"connection: close\r\n\r\n" + payload)
    moments, finish = [], None
    try:
        status = await reader.readline()
        if b" 200 " not in status:
            raise Refused(int(status.split()[1]), (await reader.read()).decode(errors="replace"))
        while line := await reader.readline():
            if not line.startswith(b"data: {"):
                continue
            choice = json.loads(line[6:])["choices"][:1]
            if choice and choice[0].get("text"):
                moments.append(time.perf_counter())
            finish = (choice[0].get("finish_reason") if choice else None) or finish
    finally:
        writer.close()
    assert finish == "length", f"an answer ended with {finish}"
    return moments


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def memory(process):
    """Bytes of the process that are its own or lie in mapped files, and the most there ever were."""
    lines = dict(line.split(":", 1) for line in open(f"/proc/{process.pid}/status"))
    of = lambda name: int(lines[name].split()[0]) * 1024
    return {"own": of("RssAnon"), "mapped": of("RssFile"), "peak": of("VmHWM")}
