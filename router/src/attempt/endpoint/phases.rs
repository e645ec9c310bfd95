//! For [`crate::phases`]: what goes to an endpoint, and what is read of its answer.

use std::time::Duration;

use futures::{StreamExt, stream};
use weir_crds::Money;
use weir_policy::tier::Endpoint;

use super::{Reader, Source, request};
use crate::answer::{End, Piece};
use crate::ask::Ask;
use crate::attempt::Arrival;
use crate::wire::Upstream;

/// The body of the request.
pub(crate) fn request(endpoint: &Endpoint, ask: &Ask) -> Option<String> {
    let wire = Upstream::of_endpoint(endpoint).wire_for(ask.wire)?;
    serde_json::to_string(&request::body(wire, endpoint, ask)).ok()
}

/// Reads an answer that comes an event at a time.
pub(crate) fn read(endpoint: &Endpoint, ask: &Ask, answer: &[u8]) -> Option<(Vec<Piece>, End)> {
    let wire = Upstream::of_endpoint(endpoint).wire_for(ask.wire)?;
    let reader = Reader::new(wire, endpoint, ask, true);
    let nothing = stream::empty().boxed();
    let mut source = Source::new(String::new(), Duration::MAX, nothing, reader, None);
    let mut pieces = Vec::new();
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        source.read(line).ok()?;
        while let Some(Arrival::Tokens { piece, .. }) = source.arrivals.pop_front() {
            pieces.push(piece);
        }
    }
    let finish = source.reader.finish()?;
    let end = End {
        stops: finish.stops,
        usage: finish.usage,
        cost: Money::default(),
        score: None,
        is_unsure: false,
        native: finish.native,
    };
    Some((pieces, end))
}
