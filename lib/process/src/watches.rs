//! Watches of the API server that are tried again after a pause that grows with each failure.

use std::mem;

use futures::{Stream, StreamExt, stream};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Event, Result};

/// The events of a watch, with a pause after each failure that grows up to half a minute and as long again by lot.
pub fn paced<K>(
    events: impl Stream<Item = Result<Event<K>>>,
) -> impl Stream<Item = Result<Event<K>>> {
    begun(events).default_backoff()
}

/// The same events, but a list is not said to begin before something of it has come: otherwise every try would
/// look like a success, and be followed by the next without a pause that grows.
fn begun<K>(events: impl Stream<Item = Result<Event<K>>>) -> impl Stream<Item = Result<Event<K>>> {
    let mut begins = false;
    let held = move |event| match event {
        Ok(Event::Init) => {
            begins = true;
            [None, None]
        }
        Ok(event) => {
            let begin = mem::take(&mut begins).then_some(Ok(Event::Init));
            [begin, Some(Ok(event))]
        }
        Err(error) => [None, Some(Err(error))],
    };
    events
        .map(held)
        .flat_map(|events| stream::iter(events.into_iter().flatten()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::watcher::Error;
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_away_for_minutes_is_not_stormed_and_is_seen_when_it_is_back() {
        // Half a minute, and as long again by lot.
        const LONGEST: Duration = Duration::from_secs(60);
        let back = Instant::now() + Duration::from_secs(300);
        let mut tries: u32 = 0;
        let events = stream::unfold(false, |has_begun| async move {
            let event: Result<Event<()>> = match has_begun {
                false => Ok(Event::Init),
                true if Instant::now() < back => Err(Error::NoResourceVersion),
                true => Ok(Event::InitDone),
            };
            Some((event, !has_begun))
        });
        let mut paced = std::pin::pin!(paced(events));
        loop {
            match paced.next().await {
                Some(Err(_)) => tries += 1,
                Some(Ok(Event::InitDone)) => break,
                Some(Ok(_)) => {}
                None => panic!("a watch never ends"),
            }
        }
        let late = Instant::now() - back;
        assert!(late <= LONGEST, "{late:?} after it was there again");
        // 0.8, 1.6 and so on up to 30 seconds, each up to twice as long: a pause that began anew with each list would
        // be one of 0.8 for ever.
        assert!((6..=18).contains(&tries), "{tries} tries in five minutes");
    }

    #[tokio::test]
    async fn a_list_begins_with_the_first_that_comes_of_it_and_nothing_is_lost() {
        let failed = || Err(Error::NoResourceVersion);
        let events: [Result<Event<()>>; 7] = [
            Ok(Event::Init),
            failed(),
            Ok(Event::Init),
            Ok(Event::InitApply(())),
            Ok(Event::InitDone),
            Ok(Event::Init),
            Ok(Event::InitDone),
        ];
        let seen = begun(stream::iter(events)).map(|event| match event {
            Ok(Event::Init) => "begins",
            Ok(Event::InitApply(_)) => "goes on",
            Ok(Event::InitDone) => "is done",
            Ok(_) => "something else",
            Err(_) => "failed",
        });
        let seen: Vec<&str> = seen.collect().await;
        let all = [
            "failed", "begins", "goes on", "is done", "begins", "is done",
        ];
        assert_eq!(seen, all);
    }
}
