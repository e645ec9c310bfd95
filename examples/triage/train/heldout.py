"""Writes ../heldout.jsonl: tickets that training never sees, with the truth."""

import json
import random

from tickets import TRIAGE, Grammar

SEED = 7
COUNTS = {"clear": 840, "ambiguous": 180, "off-topic": 180}


def main():
    grammar = Grammar()
    rng = random.Random(SEED)
    seen, lines = set(), []
    for kind, count in COUNTS.items():
        while count:
            ticket = grammar.ticket(kind, rng, held_out=True)
            if ticket.text in seen:
                continue
            seen.add(ticket.text)
            lines.append({"ticket": ticket.text, "kind": kind, "truth": ticket.truth})
            count -= 1
    rng.shuffle(lines)
    path = TRIAGE / "heldout.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    main()
