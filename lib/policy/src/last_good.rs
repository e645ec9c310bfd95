//! The last valid spec of each policy, as the ConfigMap `weir-policies` keeps it: one entry per
//! policy, its value `{"generation":3,"spec":{...}}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_crds::RoutePolicySpec;

/// A spec that was valid, and the generation of the object that had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastGood {
    pub generation: i64,
    pub spec: RoutePolicySpec,
}

/// Reads the entries of the ConfigMap. One that cannot be read is left out: it was written by
/// another version, and the policy's live spec is still there to be used.
pub fn read(entries: &BTreeMap<String, String>) -> BTreeMap<String, LastGood> {
    let entries = entries.iter();
    let read = entries.filter_map(|(name, json)| {
        let last_good = serde_json::from_str(json).ok()?;
        Some((name.clone(), last_good))
    });
    read.collect()
}

/// Writes the entries of the ConfigMap.
pub fn write(policies: &BTreeMap<String, LastGood>) -> BTreeMap<String, String> {
    let policies = policies.iter();
    let written = policies.filter_map(|(name, last_good)| {
        let json = serde_json::to_string(last_good).ok()?;
        Some((name.clone(), json))
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_was_written_is_read_and_what_cannot_be_read_is_left_out() {
        let spec = testing::policy("support").spec;
        let policies = [(
            "support".to_owned(),
            LastGood {
                generation: 3,
                spec,
            },
        )]
        .into();
        let mut entries = write(&policies);
        assert!(entries["support"].starts_with(r#"{"generation":3,"spec":{"#));
        entries.insert("odd".into(), "{}".into());
        assert_eq!(read(&entries), policies);
    }
}
