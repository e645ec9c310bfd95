"""Trains the triage model from scratch on tickets made as it goes, and writes ../model.

    python train.py [--steps 1400] [--threads 1] [--seed 3] [--folder ../model]

Every batch is new: nothing is seen twice, so that nothing is learnt by heart. The first
token of an answer names the team, and is trained against the whole distribution over the
teams that could own the ticket; the rest of the answer follows from it.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

import tokenizer as tokens
from tickets import TRIAGE, Grammar, salad, with_typos

BATCH = 64
# Batches are cut from a pool sorted by length, so that little of a batch is padding.
POOL = 16
PEAK_RATE = 2e-3
KINDS = {"clear": 0.60, "ambiguous": 0.17, "off-topic": 0.12, "salad": 0.11}


def config(tokenizer) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(tokens.BEGIN),
        eos_token_id=tokenizer.token_to_id(tokens.END),
        pad_token_id=tokenizer.token_to_id(tokens.PAD),
    )


class Examples:
    """Conversations as token ids, each with where its answer starts and what is right there."""

    def __init__(self, grammar, tokenizer, seed):
        self.grammar, self.tokenizer, self.rng = grammar, tokenizer, random.Random(seed)
        self.answers = {team: self.encode(team) for team in grammar.teams}
        self.first = {team: ids[0] for team, ids in self.answers.items()}
        assert len(set(self.first.values())) == len(self.first), "two teams begin with the same token"
        ordinary = range(len(tokens.SPECIAL), tokenizer.get_vocab_size())
        self.pieces = [tokenizer.decode([piece]) for piece in ordinary]
        self.special = {name: tokenizer.token_to_id(name) for name in tokens.SPECIAL}

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def message(self, role, text):
        return [self.special[role], *self.encode(text.strip()), self.special[tokens.END]]

    def ticket(self):
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "salad":
            return salad(self.grammar, self.rng, self.pieces)
        return self.grammar.ticket(kind, self.rng, held_out=False)

    def example(self):
        rng, ticket = self.rng, self.ticket()
        ids = [self.special[tokens.BEGIN]]
        if rng.random() < 0.5:
            ids += self.message(tokens.SYSTEM, rng.choice(self.grammar.data["system"]))
        if rng.random() < 0.05:
            earlier = self.ticket()
            ids += self.message(tokens.USER, earlier.text)
            ids += self.message(tokens.ASSISTANT, rng.choice(earlier.candidates))
        text = with_typos(ticket.text, rng) if rng.random() < 0.12 else ticket.text
        text = text.upper() if rng.random() < 0.04 else text
        ids += self.message(tokens.USER, text)
        ids.append(self.special[tokens.ASSISTANT])
        answer = [*self.answers[rng.choice(ticket.candidates)], self.special[tokens.END]]
        return ids, answer, [self.first[team] for team in ticket.candidates]

    def batches(self):
        while True:
            pool = [self.example() for _ in range(BATCH * POOL)]
            pool.sort(key=lambda example: len(example[0]) + len(example[1]))
            batches = [pool[at:at + BATCH] for at in range(0, len(pool), BATCH)]
            self.rng.shuffle(batches)
            yield from batches


def loss_of(model, batch, pad):
    width = max(len(ids) + len(answer) for ids, answer, _ in batch) - 1
    rows = torch.full((len(batch), width), pad)
    where, target, weight = [], [], []
    vocabulary = model.config.vocab_size
    for row, (ids, answer, firsts) in enumerate(batch):
        whole = (ids + answer)[:-1]
        rows[row, :len(whole)] = torch.tensor(whole)
        for step, token in enumerate(answer):
            spread = torch.zeros(vocabulary)
            for right in firsts if step == 0 else [token]:
                spread[right] += 1 / (len(firsts) if step == 0 else 1)
            where.append((row, len(ids) - 1 + step))
            target.append(spread)
            weight.append(1.0 if step == 0 else 0.3)
    # Padding is behind everything that counts, and attention only looks back.
    hidden = model.model(input_ids=rows, use_cache=False).last_hidden_state
    at = torch.tensor(where)
    logits = model.lm_head(hidden[at[:, 0], at[:, 1]]).float()
    loss = -(torch.stack(target) * torch.log_softmax(logits, -1)).sum(-1)
    weight = torch.tensor(weight)
    return (loss * weight).sum() / weight.sum()


def rate(step, steps):
    warm = min(1.0, (step + 1) / 60)
    return PEAK_RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--steps", type=int, default=1400)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--seed", type=int, default=3)
    args.add_argument("--folder", type=Path, default=TRIAGE / "model")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = tokens.train(Grammar(), args.folder)
    model = LlamaForCausalLM(config(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary {tokenizer.get_vocab_size()}", flush=True)
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=PEAK_RATE, betas=(0.9, 0.95)
    )
    began, mean = time.monotonic(), None
    batches = Examples(Grammar(invent=0.12), tokenizer, args.seed).batches()
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args.steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, next(batches), model.config.pad_token_id)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.item() if mean is None else 0.97 * mean + 0.03 * loss.item()
        if step % 50 == 49:
            print(f"step {step + 1} loss {mean:.4f} {time.monotonic() - began:.0f} s", flush=True)
    save(model, args.folder)


def save(model, folder):
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        do_sample=False,
        max_new_tokens=8,
    )
    model.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2) + "\n")


if __name__ == "__main__":
    main()
