//! Whole answers until their clients have read them: bounded in bytes over all connections.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::refusal::Refusal;

/// Of all answers that are sent, together.
const MOST_KIBIBYTES: usize = 256 << 10;

/// One of which others are read so slowly is not sent.
const LONGEST: Duration = Duration::from_secs(10);

/// Room for answers, of which clones are the same.
#[derive(Clone, Debug)]
pub struct Sending(Arc<Semaphore>);

/// The room of one answer, until it is dropped.
#[derive(Debug)]
pub struct Held(OwnedSemaphorePermit);

impl Held {
    /// So many bytes of the answer are there no longer.
    pub fn give_back(&mut self, bytes: usize) {
        let most = self.0.num_permits();
        drop(self.0.split(most.min(bytes / 1024)));
    }
}

impl Default for Sending {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_KIBIBYTES)))
    }
}

impl Sending {
    #[cfg(test)]
    pub fn free_kibibytes(&self) -> usize {
        self.0.available_permits()
    }

    /// Waits for room a little.
    pub async fn hold(&self, bytes: usize) -> Result<Held, Refusal> {
        let full = || Refusal::Unread {
            limit_bytes: MOST_KIBIBYTES << 10,
        };
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).map_err(|_| full())?;
        let permit = self.0.clone().acquire_many_owned(kibibytes);
        match timeout(LONGEST, permit).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            Ok(Err(_)) | Err(_) => Err(full()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn room_is_shared_and_given_back() {
        let sending = Sending::default();
        let one = sending.hold(200 << 20).await.unwrap();
        let _other = sending.hold(56 << 20).await.unwrap();
        let refused = sending.hold(1).await.unwrap_err();
        assert!(matches!(refused, Refusal::Unread { .. }), "{refused}");
        drop(one);
        assert!(sending.hold(200 << 20).await.is_ok());
    }
}
