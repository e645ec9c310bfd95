//! Answers as messages, and as the events of one.

use serde_json::{Value, json};

use super::tools::WEB_SEARCH;
use crate::answer::{Answer, Call, Ending, Part, Source};
use crate::events::{Beat, End, Events, Style};
use crate::prompt::Input;
use crate::said::{PAGE_TITLE, PAGE_URL, REFUSED};
use crate::signature::{seal, sign};

/// What an answer has beside its parts.
pub(super) struct Envelope {
    pub(super) number: u64,
    pub(super) model: String,
    pub(super) input: Input,
    /// Whether thinking is shown; else only signed.
    pub(super) is_thought_shown: bool,
    /// The call of a hosted tool that this answer goes on from.
    pub(super) paused: Option<String>,
}

/// A block as it stands in a message, and as it comes in a stream.
struct Block {
    whole: Value,
    start: Value,
    deltas: Vec<Value>,
}

impl Block {
    /// One that comes at once.
    fn at_once(whole: Value) -> Self {
        Self {
            start: whole.clone(),
            whole,
            deltas: Vec::new(),
        }
    }
}

impl Envelope {
    pub(super) fn whole(&self, answer: &Answer) -> Value {
        let mut message = self.message();
        let blocks = self.blocks(answer).into_iter();
        message["content"] = blocks.map(|block| block.whole).collect();
        let (reason, sequence, details) = stop(&answer.ending);
        message["stop_reason"] = reason.into();
        message["stop_sequence"] = sequence;
        message["stop_details"] = details;
        message["usage"] = self.usage(answer);
        message
    }

    pub(super) fn events(&self, answer: &Answer, error: Value) -> Events {
        let mut middle = Vec::new();
        for (index, block) in self.blocks(answer).into_iter().enumerate() {
            let start = json!({"type": "content_block_start", "index": index, "content_block": block.start});
            middle.push(Beat::between(start));
            if index == 0 {
                middle.push(Beat::between(json!({"type": "ping"})));
            }
            middle.extend(block.deltas.into_iter().map(|delta| {
                Beat::piece(json!({"type": "content_block_delta", "index": index, "delta": delta}))
            }));
            middle.push(Beat::between(
                json!({"type": "content_block_stop", "index": index}),
            ));
        }
        let (reason, sequence, details) = stop(&answer.ending);
        let delta =
            json!({"stop_reason": reason, "stop_sequence": sequence, "stop_details": details});
        Events {
            style: Style::Named,
            head: vec![json!({"type": "message_start", "message": self.message()})],
            middle,
            tail: vec![
                json!({"type": "message_delta", "delta": delta, "usage": self.usage(answer)}),
            ],
            end: End::Event(json!({"type": "message_stop"})),
            refusal: error.clone(),
            error,
        }
    }

    /// The message as it is before its first block.
    fn message(&self) -> Value {
        let mut usage = self.input_usage();
        usage["output_tokens"] = 1.into();
        json!({
            "id": format!("msg_stand_in_{}", self.number),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "stop_details": null,
            "usage": usage,
        })
    }

