//! Embeddings: a vector for each input, as numbers or as their bytes.

use axum::{body::Body, extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use weir_worker_api as api;

use super::{
    Wire,
    error::WireError,
    fields::Fields,
    noting, parse,
    prompts::{prompt_bytes, prompts},
    read,
    written::written,
};
use crate::refusal::Refusal;

const MOST_INPUTS: usize = 2048;

struct Request {
    embed: api::EmbedRequest,
    base64: bool,
    dropped: Vec<String>,
}

/// Numbers are written as they are: as JSON values they would take ten times their memory.
#[derive(Serialize)]
struct Answer {
    object: &'static str,
    data: Vec<Entry>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Shown,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    total_tokens: u32,
}

pub async fn embeddings(State(wire): State<Wire>, body: Body) -> Result<Response, WireError> {
    let Wire { serving, reading } = wire;
    let named = |refusal| WireError::named(refusal, on_this_wire);
    let (body, place) = read(&reading, body).await?;
    let request = decode(&body).map_err(named)?;
    drop(body);
    let mut room = place.parsed();
    room.keep(request.bytes())?;
    let model = request.embed.model.clone();
    let made = serving.embed(request.embed).await.map_err(named)?;
    let shown = |vector: api::Vector| match request.base64 {
        true => {
            let bytes = vector.values.iter().flat_map(|value| value.to_le_bytes());
            Shown::Base64(STANDARD.encode(bytes.collect::<Vec<u8>>()))
        }
        false => Shown::Numbers(vector.values),
    };
    let data = made.vectors.into_iter().enumerate();
    let answer = Answer {
        object: "list",
        data: data
            .map(|(index, vector)| Entry {
                object: "embedding",
                index,
                embedding: shown(vector),
            })
            .collect(),
        model,
        usage: Usage {
            prompt_tokens: made.prompt_tokens,
            total_tokens: made.prompt_tokens,
        },
    };
    let answer = written(&serving.sending, answer).await?;
    drop(room);
    Ok(noting(answer, &request.dropped))
}

impl Request {
    fn bytes(&self) -> usize {
        let inputs = self.embed.inputs.iter();
        let forms = inputs.filter_map(|input| input.form.as_ref());
        forms.map(prompt_bytes).sum()
    }
}

/// What a field of the contract is called here.
fn on_this_wire(field: &str) -> String {
    match field {
        "prompt" => "input".to_owned(),
        field => field
            .strip_suffix(".tokens")
            .unwrap_or(field)
            .replacen("inputs", "input", 1),
    }
}

fn decode(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::of("", parse(body)?)?;
    let model = fields.need_model()?;
    let inputs = prompts(&mut fields, "input", MOST_INPUTS)?;
    let format: Option<String> = fields.take("encoding_format")?;
    let base64 = match format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let why = format!("is `{other}`; known are float, base64");
            return Err(Refusal::invalid("encoding_format", why));
        }
    };
    let inputs = inputs.into_iter();
    Ok(Request {
        embed: api::EmbedRequest {
            model,
            inputs: inputs
                .map(|form| api::Prompt { form: Some(form) })
                .collect(),
            dimensions: fields.take("dimensions")?,
            cache_salt: fields.take("cache_salt")?.unwrap_or_default(),
        },
        base64,
        dropped: fields.rest(),
    })
}
