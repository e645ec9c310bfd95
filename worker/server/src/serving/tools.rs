//! Tools that the model may call: how this model writes calls, and what a request lets it call.

mod grammar;
mod told;

use serde_json::{Map, Value, json};
use weir_engine::{
    Begin, Calls, ConstraintError, Constraints, Form, Written,
    model::{TemplateSource, Tokenizer},
};
use weir_worker_api as api;

use self::grammar::{Callable, grammar};
pub use self::told::{in_system, told};
use crate::refusal::Refusal;

/// As on the OpenAI wire.
const MOST_TOOLS: usize = 128;
const LONGEST_NAME: usize = 128;

/// Of a call's id as Mistral writes it.
const CALL_ID_BYTES: usize = 9;

const FIELD: &str = "prompt.chat.tools";

/// How a model writes calls of tools: known by the marks in its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Style {
    /// Hermes, Qwen, SmolLM: one object after another, each between two marks.
    Hermes { open: Mark, close: Mark },
    /// Mistral until 2024, Phi, Granite 3: a list behind a mark.
    List {
        open: Mark,
        close: Option<Mark>,
        /// Phi: the template wants the tools in the system message.
        in_system: bool,
        /// Mistral: a call may have an id in it.
        ids: bool,
    },
    /// Mistral since: a mark, a name, for some an id, and the arguments, for each call.
    Named {
        open: Mark,
        id: Option<Mark>,
        arguments: Mark,
    },
    /// Llama: one object, as the whole answer.
    Object { tag: Option<Mark> },
    /// Gemma, and any other whose template knows no tools: as it is told in the conversation.
    Told,
}

/// A token that parts calls from text, or text that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    text: String,
    id: Option<u32>,
    /// It is no text to the tokenizer.
    special: bool,
}

/// A tool as a request describes it.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: String,
    pub parameters: Value,
    /// Its calls must fit the parameters, or the request is refused.
    pub strict: bool,
    /// As it came.
    pub definition: Value,
}

/// What a request lets the model call.
#[derive(Debug, Clone)]
pub struct Offered {
    tools: Vec<Tool>,
    required: bool,
    /// The only one that may be called.
    only: Option<String>,
    single: bool,
}

impl Style {
    pub fn of(template: Option<&TemplateSource>, tokenizer: &Tokenizer) -> Self {
        let mark = |text: &str| Mark::of(text, tokenizer);
        let has = |text: &str| template.is_some_and(|template| template.mentions(text));
        if has("<tool_call>") {
            let (open, close) = (mark("<tool_call>"), mark("</tool_call>"));
            return Self::Hermes { open, close };
        }
        if has("[TOOL_CALLS]") && has("[ARGS]") {
            return Self::Named {
                open: mark("[TOOL_CALLS]"),
                id: has("[CALL_ID]").then(|| mark("[CALL_ID]")),
                arguments: mark("[ARGS]"),
            };
        }
        for (open, close) in [
            ("[TOOL_CALLS]", None),
            ("<|tool_call|>", Some("<|/tool_call|>")),
        ] {
            let open = mark(open);
            if has(&open.text) || open.id.is_some() && has("tools") {
                let close = close.map(mark).filter(|close| close.id.is_some());
                return Self::List {
                    ids: open.text == "[TOOL_CALLS]",
                    open,
                    close,
                    in_system: has("<|tool|>"),
                };
            }
        }
        if has("tools") {
            let tag = Some(mark("<|python_tag|>")).filter(|tag| tag.id.is_some());
            return Self::Object { tag };
        }
        Self::Told
    }

    fn arguments_name(&self) -> &'static str {
        match self {
            Self::Hermes { .. } | Self::List { .. } | Self::Named { .. } => "arguments",
            Self::Object { .. } | Self::Told => "parameters",
        }
    }

    /// How the model begins to call. A mark that is no token of its own is found nowhere: then only
    /// an answer that must be a call can be one.
    fn begin(&self) -> Option<Begin> {
        match self {
            Self::Hermes { open, .. } | Self::List { open, .. } | Self::Named { open, .. } => {
                open.id.map(Begin::Token)
            }
            Self::Object { .. } | Self::Told => Some(Begin::Bracket),
        }
    }

    fn written(&self) -> Written {
        match self {
            Self::Named {
                open,
                id,
                arguments,
            } => Written::Named {
                marks: [Some(open), id.as_ref(), Some(arguments)]
                    .into_iter()
                    .flatten()
                    .map(|mark| mark.text.clone())
                    .collect(),
                id_bytes: id.as_ref().map_or(0, |_| CALL_ID_BYTES),
            },
            _ => Written::Objects,
        }
    }

    /// Whether templates take ids of nine letters and digits, and no others.
    pub fn has_short_ids(&self) -> bool {
        matches!(self, Self::Named { .. } | Self::List { ids: true, .. })
    }
}

impl Mark {
    fn of(text: &str, tokenizer: &Tokenizer) -> Self {
        let id = tokenizer.id(text);
        Self {
            text: text.to_owned(),
            special: id.is_some_and(|id| tokenizer.is_special(id)),
            id,
        }
    }

    /// As grammars write it.
    fn lark(&self) -> String {
        match self.id {
            Some(id) if self.special => format!("<[{id}]>"),
            _ => Value::from(self.text.as_str()).to_string(),
        }
    }
}

