//! How long the faults go on, and which run of chance this is.

/// Of a run that nobody says otherwise of.
const SEED: u64 = 7;

/// What chance follows from. `WEIR_TESTS_SEED` is another one.
pub fn seed() -> u64 {
    number("WEIR_TESTS_SEED").unwrap_or(SEED)
}

/// So many times as long as usual: `WEIR_TESTS_FAULTS` says it.
pub fn times() -> u64 {
    number("WEIR_TESTS_FAULTS").unwrap_or(1).max(1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not of a program"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
