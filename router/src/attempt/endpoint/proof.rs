//! Signatures of thoughts and encrypted thoughts: what a provider wants back with its own
//! reasoning, and what nobody else should get.
//!
//! On the way to the client each is marked with the endpoint that made it; on the way back it goes
//! to that endpoint only, as it was. The client keeps it: nothing is stored here.

use serde_json::Value;
use weir_policy::tier::Endpoint;

use crate::shared::hashed;

const MARK: &str = "weir.";

/// The mark of what `endpoint` makes.
pub(super) fn mark(endpoint: &Endpoint) -> String {
    format!("{MARK}{}.", hashed(&endpoint.base_url))
}

/// What was made by the endpoint of `mark`, as it was; nothing where somebody else made it.
pub(super) fn unmarked<'a>(mark: &str, proof: &'a str) -> Option<&'a str> {
    proof.strip_prefix(mark)
}

/// Whether `value`, a block or an item of a wire, is a thought that carries a proof, and the member
/// that does.
fn proof_of(value: &Value) -> Option<&'static str> {
    match value.get("type")?.as_str()? {
        "thinking" | "signature_delta" => Some("signature"),
        "redacted_thinking" => Some("data"),
        "reasoning" => Some("encrypted_content"),
        _ => None,
    }
}

/// Marks every proof in an event or an answer of an endpoint.
pub(super) fn mark_all(mark: &str, value: &mut Value) {
    if let Some(member) = proof_of(value)
        && let Some(Value::String(proof)) = value.get_mut(member)
        && !proof.is_empty()
    {
        proof.insert_str(0, mark);
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mark_all(mark, item)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| mark_all(mark, member)),
        _ => {}
    }
}

/// Takes the marks off the thoughts among `items`, and takes out those that somebody else had.
/// Tells whether any was taken out.
pub(super) fn unmark(mark: &str, items: &mut Vec<Value>) -> bool {
    let before = items.len();
    items.retain_mut(|item| {
        let Some(member) = proof_of(item) else {
            return true;
        };
        let own = item.get(member).and_then(Value::as_str);
        let own = own
            .and_then(|proof| unmarked(mark, proof))
            .map(str::to_owned);
        let is_own = own.is_some();
        if let Some(own) = own {
            item[member] = own.into();
        }
        is_own
    });
    items.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_proof_goes_back_to_its_maker_and_to_nobody_else() {
        let mut answer = json!({ "content": [
            { "type": "thinking", "thinking": "hm", "signature": "abc" },
            { "type": "redacted_thinking", "data": "def" },
            { "type": "text", "text": "hi" },
        ] });
        mark_all("weir.one.", &mut answer);
        assert_eq!(answer["content"][0]["signature"], "weir.one.abc");
        let blocks = answer["content"].as_array().unwrap();
        let mut own = blocks.clone();
        assert!(!unmark("weir.one.", &mut own));
        assert_eq!(
            (&own[0]["signature"], &own[1]["data"]),
            (&json!("abc"), &json!("def"))
        );
        let mut other = blocks.clone();
        assert!(unmark("weir.two.", &mut other));
        assert_eq!(other, [json!({ "type": "text", "text": "hi" })]);
    }

    #[test]
    fn a_thought_that_nobody_vouches_for_goes_nowhere() {
        let mut items = vec![json!({ "type": "thinking", "thinking": "hm", "signature": "raw" })];
        assert!(unmark("weir.one.", &mut items));
        assert!(items.is_empty());
    }
}