impl Tool {
    /// Reads the definition at `index` of a request.
    pub fn read(index: usize, definition: Value) -> Result<Self, Refusal> {
        let refused = |place: &str, why: &str| {
            let field = format!("{FIELD}[{index}]{place}");
            Err(Refusal::invalid(field, why))
        };
        if definition["type"] != "function" {
            return refused(".type", "is not `function`");
        }
        let function = &definition["function"];
        let name = function["name"].as_str().unwrap_or_default();
        let may = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(may) {
            return refused(
                ".function.name",
                "is not a name of letters, digits, `_`, `-` and `.`",
            );
        }
        let parameters = match &function["parameters"] {
            Value::Null => json!({ "type": "object", "properties": {} }),
            Value::Object(schema) => Value::Object(schema.clone()),
            _ => return refused(".function.parameters", "is not an object"),
        };
        Ok(Self {
            name: name.to_owned(),
            parameters,
            strict: function["strict"] == true,
            definition,
        })
    }
}

impl Offered {
    /// What the conversation offers; nothing where it offers nothing.
    pub fn read(chat: &api::Chat) -> Result<Option<Self>, Refusal> {
        let required = chat.tool_use() == api::ToolUse::Required;
        let choice = |why: &str| Err(Refusal::invalid("prompt.chat.tool_use", why));
        if chat.tools_json.len() > MOST_TOOLS {
            let why = format!(
                "has {} entries, more than {MOST_TOOLS}",
                chat.tools_json.len()
            );
            return Err(Refusal::invalid(FIELD, why));
        }
        let definitions = chat.tools_json.iter().enumerate();
        let tools = definitions.map(|(index, text)| {
            let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                Refusal::invalid(
                    format!("{FIELD}[{index}]"),
                    format!("is no object: {error}"),
                )
            })?;
            Tool::read(index, Value::Object(object))
        });
        let tools = tools.collect::<Result<Vec<_>, _>>()?;
        for (index, tool) in tools.iter().enumerate() {
            if tools[..index].iter().any(|other| other.name == tool.name) {
                let field = format!("{FIELD}[{index}].function.name");
                return Err(Refusal::invalid(field, "is there twice"));
            }
        }
        let only = (!chat.tool_name.is_empty()).then(|| chat.tool_name.clone());
        if let Some(only) = &only
            && !tools.iter().any(|tool| tool.name == *only)
        {
            return choice("names a tool that is not offered");
        }
        if required && tools.is_empty() {
            return choice("requires a call, but no tool is offered");
        }
        if tools.is_empty() || chat.tool_use() == api::ToolUse::None {
            return Ok(None);
        }
        Ok(Some(Self {
            tools,
            required,
            only,
            single: chat.single_call,
        }))
    }

    /// The tools that may be called.
    fn callable(&self) -> Vec<&Tool> {
        let may = |tool: &&Tool| self.only.as_ref().is_none_or(|only| *only == tool.name);
        self.tools.iter().filter(may).collect()
    }

    /// The definitions for a template that knows what to do with them.
    pub fn definitions(&self) -> Vec<Value> {
        self.tools
            .iter()
            .map(|tool| tool.definition.clone())
            .collect()
    }

    /// What calls must look like. Takes as long as compiling does.
    pub fn calls(&self, style: &Style, constraints: &Constraints) -> Result<Calls, Refusal> {
        let begin = match style.begin() {
            Some(begin) => begin,
            // It begins where the answer does.
            None if self.required => Begin::Bracket,
            None => {
                return Err(Refusal::Unsupported {
                    field: FIELD.to_owned(),
                    why: ": what begins a call is no token of this model's, so that it may be \
                          required and not left to the model"
                        .to_owned(),
                });
            }
        };
        let form = match self.compile(&self.callable(), style, constraints) {
            Ok(form) => form,
            Err(_) => self.compile_what_compiles(style, constraints)?,
        };
        Ok(Calls {
            form,
            begin,
            written: style.written(),
            required: self.required,
        })
    }

    fn compile(
        &self,
        tools: &[&Tool],
        style: &Style,
        constraints: &Constraints,
    ) -> Result<weir_engine::Constraint, ConstraintError> {
        let callable = Callable {
            tools,
            single: self.single || self.only.is_some(),
            free: !self.required,
        };
        let text = grammar(style, &callable).unwrap_or_default();
        constraints.compile(&Form::Grammar(text))
    }

    /// Tools that are not strict are called with any object where their parameters cannot be held.
    fn compile_what_compiles(
        &self,
        style: &Style,
        constraints: &Constraints,
    ) -> Result<weir_engine::Constraint, Refusal> {
        let mut tools: Vec<Tool> = self.callable().into_iter().cloned().collect();
        for tool in &mut tools {
            let Err(error) = constraints.compile(&Form::Json(tool.parameters.clone())) else {
                continue;
            };
            if tool.strict {
                let index = self.tools.iter().position(|other| other.name == tool.name);
                let index = index.unwrap_or_default();
                let field = format!("{FIELD}[{index}].function.parameters");
                return Err(Refusal::invalid(field, error.to_string()));
            }
            tool.parameters = json!({ "type": "object" });
        }
        let tools: Vec<&Tool> = tools.iter().collect();
        self.compile(&tools, style, constraints)
            .map_err(|error| Refusal::invalid(FIELD, error.to_string()))
    }
}

#[cfg(test)]
mod tests;
