//! Whether an ask may get the answer of an earlier one, and whether its own may be given again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response};
use tokio::time::Instant;
use weir_policy::table::{Owner, Policy};

use super::boarding;
use crate::ask::Ask;
use crate::cache::{Answer, Key, Lookup, Models, Recording, Terms, Wish, key};
use crate::decision::Decision;
use crate::matching::Matched;
use crate::metrics::LookupLabels;
use crate::plan::carries;
use crate::settle::Unsettled;
use crate::world::View;

/// An ask of a policy that keeps answers.
pub(super) struct Caching {
    policy: Arc<Policy>,
    keep: Duration,
    wish: Wish,
    key: Key,
    models: Models,
}

impl Caching {
    /// Nothing where answers are not kept, or not of this ask: the client does not want it, whoever sent it marked
    /// it as private, or nobody knows what answers now.
    pub fn of(view: &View, matched: &Matched, (ask, headers): (&Ask, &HeaderMap)) -> Option<Self> {
        let Owner::Policy(policy) = &matched.route.owner else {
            return None;
        };
        let settings = &policy.settings;
        let keep = settings.cache?;
        let wish = Wish::of(headers);
        let private_when = settings.private_when.as_ref();
        let is_marked = private_when.is_some_and(|when| carries(headers, when));
        if is_marked || (wish.most_age.is_none() && !wish.may_keep) {
            return None;
        }
        let models = Models::of(policy, view)?;
        let deciding = boarding::deciding(settings);
        let tenant = matched.tenant.as_deref();
        let key = key(
            (policy.as_ref(), &models),
            tenant,
            (ask, headers),
            &deciding,
        );
        Some(Self {
            policy: policy.clone(),
            keep,
            wish,
            key,
            models,
        })
    }

    /// The answer of an earlier ask; where there is none, that of this one is written down.
    pub fn answer(self, unsettled: &Unsettled) -> Option<Arc<Answer>> {
        let shared = &unsettled.shared;
        let most_age = self.wish.most_age;
        let found = most_age.and_then(|age| shared.cache.find(&self.key, age, Instant::now()));
        let lookup = match found {
            Some(_) => Lookup::Hit,
            None => Lookup::Miss,
        };
        let labels = LookupLabels {
            policy: self.policy.name.clone(),
            outcome: lookup.word(),
        };
        shared.metrics.cache_lookups.get_or_create(&labels).inc();
        let decision = &unsettled.decision;
        {
            let mut state = decision.state();
            state.lookup = Some(lookup);
            if let Some(answer) = &found {
                state.routed.by = "cached";
                state.routed.why = format!("the answer of {}", answer.decision);
            }
        }
        if found.is_none() && self.wish.may_keep {
            let terms = Terms {
                key: self.key,
                keep: self.keep,
                models: self.models,
                decision: decision.id.clone(),
            };
            decision.write_down(Recording::new(shared.cache.clone(), terms));
        }
        found
    }
}

/// Says in an answer's headers whether it is an earlier one.
pub(super) fn tell(decision: &Decision, response: &mut Response<Body>) {
    let lookup = decision.state().lookup;
    let Some(lookup) = lookup.filter(|_| response.status().is_success()) else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert("x-weir-cache", HeaderValue::from_static(lookup.word()));
    if lookup == Lookup::Hit {
        headers.insert("x-weir-cost", HeaderValue::from_static("0"));
    }
}
