"""Clients of an OpenAI-compatible server that ask and ask, with the real SDK, until standard input ends.

The argument: {base_url, next_base_url, model, question, clients, asks, pause, retries}. Each client streams so many asks, or
asks until the end; after an error it goes on at next_base_url. `#` in the question is another number each time.
Standard output, a JSON object a line: {"event": "text"} as an answer's first text comes, and {"event": "end", ...} with
what came of the ask: content, finish, tier, error and its kind.
"""

import json
import os
import sys
import threading
import time

import openai

wish = json.loads(sys.argv[1])
told = threading.Lock()
ended = threading.Event()
numbers = iter(range(100_001, 10**9, 7919))


def tell(event, **more):
    with told:
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()


def ask(client):
    with told:
        question = wish["question"].replace("#", str(next(numbers) % 1_000_000))
    texts, finish, tier, error, began = [], None, None, None, time.time()
    try:
        answer = client.chat.completions.with_raw_response.create(
            model=wish["model"],
            messages=[{"role": "user", "content": question}],
            max_completion_tokens=64,
            temperature=0,
            stream=True,
        )
        tier = answer.headers.get("x-weir-tier")
        for chunk in answer.parse():
            for choice in chunk.choices:
                if choice.delta.content:
                    if not texts:
                        tell("text")
                    texts.append(choice.delta.content)
                finish = choice.finish_reason or finish
    except Exception as raised:  # whatever it is, it is what came of the ask
        error = raised
    tell(
        "end",
        content="".join(texts),
        finish=finish,
        tier=tier,
        error=None if error is None else f"{error!r} after {time.time() - began:.1f} s",
        kinds=[] if error is None else [kind.__name__ for kind in type(error).__mro__],
    )
    return error is None


def client_at(base_url):
    return openai.OpenAI(base_url=base_url, api_key="none", max_retries=wish["retries"], timeout=60)


first, then = client_at(wish["base_url"]), client_at(wish["next_base_url"])


def ask_on():
    client, asked = first, 0
    while not ended.is_set() and (wish["asks"] is None or asked < wish["asks"]):
        if not ask(client):
            client = then
        asked += 1
        ended.wait(wish["pause"])


threads = [threading.Thread(target=ask_on, daemon=True) for _ in range(wish["clients"])]
for thread in threads:
    thread.start()
# Who asks so many asks ends by itself.
ender = threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True)
ender.start()
for thread in threads:
    thread.join()
sys.stdout.flush()
os._exit(0)
