"""Puts questions to an OpenAI-compatible server with the real SDK.

Standard input: a JSON list of {base_url, model, question, stream, api_key?, headers?}.
Standard output: a JSON list of what came of each: content, chunks, headers, or error.
"""

import json
import sys

import openai


def ask(wish):
    client = openai.OpenAI(
        base_url=wish["base_url"], api_key=wish.get("api_key", "none"), max_retries=0, timeout=60
    )
    try:
        raw = client.chat.completions.with_raw_response.create(
            model=wish["model"],
            messages=[{"role": "user", "content": wish["question"]}],
            max_completion_tokens=16,
            temperature=0,
            stream=wish["stream"],
            extra_headers=wish.get("headers", {}),
        )
        headers = {k.lower(): v for k, v in raw.headers.items() if k.lower().startswith("x-weir-")}
        answer = raw.parse()
        if not wish["stream"]:
            choice = answer.choices[0]
            return {
                "content": choice.message.content,
                "chunks": 1,
                "finish": choice.finish_reason,
                "headers": headers,
            }
        texts, finish = [], None
        for chunk in answer:
            for choice in chunk.choices:
                if choice.delta.content:
                    texts.append(choice.delta.content)
                finish = choice.finish_reason or finish
        return {"content": "".join(texts), "chunks": len(texts), "finish": finish, "headers": headers}
    except openai.APIStatusError as error:
        return {"error": f"{error.status_code}: {error.message}"}
    except openai.OpenAIError as error:
        return {"error": repr(error)}


json.dump([ask(wish) for wish in json.load(sys.stdin)], sys.stdout)
