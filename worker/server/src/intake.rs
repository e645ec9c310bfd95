//! What is taken in from clients: bounded in bytes over all connections, and each request in time.
//!
//! A request holds its room until its prompt is read, which may have to wait: what is decoded of it
//! takes about as much as it came in. What waits for longer, while other prompts of the same request
//! are computed, is kept apart: nobody who comes in waits for that.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use futures::{StreamExt, stream::unfold};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{grpc::status, refusal::Refusal};

/// Of requests that are not whole or not read yet, together; of those that are kept; and of prompts
/// that are shown again.
const MOST_KIBIBYTES: usize = 128 << 10;

/// Longer than a request of the greatest size takes on a slow line, so that nobody holds what it has
/// sent by silence.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Room for what comes, of which clones are the same.
#[derive(Clone, Debug)]
pub struct Intake {
    coming: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    shown: Arc<Semaphore>,
}

/// What has come of one request.
#[derive(Debug)]
pub struct Taking {
    room: Intake,
    held: Option<OwnedSemaphorePermit>,
    kept: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Default for Intake {
    fn default() -> Self {
        let room = || Arc::new(Semaphore::new(MOST_KIBIBYTES));
        Self {
            coming: room(),
            kept: room(),
            shown: room(),
        }
    }
}

impl Intake {
    #[cfg(test)]
    pub fn taken_kibibytes(&self) -> usize {
        MOST_KIBIBYTES - self.coming.available_permits()
    }

    pub fn begin(&self) -> Taking {
        Taking {
            room: self.clone(),
            held: None,
            kept: None,
            bytes: 0,
        }
    }
}

impl Taking {
    /// Holds room for more, until it is dropped.
    pub fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.bytes.div_ceil(1024).saturating_sub(held);
        let more = taken(&self.room.coming, more)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// What is left of it is computed for longer than anybody should wait to come in, and takes so
    /// many bytes.
    pub fn keep(&mut self, bytes: usize) -> Result<(), Refusal> {
        let kept = taken(&self.room.kept, bytes.div_ceil(1024))?;
        self.instead(kept);
        Ok(())
    }

    /// The same where so many bytes are shown again, to somebody who may take long to read them.
    pub fn show(&mut self, bytes: usize) -> Result<(), Refusal> {
        let kibibytes = bytes.div_ceil(1024).min(MOST_KIBIBYTES);
        let shown = taken(&self.room.shown, kibibytes)?;
        self.instead(shown);
        Ok(())
    }

    fn instead(&mut self, kept: OwnedSemaphorePermit) {
        self.kept = Some(kept);
        self.held = None;
    }
}

fn taken(of: &Arc<Semaphore>, kibibytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let full = || Refusal::Crowded {
        limit_bytes: MOST_KIBIBYTES << 10,
    };
    let kibibytes = u32::try_from(kibibytes).map_err(|_| full())?;
    let permit = of.clone().try_acquire_many_owned(kibibytes);
    permit.map_err(|_| full())
}

/// The room of a call over gRPC, among the extensions of its request.
#[derive(Clone)]
pub struct Room(Arc<Mutex<Taking>>);

impl Room {
    fn add(&self, bytes: usize) -> Result<(), Refusal> {
        self.taking().add(bytes)
    }

    /// All of it is computed for longer than anybody should wait to come in.
    pub fn keep(&self) -> Result<(), Refusal> {
        let mut taking = self.taking();
        let bytes = taking.bytes;
        taking.keep(bytes)
    }

    fn taking(&self) -> MutexGuard<'_, Taking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds what a call over gRPC sends, and holds its room until the answer is begun; the other wire
/// reads its bodies itself.
pub async fn bounded(intake: Intake, mut request: Request, next: Next) -> Response {
    let ends = Instant::now() + LONGEST;
    let room = Room(Arc::new(Mutex::new(intake.begin())));
    request.extensions_mut().insert(room.clone());
    let _until_begun = room.clone();
    let bounded = |body: Body| {
        let begun = Some((body.into_data_stream(), room));
        Body::from_stream(unfold(begun, move |begun| async move {
            let (mut pieces, room) = begun?;
            let piece = match timeout_at(ends, pieces.next()).await {
                Ok(Some(Ok(piece))) => room.add(piece.len()).map(|()| piece),
                Ok(Some(Err(_))) => Err(Refusal::BodyBroken),
                Ok(None) => return None,
                Err(_) => Err(Refusal::BodyTooSlow),
            };
            let rest = piece.is_ok().then_some((pieces, room));
            Some((piece.map_err(status), rest))
        }))
    };
    next.run(request.map(bounded)).await
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Bytes, to_bytes},
        middleware::from_fn,
        routing::post,
    };
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn room_is_shared_and_given_back() {
        let intake = Intake::default();
        let (mut one, mut other) = (intake.begin(), intake.begin());
        one.add(100 << 20).unwrap();
        other.add(28 << 20).unwrap();
        assert_eq!(other.add(0), Ok(()));
        assert!(matches!(other.add(1), Err(Refusal::Crowded { .. })));
        drop(one);
        assert_eq!(other.add(1), Ok(()));
    }

    #[tokio::test]
    async fn a_call_holds_its_room_until_its_answer_is_begun() {
        let intake = Intake::default();
        let (of_layer, seen) = (intake.clone(), intake.clone());
        let read = async move |body: Bytes| {
            assert_eq!(body.len(), 5 << 10);
            seen.taken_kibibytes().to_string()
        };
        let routes =
            Router::new()
                .route("/call", post(read))
                .layer(from_fn(move |request, next| {
                    bounded(of_layer.clone(), request, next)
                }));
        let call = Request::post("/call")
            .body(Body::from(vec![0; 5 << 10]))
            .unwrap();
        let answer = routes.oneshot(call).await.unwrap().into_body();
        let held = to_bytes(answer, 100).await.unwrap();
        assert_eq!(held, "5");
        assert_eq!(intake.taken_kibibytes(), 0);
    }

    #[test]
    fn what_is_kept_leaves_its_room_to_what_comes_and_has_a_bound_of_its_own() {
        let intake = Intake::default();
        let mut all: Vec<Taking> = (0..16).map(|_| intake.begin()).collect();
        for taking in &mut all {
            taking.add(8 << 20).unwrap();
            taking.keep(8 << 20).unwrap();
        }
        assert_eq!(intake.taken_kibibytes(), 0);
        let mut one_more = intake.begin();
        one_more.add(1).unwrap();
        assert!(matches!(one_more.keep(1), Err(Refusal::Crowded { .. })));
        drop(all);
        assert_eq!(one_more.keep(1), Ok(()));
    }

    #[test]
    fn small_pieces_take_no_more_than_they_are() {
        let intake = Intake::default();
        let mut many: Vec<Taking> = (0..1000).map(|_| intake.begin()).collect();
        for taking in &mut many {
            for _ in 0..100 {
                taking.add(1).unwrap();
            }
        }
        assert_eq!(intake.taken_kibibytes(), 1000);
    }
}
