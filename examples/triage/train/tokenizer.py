"""Trains the model's byte-level BPE tokenizer on tickets, and writes its files."""

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tickets import Grammar, salad

VOCABULARY = 1536
BEGIN, PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL = [
    "<|begin|>", "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>",
]

# A content may be a string or, as some clients send it, a list of text parts.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role in ['system', 'developer'] %}
        {{- '<|system|>' }}
    {%- elif message.role == 'user' %}
        {{- '<|user|>' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|assistant|>' }}
    {%- else %}
        {{- raise_exception('the role must be system, developer, user or assistant, not ' + message.role) }}
    {%- endif %}
    {%- if message.content is string %}
        {{- message.content | trim }}
    {%- else %}
        {%- for part in message.content if part.type == 'text' %}
            {{- part.text | trim }}
        {%- endfor %}
    {%- endif %}
    {{- eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
{%- endif %}
"""


def corpus(grammar: Grammar, rng: random.Random):
    for _ in range(12_000):
        kind = rng.choice(["clear", "clear", "clear", "ambiguous", "off-topic"])
        yield grammar.ticket(kind, rng, held_out=False).text
    for _ in range(300):
        yield salad(grammar, rng).text
    for prompt in grammar.data["system"]:
        yield from [prompt] * 20


def train(grammar: Grammar, folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\d"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus(grammar, random.Random(1)),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=3,
            show_progress=False,
        ),
    )
    begin = tokenizer.token_to_id(BEGIN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, begin)],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "chat_template": CHAT_TEMPLATE,
    }, indent=2) + "\n")
    return tokenizer
