//! How an answer is to be guided: what the request says of its form and its tools, and what the
//! model is known to do by itself.

use std::sync::Arc;

use serde_json::Value;
use weir_engine::{Calls, Constraint, Form, Guide, Thinking};
use weir_worker_api::{self as api, constraint, prompt};

use super::{Serving, tools::Offered};
use crate::refusal::Refusal;

const FIELD: &str = "constraint";

impl Serving {
    /// The guide of an answer to `prompt_ids`, which came of the request's prompt.
    pub(super) async fn guide(
        self: &Arc<Self>,
        request: &api::GenerateRequest,
        prompt_ids: &[u32],
    ) -> Result<Guide, Refusal> {
        let form = request.constraint.as_ref().map(form).transpose()?.flatten();
        let chat = match request
            .prompt
            .as_ref()
            .and_then(|prompt| prompt.form.as_ref())
        {
            Some(prompt::Form::Chat(chat)) => Some(chat),
            _ => None,
        };
        let offered = chat.map(Offered::read).transpose()?.flatten();
        let thinking = chat.and_then(|_| Thinking::after(&self.tokenizer, prompt_ids));
        if form.is_none() && offered.is_none() {
            return Ok(Guide {
                thinking,
                ..Guide::default()
            });
        }
        let serving = self.clone();
        let (form, calls) = self
            .aside(move || serving.compile(form.as_ref(), offered.as_ref()))
            .await?;
        Ok(Guide {
            thinking,
            form,
            calls,
        })
    }

    fn compile(
        &self,
        form: Option<&Form>,
        offered: Option<&Offered>,
    ) -> Result<(Option<Constraint>, Option<Calls>), Refusal> {
        let form = form.map(|form| self.constraints.compile(form)).transpose();
        let form = form.map_err(|error| Refusal::invalid(FIELD, error.to_string()))?;
        let calls = offered.map(|offered| offered.calls(&self.tool_style, &self.constraints));
        let calls = calls.transpose()?;
        if let (Some(_), Some(calls)) = (&form, &calls)
            && calls.begin == weir_engine::Begin::Bracket
            && !calls.required
        {
            let why = "cannot be held together with tools: this model's calls look like an answer";
            return Err(Refusal::invalid(FIELD, why));
        }
        Ok((form, calls))
    }
}

fn form(constraint: &api::Constraint) -> Result<Option<Form>, Refusal> {
    Ok(Some(match &constraint.form {
        None => return Ok(None),
        Some(constraint::Form::JsonSchema(schema)) => {
            let schema: Value = serde_json::from_str(schema)
                .map_err(|error| Refusal::invalid(FIELD, format!("is not JSON: {error}")))?;
            Form::Json(schema)
        }
        Some(constraint::Form::Regex(regex)) => Form::Regex(regex.clone()),
        Some(constraint::Form::Grammar(grammar)) => Form::Grammar(grammar.clone()),
        Some(constraint::Form::Choice(options)) => Form::Choice(options.values.clone()),
    }))
}
