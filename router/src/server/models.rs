//! The models that a key may use, in the shape of whichever SDK asks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{family, with_request_id};
use crate::encode;
use crate::identify::identify;
use crate::matching;
use crate::refusal::{Family, Refusal};
use crate::shared::Shared;

pub(super) async fn list(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let family = family(request.headers());
    let response = match visible(&shared, &request) {
        Ok(models) => {
            let models: Vec<Value> = models.iter().map(|model| object(family, model)).collect();
            encode::json_response(StatusCode::OK, &listed(family, models))
        }
        Err(refusal) => encode::refuse(family, &refusal, false),
    };
    with_request_id(&shared, response)
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    request: Request,
) -> Response<Body> {
    let family = family(request.headers());
    let found = visible(&shared, &request).and_then(|known| match known.contains(&model) {
        true => Ok(object(family, &model)),
        false => Err(Refusal::UnknownModel { model, known }),
    });
    let response = match found {
        Ok(model) => encode::json_response(StatusCode::OK, &model),
        Err(refusal) => encode::refuse(family, &refusal, false),
    };
    with_request_id(&shared, response)
}

fn visible(shared: &Shared, request: &Request) -> Result<Vec<String>, Refusal> {
    let identity = identify(request.headers())?;
    let view = shared.view.borrow().clone();
    Ok(matching::visible(&view.table, &identity, &view.credentials))
}

fn listed(family: Family, models: Vec<Value>) -> Value {
    match family {
        Family::OpenAI => json!({ "object": "list", "data": models }),
        Family::Anthropic => {
            let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
            let (first, last) = (id(models.first()), id(models.last()));
            json!({ "data": models, "has_more": false, "first_id": first, "last_id": last })
        }
    }
}

fn object(family: Family, name: &str) -> Value {
    match family {
        Family::OpenAI => {
            json!({ "id": name, "object": "model", "created": 0, "owned_by": "weir" })
        }
        Family::Anthropic => json!({
            "type": "model", "id": name, "display_name": name, "lifecycle": "active",
            // Anthropic's own word for a date that is not known.
            "created_at": "1970-01-01T00:00:00Z",
        }),
    }
}
