//! Work that takes long, on threads where that disturbs nobody: a few at once, and nobody waits for
//! too long.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How long one waits for those before it, each of which takes a few seconds at most.
const LONGEST_TURN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Aside(Arc<Semaphore>);

/// There is no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Undone {
    /// Others come first, and that takes too long.
    TooLate,
    /// It panicked, or the process ends.
    Broken,
}

impl Aside {
    /// So many at once.
    pub fn with(turns: usize) -> Self {
        Self(Arc::new(Semaphore::new(turns)))
    }

    /// What comes of `work`, when it was its turn. A panic there ends nothing else.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let turn = timeout(LONGEST_TURN, self.0.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Undone::TooLate)?;
        let turn = turn.map_err(|_| Undone::Broken)?;
        let joined = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        joined.await.map_err(|_| Undone::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_too_long_for_a_turn_is_sent_away_and_the_next_has_one() {
        let aside = Aside::with(1);
        let held = aside.0.clone().acquire_owned().await.unwrap();
        assert_eq!(aside.run(|| 7).await, Err(Undone::TooLate));
        drop(held);
        assert_eq!(aside.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_leaves_the_turn_to_the_next() {
        let aside = Aside::with(1);
        let broken = aside.run(|| panic!("on purpose")).await;
        assert_eq!(broken.map(|(): ()| ()), Err(Undone::Broken));
        assert_eq!(aside.run(|| 7).await, Ok(7));
    }
}
