//! `weir demo`: the model that comes with Weir, a stand-in for a frontier, two questions, and a
//! prompt for more. Needs no file, no key and no network, and leaves nothing behind.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use weir_crds::Source;
use weir_process::{Process, ProcessArgs};

use crate::args::DemoArgs;
use crate::ask::{Answer, ask};
use crate::checked::{Checked, check};
use crate::embedded::{self, FRONTIER_HOST, MODEL_PATH};
use crate::fleet::Event;
use crate::laptop::{Laptop, Mount, Service};
use crate::manifests::Manifests;
use crate::running::{self, Running, Setup, cores};
use crate::{prompt, say};

const MODEL: &str = "support-assistant";

/// Far more than the model needs, on any machine that can run it.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Nobody waits longer for a demo to end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

pub(crate) fn main(args: DemoArgs) -> ExitCode {
    let process = ProcessArgs {
        log_level: args.log_level.clone(),
        ..ProcessArgs::embedded()
    };
    weir_process::run("weir", &process, |process| demo(args, process))
}

async fn demo(args: DemoArgs, process: Process) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let stand_in = weir_stand_in::serve(&weir_stand_in::Args::embedded(), &process)
        .await
        .context("start the stand-in frontier")?;
    let model = folder.path().join("model");
    embedded::write_model(&model).context("write the model")?;
    let laptop = Laptop {
        mounts: vec![Mount {
            place: Source::File {
                path: MODEL_PATH.into(),
            },
            folder: model,
        }],
        services: vec![Service {
            host: FRONTIER_HOST.into(),
            address: stand_in,
        }],
    };
    let mut manifests = Manifests::default();
    manifests.add("slmdeployment.yaml", embedded::DEPLOYMENT)?;
    manifests.add("routepolicy.yaml", embedded::POLICY)?;
    let setup = Setup {
        listen: args.listen,
        admin: ProcessArgs::embedded().admin,
        secrets: folder.path().join("secrets"),
        logs: folder.path().join("logs"),
        adapters: folder.path().join("adapters"),
        templates: folder.path().join("templates"),
        config_maps: folder.path().join("config-maps"),
        budgets: folder.path().join("budgets.json"),
        // Nothing is left behind.
        kept: None,
    };
    let manifests = manifests.on(&laptop);
    let checked = Checked {
        answers: LAST_ANSWERS,
        ..check(&manifests, cores())?
    };
    let mut running = running::start(&process, (manifests, checked), &setup).await?;
    timeout(START_WITHIN, first_ready(&mut running))
        .await
        .map_err(|_| anyhow!("the worker was not ready within {START_WITHIN:?}"))??;

    let base_url = format!("http://{}/v1", running.address);
    let shutdown = process.shutdown().clone();
    process.tasks().spawn_required("conversation", async move {
        tokio::select! {
            () = shutdown.begun() => Ok(()),
            ended = converse(&base_url) => {
                shutdown.begin("the conversation is over");
                ended
            }
        }
    });
    process.finish().await
}

async fn first_ready(running: &mut Running) -> anyhow::Result<()> {
    while let Some(told) = running.events.recv().await {
        match told.event {
            Event::Ready(_) => return Ok(()),
            Event::Gone { reason } => bail!("the worker did not start: {reason}"),
            Event::Scaled(_) => {}
        }
    }
    bail!("the worker was never started")
}

async fn converse(base_url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .context("make a client")?;
    say(
        "A support desk with twelve teams. The small model runs here; the frontier is a stand-in.\n",
    );
    for question in embedded::questions() {
        say(&format!("> {}", question.question));
        say(&told(
            &ask(&client, base_url, MODEL, &question.question).await?,
        ));
    }
    say(&format!(
        "Any OpenAI client can ask too: base URL {base_url}, model {MODEL}, any key.\n\
         Type a ticket and press Enter; an empty line, Ctrl-D or Ctrl-C ends everything.\n"
    ));
    loop {
        prompt("> ");
        // Ends with the process at the latest: nothing waits for a thread that waits for a person.
        let line = spawn_blocking(|| std::io::stdin().lines().next());
        let line = line.await.context("wait for your question")?;
        let line = line
            .transpose()
            .context("read your question")?
            .unwrap_or_default();
        if line.trim().is_empty() {
            say("");
            return Ok(());
        }
        match ask(&client, base_url, MODEL, line.trim()).await {
            Ok(answer) => say(&told(&answer)),
            Err(error) => say(&format!("  {error:#}\n")),
        }
    }
}

fn told(answer: &Answer) -> String {
    let mut line = format!("  {}\n    answered by {}", answer.text, answer.tier);
    if let Some(score) = &answer.score {
        line += &format!(", score {score}");
    }
    for (tier, score) in unsure(answer.attempts.as_deref().unwrap_or_default()) {
        line += &format!(", because {tier} was unsure (score {score})");
    }
    if let Some(cost) = &answer.cost {
        line += &format!(", cost ${cost}");
    }
    line + &format!(", {:.0} ms\n", answer.took.as_secs_f64() * 1e3)
}

/// The tiers whose answers were dropped, with their scores, as `x-weir-attempts` tells them:
/// `small;dropped;score=0.5312, frontier`.
fn unsure(attempts: &str) -> impl Iterator<Item = (&str, &str)> {
    attempts
        .split(", ")
        .filter_map(|attempt| attempt.split_once(";dropped;score="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_answer_is_told_with_its_score() {
        let answer = Answer {
            text: "integrations".into(),
            tier: "frontier".into(),
            score: None,
            attempts: Some("small;dropped;score=0.5312, frontier".into()),
            cost: Some("0.00012".into()),
            took: Duration::from_millis(27),
        };
        assert_eq!(
            told(&answer),
            "  integrations\n    answered by frontier, because small was unsure (score 0.5312), \
             cost $0.00012, 27 ms\n"
        );
    }
}
