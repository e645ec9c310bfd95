//! The OpenAI wire: chats, completions, embeddings and the list of models, on the port that speaks gRPC too.

mod body;
mod completions;
mod embeddings;
mod error;
mod fields;
mod form;
mod logprobs;
mod prompt_logprobs;
mod prompts;
mod request;
mod response;
mod settings;
mod stream;
mod tokens;
mod tools;
mod written;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRef, Path, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use self::{
    body::{Reading, discard, read},
    error::WireError,
    request::ChatRequest,
    response::Envelope,
    written::written,
};
use crate::{intake::Intake, refusal::Refusal, serving::Serving};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names fields of the request that had no effect.
const DROPPED: HeaderName = HeaderName::from_static("x-weir-dropped");

const MOST_NAMED: usize = 32;
const LONGEST_NAME: usize = 64;

/// What a handler needs.
#[derive(Clone)]
struct Wire {
    serving: Arc<Serving>,
    reading: Reading,
}

impl FromRef<Wire> for Arc<Serving> {
    fn from_ref(wire: &Wire) -> Self {
        wire.serving.clone()
    }
}

pub fn routes(serving: Arc<Serving>, intake: Intake) -> Router {
    let wire = Wire {
        serving,
        reading: Reading::with(intake),
    };
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/v1/models/{name}", get(model))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(name_request))
        .with_state(wire)
}

/// Gives every answer the id that the request brought, or one of its own.
async fn name_request(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).cloned();
    with_id(given, next.run(request).await)
}

fn with_id(given: Option<HeaderValue>, mut response: Response) -> Response {
    let id = given.or_else(|| HeaderValue::from_str(&drawn_id("req")).ok());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// An id that nobody has drawn before: hash keys come from the system's randomness.
fn drawn_id(kind: &str) -> String {
    let drawn = [0_u8, 1].map(|part| RandomState::new().hash_one(part));
    format!("{kind}-{:016x}{:016x}", drawn[0], drawn[1])
}

/// What a path that nobody serves is answered with.
pub async fn not_found(request: Request) -> Response {
    let given = request.headers().get(&REQUEST_ID).cloned();
    let error = WireError::no_such_route(request.method(), request.uri());
    discard(request.into_body()).await;
    with_id(given, error.into_response())
}

/// What every path is answered with that `refusal` keeps from being served.
pub async fn refused(request: Request, refusal: Refusal) -> Response {
    let given = request.headers().get(&REQUEST_ID).cloned();
    discard(request.into_body()).await;
    with_id(given, WireError::from(refusal).into_response())
}

async fn no_such_method(method: Method, uri: Uri, body: Body) -> WireError {
    discard(body).await;
    WireError::no_such_method(&method, &uri)
}

async fn chat(State(wire): State<Wire>, body: Body) -> Result<Response, WireError> {
    let Wire { serving, reading } = wire;
    let (body, place) = read(&reading, body).await?;
    let chat = ChatRequest::decode(&body)?;
    drop(body);
    let room = place.parsed();
    let gathered = chat.gathered();
    let envelope = Envelope::new("chatcmpl", chat.model);
    let asked = stream::Asked {
        include_usage: chat.include_usage,
        logprobs: chat.logprobs.is_some(),
        choices: chat.generate.choices,
    };
    let (form_field, dropped) = (chat.form_field, chat.dropped);
    let named = |field: &str| match form_field {
        Some(name) if field == "constraint" => name.to_owned(),
        _ => field.to_owned(),
    };
    let of_prompt = chat.generate.prompt_logprobs.is_some();
    let generation = match &gathered {
        Some(gathered) => serving.generate_whole(chat.generate, gathered).await,
        None => serving.generate(chat.generate).await,
    };
    let generation = generation.map_err(|refusal| refusal.with_field_named(named))?;
    drop(room);
    let response = match gathered {
        None => stream::answer(serving, envelope, generation, asked),
        Some(_) => {
            let shown = (asked.logprobs, of_prompt);
            let answer = response::whole(&serving, envelope, generation, shown).await?;
            written(&serving.sending, answer).await?
        }
    };
    Ok(noting(response, &dropped))
}

/// The same with the names of fields that had no effect.
fn noting(mut response: Response, dropped: &[String]) -> Response {
    if let Ok(dropped) = HeaderValue::from_str(&named(dropped).join(", "))
        && !dropped.is_empty()
    {
        response.headers_mut().insert(DROPPED, dropped);
    }
    response
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::NotJson {
        why: error.to_string(),
    })
}

/// The names of `fields` that may stand in a header, a bounded number of them, and how many others
/// there are: the client made them up.
fn named(fields: &[String]) -> Vec<String> {
    let may_stand = |name: &&String| {
        (1..=LONGEST_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let named = fields.iter().filter(may_stand).take(MOST_NAMED);
    let mut named: Vec<String> = named.cloned().collect();
    if named.len() < fields.len() {
        named.push(format!("+{}", fields.len() - named.len()));
    }
    named
}

/// For whoever cannot ask the admin port: whether answers are begun here.
async fn health(State(serving): State<Arc<Serving>>) -> StatusCode {
    match serving.shutdown.is_draining() {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    }
}

async fn models(State(serving): State<Arc<Serving>>) -> Json<Value> {
    let names = serving.model_names();
    let models: Vec<Value> = names
        .iter()
        .map(|name| model_object(&serving, name))
        .collect();
    Json(json!({ "object": "list", "data": models }))
}

async fn model(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, WireError> {
    let names = serving.model_names();
    if names.contains(&name) {
        return Ok(Json(model_object(&serving, &name)));
    }
    Err(Refusal::UnknownModel {
        asked: name,
        known: names.join(", "),
    }
    .into())
}

/// An adapter's parent is the model that it adds to.
fn model_object(serving: &Serving, name: &str) -> Value {
    let parent = (name != serving.name).then_some(&serving.name);
    json!({
        "id": name,
        "object": "model",
        "created": serving.created_seconds,
        "owned_by": "weir",
        "root": name,
        "parent": parent,
    })
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn names_that_a_client_made_up_are_bounded_and_cannot_break_a_header() {
        let long = "x".repeat(65);
        let odd = ["a\r\nb", "a, b", "", &long, "good.Name-1"].map(str::to_owned);
        assert_eq!(named(&odd), ["good.Name-1", "+4"]);
        let many: Vec<String> = (0..40).map(|index| format!("f{index}")).collect();
        assert_eq!((named(&many).len(), named(&many)[32].as_str()), (33, "+8"));
    }
}
