//! What was decided earlier: `GET /v1/decisions/{id}`, and `POST /v1/feedback` on it.
//!
//! A decision is told to the tenant that asked; to everybody else it is as unknown as one that never
//! was. Where there are no tenants its id, which nobody can guess, is all that is needed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use weir_policy::records::Records;

use super::{family, with_request_id};
use crate::decode::{self, Incoming};
use crate::feedback::{self, Feedback, MOST_LABELS};
use crate::identify::identify;
use crate::kept::Labelled;
use crate::metrics::FeedbackLabels;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::store::Line;
use crate::{admit, encode, matching};

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    let told = tenants(&shared, request.headers()).and_then(|tenants| {
        let record = shared.kept.json(&id, &tenants);
        record.ok_or(Refusal::UnknownDecision)
    });
    let response = match told {
        Ok(record) => encode::json_text(StatusCode::OK, record),
        Err(refusal) => encode::refuse(family(request.headers()), &refusal, false),
    };
    with_request_id(&shared, response)
}

pub(super) async fn feedback(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut body = Incoming::new(body, &parts);
    let response = match label(&shared, &parts, &mut body).await {
        Ok(recorded) => encode::json_response(StatusCode::OK, &recorded),
        Err(refusal) => {
            body.discard().await;
            encode::refuse(family(&parts.headers), &refusal, false)
        }
    };
    with_request_id(&shared, response)
}

/// Puts a label to a decision, and says what was recorded.
async fn label(shared: &Shared, parts: &Parts, body: &mut Incoming) -> Result<Value, Refusal> {
    let tenants = tenants(shared, &parts.headers)?;
    let sender = tenants.first().map_or("", String::as_str);
    let (body, _held) = body.read(&shared.bodies, sender).await?;
    let _permit = admit::admit(shared)?;
    let body = decode::object(&body)?;
    let Feedback { id, mut label } = feedback::read(body, jiff::Timestamp::now())?;
    let policy = shared.kept.policy(&id, &tenants);
    let policy = policy.ok_or(Refusal::UnknownDecision)?;
    let records = records(shared, &policy);
    label.comment.take_if(|_| !records.keeps_text);
    let verdict = label.verdict;
    let recorded = json!({ "id": id, "label": label });
    match shared.kept.label(&id, label.clone()) {
        None => return Err(Refusal::UnknownDecision),
        Some(Labelled::Full) => {
            let message =
                format!("this answer has {MOST_LABELS} verdicts, which is all it may have");
            return Err(Refusal::field("id", message));
        }
        Some(Labelled::WhileRunning) => {}
        Some(Labelled::Afterwards { is_private }) => {
            if let Some(store) = &records.store {
                shared.stores.outbox(&policy, store).put(Line::Feedback {
                    id,
                    label,
                    is_private,
                });
            }
        }
    }
    let labels = FeedbackLabels { policy, verdict };
    shared.metrics.feedback.get_or_create(&labels).inc();
    Ok(recorded)
}

/// Whoever has no key where every model needs one is refused; else the tenants of the key, if any.
fn tenants(shared: &Shared, headers: &HeaderMap) -> Result<Vec<String>, Refusal> {
    let identity = identify(headers)?;
    let view = shared.view.borrow().clone();
    matching::may_ask(&view.table, &identity, &view.credentials)?;
    Ok(matching::tenants(&view.table, &identity, &view.credentials))
}

/// What the policy, as it is now, says about records.
fn records(shared: &Shared, policy: &str) -> Records {
    let view = shared.view.borrow();
    let policy = view.table.policy(policy);
    policy
        .map(|policy| policy.settings.records.clone())
        .unwrap_or_default()
}
