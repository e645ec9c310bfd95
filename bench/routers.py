"""Routers to measure: ours and LiteLLM's proxy, the stand-in behind both, and the client that asks them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

from models import ROOT
from servers import free_port, until_ready

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RELEASE = TARGET / "release"
LITELLM = "litellm[proxy]"

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
PROVIDERS = {"OpenAI": "/v1", "OpenAICompatible": "/v1", "Anthropic": ""}


def build():
    what = ["-p", "weir-router", "-p", "weir-stand-in", "--bins", "--example", "client"]
    subprocess.run(["cargo", "build", "--release", *what], cwd=ROOT, check=True)


class StandIn:
    def __init__(self, pace):
        self.pace = pace

    def command(self, port, _folder):
        return [RELEASE / "weir-stand-in", "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--log-level", "warn", "--pace", self.pace]


class Ours:
    """A router of its own process, in a world without an API server: it serves what a file remembers."""

    name = "router"

    def __init__(self, endpoints, asks_for="big"):
        """`endpoints`: the name of a model, its provider and its port on this machine. There it is called otherwise."""
        self.endpoints, self.asks_for = endpoints, asks_for

    def policy(self, model, provider, at):
        endpoint = {"provider": provider, "model": self.asks_for, "baseUrl": f"http://127.0.0.1:{at}{PROVIDERS[provider]}"}
        return {
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy", "metadata": {"name": model.lower(), "generation": 1},
            "spec": {"models": [model], "tiers": [{"name": "one", "endpoint": endpoint}]},
        }

    def command(self, port, folder):
        policies = [self.policy(*endpoint) for endpoint in self.endpoints]
        (folder / "world").write_text(json.dumps({"policies": policies, "deployments": [], "last_good": {}, "replicas": {}}))
        (folder / "kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "none", "users": [],
            "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
            "contexts": [{"name": "none", "context": {"cluster": "none", "user": ""}}],
        }))
        return [
            "env", f"KUBECONFIG={folder / 'kubeconfig'}", RELEASE / "weir-router", "--world-file", folder / "world", "--secrets-root", folder,
            "--config-maps-root", folder, "--listen", f"0.0.0.0:{port}", "--admin", "127.0.0.1:0", "--log-level", "error", "--allow-loopback",
            "--max-asks", 4096, "--max-endpoint-asks", 4096, "--connection-patience", "20m",
        ]

    def is_there(self, port):
        """It listens before it knows what to serve."""
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models", headers={"authorization": "Bearer none"})
        with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=5) as models:
            return len(json.load(models)["data"]) == len(self.endpoints)
        return False


class LiteLLM:
    name = "LiteLLM"

    def __init__(self, endpoints):
        self.endpoints = endpoints
        self.folder = TARGET / "bench" / "litellm"
        if not (self.folder / "bin" / "litellm").exists():
            venv.create(self.folder, with_pip=True, clear=True)
            subprocess.run([self.folder / "bin" / "pip", "install", "--quiet", LITELLM], check=True)

    def version(self):
        shown = subprocess.run([self.folder / "bin" / "pip", "show", "litellm"], check=True, capture_output=True, text=True).stdout
        return next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))

    def command(self, port, folder):
        models = [
            {"model_name": model, "litellm_params": {
                "model": f"{provider.lower()}/big", "api_base": f"http://127.0.0.1:{at}{PROVIDERS[provider]}", "api_key": "none",
            }}
            for model, provider, at in self.endpoints
        ]
        (folder / "litellm.json").write_text(json.dumps({"model_list": models}))
        return [
            "env", "LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true", self.folder / "bin" / "litellm", "--config", folder / "litellm.json",
            "--host", "127.0.0.1", "--port", port, "--num_workers", "1", "--telemetry", "False",
        ]


@contextlib.contextmanager
def running(server):
    """Runs it as `server.process`, and yields its port once it serves."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(part) for part in server.command(port, Path(folder))]
        with open(Path(folder) / "said", "w+") as said:
            server.process = subprocess.Popen(command, stdout=said, stderr=said)
            try:
                until_ready(server.process, port)
                wait_until(getattr(server, "is_there", lambda _: True), port)
                yield port
            except BaseException:
                said.seek(0)
                sys.stderr.write(said.read()[-3000:])
                raise
            finally:
                server.process.terminate()
                server.process.wait()


def wait_until(is_so, *what):
    for _ in range(200):
        if is_so(*what):
            return
        time.sleep(0.1)
    raise SystemExit("it does not serve what it should")


def prefer(*processes):
    """Before everything else on the machine, all threads of it: for short measurements only."""
    for process in processes:
        subprocess.run(["chrt", "--all-tasks", "--rr", "--pid", "1", str(process.pid)], check=True)


def client(plan, realtime=False):
    """What the client found."""
    before = ["chrt", "--rr", "1"] if realtime else []
    found = subprocess.run([*before, RELEASE / "examples" / "client"], input=json.dumps(plan) + "\n", capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout)


def proportional(process):
    """Kilobytes of memory: its share of what it maps (PSS)."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def cpu_seconds(process):
    """That a process has used, in user mode and in the kernel."""
    parts = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def body(wire, model, text, stream, most=4000):
    """An ask for `text` to be said."""
    said = {"role": "user", "content": f"Say: {text}"}
    match wire:
        case "chat":
            return {"model": model, "stream": stream, "messages": [said]}
        case "messages":
            return {"model": model, "stream": stream, "max_tokens": most, "messages": [said]}
        case "responses":
            return {"model": model, "stream": stream, "input": [said]}


def headers(wire):
    return [("anthropic-version", "2023-06-01"), ("x-api-key", "none")] if wire == "messages" else [("authorization", "Bearer none")]


def target(name, port, wire, model, text, stream):
    return {
        "name": name, "address": f"127.0.0.1:{port}", "path": PATHS[wire], "headers": headers(wire),
        "body": body(wire, model, text, stream),
    }
