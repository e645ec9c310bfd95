//! What is asked of a replica.

use serde_json::{Value, json};
use weir_worker_api as api;

use super::Call;
use crate::ask::{Ask, Form, Input, Message, Part, Tool, ToolChoice};

/// What is asked of each prompt of `ask`, in their order.
pub(super) fn generate(call: &Call<'_>, ask: &Ask) -> Vec<api::GenerateRequest> {
    let asked = api::GenerateRequest {
        model: call.model.to_owned(),
        sampling: Some(sampling(ask)),
        limits: Some(api::Limits {
            max_tokens: ask.max_tokens,
            min_tokens: ask.sampling.min_tokens,
            stop: ask.stop.clone(),
            stop_token_ids: ask.sampling.stop_token_ids.clone(),
            ignore_eos: ask.sampling.ignore_eos,
        }),
        constraint: constraint(&ask.form),
        choices: ask.choices_each(),
        top_logprobs: ask.logprobs.unwrap_or(0),
        prompt_logprobs: match ask.logprobs {
            Some(_) if ask.echo => ask.logprobs,
            // Without it there is nothing to do.
            _ => ask.is_read_only().then_some(0),
        },
        // What a prompt of tokens is as text knows only the worker.
        spelled: ask.logprobs.is_some() || ask.echo,
        cache_salt: cache_salt(call, ask),
        ..api::GenerateRequest::default()
    };
    let requests = prompts(ask).map(|prompt| api::GenerateRequest {
        prompt: Some(prompt),
        ..asked.clone()
    });
    requests.collect()
}

pub(super) fn embed(call: &Call<'_>, ask: &Ask) -> api::EmbedRequest {
    api::EmbedRequest {
        model: call.model.to_owned(),
        inputs: prompts(ask).collect(),
        dimensions: ask.dimensions,
        cache_salt: cache_salt(call, ask),
    }
}

/// Tenants share no beginnings of prompts, and a client may separate its own.
fn cache_salt(call: &Call<'_>, ask: &Ask) -> String {
    match ask.cache_salt.is_empty() {
        true => call.tenant.to_owned(),
        false => format!("{}/{}", call.tenant, ask.cache_salt),
    }
}

/// What the model is to read, each by itself.
pub(crate) fn prompts(ask: &Ask) -> impl Iterator<Item = api::Prompt> {
    ask.prompts().iter().map(|input| read(ask, input))
}

fn read(ask: &Ask, input: &Input) -> api::Prompt {
    let form = match input {
        Input::Chat(messages) => api::prompt::Form::Chat(chat(ask, messages)),
        Input::Text(text) => api::prompt::Form::Text(text.clone()),
        Input::Tokens(ids) => api::prompt::Form::Tokens(api::TokenIds { ids: ids.clone() }),
        // Whoever looks at several together sees the first.
        Input::Many(inputs) => {
            return inputs
                .first()
                .map_or_else(api::Prompt::default, |first| read(ask, first));
        }
    };
    api::Prompt { form: Some(form) }
}

/// The same without tools, for whoever only looks at what is said.
pub(crate) fn said(ask: &Ask) -> api::Prompt {
    let mut prompt = read(ask, &ask.input);
    if let Some(api::prompt::Form::Chat(chat)) = &mut prompt.form {
        chat.tools_json = Vec::new();
        chat.tool_use = api::ToolUse::Auto.into();
        chat.tool_name = String::new();
    }
    prompt
}

fn chat(ask: &Ask, messages: &[Message]) -> api::Chat {
    let (tool_use, tool_name) = match &ask.tool_choice {
        ToolChoice::Auto => (api::ToolUse::Auto, ""),
        ToolChoice::None => (api::ToolUse::None, ""),
        ToolChoice::Required => (api::ToolUse::Required, ""),
        ToolChoice::Named(name) => (api::ToolUse::Required, name.as_str()),
    };
    let tools = ask.tools.iter().map(Tool::as_chat);
    let kwargs = ask.body.get("chat_template_kwargs");
    api::Chat {
        messages: messages.iter().map(message).collect(),
        tools_json: tools.map(|tool| tool.to_string()).collect(),
        template_kwargs_json: kwargs
            .filter(|kwargs| kwargs.is_object())
            .map(Value::to_string)
            .unwrap_or_default(),
        tool_use: tool_use.into(),
        tool_name: tool_name.to_owned(),
        single_call: ask.single_call,
    }
}

fn message(message: &Message) -> api::Message {
    let calls = message.parts.iter().filter_map(|part| match part {
        Part::Call {
            id,
            name,
            arguments,
        } => Some(json!({
            "id": id, "type": "function",
            "function": { "name": name, "arguments": arguments },
        })),
        _ => None,
    });
    api::Message {
        role: message.role.word().to_owned(),
        content: message.text(),
        tool_call_id: message.answers().unwrap_or_default().to_owned(),
        tool_calls_json: calls.map(|call| call.to_string()).collect(),
        reasoning: message.thought(),
    }
}

fn sampling(ask: &Ask) -> api::Sampling {
    let sampling = &ask.sampling;
    let biases = sampling.logit_bias.iter();
    api::Sampling {
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        presence_penalty: sampling.presence_penalty,
        frequency_penalty: sampling.frequency_penalty,
        seed: sampling.seed,
        logit_bias: biases.map(|(token, bias)| (*token, *bias)).collect(),
        typical_p: sampling.typical_p,
    }
}

fn constraint(form: &Form) -> Option<api::Constraint> {
    use api::constraint::Form as Asked;
    let asked = match form {
        Form::Text => return None,
        Form::JsonObject => Asked::JsonSchema(json!({ "type": "object" }).to_string()),
        Form::JsonSchema { schema, .. } => Asked::JsonSchema(schema.to_string()),
        Form::Choice(values) => Asked::Choice(api::Options {
            values: values.clone(),
        }),
        Form::Regex(pattern) => Asked::Regex(pattern.clone()),
        Form::Grammar(grammar) => Asked::Grammar(grammar.clone()),
    };
    Some(api::Constraint { form: Some(asked) })
}
