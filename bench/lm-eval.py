"""The lm-evaluation-harness against a worker: bench/run lm-eval [--worker BINARY] [--every N].

The example's held-out tickets become a task of the harness, which picks the likeliest of twelve teams by
what `/v1/completions` says of prompts with `echo` and `logprobs`. Beside it stands what the worker
answers when it is asked in a chat. The harness is fetched by name through pip, into the build folder;
nothing else is fetched.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRIAGE = ROOT / "examples" / "triage"
PACKAGES = ["lm_eval[api]==0.4.13", "transformers==5.*"]
TASK = """task: triage_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tickets}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "<|begin|><|user|>{{{{ticket | trim}}}}<|end|><|assistant|>"
doc_to_choice: {choices}
doc_to_target: "{{{{truth}}}}<|end|>"
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


def harness():
    folder = ROOT / "target" / "lm-eval"
    if not (folder / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "whole").touch()
    return folder / "bin" / "python"


def tasks(folder, tickets, teams):
    """One task for each kind of ticket."""
    choices = json.dumps([f"{team}<|end|>" for team in teams])
    kinds = {}
    for ticket in tickets:
        kinds.setdefault(ticket["kind"].replace("-", "_"), []).append(ticket)
    for kind, own in kinds.items():
        path = folder / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(ticket) + "\n" for ticket in own))
        (folder / f"{kind}.yaml").write_text(TASK.format(kind=kind, tickets=path, choices=choices))
    return kinds


def evaluated(python, base, folder, kinds):
    model = f"model=triage,base_url={base}/completions,tokenizer={TRIAGE / 'model'},tokenizer_backend=huggingface"
    model += ",num_concurrent=4,max_length=512"
    command = [python, "-m", "lm_eval", "--model", "local-completions", "--model_args", model]
    command += ["--tasks", ",".join(f"triage_{kind}" for kind in kinds), "--include_path", folder]
    command += ["--batch_size", "12", "--output_path", folder / "out"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    subprocess.run(command, check=True, env=os.environ | offline, stdout=subprocess.DEVNULL)
    (found,) = (folder / "out").rglob("results_*.json")
    results = json.loads(found.read_text())["results"]
    return {kind: results[f"triage_{kind}"]["acc,none"] for kind in kinds}


def answered(base, kinds):
    """How often a chat is answered with the right team."""

    def right(ticket):
        body = {"model": "triage", "temperature": 0, "messages": [{"role": "user", "content": ticket["ticket"]}]}
        request = urllib.request.Request(
            f"{base}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)["choices"][0]["message"]["content"] == ticket["truth"]

    with ThreadPoolExecutor(4) as pool:
        return {kind: sum(pool.map(right, own)) / len(own) for kind, own in kinds.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=Path, help="a worker that is built [default: one in release mode]")
    parser.add_argument("--every", type=int, default=1, help="only each so manieth ticket")
    args = parser.parse_args()
    python = harness()
    worker = args.worker or ROOT / "target" / "release" / "weir-worker"
    if args.worker is None:
        subprocess.run(["cargo", "build", "--quiet", "--release", "--package", "weir-worker"], check=True, cwd=ROOT)
    tickets = [json.loads(line) for line in (TRIAGE / "heldout.jsonl").read_text().splitlines()]
    teams, tickets = sorted({ticket["truth"] for ticket in tickets}), tickets[:: args.every]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        kinds = tasks(folder, tickets, teams)
        command = [worker, "--model-name", "triage", "--source", "file:///model", "--file-root", TRIAGE]
        command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]
        said = folder / "said"
        with said.open("w") as log, subprocess.Popen(command, stderr=log) as process:
            try:
                base = None
                while base is None:
                    assert process.poll() is None, said.read_text()
                    found = re.search(r'"address":"([0-9.:]+)"', said.read_text())
                    base = found and f"http://{found[1]}/v1"
                harnessed, chats = evaluated(python, base, folder, kinds), answered(base, kinds)
            finally:
                process.terminate()
    print("| tickets | number | lm-evaluation-harness | answers of chats |\n| --- | --- | --- | --- |")
    for kind, own in kinds.items():
        print(f"| {kind} | {len(own)} | {100 * harnessed[kind]:.2f} % | {100 * chats[kind]:.2f} % |")
    mean = [sum(of[kind] * len(own) for kind, own in kinds.items()) / len(tickets) for of in (harnessed, chats)]
    print(f"| all | {len(tickets)} | {100 * mean[0]:.2f} % | {100 * mean[1]:.2f} % |")


main()
