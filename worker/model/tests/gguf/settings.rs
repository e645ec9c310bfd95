//! What a person may set for these tests. Nothing else is read from the environment.

/// Set to do without what has to be downloaded: a check that is left out is said aloud.
pub const OFFLINE: &str = "WEIR_TESTS_OFFLINE";
/// How many damaged files to read, instead of what takes a few seconds.
pub const MUTATIONS: &str = "WEIR_TESTS_MUTATIONS";
/// Set by a test for the process that tries a template: where the model lies.
pub const TRIAL: &str = "WEIR_TESTS_TRIAL";

#[allow(
    clippy::disallowed_methods,
    reason = "a test has no arguments: its switches are read here, and only here"
)]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
