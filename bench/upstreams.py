#!/usr/bin/env python3
"""What the SDKs' features come to at real servers that speak OpenAI's wire and are not OpenAI.

Every feature of `cli/tests/sdks` but those that need a stand-in which can be told to fail, asked twice: of the
server itself, and of a router before it. The servers are llama-server with the example's model (llama.cpp is built
once, in about ten minutes), by itself and behind LiteLLM's proxy. Prints the table of docs/upstreams.md, and on
standard error what failed and how.

    bench/run upstreams [--server NAME=PORT=MODEL]...   also, or with --only instead, a server that runs already
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import models
from routers import TARGET, LiteLLM, Ours, running
from servers import Llama, serving

SDKS = models.ROOT / "cli" / "tests" / "sdks"


def python():
    """One that has the SDKs, of the releases that the tests speak to."""
    packages = re.findall(r'"([a-z\[\]-]+==[0-9.*]+)"', (SDKS / "packages.rs").read_text())
    folder = TARGET / "bench" / "sdks"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
        (folder / "whole").touch()
    return folder / "bin" / "python"


def found(base, model):
    """What came of each feature, of which wire and by which client."""
    asked = subprocess.run([python(), "-sB", SDKS / "main.py", base, "none", f"compatible={model}"], capture_output=True, text=True)
    if asked.returncode:
        raise SystemExit(asked.stderr)
    rows = [json.loads(line) for line in asked.stdout.splitlines() if "outcome" in line]
    return {(row["wire"], row["feature"], row["client"]): row for row in rows}


def cell(routed, direct):
    """In a word: the router's outcome, beside that of the server itself."""
    match routed["outcome"], direct["outcome"]:
        case "none", _:
            return "–"
        case "refused", _:
            return f"refused: `{routed['why']}`"
        case "pass", _ if routed["why"]:
            return f"without `{routed['why']}`"
        case "pass", "fail":
            return "yes, not by itself"
        case "pass", _:
            return "yes"
        case _, "pass":
            return "**no**"
        case _:
            return "server"


def compared(name, at, model):
    """The cells of one server, by wire and feature."""
    with running(Ours([("routed", "OpenAICompatible", at)], asks_for=model)) as port:
        routed = found(f"http://127.0.0.1:{port}", "routed")
    direct = found(f"http://127.0.0.1:{at}", model)
    cells = {}
    for (wire, feature, client), row in routed.items():
        said = cell(row, direct[wire, feature, client])
        if said in ("**no**", "server"):
            print(f"{name}: {wire}, {feature} ({client}): {said}\n{row['why'][-700:]}", file=sys.stderr)
        cells.setdefault((wire, feature), []).append(said)
    return {feature: " / ".join(dict.fromkeys(said)) for feature, said in cells.items()}


@contextlib.contextmanager
def known():
    """llama-server, by itself and behind LiteLLM: name, port and model of each."""
    programs = models.llama(None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "triage.gguf"
        subprocess.run([models.python(), models.ROOT / "bench" / "triage-gguf.py", models.ROOT / "examples/triage/model", path], check=True)
        with serving(Llama(path, programs), 4) as llama:
            proxy = LiteLLM([("one", "OpenAI", llama)])
            with running(proxy) as litellm:
                yield [("llama-server", llama, "one"), (f"LiteLLM {proxy.version()} before it", litellm, "one")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", action="append", default=[], metavar="NAME=PORT=MODEL", help="one on this machine")
    parser.add_argument("--only", action="store_true", help="no servers but those")
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "weir-router"], cwd=models.ROOT, check=True)
    given = [tuple(server.split("=")) for server in args.server]
    with contextlib.nullcontext([]) if args.only else known() as servers:
        tables = {name: compared(name, at, model) for name, at, model in [*servers, *given]}
    print("| wire | feature | " + " | ".join(tables) + " |\n" + "| --- " * (len(tables) + 2) + "|")
    for wire, feature in next(iter(tables.values())):
        print(f"| {wire} | {feature} | " + " | ".join(cells[wire, feature] for cells in tables.values()) + " |")


main()
