//! An attempt at a replica of ours, over gRPC: what comes back, with its evidence.

mod pieces;
mod progress;
mod request;
mod source;

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tracing::Span;
use weir_process::traces;
use weir_worker_api as api;
use weir_worker_api::worker_client::WorkerClient;

use super::Finish;
use super::ending::is_of_replica;
use crate::answer::{Piece, Stop, Usage};
use crate::ask::Ask;
use crate::refusal::Failure;
use crate::replicas::Lease;
pub(crate) use request::{prompts, said};
pub(crate) use source::Source;

/// What an attempt at a replica needs.
pub(crate) struct Call<'a> {
    pub tier: &'a str,
    /// What the worker must serve, a deployment or one of its adapters: an address may have gone to a
    /// worker of another one.
    pub model: &'a str,
    /// Hashed. Replicas let tenants take turns, and share no beginnings of prompts across them.
    pub tenant: &'a str,
}

/// Asks the replica of `lease`.
pub(crate) async fn open(lease: Lease, call: Call<'_>, ask: &Ask) -> Result<Source, Failure> {
    Source::open(lease, &call, ask).await
}

/// Has vectors made by the replica of `lease`.
pub(crate) async fn embed(
    lease: Lease,
    call: Call<'_>,
    ask: &Ask,
) -> Result<(Piece, Finish), Failure> {
    let mut request = Request::new(request::embed(&call, ask));
    traces::inject(&Span::current(), request.metadata_mut().as_mut());
    let made = client(&lease).embed(request).await;
    let made = made.map_err(|status| failure(call.tier, &status, false))?;
    let made = made.into_inner();
    let vectors = made.vectors.into_iter().map(|vector| vector.values);
    let piece = Piece {
        vectors: vectors.collect(),
        ..Piece::default()
    };
    let usage = Usage {
        prompt: u64::from(made.prompt_tokens),
        ..Usage::default()
    };
    let finish = Finish {
        stops: vec![Stop::Turn],
        usage,
        native: None,
    };
    Ok((piece, finish))
}

fn client(lease: &Lease) -> WorkerClient<Channel> {
    WorkerClient::new(lease.channel.clone())
        .max_decoding_message_size(api::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(api::MAX_MESSAGE_BYTES)
}

/// Whether what a worker refused to do, or broke off, is held against its revision.
pub(crate) fn is_replicas_failure(status: &Status) -> bool {
    is_of_replica(&meaning(String::new(), status, false))
}

/// `has_begun`: the worker had taken the ask.
fn failure(tier: &str, status: &Status, has_begun: bool) -> Failure {
    let tier = tier.to_owned();
    // The message of a worker is for logs; a client is told in our words.
    tracing::debug!(tier, code = ?status.code(), message = status.message(), "replica failed");
    meaning(tier, status, has_begun)
}

fn meaning(tier: String, status: &Status, has_begun: bool) -> Failure {
    // What is longer than a worker takes is refused before it is looked into.
    if status.code() == Code::OutOfRange && !has_begun {
        return Failure::TooLong { tier };
    }
    // Every status that a worker of ours writes has a detail.
    if status.details().is_empty() {
        return match has_begun {
            true => Failure::Lost { tier },
            false => Failure::Connect { tier },
        };
    }
    let detail = api::detail_of(status);
    match detail.code() {
        api::ErrorCode::TooLong => Failure::TooLong { tier },
        api::ErrorCode::Invalid => Failure::Refused {
            tier,
            field: Some(detail.field).filter(|field| !field.is_empty()),
        },
        api::ErrorCode::Unsupported | api::ErrorCode::Mismatch => Failure::Unsupported { tier },
        api::ErrorCode::Overloaded => Failure::Overloaded {
            tier,
            retry_after: detail
                .retry_after_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        api::ErrorCode::Draining => Failure::Leaving { tier },
        // The address belongs to somebody else by now, or the model or adapter is not there yet; another
        // replica may be.
        api::ErrorCode::UnknownModel | api::ErrorCode::Starting => Failure::Connect { tier },
        api::ErrorCode::Internal | api::ErrorCode::Unspecified => Failure::Broken { tier },
    }
}
