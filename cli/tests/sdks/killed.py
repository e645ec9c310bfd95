"""What the SDKs raise when their router is killed: killed.py BASE MODEL

Says `begun` once every answer is on its way, and then a line of JSON for what came of each.
"""

import json
import sys
import threading

from anthropic import Anthropic
from openai import OpenAI

BASE, MODEL = sys.argv[1:3]
TEXT = "Say: " + "word " * 400
SAID = [{"role": "user", "content": TEXT}]
KNOWN = dict(api_key="any", max_retries=0)
openai = OpenAI(base_url=f"{BASE}/v1", **KNOWN)
anthropic = Anthropic(base_url=BASE, **KNOWN)


def chat():
    return openai.chat.completions.create(model=MODEL, messages=SAID, stream=True)


def response():
    return openai.responses.create(model=MODEL, input=TEXT, stream=True)


def message():
    return anthropic.messages.create(model=MODEL, max_tokens=2000, messages=SAID, stream=True)


def read(name, ask, begun, rows):
    """Reads a stream to its end, and says what that was."""
    row = dict(name=name, pieces=0, raised=None)
    try:
        for _ in ask():
            row["pieces"] += 1
            if row["pieces"] == 10:
                begun.release()
    except Exception as error:
        row["raised"] = [kind.__name__ for kind in type(error).__mro__]
        begun.release()
    rows.append(row)


def main():
    begun, rows = threading.Semaphore(0), []
    asks = dict(chat=chat, response=response, message=message)
    threads = [threading.Thread(target=read, args=(name, ask, begun, rows)) for name, ask in asks.items()]
    for thread in threads:
        thread.start()
    for _ in threads:
        begun.acquire()
    print("begun", flush=True)
    for thread in threads:
        thread.join()
    for row in rows:
        print(json.dumps(row))


main()
