//! Room for what lies in memory until somebody takes it: bounded in bytes over all connections. Short
//! things have room of their own and never wait behind long ones.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Of long things together, and of short ones.
const MOST_LONG_KIBIBYTES: usize = 256 << 10;
const MOST_SHORT_KIBIBYTES: usize = 64 << 10;

/// More is long.
const LONGEST_SHORT: usize = 1 << 16;

/// How long one waits for room.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Room of one kind, of which clones are the same.
#[derive(Clone, Debug)]
pub struct Room {
    long: Arc<Semaphore>,
    short: Arc<Semaphore>,
}

/// The room of one thing, until it is dropped.
#[derive(Debug)]
pub struct Held(OwnedSemaphorePermit);

/// There is no room for so long.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    pub limit_bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        let room = |kibibytes| Arc::new(Semaphore::new(kibibytes));
        Self {
            long: room(MOST_LONG_KIBIBYTES),
            short: room(MOST_SHORT_KIBIBYTES),
        }
    }
}

impl Room {
    /// Waits for room a little.
    pub async fn hold(&self, bytes: usize) -> Result<Held, Full> {
        let (room, most) = match bytes > LONGEST_SHORT {
            true => (&self.long, MOST_LONG_KIBIBYTES),
            false => (&self.short, MOST_SHORT_KIBIBYTES),
        };
        // Whatever is larger than all of it has it for itself.
        let kibibytes = bytes.div_ceil(1024).min(most) as u32;
        let permit = room.clone().acquire_many_owned(kibibytes);
        match timeout(LONGEST_WAIT, permit).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            Ok(Err(_)) | Err(_) => Err(Full {
                limit_bytes: most << 10,
            }),
        }
    }

    #[cfg(test)]
    pub fn free_kibibytes(&self) -> usize {
        self.long.available_permits()
    }
}

impl Held {
    /// Of so many bytes, which are held apart from the rest.
    pub fn part(&mut self, bytes: usize) -> Self {
        let most = self.0.num_permits();
        let part = self.0.split(most.min(bytes.div_ceil(1024)));
        Self(part.expect("as many as are there can be split off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn room_is_shared_and_given_back() {
        let room = Room::default();
        let mut one = room.hold(200 << 20).await.unwrap();
        let _other = room.hold(56 << 20).await.unwrap();
        let limit_bytes = MOST_LONG_KIBIBYTES << 10;
        let full = room.hold(LONGEST_SHORT + 1).await.unwrap_err();
        assert_eq!(full, Full { limit_bytes });
        drop(one.part(100 << 20));
        let _third = room.hold(100 << 20).await.unwrap();
        drop(one);
        assert!(room.hold(100 << 20).await.is_ok());
        assert!(room.hold(usize::MAX).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_short_does_not_wait_for_what_is_long_and_has_a_bound_too() {
        let room = Room::default();
        let _all = room.hold(256 << 20).await.unwrap();
        let short: Vec<Held> = futures::future::try_join_all((0..1024).map(|_| room.hold(1 << 16)))
            .await
            .unwrap();
        assert!(room.hold(1).await.is_err());
        drop(short);
        assert!(room.hold(1).await.is_ok());
    }
}
