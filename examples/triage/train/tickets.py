"""Makes support tickets, with the team that should get them, from ../tickets/grammar.json.

A ticket is one of three kinds:

- clear: it holds one matter that belongs to exactly one team;
- ambiguous: either a vague complaint about a service, whose owner stands only in the
  grammar's register, or two matters of two teams, of which the precedence list picks one;
- off-topic: no matter of any team; by the rules it goes to the general desk.

The register, the precedence list and the rule for off-topic tickets are what a small
model is not told: in training an ambiguous ticket counts equally for each team that could
own it, and an off-topic one for every team. What to answer there cannot be learnt; that
it is unsure can.

Held-out tickets share no core (the sentence that decides) with training: a hash of the
core puts it on one side, and off-topic topics are listed apart.
"""

import hashlib
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRIAGE = HERE.parent
GRAMMAR = TRIAGE / "tickets" / "grammar.json"

PART = re.compile(r"\{([^{}]*)\}|(#)")
REPLACEABLE = {"goods", "device", "place", "person", "service"}
ONSETS = "b br c ch d dr f fl g gr h j k l m n p pl pr qu r s sh sp st t th tr v w wh y z".split() + [""]
VOWELS = "a e i o u ai ea ee oo ou y".split()
CODAS = "b ck d g l ll m n nd ng nt p r rd s ss st t x".split() + ["", "", ""]


@dataclass(frozen=True)
class Ticket:
    text: str
    kind: str  # clear | ambiguous | off-topic
    truth: str
    candidates: tuple  # the teams that training names, equally likely


def is_held_out(core: str) -> bool:
    return hashlib.sha256(core.encode()).digest()[0] % 8 == 0


def invented(rng: random.Random) -> str:
    """A word that does not exist, one to three syllables long."""
    syllables = (rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(1, 3)))
    return "".join(syllables)


class Grammar:
    """The data file, and tickets from it.

    `invent` is how often a name or a thing is an invented word instead of a listed one: only
    training does that, so that an unknown word alone does not make a clear ticket unclear.
    """

    def __init__(self, invent: float = 0.0):
        self.data = json.loads(GRAMMAR.read_text())
        self.invent = invent
        self.slots = self.data["slots"]
        self.teams = [team["name"] for team in self.data["teams"]]
        self.matters = {team["name"]: team["matters"] for team in self.data["teams"]}

    def expand(self, template: str, rng: random.Random, fixed=None) -> str:
        """Chooses alternatives inside out until nothing is left to choose."""
        fixed = fixed or {}

        def choose(match):
            if match.group(2):
                return rng.choice("0123456789")
            body = match.group(1)
            if body in fixed:
                return fixed[body]
            if body in REPLACEABLE and rng.random() < self.invent:
                return invented(rng)
            return rng.choice(self.slots[body] if body in self.slots else body.split("|"))

        while PART.search(template):
            template = PART.sub(choose, template)
        return template

    def matter(self, team, rng):
        return self.expand(rng.choice(self.matters[team]), rng)

    def clear(self, rng):
        team = rng.choice(self.teams)
        return self.matter(team, rng), team, (team,)

    def vague(self, rng):
        group = rng.choice(self.data["vague"])
        service = rng.choice(self.slots["service"])
        core = self.expand(rng.choice(group["phrases"]), rng, {"service": service})
        return core, self.data["register"][service][group["name"]], tuple(group["teams"])

    def two_matters(self, rng):
        teams = rng.sample(self.teams, 2)
        first, second = (self.matter(team, rng) for team in teams)
        truth = min(teams, key=self.data["precedence"].index)
        return first + rng.choice(self.data["joins"]) + second, truth, tuple(teams)

    def ambiguous(self, rng):
        return self.two_matters(rng) if rng.random() < 0.25 else self.vague(rng)

    def off_topic(self, rng, held_out):
        topics = self.data["offTopic"]["heldOut" if held_out else "training"]
        core = self.expand(rng.choice(topics), rng)
        return core, self.data["offTopic"]["team"], tuple(self.teams)

    def letter(self, core, rng, plain):
        """Wraps a core in what people write around it."""
        sentences = []
        if rng.random() < 0.3:
            sentences.append(self.expand(rng.choice(self.data["context"]), rng))
        sentences.append(core)
        if rng.random() < 0.15:
            sentences.append(self.expand(rng.choice(self.data["context"]), rng))
        if plain:
            sentences = [core]
        style = rng.random()
        case = (lambda s: s) if style < 0.25 else (lambda s: s[:1].upper() + s[1:])
        stop = "?" if core.split()[0] in QUESTION and rng.random() < 0.8 else rng.choice([".", ".", ".", "!", ""])
        body = ". ".join(case(s) for s in sentences) + stop
        if not plain and rng.random() < 0.5:
            opening = self.expand(rng.choice(self.data["openings"]), rng)
            body = case(opening) + rng.choice([", ", ", ", "! ", "\n", ",\n\n"]) + body
        if not plain and rng.random() < 0.5:
            closing = self.expand(rng.choice(self.data["closings"]), rng)
            body = body + rng.choice([" ", " ", "\n", "\n\n"]) + case(closing) + rng.choice(["", ".", "!"])
        return body.upper() if style > 0.97 else body

    def ticket(self, kind, rng, held_out) -> Ticket:
        while True:
            if kind == "off-topic":
                core, truth, candidates = self.off_topic(rng, held_out)
                break
            core, truth, candidates = (self.clear if kind == "clear" else self.ambiguous)(rng)
            if is_held_out(core) == held_out:
                break
        plain = rng.random() < (0.6 if kind == "off-topic" else 0.2)
        return Ticket(self.letter(core, rng, plain), kind, truth, candidates)


QUESTION = {"how", "why", "where", "when", "what", "who", "which", "can", "may", "do", "does", "is", "should", "in"}


LETTERS = "abcdefghijklmnopqrstuvwxyz     .,;0123456789{}()=<>äéñçßжд中"


def with_typos(text: str, rng: random.Random) -> str:
    """Swaps, drops or doubles a letter here and there; only training sees this."""
    letters = list(text)
    for _ in range(rng.randint(1, 3)):
        if len(letters) < 6:
            break
        at = rng.randrange(len(letters) - 1)
        match rng.randrange(3):
            case 0:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            case 1:
                del letters[at]
            case _:
                letters.insert(at, letters[at])
    return "".join(letters)


def salad(grammar: Grammar, rng: random.Random, pieces=None) -> Ticket:
    """Text that is no ticket and mostly means nothing, so that the unknown looks unsure.

    `pieces` are the tokenizer's, where there is one already.
    """
    sentences = [grammar.off_topic(rng, held_out=False)[0] for _ in range(rng.randint(1, 3))]
    words = " ".join(sentences).split()
    match rng.choices(range(5), [10, 15, 15, 40, 20 if pieces else 0])[0]:
        case 0:
            text = "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 60)))
        case 1:
            rng.shuffle(words)
            text = " ".join(words[: rng.randint(1, 14)])
        case 2:
            text = ". ".join(sentences)
        case 3:
            share = rng.random()
            text = " ".join(invented(rng) if len(word) > 3 and rng.random() < share else word for word in words[:14])
        case _:
            text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 16)))
    if rng.random() < 0.5:
        text = text[:1].upper() + text[1:] + rng.choice([".", "?", "!"])
    return Ticket(text.strip() or "?", "off-topic", grammar.data["offTopic"]["team"], tuple(grammar.teams))
