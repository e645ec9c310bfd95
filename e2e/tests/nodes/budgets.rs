//! A budget that two routers spend: to its limit, and no further whoever is killed meanwhile.
//!
//! What counts is the provider's own bill.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::{join, try_join};
use weir_e2e::{repository, succeed};

use crate::changes::NOTICE;
use crate::installing::{SYSTEM, chart_with};
use crate::spending::{
    CALL, DOLLAR, Ledger, NAMESPACE, Spending, is_exhausted, limit, limited, open, said_spent,
    within_budget,
};
use crate::stage::{Stage, eventually};

/// A limit that was raised is heard of within some rounds of reports.
const HEARD: Duration = Duration::from_secs(10);
/// Enough for some calls of both routers.
const MORE: i64 = 5 * CALL;
/// Between two asks where there may be nothing to spend.
const PAUSE: Duration = Duration::from_millis(250);

pub async fn two_routers_spend_a_budget_to_its_limit_and_no_further(stage: &Stage) -> Result<()> {
    have_two_routers(stage)?;
    open(stage, 2 * DOLLAR)?;
    let spending = Spending::find(stage)?;
    eventually(NOTICE, || are_both_granted(stage, &spending)).await?;
    spending.use_up(stage).await?;

    let charged = spending.charged().await?;
    // What is left in three places, the leader's and two routers', is less than a call in each.
    let least = 2 * DOLLAR - 3 * CALL;
    ensure!(
        (least..=2 * DOLLAR).contains(&charged),
        "{charged} was charged"
    );
    let reported = spending.reported_spent().await?;
    ensure!(
        reported == charged,
        "routers count {reported}, the provider {charged}"
    );
    is_told(stage, charged).await?;
    is_refused_on_both_wires(&spending).await?;
    let after = spending.charged().await?;
    ensure!(after == charged, "refusals cost {}", after - charged);

    limit(stage, 4 * DOLLAR)?;
    answers_again(&spending).await?;
    eventually(NOTICE, || {
        ensure!(!is_exhausted(stage)?, "it is still said to be spent");
        Ok(())
    })
    .await
}

/// Every namespace gets as many.
pub fn have_two_routers(stage: &Stage) -> Result<()> {
    let mut upgrade = chart_with(stage, "upgrade")?;
    upgrade.args(["--set", "router.replicas=2"]);
    succeed(upgrade.arg(repository().join("charts/weir")))
}

fn are_both_granted(stage: &Stage, spending: &Spending) -> Result<()> {
    let ledger = Ledger::read(stage)?;
    spending.routers().iter().try_for_each(|router| {
        let slice = ledger.of(router)?;
        ensure!(slice.granted > 0, "nothing was granted: {slice:?}");
        Ok(())
    })
}

async fn is_told(stage: &Stage, charged: i64) -> Result<()> {
    let ledger = Ledger::read(stage)?;
    ensure!(
        ledger.committed() <= 2 * DOLLAR,
        "more than the limit: {ledger:?}"
    );
    eventually(NOTICE, || {
        let [_, reason, message] = within_budget(stage)?;
        let expected = "the budget of 2.000000 US dollars for the month ";
        ensure!(
            reason == "BudgetExhausted" && message.starts_with(expected),
            "{reason}: {message}"
        );
        let said = said_spent(stage)?;
        ensure!(
            said == charged,
            "the status says {said}, the provider {charged}"
        );
        Ok(())
    })
    .await
}

async fn is_refused_on_both_wires(spending: &Spending) -> Result<()> {
    for router in spending.routers() {
        spending
            .ask(router, "chat/completions")
            .await?
            .is_refused()?;
        let refused = spending.ask(router, "messages").await?;
        let kind = &refused.body["error"]["type"];
        ensure!(
            refused.status == 402 && kind == "billing_error",
            "{refused:?}"
        );
    }
    Ok(())
}

