//! Workers that are killed, by somebody or by the kernel, while they are asked.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::DEPLOYMENT;
use super::{ANSWER, NAMESPACE, RECOVERY, condition, go_on, is_whole, name, running, status, wish};
use crate::stage::{Stage, eventually};
use crate::traffic::{Traffic, Wish, are_whole};

/// Nobody rests, so that there is always something in hand.
fn busy(stage: &Stage) -> Result<Traffic> {
    let wish = Wish {
        clients: 6,
        pause: 0.0,
        ..wish(stage)?
    };
    Traffic::begin(stage, &wish)
}

/// What was in hand goes up a tier, as does whatever comes until one of them is there again.
pub async fn all_workers_killed_at_once_cost_no_client_an_answer(stage: &Stage) -> Result<()> {
    let clients = busy(stage)?;
    go_on(&clients, 30).await?;
    let workers = running(stage, "worker")?;
    ensure!(workers.len() == 2, "two workers, not {}", workers.len());
    thread::scope(|threads| {
        let kills: Vec<_> = workers
            .iter()
            .map(|pod| threads.spawn(|| stage.kill(NAMESPACE, &name(pod))))
            .collect();
        kills.into_iter().try_for_each(|kill| {
            kill.join()
                .map_err(|_| anyhow!("killing a worker failed"))?
        })
    })?;
    go_on(&clients, 30).await?;
    is_whole(stage).await?;
    go_on(&clients, 30).await?;
    let came = clients.end()?;
    are_whole(&came, ANSWER, 90)?;
    let up = came
        .iter()
        .filter(|came| came.tier.as_deref() == Some("frontier"))
        .count();
    ensure!(up > 0, "none of {} asks went up a tier", came.len());
    for pod in running(stage, "worker")? {
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        ensure!(*restarts != 0, "{} was not killed", name(&pod));
    }
    Ok(())
}

/// The other replica answers meanwhile, and the frontier what it cannot.
pub async fn a_worker_out_of_memory_costs_no_client_an_answer_and_is_told_of_by_its_reason(
    stage: &Stage,
) -> Result<()> {
    let clients = busy(stage)?;
    go_on(&clients, 30).await?;
    let victim = running(stage, "worker")?.pop().context("a worker")?;
    let [node, container] = stage.container(NAMESPACE, &name(&victim))?;
    let filled = stage.cluster.fill_memory(&node, &container)?;
    let told = eventually(Duration::from_secs(60), || {
        let status = status(stage)?;
        let conditions = status["conditions"].as_array().context("no conditions")?;
        ensure!(
            conditions
                .iter()
                .any(|condition| condition["reason"] == "OutOfMemory"),
            "{conditions:?}"
        );
        Ok(())
    })
    .await;
    go_on(&clients, 30).await?;
    drop(filled);
    told?;
    eventually(RECOVERY, || {
        let [status, reason, message] = condition(stage, DEPLOYMENT, "Ready")?;
        ensure!(
            status == "True" && reason == "Serving",
            "{reason}: {message}"
        );
        Ok(())
    })
    .await?;
    is_whole(stage).await?;
    are_whole(&clients.end()?, ANSWER, 60)
}
