//! The line of one attempt in the decision's record, kept up to date until the attempt is over,
//! however it ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use tracing::Span;
use weir_cascade::AttemptRecord;
use weir_crds::Money;
use weir_policy::tier::{Price, Taken};

use super::resume::At;
use crate::answer::Usage;
use crate::decision::{AttemptLine, Decision, UNFINISHED, Whom};
use crate::money::Reservation;
use crate::replicas::Shares;
use crate::spans;

const SECONDS_PER_HOUR: i64 = 3600;

/// What an attempt's cost follows from.
#[derive(Clone, Debug)]
pub(crate) enum Rate {
    /// Of an endpoint, by tokens.
    Tokens(Price),
    /// Of replicas, by what the attempt has of the time of each that it was made at.
    Time { replica_hour: Money, shares: Shares },
}

/// An attempt while it goes on. Dropping it closes the line.
pub(crate) struct Line<'a> {
    decision: &'a Decision,
    rate: Rate,
    began: Instant,
    line: AttemptLine,
    first_token: Option<Duration>,
    index: usize,
    has_usage: bool,
    /// What it is paid from.
    reservation: Option<Reservation>,
    span: Span,
}

/// Where an attempt is made.
pub(crate) struct Place<'a> {
    pub tier: &'a str,
    pub whom: Whom,
    pub replica: Option<SocketAddr>,
    pub revision: &'a str,
    pub rate: Rate,
    /// About how many tokens the prompt has, where a tier does not come to say it.
    pub prompt_estimate: u64,
}

impl<'a> Line<'a> {
    pub fn begin(decision: &'a Decision, place: Place<'_>) -> Self {
        let span = spans::attempt(place.tier, &place.whom);
        let line = AttemptLine {
            tier: place.tier.to_owned(),
            whom: place.whom,
            replica: place.replica,
            revision: place.revision.to_owned(),
            outcome: UNFINISHED,
            tokens_in: place.prompt_estimate,
            is_estimated: true,
            is_endpoint: matches!(place.rate, Rate::Tokens(_)),
            ..AttemptLine::default()
        };
        let mut state = decision.state();
        state.attempts.push(line.clone());
        let index = state.attempts.len() - 1;
        drop(state);
        Self {
            decision,
            rate: place.rate,
            began: Instant::now(),
            line,
            first_token: None,
            index,
            has_usage: false,
            reservation: None,
            span,
        }
    }

    /// So much was put aside for it: what it did not cost goes back when it is over.
    pub fn paid_from(&mut self, reservation: Reservation) {
        self.reservation = Some(reservation);
    }

    /// Of the attempt: what whoever is asked does belongs to it.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// The request is about to go out: from here on the tier may work on it.
    pub fn sent(&mut self) {
        self.line.was_sent = true;
    }

    /// Tokens have come.
    pub fn arrived(&mut self, tokens: u64) {
        let millis = self.millis();
        self.line.first_token_ms.get_or_insert(millis);
        if tokens > 0 && self.first_token.is_none() {
            self.first_token = Some(self.began.elapsed());
        }
        self.line.tokens_out += tokens;
    }

    /// When its first token came, from its begin: some upstreams say something before it.
    pub fn first_token(&self) -> Option<Duration> {
        self.first_token
    }

    /// The tier has said how many tokens there were. Gives the cost of the attempt.
    pub fn ended(&mut self, usage: Usage) {
        // Who counts none although some were written has not counted them.
        let is_uncounted = usage.completion == 0 && self.line.tokens_out > 0;
        if usage == Usage::default() || is_uncounted {
            return;
        }
        self.line.count(usage);
        self.line.is_estimated = false;
        self.has_usage = true;
        self.line.amount = self.amount(usage);
    }

    /// Another replica goes on with it.
    pub fn moved(&mut self, at: &At) {
        self.line.replica = Some(at.address);
        self.line.resumed += 1;
    }

    pub fn judged(&mut self, record: AttemptRecord) {
        self.line.judged = Some(record);
    }

    /// What the cascade saw.
    pub fn record(&self) -> Option<&AttemptRecord> {
        self.line.judged.as_ref()
    }

    /// What the record says of it, unless it is cancelled first.
    pub fn outcome(&mut self, outcome: &'static str) {
        self.line.outcome = outcome;
    }

    /// Writes the line as it is now.
    pub fn write(&mut self) {
        self.count_up();
        self.decision.state().attempts[self.index] = self.line.clone();
    }

    fn count_up(&mut self) {
        self.line.millis = self.millis();
        if !self.has_usage {
            // An endpoint that took the ask has read the prompt, whatever came of that.
            let was_read = self.line.tokens_out > 0 || self.line.was_paid();
            let usage = Usage {
                prompt: if was_read { self.line.tokens_in } else { 0 },
                completion: self.line.tokens_out,
                ..Usage::default()
            };
            self.line.amount = self.amount(usage);
        }
        self.line.cost = self.line.amount.to_string();
    }

