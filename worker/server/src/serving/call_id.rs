//! Ids of calls: the same wherever an answer is written, and another for every prompt.

use serde_json::Value;
use weir_engine::model::Message;

/// What the ids of one request are drawn from.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallIds(u64);

/// Mistral's templates take ids of that many letters and digits, and no others.
const LETTERS: usize = 9;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl CallIds {
    pub fn of(prompt_ids: &[u32], seed: u64) -> Self {
        let words = prompt_ids.iter().copied().map(u64::from);
        Self(words.fold(mixed(seed), |hash, word| mixed(hash ^ word)))
    }

    pub fn id(&self, choice: u32, index: u32) -> String {
        let place = u64::from(choice) << 32 | u64::from(index);
        spelled(mixed(self.0 ^ mixed(place)))
    }
}

/// The conversation with ids of that kind. Others, which a conversation that began elsewhere has,
/// become what is drawn from them.
pub(super) fn with_short_ids(mut messages: Vec<Message>) -> Vec<Message> {
    for message in &mut messages {
        if let Some(id) = &mut message.tool_call_id {
            *id = short(id);
        }
        for call in &mut message.tool_calls {
            if let Some(Value::String(id)) = call.get_mut("id") {
                *id = short(id);
            }
        }
    }
    messages
}

fn short(id: &str) -> String {
    if id.len() == LETTERS && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    spelled(
        id.bytes()
            .fold(mixed(0), |hash, byte| mixed(hash ^ u64::from(byte))),
    )
}

fn spelled(mut drawn: u64) -> String {
    let letters = (0..LETTERS).map(|_| {
        let letter = ALPHABET[(drawn % 62) as usize];
        drawn /= 62;
        char::from(letter)
    });
    letters.collect()
}

/// SplitMix64's finish: every bit of the word moves every other.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_its_prompt_seed_choice_and_place() {
        let id = CallIds::of(&[1, 2, 3], 7).id(0, 0);
        assert_eq!(id, CallIds::of(&[1, 2, 3], 7).id(0, 0));
        assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let others = [
            CallIds::of(&[1, 2, 4], 7).id(0, 0),
            CallIds::of(&[1, 2, 3], 8).id(0, 0),
            CallIds::of(&[1, 2, 3], 7).id(1, 0),
            CallIds::of(&[1, 2, 3], 7).id(0, 1),
        ];
        assert!(!others.contains(&id));
    }

    #[test]
    fn ids_that_a_template_refuses_become_others_and_those_of_ours_stay() {
        let messages = vec![Message {
            tool_call_id: Some("call_kXUWW4CyhS3lYyMVdNPNlH4x".to_owned()),
            tool_calls: ["abcDEF123", "call_kXUWW4CyhS3lYyMVdNPNlH4x", "call-1234"]
                .map(|id| serde_json::json!({ "id": id }))
                .to_vec(),
            ..Message::default()
        }];
        let [message] = &with_short_ids(messages)[..] else {
            panic!("there is one message");
        };
        let ids: Vec<&str> = message
            .tool_calls
            .iter()
            .filter_map(|call| call["id"].as_str())
            .collect();
        assert_eq!(ids[0], "abcDEF123");
        assert_eq!(message.tool_call_id.as_deref(), Some(ids[1]));
        assert_ne!(ids[1], ids[2]);
        for id in ids {
            assert!(
                id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{id}"
            );
        }
    }
}
