//! The budgets of a namespace's policies: what routers are granted of them, and what a status says of
//! that. Pure.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_crds::{Money, OnExhausted, Period, SpendStatus, reasons};
use weir_policy::budget::ledger::Ledger;
use weir_policy::budget::period::{name, word};
use weir_policy::budget::round::{Dealt, Reported, round_within};
use weir_policy::budget::{Budget, PurseLoad};
use weir_policy::table::Table;

use super::observe::Observed;
use crate::condition::Verdict;

/// A ConfigMap holds a mebibyte, and some of it is not data.
const MOST_BYTES: usize = 1_000_000;

/// Grants what routers need, as they report. Where the ConfigMap is full, no router gets a slice that has none.
pub fn deal(observed: &mut Observed, table: &Table, now: Timestamp) {
    let dealt = next(observed, table, now);
    observed.budgets = dealt.book;
    observed.without_room = dealt.without_room;
}

fn next(observed: &Observed, table: &Table, now: Timestamp) -> Dealt {
    let named = observed.policies.iter().map(ResourceExt::name_any);
    let known: BTreeSet<String> = named.chain(observed.unreadable.clone()).collect();
    let routers = observed.spenders.iter();
    let routers = routers.map(|(pod, load)| Reported {
        pod,
        load: load.as_ref(),
    });
    let routers: Vec<Reported<'_>> = routers.collect();
    let whom = (table, &known);
    round_within(&observed.budgets, whom, &routers, now, MOST_BYTES)
}

/// Whether no budget of the policy is exhausted; nothing where it has none.
pub fn verdict(observed: &Observed, table: &Table, policy: &str) -> Option<Verdict> {
    let budgets = &table.policy(policy)?.settings.budgets;
    if budgets.is_empty() {
        return None;
    }
    if observed.budgets.unreadable.contains_key(policy) {
        let message = format!(
            "nothing is granted: the entry {policy} of ConfigMap weir-budgets cannot be read; delete it \
             if what was spent may be forgotten"
        );
        return Some((false, reasons::BUDGET_EXHAUSTED, message));
    }
    if observed.without_room.contains(policy) {
        let message = format!(
            "not every router is granted something: slices of the budgets of {1} policies for {0} routers are more \
             than the ConfigMap weir-budgets can hold; have fewer of them in a namespace",
            observed.spenders.len(),
            observed.budgets.policies.len(),
        );
        return Some((false, reasons::BUDGET_EXHAUSTED, message));
    }
    let exhausted: Vec<String> = budgets
        .iter()
        .filter_map(|budget| exhausted(observed, policy, budget))
        .collect();
    if !exhausted.is_empty() {
        return Some((false, reasons::BUDGET_EXHAUSTED, exhausted.join("; ")));
    }
    let limits = budgets.iter();
    let limits = limits.map(|budget| format!("{} a {}", budget.limit, word(budget.period)));
    let limits: Vec<String> = limits.collect();
    let message = format!("within {}, in US dollars", limits.join(" and "));
    Some((true, reasons::WITHIN_LIMIT, message))
}

/// Why nothing more is spent of the budget: neither the leader nor any router has enough for a call, nor may
/// calls in flight give so much back.
fn exhausted(observed: &Observed, policy: &str, budget: &Budget) -> Option<String> {
    let ledger = observed.budgets.policies.get(policy)?.get(&budget.period)?;
    let remaining = budget.limit.less(ledger.committed());
    let purses: Vec<&PurseLoad> = purses(observed, policy, budget.period).collect();
    let call = purses.iter().map(|purse| purse.call).min();
    let of_period = |purse: &&PurseLoad| purse.begins == Some(ledger.begins);
    let mut holders = purses.iter().filter(|purse| of_period(purse));
    let is_short = |have: Money| have.is_zero() || call.is_some_and(|call| have < call);
    if !is_short(remaining) || !holders.all(|purse| is_short(purse.unspent())) {
        return None;
    }
    let instead = match budget.on_exhausted {
        OnExhausted::Local => "small answers are given",
        OnExhausted::Reject => "asks that need an endpoint are refused",
    };
    Some(format!(
        "the budget of {} US dollars for the {} {} is spent: {instead} until {}",
        budget.limit,
        word(budget.period),
        name(budget.period, ledger.begins),
        ledger.ends,
    ))
}

fn purses<'a>(
    observed: &'a Observed,
    policy: &'a str,
    period: Period,
) -> impl Iterator<Item = &'a PurseLoad> {
    let loads = observed.spenders.iter();
    let loads = loads.filter_map(|(_, load)| load.as_ref());
    loads.filter_map(move |load| load.purses.get(policy)?.get(&period))
}

/// What was spent this month, to the cent; nothing where no budget is by the month, because nobody counts it then.
/// What is kept of what routers counted is said, so that it never shrinks; what is saved is reckoned with what
/// they say now, as is what endpoints cost.
pub fn spend(observed: &Observed, policy: &str) -> Option<SpendStatus> {
    let ledgers = observed.budgets.policies.get(policy)?;
    let ledger = ledgers.get(&Period::Month)?;
    let slices = || ledger.slices.iter();
    let kept = slices().fold(ledger.tally, |sum, (_, slice)| sum.plus(slice.tally));
    let now = slices().fold(ledger.tally, |sum, (run, slice)| {
        let said = said(observed, policy, run);
        let said = said.filter(|purse| purse.begins == Some(ledger.begins));
        let said = said.map(|purse| purse.tally).unwrap_or_default();
        sum.plus(slice.tally.newer(said))
    });
    let frontier = spent(observed, policy, ledger);
    let saved = now.saved_percent(frontier);
    let known = |money: Money| (!money.is_zero()).then(|| cents(money));
    Some(SpendStatus {
        month: name(Period::Month, ledger.begins),
        frontier: cents(frontier),
        own: known(kept.own),
        without_weir: known(kept.without_weir),
        saved_text: saved.map(|percent| format!("{percent}%")),
    })
}

fn cents(money: Money) -> String {
    format!("{:.2}", money.amount().round_dp(2))
}

/// What the run says of the policy's month.
fn said<'a>(observed: &'a Observed, policy: &str, run: &str) -> Option<&'a PurseLoad> {
    let mut loads = observed.spenders.iter();
    let load = loads.find_map(|(_, load)| load.as_ref().filter(|load| load.run == run))?;
    load.purses.get(policy)?.get(&Period::Month)
}

/// By routers that report, as they say; by others, all that they were granted and did not return.
fn spent(observed: &Observed, policy: &str, ledger: &Ledger) -> Money {
    let of_run = |run: &str| {
        let purse = said(observed, policy, run)?;
        Some(match purse.begins == Some(ledger.begins) {
            true => purse.spent,
            false => Money::default(),
        })
    };
    let slices = ledger.slices.iter();
    let slices = slices.map(|(run, slice)| of_run(run).unwrap_or_else(|| slice.held()));
    ledger.spent + slices.sum::<Money>()
}

#[cfg(test)]
mod tests;
