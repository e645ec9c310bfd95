//! Conversations that were raised to a tier: their next turn begins there, where the policy wants that.
//!
//! A conversation is known by its beginning, as a digest. Each router knows those that it answered itself, the
//! last ones, for an hour.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// A person who comes back later begins anew.
const KEEP: Duration = Duration::from_secs(3600);
const MOST: usize = 65_536;

/// The conversations.
#[derive(Default)]
pub(crate) struct Raised {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    tiers: HashMap<Conversation, (String, Instant)>,
    /// In the order in which they were raised; one that was raised again is there again.
    order: VecDeque<(Conversation, Instant)>,
}

/// Of one policy and tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Conversation([u8; 16]);

impl Conversation {
    pub fn of(policy: &str, tenant: &str, beginning: u64) -> Self {
        let digest = Sha256::new()
            .chain_update(Sha256::digest(policy))
            .chain_update(Sha256::digest(tenant))
            .chain_update(beginning.to_le_bytes())
            .finalize();
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        Self(name)
    }
}

impl Raised {
    /// The tier that the conversation was raised to.
    pub fn tier(&self, conversation: Conversation, now: Instant) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (tier, since) = kept.tiers.get(&conversation)?;
        (now < *since + KEEP).then(|| tier.clone())
    }

    pub fn raise(&self, conversation: Conversation, tier: &str, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tiers.insert(conversation, (tier.to_owned(), now));
        kept.order.push_back((conversation, now));
        while let Some((oldest, since)) = kept.order.front().copied() {
            let is_over = now >= since + KEEP || kept.order.len() > MOST;
            if !is_over {
                break;
            }
            kept.order.pop_front();
            let is_current = kept.tiers.get(&oldest).is_some_and(|(_, of)| *of == since);
            if is_current {
                kept.tiers.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(beginning: u64) -> Conversation {
        Conversation::of("support", "acme", beginning)
    }

    #[test]
    fn a_conversation_is_one_of_its_policy_and_tenant_and_is_forgotten_after_an_hour() {
        let (raised, now) = (Raised::default(), Instant::now());
        raised.raise(conversation(1), "frontier", now);
        let tier = |conversation, now| raised.tier(conversation, now);
        assert_eq!(tier(conversation(1), now).as_deref(), Some("frontier"));
        assert_eq!(tier(conversation(2), now), None);
        assert_eq!(tier(Conversation::of("support", "other", 1), now), None);
        assert_eq!(tier(Conversation::of("other", "acme", 1), now), None);
        assert_eq!(tier(conversation(1), now + KEEP), None);
    }

    #[test]
    fn so_many_are_kept_and_the_oldest_goes() {
        let (raised, now) = (Raised::default(), Instant::now());
        let later = |place: u64| now + Duration::from_millis(place);
        for place in 0..=MOST as u64 {
            raised.raise(conversation(place), "frontier", later(place));
        }
        assert_eq!(raised.tier(conversation(0), now), None);
        assert!(raised.tier(conversation(1), now).is_some());
        raised.raise(conversation(1), "large", later(MOST as u64 + 1));
        raised.raise(conversation(0), "large", later(MOST as u64 + 2));
        assert_eq!(raised.tier(conversation(1), now).as_deref(), Some("large"));
        let kept = raised.kept.lock().unwrap();
        assert!(kept.tiers.len() <= MOST && kept.order.len() <= MOST);
    }
}
