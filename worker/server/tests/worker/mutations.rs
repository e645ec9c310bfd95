//! Requests damaged at random, always the same way: each is answered or refused, by the fault of
//! whoever sent it, and none of them hurts the next.

use serde_json::{Value, json};

use crate::harness::{Worker, about};

const ROUNDS: usize = 6000;

/// xorshift64*: numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// Chats that use much of what there is to ask for.
fn chats() -> Vec<Value> {
    let tool = json!({
        "type": "function",
        "function": {
            "name": "rain",
            "parameters": { "type": "object", "properties": { "days": { "enum": [1, 2] } } },
        },
    });
    let chat = about(
        "Where is my parcel?",
        json!({
            "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "typical_p": 0.9,
            "seed": 3, "n": 2, "stop": ["x", "y"], "stop_token_ids": [9], "logit_bias": { "5": 1.5 },
            "logprobs": true, "top_logprobs": 2, "stream": false, "min_tokens": 1, "cache_salt": "s",
            "response_format": {
                "type": "json_schema",
                "json_schema": { "name": "a", "schema": { "type": "string", "maxLength": 3 } },
            },
        }),
    );
    let tools = json!({
        "model": "triage",
        "messages": [
            { "role": "system", "content": "Be short." },
            { "role": "user", "content": [{ "type": "text", "text": "Rain?" }] },
            {
                "role": "assistant",
                "content": null,
                "tool_calls": [{
                    "id": "c1", "type": "function", "function": { "name": "rain", "arguments": "{}" },
                }],
            },
            { "role": "tool", "tool_call_id": "c1", "content": "wet" },
        ],
        "tools": [tool],
        "tool_choice": "auto",
        "parallel_tool_calls": false,
        "max_completion_tokens": 3,
        "stream": true,
        "stream_options": { "include_usage": true },
        "chat_template_kwargs": { "enable_thinking": false },
    });
    let mut called = tools.clone();
    called["tool_choice"] = json!({ "type": "function", "function": { "name": "rain" } });
    called["logit_bias"] = json!({ "5": -2, "6": 3.5 });
    let object = about(
        "Where is my parcel?",
        json!({
            "max_tokens": 3, "response_format": { "type": "json_object" }, "tools": [],
            "tool_choice": "none", "stop": "x", "logprobs": false, "user": "u", "prompt_logprobs": 1,
        }),
    );
    vec![chat, tools, called, object]
}

fn completions() -> Vec<Value> {
    let formed = |form: Value| {
        let mut body = json!({
            "model": "triage", "prompt": "Where is", "max_tokens": 3, "logit_bias": { "5": 1 },
            "stop": ["x", "yz"], "stop_token_ids": [9], "cache_salt": "s", "seed": 1,
        });
        let (name, form) = form.as_object().unwrap().iter().next().unwrap();
        body[name] = form.clone();
        body
    };
    let complete = json!({
        "model": "triage", "prompt": ["Where is", "my parcel?"], "max_tokens": 3, "echo": true,
        "logprobs": 2, "n": 2, "best_of": 2, "suffix": null, "temperature": 0.3, "stop": "x",
    });
    let mut streamed = complete.clone();
    streamed["prompt"] = json!([3, 4, 5]);
    streamed["stream"] = json!(true);
    streamed["n"] = json!(1);
    streamed["best_of"] = json!(1);
    vec![
        formed(json!({ "guided_regex": "[ab]{1,3}" })),
        formed(json!({ "structured_outputs": { "choice": ["a", "bc"] } })),
        formed(json!({ "guided_grammar": "start: /[ab]{1,2}/" })),
        complete,
        streamed,
    ]
}

