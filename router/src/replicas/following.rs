//! Listens to one replica, for as long as it is one: what it serves, and what it has in hand.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use weir_worker_api as api;
use weir_worker_api::worker_client::WorkerClient;

use super::said::Kind;

/// A replica that says nothing for so long is asked anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// Adapters come and go while it serves.
const DESCRIBED_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What was heard.
pub(super) enum Heard {
    Kind(Kind),
    Load(api::WatchEvent),
}

/// Hears until the replica is `gone`, or nobody wants to know: `tell` says whether anybody does.
pub(super) async fn follow(
    channel: Channel,
    gone: oneshot::Receiver<()>,
    tell: impl Fn(Heard) -> bool,
) {
    let client = WorkerClient::new(channel);
    let hearing = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match hear(client.clone(), &tell).await {
                Ended::Unheard => return,
                Ended::Broken => pause = FIRST_PAUSE,
                Ended::Silent => pause = (2 * pause).min(LONGEST_PAUSE),
            }
            sleep(pause).await;
        }
    };
    tokio::select! {
        _ = gone => {}
        () = hearing => {}
    }
}

enum Ended {
    /// Nobody wants to know.
    Unheard,
    /// After something was heard.
    Broken,
    Silent,
}

async fn hear(mut client: WorkerClient<Channel>, tell: &impl Fn(Heard) -> bool) -> Ended {
    let begun = timeout(PATIENCE, client.watch(api::WatchRequest {})).await;
    let Ok(Ok(begun)) = begun else {
        return Ended::Silent;
    };
    let mut events = begun.into_inner();
    let mut ended = Ended::Silent;
    let mut describe_at = Instant::now();
    while let Ok(Ok(Some(event))) = timeout(PATIENCE, events.message()).await {
        ended = Ended::Broken;
        if !tell(Heard::Load(event)) {
            return Ended::Unheard;
        }
        if Instant::now() >= describe_at {
            describe_at = Instant::now() + DESCRIBED_EVERY;
            let described = timeout(PATIENCE, client.describe(api::DescribeRequest {})).await;
            let kind = described.ok().and_then(Result::ok);
            let kind = kind.and_then(|described| Kind::of(described.into_inner()));
            if kind.is_some_and(|kind| !tell(Heard::Kind(kind))) {
                return Ended::Unheard;
            }
        }
    }
    ended
}