    /// Where nobody said how much there was of it, it has cost what was put aside.
    fn settle(&mut self) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        match (self.line.was_paid(), self.has_usage) {
            (false, _) => reservation.settle(Money::default()),
            (true, true) => reservation.settle(self.line.amount),
            (true, false) => drop(reservation),
        }
    }

    fn amount(&self, usage: Usage) -> Money {
        match &self.rate {
            Rate::Tokens(price) => price.of(Taken {
                input: usage.prompt,
                cached: usage.cached,
                cache_written: usage.cache_written,
                output: usage.completion,
            }),
            Rate::Time {
                replica_hour,
                shares,
            } => {
                let seconds = Decimal::from_f64(shares.time().as_secs_f64()).unwrap_or_default();
                let hours = seconds / Decimal::from(SECONDS_PER_HOUR);
                let amount = replica_hour.amount() * hours;
                // Ten digits behind the point are far below what anything costs.
                amount.round_dp(10).into()
            }
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.count_up();
        self.settle();
        spans::attempted(&self.span, &self.line);
        self.decision.state().attempts[self.index] = std::mem::take(&mut self.line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::{Pool, Wanted};
    use std::collections::BTreeSet;
    use tokio::time::advance;

    fn decision() -> Decision {
        Decision::new("1".into(), Instant::now(), jiff::Timestamp::UNIX_EPOCH)
    }

    fn place(price: Price) -> Place<'static> {
        Place {
            tier: "frontier",
            whom: Whom::default(),
            replica: None,
            revision: "",
            rate: Rate::Tokens(price),
            prompt_estimate: 1000,
        }
    }

    fn after(outcome: Option<&'static str>, is_sent: bool, price: Price) -> Decision {
        let decision = decision();
        let mut line = Line::begin(&decision, place(price));
        if is_sent {
            line.sent();
        }
        if let Some(outcome) = outcome {
            line.outcome(outcome);
        }
        drop(line);
        decision
    }

    /// Tokens, at 15 dollars a million.
    fn wrote_2000(decision: &Decision) -> Line<'_> {
        let price = Price {
            output: "15".parse().unwrap(),
            ..Price::default()
        };
        let mut line = Line::begin(decision, place(price));
        line.sent();
        line.arrived(2000);
        line
    }

    #[test]
    fn an_endpoint_that_may_have_read_the_prompt_is_paid_for_it() {
        let price = Price {
            input: "3".parse().unwrap(),
            ..Price::default()
        };
        for (outcome, is_sent, is_paid) in [
            (Some("lost"), true, true),
            (Some("too_slow"), true, true),
            (None, true, true),
            (Some("connect"), true, false),
            (Some("refused"), true, false),
            (Some("not_found"), true, false),
            (Some("overloaded"), true, false),
            (Some("no_credential"), false, false),
        ] {
            let decision = after(outcome, is_sent, price);
            assert_eq!(decision.money_was_spent(), is_paid, "{outcome:?}");
            let cost = if is_paid { "0.003" } else { "0" };
            assert_eq!(decision.cost(), cost.parse().unwrap(), "{outcome:?}");
        }
    }

    #[test]
    fn an_endpoint_that_is_overloaded_in_the_middle_of_its_answer_is_paid_for_what_came() {
        let decision = decision();
        let mut line = wrote_2000(&decision);
        line.outcome("overloaded");
        drop(line);
        assert!(decision.money_was_spent());
        assert_eq!(decision.cost(), "0.03".parse().unwrap());
    }

    #[test]
    fn an_endpoint_that_counts_none_of_what_it_wrote_has_not_counted() {
        let decision = decision();
        let mut line = wrote_2000(&decision);
        line.ended(Usage {
            prompt: 10,
            ..Usage::default()
        });
        assert!(!line.has_usage, "its reservation counts");
        drop(line);
        assert_eq!(decision.cost(), "0.03".parse().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_costs_its_share_of_the_time_of_every_replica_that_it_was_made_at() {
        let [one, two] = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
        let (pool, decision) = (Pool::default(), decision());
        let lease = |address| {
            let lease = pool.pick(&[address], &BTreeSet::new(), Wanted::default());
            lease.unwrap()
        };
        let (lost, beside) = (lease(one), lease(one));
        let place = |shares: &Shares| Place {
            rate: Rate::Time {
                replica_hour: "0.36".parse().unwrap(),
                shares: shares.clone(),
            },
            ..place(Price::default())
        };
        let shares = Shares::begin(lost.share.clone());
        let mut line = Line::begin(&decision, place(&shares));
        advance(Duration::from_secs(10)).await;
        // Whether it goes on there is not known yet.
        let next = lease(two);
        shares.add(next.share.clone());
        drop(lost);
        advance(Duration::from_secs(3)).await;
        // Half of ten seconds, and three more, at a hundredth of a cent.
        line.write();
        assert_eq!(decision.cost(), "0.0008".parse().unwrap());
        drop((line, next));
        let other = Line::begin(&decision, place(&Shares::begin(beside.share.clone())));
        drop(other);
        let both = "0.0016".parse().unwrap();
        assert_eq!(decision.cost(), both, "sixteen seconds of two replicas");
    }

    #[test]
    fn an_endpoint_without_a_price_is_paid_by_somebody_all_the_same() {
        assert!(after(Some("lost"), true, Price::default()).money_was_spent());
    }
}
