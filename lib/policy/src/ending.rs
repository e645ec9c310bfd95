//! How long a router that is told to end goes on with what it has in hand.

use std::time::Duration;

use weir_crds::RoutePolicySpec;
use weir_crds::value::duration;

/// Where no policy says: the default of `maxDuration`.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// As long as the longest answer of these policies may take.
pub fn longest_answer<'a>(policies: impl Iterator<Item = &'a RoutePolicySpec>) -> Duration {
    policies
        .filter_map(|policy| duration(&policy.max_duration).ok())
        .max()
        .unwrap_or(LONGEST_ANSWER)
}
