//! A router that is killed while it writes.

use anyhow::{Context, Result, ensure};

use super::{NAMESPACE, PLAIN, RECOVERY, is_whole, name, running, wish};
use crate::stage::{Stage, eventually};
use crate::traffic::{Came, Traffic, Wish, are_whole};

const STREAMS: usize = 100;
const WORDS: &str = "one two three four five six";

/// Each stream has text and then stands still at the provider, so that all of them are open at once.
pub async fn a_killed_router_cuts_a_hundred_streams_as_broken_and_the_next_try_of_each_is_answered(
    stage: &Stage,
) -> Result<()> {
    stage.plan_fault((NAMESPACE, "provider"), "hang-after=2", STREAMS)?;
    let victim = running(stage, "router")?.pop().context("a router")?;
    let address = victim["status"]["podIP"].as_str().context("an address")?;
    let service = wish(stage)?.base_url;
    let clients = Traffic::begin(
        stage,
        &Wish {
            base_url: format!("http://{address}:8080/v1"),
            next_base_url: service,
            model: PLAIN.to_owned(),
            question: format!("Say: {WORDS}"),
            clients: STREAMS,
            asks: Some(2),
            pause: 0.0,
            // As the SDK does by default: the dead router's address is there for some moments more.
            retries: 2,
        },
    )?;
    eventually(RECOVERY, || {
        let texts = clients.texts();
        ensure!(texts == STREAMS, "{texts} answers have begun");
        Ok(())
    })
    .await?;
    ensure!(clients.ended() == 0, "an answer ended by itself");
    stage.kill(NAMESPACE, &name(&victim))?;
    let came = clients.end_by_itself()?;
    let (cut, answered): (Vec<Came>, Vec<Came>) =
        came.into_iter().partition(|came| came.error.is_some());
    let is_cut = |came: &Came| {
        came.is_connection_error() && !came.content.is_empty() && came.finish.is_none()
    };
    ensure!(
        cut.len() == STREAMS && cut.iter().all(is_cut),
        "{} asks were cut, such as {:?}",
        cut.len(),
        cut.iter().find(|came| !is_cut(came)).or(cut.first())
    );
    are_whole(&answered, WORDS, STREAMS)?;
    is_whole(stage).await
}