    fn input_usage(&self) -> Value {
        let input = &self.input;
        let fresh = input.tokens - input.read - input.written;
        json!({
            "input_tokens": fresh,
            "cache_creation_input_tokens": input.written,
            "cache_read_input_tokens": input.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": input.written - input.written_for_an_hour,
                "ephemeral_1h_input_tokens": input.written_for_an_hour,
            },
            "service_tier": "standard",
        })
    }

    fn usage(&self, answer: &Answer) -> Value {
        let mut usage = self.input_usage();
        usage["output_tokens"] = answer.tokens().into();
        let thought = answer.thought_tokens();
        if thought > 0 {
            usage["output_tokens_details"] = json!({"thinking_tokens": thought});
        }
        let searches = answer.searches();
        if searches > 0 {
            usage["server_tool_use"] =
                json!({"web_search_requests": searches, "web_fetch_requests": 0});
        }
        usage
    }

    fn blocks(&self, answer: &Answer) -> Vec<Block> {
        let mut blocks = Vec::new();
        blocks.extend(self.paused.as_deref().map(results));
        for part in &answer.parts {
            let place = blocks.len();
            match part {
                Part::Thought {
                    is_secret: true, ..
                } => blocks.push(Block::at_once(
                    json!({"type": "redacted_thinking", "data": seal(&part.whole())}),
                )),
                Part::Thought { pieces, .. } => blocks.push(self.thinking(pieces)),
                Part::Text { pieces, source } => blocks.push(text(pieces, source.as_ref())),
                Part::Call(call) => blocks.push(self.call(call, place)),
                Part::Search(query) => {
                    let id = format!("srvtoolu_stand_in_{}_{place}", self.number);
                    blocks.push(search(&id, query));
                    if answer.ending != Ending::Pause {
                        blocks.push(results(&id));
                    }
                }
                // Said by the reason for the end.
                Part::Refusal(_) => {}
            }
        }
        blocks
    }

    fn thinking(&self, pieces: &[String]) -> Block {
        let shown: &[String] = if self.is_thought_shown { pieces } else { &[] };
        let thinking = shown.concat();
        let signature = sign(&thinking);
        let mut deltas: Vec<Value> = shown
            .iter()
            .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
            .collect();
        deltas.push(json!({"type": "signature_delta", "signature": signature}));
        Block {
            whole: json!({"type": "thinking", "thinking": thinking, "signature": signature}),
            start: json!({"type": "thinking", "thinking": "", "signature": ""}),
            deltas,
        }
    }

    fn call(&self, call: &Call, place: usize) -> Block {
        let id = format!("toolu_stand_in_{}_{place}", self.number);
        let block = |input: Value| {
            let caller = json!({"type": "direct"});
            json!({"type": "tool_use", "id": id, "name": call.name, "input": input, "caller": caller})
        };
        // What `max_tokens` cut is no JSON any more.
        let input = serde_json::from_str(&call.pieces.concat()).unwrap_or_else(|_| json!({}));
        Block {
            whole: block(input),
            start: block(json!({})),
            deltas: call.pieces.iter().map(|piece| input_delta(piece)).collect(),
        }
    }
}

fn input_delta(piece: &str) -> Value {
    json!({"type": "input_json_delta", "partial_json": piece})
}

fn search(id: &str, query: &[String]) -> Block {
    let query = query.concat();
    let block = |input: Value| json!({"type": "server_tool_use", "id": id, "name": WEB_SEARCH, "input": input});
    let input = json!({"query": query});
    Block {
        deltas: vec![input_delta(&input.to_string())],
        whole: block(input),
        start: block(json!({})),
    }
}

fn results(id: &str) -> Block {
    Block::at_once(json!({
        "type": "web_search_tool_result",
        "tool_use_id": id,
        "content": [{
            "type": "web_search_result",
            "url": PAGE_URL,
            "title": PAGE_TITLE,
            "encrypted_content": seal(PAGE_TITLE),
            "page_age": "1 January 2026",
        }],
    }))
}

fn text(pieces: &[String], source: Option<&Source>) -> Block {
    let citation = source.map(citation);
    let deltas = pieces
        .iter()
        .map(|piece| json!({"type": "text_delta", "text": piece}));
    let cited = citation
        .iter()
        .map(|citation| json!({"type": "citations_delta", "citation": citation}));
    let mut whole = json!({"type": "text", "text": pieces.concat()});
    let mut start = json!({"type": "text", "text": ""});
    if citation.is_some() {
        start["citations"] = json!([]);
    }
    let deltas = deltas.chain(cited).collect();
    if let Some(citation) = citation {
        whole["citations"] = json!([citation]);
    }
    Block {
        whole,
        start,
        deltas,
    }
}

fn citation(source: &Source) -> Value {
    match source {
        Source::Page => json!({
            "type": "web_search_result_location",
            "url": PAGE_URL,
            "title": PAGE_TITLE,
            "encrypted_index": seal(PAGE_URL),
            "cited_text": PAGE_TITLE,
        }),
        Source::Document {
            index,
            title,
            cited,
        } => json!({
            "type": "char_location",
            "document_index": index,
            "document_title": title,
            "cited_text": cited,
            "start_char_index": 0,
            "end_char_index": cited.chars().count(),
        }),
    }
}

/// Why the message ends, the text that ended it, and more where there is more to say.
fn stop(ending: &Ending) -> (&'static str, Value, Value) {
    let reason = match ending {
        Ending::Complete => "end_turn",
        Ending::Length => "max_tokens",
        Ending::Stop(_) => "stop_sequence",
        Ending::Calls => "tool_use",
        Ending::Refusal => "refusal",
        Ending::Pause => "pause_turn",
        Ending::ContextFull => "model_context_window_exceeded",
    };
    let sequence = match ending {
        Ending::Stop(stop) => stop.as_str().into(),
        _ => Value::Null,
    };
    let details = match ending {
        Ending::Refusal => {
            json!({"type": "refusal", "category": "general_harms", "explanation": REFUSED})
        }
        _ => Value::Null,
    };
    (reason, sequence, details)
}
