//! The tests' side: plan faults, read what was received.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::StandIn;
use crate::bill::Charged;
use crate::fault::Fault;
use crate::journal::Kept;
use crate::limits::Limits;

/// Body of `POST /control/faults`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    fault: String,
    /// How many of the next requests meet it.
    #[serde(default = "once")]
    count: usize,
}

fn once() -> usize {
    1
}

pub(crate) async fn plan(State(stand_in): State<Arc<StandIn>>, Json(plan): Json<Plan>) -> Response {
    let refuse =
        |why: String| (StatusCode::BAD_REQUEST, Json(json!({"error": why}))).into_response();
    match plan.fault.parse::<Fault>() {
        Err(why) => refuse(why),
        Ok(fault) => match stand_in.faults.plan(fault, plan.count) {
            Ok(waiting) => Json(json!({"waiting": waiting})).into_response(),
            Err(most) => refuse(format!("at most {most} faults may wait")),
        },
    }
}

pub(crate) async fn clear_faults(State(stand_in): State<Arc<StandIn>>) -> StatusCode {
    stand_in.faults.clear();
    StatusCode::NO_CONTENT
}

pub(crate) async fn requests(State(stand_in): State<Arc<StandIn>>) -> Json<Kept> {
    Json(stand_in.journal.read())
}

pub(crate) async fn clear_requests(State(stand_in): State<Arc<StandIn>>) -> StatusCode {
    stand_in.journal.clear();
    StatusCode::NO_CONTENT
}

pub(crate) async fn bill(State(stand_in): State<Arc<StandIn>>) -> Json<Charged> {
    Json(stand_in.bill.read())
}

/// Sets what rate-limit headers say; what is not named is as it is at first.
pub(crate) async fn limit(
    State(stand_in): State<Arc<StandIn>>,
    Json(limits): Json<Limits>,
) -> Json<Limits> {
    stand_in.limits.set(limits);
    Json(limits)
}