/// Requests that use much of what an endpoint knows.
fn sound() -> Vec<(&'static str, Value)> {
    let chats = chats().into_iter();
    let chats = chats.map(|chat| ("/v1/chat/completions", chat));
    let completions = completions().into_iter();
    let completions = completions.map(|body| ("/v1/completions", body));
    let others = [
        (
            "/v1/embeddings",
            json!({ "model": "triage", "input": ["a", "b"], "dimensions": 3, "encoding_format": "base64" }),
        ),
        (
            "/v1/embeddings",
            json!({ "model": "triage", "input": [[3, 4], [5]] }),
        ),
        (
            "/tokenize",
            json!({ "model": "triage", "prompt": "Where?", "add_special_tokens": true, "return_token_strs": true }),
        ),
        (
            "/tokenize",
            json!({ "messages": [{ "role": "user", "content": "x" }], "add_generation_prompt": false }),
        ),
        (
            "/detokenize",
            json!({ "model": "triage", "tokens": [3, 4, 5] }),
        ),
    ];
    chats.chain(completions).chain(others).collect()
}

fn odd(dice: &mut Dice) -> Value {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let all = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(7),
        json!(1.5),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("\u{0}"),
        json!("triage"),
        json!("\u{feff}🦊\u{202e}"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!([[]]),
        json!(["a", 1]),
        json!((0..300).collect::<Vec<u32>>()),
        json!({ "type": "x" }),
        json!({ "type": "object", "properties": { "a": { "$ref": "#" } } }),
        json!({ "pattern": "(a{1,999}){1,999}" }),
        deep,
    ];
    all[dice.below(all.len())].clone()
}

/// One change to some place of the tree.
fn damage(value: &mut Value, dice: &mut Dice) {
    let goes_on = dice.below(4) > 0;
    match value {
        Value::Object(fields) if goes_on && !fields.is_empty() => {
            let at = dice.below(fields.len());
            let name = fields.keys().nth(at).unwrap().clone();
            match dice.below(8) {
                0 => drop(fields.shift_remove(&name)),
                1 => {
                    let moved = fields[&name].clone();
                    fields.insert(format!("{name}s"), moved);
                }
                _ => damage(&mut fields[&name], dice),
            }
        }
        Value::Array(items) if goes_on && !items.is_empty() => {
            let at = dice.below(items.len());
            match dice.below(6) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => damage(&mut items[at], dice),
            }
        }
        _ => *value = odd(dice),
    }
}

fn damaged_bytes(text: String, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(4) {
            0 => bytes.truncate(at + 1),
            1 => bytes[at] = dice.below(256) as u8,
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, b"[]{}\",:0\\"[dice.below(9)]),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[tokio::test]
async fn no_damage_to_a_request_is_answered_with_a_fault_of_the_servers_own() {
    let worker = Worker::start(&[]).await;
    let sound = sound();
    for (path, body) in &sound {
        let url = format!("http://{}{path}", worker.address);
        let response = worker.client.post(url).json(body).send().await.unwrap();
        let status = response.status();
        assert_eq!(status, 200, "{path}: {}", response.text().await.unwrap());
    }
    let mut dice = Dice(0x5eed_0fda_3a9e_d1ce);
    let (mut answered, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let (path, body) = &sound[round % sound.len()];
        let mut body = body.clone();
        for _ in 0..1 + dice.below(2) {
            damage(&mut body, &mut dice);
        }
        let bytes = match dice.below(4) {
            0 => damaged_bytes(body.to_string(), &mut dice),
            _ => body.to_string().into_bytes(),
        };
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let url = format!("http://{}{path}", worker.address);
        let response = worker.client.post(url).body(bytes).send().await;
        let response = response.unwrap_or_else(|error| panic!("{path} {shown}: {error}"));
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        match status {
            200 => {
                // A stream has begun before something may go wrong.
                assert!(!text.contains("server_error"), "{path} {shown}: {text}");
                answered += 1;
            }
            400 | 404 => {
                let error: Value = serde_json::from_str(&text).unwrap();
                let message = error["error"]["message"].as_str().unwrap();
                assert!(message.len() < 1100, "{path} {shown}: {message}");
                refused += 1;
            }
            _ => panic!("{path} {shown}: {status} {text}"),
        }
    }
    assert!(
        answered > ROUNDS / 15 && refused > ROUNDS / 3,
        "{answered} answered, {refused} refused"
    );
    worker.until_idle().await;
}
