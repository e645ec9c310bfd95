//! `weir rollout`: how a deployment's rollout stands, and a person's word on it.
//!
//! It says what the annotation `weir.dev/rollout` would, for people who would rather not look a revision up.

use std::process::ExitCode;

use anyhow::{Context, bail};
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use weir_crds::{SLMDeployment, SLMDeploymentStatus, conditions, labels};
use weir_policy::rollout::order::{Order, Wish};

use crate::args::{OfDeployment, OrderArgs, RolloutCommand};
use crate::say;

pub(crate) fn main(command: RolloutCommand) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime.context("start").and_then(|runtime| {
        runtime.block_on(async {
            match command {
                RolloutCommand::Show(of) => show(&of).await,
                RolloutCommand::Promote(args) => order(&args, Wish::Promote).await,
                RolloutCommand::Rollback(args) => order(&args, Wish::Rollback).await,
            }
        })
    });
    weir_process::exit_code("weir", done)
}

async fn show(of: &OfDeployment) -> anyhow::Result<()> {
    let (_, deployment) = find(of).await?;
    say(&told(deployment.status.as_ref()));
    Ok(())
}

async fn order(args: &OrderArgs, wish: Wish) -> anyhow::Result<()> {
    let (api, deployment) = find(&args.of).await?;
    let order = Order {
        wish,
        revision: revision(deployment.status.as_ref(), args.revision.as_deref())?,
    };
    let body = json!({ "metadata": { "annotations": { labels::ROLLOUT: order.to_string() } } });
    let name = &args.of.name;
    let (params, patch) = (PatchParams::default(), Patch::Merge(&body));
    let patched = api.patch_metadata(name, &params, &patch);
    let patched = patched.await;
    patched.with_context(|| format!("annotate SLMDeployment {name}"))?;
    say(&format!("{name}: {order}"));
    Ok(())
}

/// The deployment, and where it is.
async fn find(of: &OfDeployment) -> anyhow::Result<(Api<SLMDeployment>, SLMDeployment)> {
    let config = config(of.context.clone()).await?;
    let namespace = of.namespace.clone();
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("reach the API server")?;
    let api = Api::namespaced(client, &namespace);
    let name = &of.name;
    match api.get_opt(name).await {
        Ok(Some(deployment)) => Ok((api, deployment)),
        Ok(None) => bail!("there is no SLMDeployment {name} in namespace {namespace}"),
        Err(error) => {
            Err(error).with_context(|| format!("read SLMDeployment {name} of {namespace}"))
        }
    }
}

/// As kubectl finds it.
async fn config(context: Option<String>) -> anyhow::Result<Config> {
    if context.is_none() {
        return Config::infer().await.context("find a kubeconfig");
    }
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let file = Kubeconfig::read().context("read the kubeconfig")?;
    let config = Config::from_custom_kubeconfig(file, &options).await;
    config.context("read the kubeconfig")
}

/// The revision that is meant: the one that is named, or else the one on trial.
fn revision(status: Option<&SLMDeploymentStatus>, named: Option<&str>) -> anyhow::Result<String> {
    if let Some(named) = named {
        // Read as the operator reads it, so that nothing is written that it does not understand.
        let order: Order = format!("promote@{named}").parse()?;
        return Ok(order.revision);
    }
    let rollout = status.and_then(|status| status.rollout.as_ref());
    let canary = rollout.map(|rollout| rollout.canary.as_str());
    match canary.filter(|canary| !canary.is_empty()) {
        Some(canary) => Ok(canary.to_owned()),
        None => bail!(
            "no revision is on trial: name one with --revision, such as one that was rolled back, \
             which `weir rollout show` names"
        ),
    }
}

fn told(status: Option<&SLMDeploymentStatus>) -> String {
    let Some((status, rollout)) =
        status.and_then(|status| Some((status, status.rollout.as_ref()?)))
    else {
        return "no revision serves yet".into();
    };
    let trial = match rollout.canary.as_str() {
        "" => String::new(),
        canary => format!(
            "\ncanary   {canary}, {} % of the asks, step {}",
            rollout.weight,
            rollout.step + 1
        ),
    };
    let conditions = status.conditions.iter();
    let told = conditions.filter(|condition| {
        [conditions::READY, conditions::CANARY_HEALTHY].contains(&&*condition.type_)
    });
    let told: String = told
        .map(|of| {
            format!(
                "\n{}: {}, {}: {}",
                of.type_, of.status, of.reason, of.message
            )
        })
        .collect();
    format!("stable   {}{trial}{told}", rollout.stable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(canary: &str) -> SLMDeploymentStatus {
        serde_json::from_value(json!({
            "rollout": { "stable": "aaaa1111", "canary": canary, "weight": 25, "step": 1 },
            "conditions": [{
                "type": "CanaryHealthy", "status": "True", "reason": "RollingOut", "message": "step 2 of 3",
                "lastTransitionTime": "2026-11-23T02:00:00Z",
            }],
        }))
        .unwrap()
    }

    #[test]
    fn the_revision_on_trial_is_meant_unless_one_is_named() {
        let (running, resting) = (status("bbbb2222"), status(""));
        assert_eq!(revision(Some(&running), None).unwrap(), "bbbb2222");
        assert_eq!(revision(Some(&running), Some("cccc")).unwrap(), "cccc");
        for (status, named, expected) in [
            (Some(&resting), None, "no revision is on trial"),
            (None, None, "no revision is on trial"),
            (Some(&running), Some("a b"), "is no order"),
        ] {
            let error = revision(status, named).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_shown_is_who_serves_who_is_on_trial_and_why() {
        assert_eq!(
            told(Some(&status("bbbb2222"))),
            "stable   aaaa1111\n\
             canary   bbbb2222, 25 % of the asks, step 2\n\
             CanaryHealthy: True, RollingOut: step 2 of 3"
        );
        assert!(told(Some(&status(""))).starts_with("stable   aaaa1111\nCanaryHealthy"));
        assert_eq!(told(None), "no revision serves yet");
    }
}
