//! What is kept, for how long, and what goes first.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn answer(text: &str) -> Answer {
    let piece = Piece {
        text: text.to_owned(),
        ..Piece::default()
    };
    Answer {
        decision: "a1".into(),
        begin: Begin::default(),
        pieces: vec![piece],
        end: End::default(),
    }
}

fn key(name: u8) -> Key {
    [name; 32]
}

#[test]
fn an_answer_is_given_until_it_is_too_old_and_never_after() {
    let (cache, now) = (Cache::new(1 << 20), Instant::now());
    cache.put(key(1), answer("a"), MINUTE, now);
    let find = |key, most_age, after| cache.find(&key, most_age, now + after).is_some();
    let second = Duration::from_secs(1);
    assert!(find(key(1), MINUTE, MINUTE - second));
    assert!(
        !find(key(1), MINUTE - 2 * second, MINUTE - second),
        "younger ones were asked for"
    );
    assert!(!find(key(2), MINUTE, second));
    assert!(!find(key(1), MINUTE, MINUTE));
    assert_eq!(cache.bytes(), 0, "it is gone");
}

#[test]
fn what_was_not_asked_for_the_longest_goes_first_and_no_more_is_kept_than_may_be() {
    let one = answer(&"x".repeat(1000)).bytes();
    let cache = Cache::new(4 * one);
    let now = Instant::now();
    for name in [1, 2, 3] {
        cache.put(key(name), answer(&"x".repeat(1000)), MINUTE, now);
    }
    assert!(cache.find(&key(1), MINUTE, now).is_some());
    cache.put(key(4), answer(&"x".repeat(1000)), MINUTE, now);
    let kept = [1, 2, 3, 4].map(|name| cache.find(&key(name), MINUTE, now).is_some());
    assert_eq!(kept, [true, false, true, true]);
    assert_eq!(cache.bytes(), 3 * one);
    cache.put(key(4), answer(""), MINUTE, now);
    assert!(
        cache.bytes() < 3 * one,
        "an older answer to the same gives its room back"
    );
    cache.put(key(5), answer(&"x".repeat(4 * one)), MINUTE, now);
    assert!(cache.find(&key(5), MINUTE, now).is_none(), "too long");
    assert!(
        cache.find(&key(1), MINUTE, now).is_some(),
        "and takes no other along"
    );
}

#[test]
fn what_is_too_old_is_thrown_away_although_nobody_asks() {
    let (cache, now) = (Cache::new(1 << 20), Instant::now());
    cache.put(key(1), answer("a"), MINUTE, now);
    cache.put(key(2), answer("a"), 3 * MINUTE, now);
    cache.sweep(now + 2 * MINUTE);
    assert_eq!(cache.shelf().kept.len(), 1);
    assert_eq!(cache.shelf().by_use.len(), 1);
    cache.sweep(now + 3 * MINUTE);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn all_that_an_answer_holds_counts() {
    let (cache, now) = (Cache::new(1 << 20), Instant::now());
    cache.put(key(1), answer("a"), MINUTE, now);
    let one = cache.bytes();
    let mut native = answer("a");
    native.end.native = Some("x".repeat(100_000).into());
    cache.put(key(2), native, MINUTE, now);
    assert!(cache.bytes() - one > 100_000);
    let mut huge = answer("a");
    huge.end.native = Some("x".repeat(MOST_ANSWER_BYTES).into());
    cache.put(key(3), huge, MINUTE, now);
    assert!(cache.find(&key(3), MINUTE, now).is_none());
}