async fn answers_again(spending: &Spending) -> Result<()> {
    let deadline = Instant::now() + HEARD;
    while let Err(error) = spending.both_answer().await {
        if Instant::now() > deadline {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Its two streams were begun and charged, and nobody will ever say what they cost.
pub async fn what_a_killed_router_held_counts_as_spent(stage: &Stage) -> Result<()> {
    let spending = Spending::find(stage)?;
    let victim = &spending.routers()[0];
    let before = spending.charged().await?;
    spending.silence(2).await?;
    let stream = || spending.begin(victim, "chat/completions", true);
    let (first, second) = try_join(stream(), stream()).await?;
    let reserved = spending.reported(victim, "reserved").await?;
    ensure!(
        reserved == 2 * CALL,
        "{reserved} is put aside for two calls"
    );
    let ledger = Ledger::read(stage)?;
    let slice = ledger.of(victim)?;
    stage.kill(NAMESPACE, &victim.pod)?;
    let (first, second) = join(first.bytes(), second.bytes()).await;
    ensure!(
        first.is_err() && second.is_err(),
        "a stream looks whole: {first:?} {second:?}"
    );

    eventually(NOTICE, || {
        let now = Ledger::read(stage)?;
        let least = ledger.spent + slice.held();
        let is_gone = now.slices.iter().all(|held| held.run != slice.run);
        ensure!(
            is_gone && now.spent >= least,
            "{least} was to be spent by now: {now:?}"
        );
        Ok(())
    })
    .await?;
    let charged = spending.charged().await?;
    ensure!(charged > before, "the streams were never begun");
    let ledger = Ledger::read(stage)?;
    ensure!(
        charged <= ledger.committed() && ledger.committed() <= 4 * DOLLAR,
        "{charged} was charged: {ledger:?}"
    );
    // It may have taken all there was along.
    limit(stage, ledger.committed() + MORE)?;
    answers_again(&spending).await
}

/// Of what the killed router held nobody but the ledger knows.
pub async fn the_next_leader_goes_on_from_what_the_last_one_granted(stage: &Stage) -> Result<()> {
    let spending = Spending::find(stage)?;
    let before = Ledger::read(stage)?;
    ensure!(before.spent > 0, "nothing to be forgotten: {before:?}");
    let said = said_spent(stage)?;
    let leader = leader(stage)?.context("somebody leads")?;
    stage.kill(SYSTEM, &leader)?;
    stage.kubectl(&format!(
        "delete pod {leader} --namespace {SYSTEM} --grace-period=0 --force"
    ))?;
    // Nobody grants of it until somebody leads.
    let most = limited(stage)? + MORE;
    limit(stage, most)?;
    let deadline = Instant::now() + NOTICE;
    while self::leader(stage)?.is_none_or(|next| next == leader) {
        for asked in spending.ask_both().await? {
            asked.is_answered().or_else(|_| asked.is_refused())?;
        }
        ensure!(Instant::now() < deadline, "nobody follows {leader}");
        tokio::time::sleep(PAUSE).await;
    }
    answers_again(&spending).await?;
    spending.use_up(stage).await?;

    let charged = spending.charged().await?;
    let ledger = Ledger::read(stage)?;
    let granted = ledger.committed();
    ensure!(
        charged <= granted && granted <= most && granted > most - MORE,
        "{charged} was charged: {ledger:?}"
    );
    ensure!(
        ledger.spent == before.spent,
        "the ledger of {leader} was not gone on with: {before:?}, {ledger:?}"
    );
    let now = said_spent(stage)?;
    ensure!(now >= said, "{said} was spent, and then {now}");
    Ok(())
}

/// The pod of the operator that leads; nothing where its kubelet had time to start it again, to lead and
/// to give that up, before it heard that the pod is to go.
fn leader(stage: &Stage) -> Result<Option<String>> {
    let lease = stage.json(&format!("get lease weir-operator --namespace {SYSTEM}"))?;
    let holder = lease["spec"]["holderIdentity"].as_str();
    Ok(holder.filter(|name| !name.is_empty()).map(str::to_owned))
}
