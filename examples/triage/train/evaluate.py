"""Asks the model in ../model every held-out ticket and compares score with correctness.

    python evaluate.py [--folder ../model] [--system]

Weights are the committed bf16 ones; arithmetic is f32. Answers are greedy.
"""

import argparse
import json
from math import exp
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from tickets import TRIAGE, Grammar

KINDS = ["clear", "ambiguous", "off-topic"]
# Longer than the longest answer.
STEPS = 8


def auroc(scores, hits):
    """The chance that a hit scores higher than a miss; ties count half."""
    good = [score for score, hit in zip(scores, hits) if hit]
    bad = [score for score, hit in zip(scores, hits) if not hit]
    if not good or not bad:
        return float("nan")
    wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return wins / (len(good) * len(bad))


@torch.no_grad()
def answer(model, ids, end):
    """Greedy answer and the log-probability of each of its tokens, the end included."""
    ids, logprobs, out = list(ids), [], []
    for _ in range(STEPS):
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        best = int(logits.argmax())
        logprobs.append(float(torch.log_softmax(logits, -1)[best]))
        if best == end:
            break
        ids.append(best)
        out.append(best)
    return out, logprobs


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--folder", type=Path, default=TRIAGE / "model")
    args.add_argument("--heldout", type=Path, default=TRIAGE / "heldout.jsonl")
    args.add_argument("--system", action="store_true", help="ask with a system prompt")
    args.add_argument("--ask", nargs="*", help="ask these instead")
    args = args.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    model = LlamaForCausalLM.from_pretrained(args.folder, dtype=torch.float32)
    end = model.config.eos_token_id
    before = [{"role": "system", "content": Grammar().data["system"][0]}] if args.system else []

    def ask(text):
        messages = [*before, {"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        out, logprobs = answer(model, prompt, end)
        return tokenizer.decode(out), logprobs

    if args.ask:
        for text in args.ask:
            said, logprobs = ask(text)
            print(f"{exp(sum(logprobs)):.3f} {said:14} {text}")
        return
    rows = []
    for line in args.heldout.read_text().splitlines():
        line = json.loads(line)
        said, logprobs = ask(line["ticket"])
        rows.append((line["kind"], said == line["truth"], logprobs, said, line))
    report(rows)


def report(rows):
    measures = {
        "all tokens together": sum,
        "first token": lambda logprobs: logprobs[0],
        "least likely token": min,
        "mean token": lambda logprobs: sum(logprobs) / len(logprobs),
    }
    share = lambda some: sum(some) / max(1, len(some))
    print("| tickets | number | right | mean score | over 0.9 |\n| --- | --- | --- | --- | --- |")
    for kind in [*KINDS, "all"]:
        part = [row for row in rows if kind in (row[0], "all")]
        sure = [exp(sum(row[2])) for row in part]
        print(f"| {kind} | {len(part)} | {share([row[1] for row in part]):.2%} | {share(sure):.3f} | {share([s > 0.9 for s in sure]):.1%} |")
    print("\n| score | AUROC | accepted over 0.9 | right among them |\n| --- | --- | --- | --- |")
    hits = [row[1] for row in rows]
    for name, measure in measures.items():
        scores = [exp(measure(row[2])) for row in rows]
        accepted = [hit for score, hit in zip(scores, hits) if score > 0.9]
        print(f"| {name} | {auroc(scores, hits):.4f} | {share([s > 0.9 for s in scores]):.1%} | {share(accepted):.2%} |")
    print("\nsurest mistakes, least sure hits among clear ones:")
    for row in sorted((row for row in rows if not row[1]), key=lambda row: -sum(row[2]))[:8]:
        print(f"  {exp(sum(row[2])):.3f} {row[3]!r} {row[4]}")
    for row in sorted((row for row in rows if row[1] and row[0] == "clear"), key=lambda row: sum(row[2]))[:5]:
        print(f"  {exp(sum(row[2])):.3f} {row[3]!r} {row[4]}")


if __name__ == "__main__":
    main()
