//! `/v1/models`, in the shape of whichever wire asks.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::spoil::Whole;
use crate::{MODEL, StandIn, anthropic, intake, openai};

pub(crate) async fn list(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    answer(&stand_in, request, |is_anthropic| {
        Ok(match is_anthropic {
            true => anthropic::models(),
            false => json!({"object": "list", "data": [model()]}),
        })
    })
    .await
}

pub(crate) async fn one(
    State(stand_in): State<Arc<StandIn>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    answer(&stand_in, request, |is_anthropic| match is_anthropic {
        _ if id != MODEL => {
            let message =
                format!("The model `{id}` does not exist or you do not have access to it.");
            let refusal = Refusal::new(StatusCode::NOT_FOUND, message);
            Err(refusal.with_code("model_not_found"))
        }
        true => Ok(anthropic::model(MODEL)),
        false => Ok(model()),
    })
    .await
}

async fn answer(
    stand_in: &StandIn,
    request: Request,
    body: impl FnOnce(bool) -> Result<Value, Refusal>,
) -> Response {
    let is_anthropic = request.headers().contains_key(anthropic::VERSION);
    let received = intake::receive(stand_in, request).await;
    let outcome = received.and_then(|received| {
        let error = match is_anthropic {
            true => anthropic::server_error(received.trouble()),
            false => openai::server_error(received.trouble()),
        };
        received.whole(Whole {
            body: body(is_anthropic)?,
            error,
        })
    });
    match is_anthropic {
        true => anthropic::said(outcome),
        false => openai::said(outcome),
    }
}

fn model() -> Value {
    json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "weir"})
}
