//! The answer of one replica, as it begins: of our worker over gRPC, or of a server that is not ours over OpenAI's
//! wire, as an endpoint is asked, but inside the cluster and without a key.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use reqwest::Url;
use serde_json::Value;
use tokio::time::timeout;
use weir_crds::Provider;
use weir_policy::tier::{Endpoint, Price, Tier, Timeouts, model_name};

use super::tries::Source;
use super::{Pursuit, endpoint, worker};
use crate::decision::Whom;
use crate::dial::Reach;
use crate::refusal::Failure;
use crate::replicas::Lease;
use crate::wire::{Upstream, Wire};

/// A pod of the same cluster answers at once or is gone.
const CONNECT: Duration = Duration::from_secs(2);
/// For the list of its models, which a server has at hand.
const LONGEST_LIST: Duration = Duration::from_secs(2);
const LONGEST_LIST_BYTES: usize = 64 << 10;

impl Pursuit<'_> {
    /// Whether the replica's server is not ours.
    pub(super) fn is_foreign(&self, lease: &Lease) -> bool {
        self.shared.view.borrow().foreign.contains(&lease.address)
    }

    /// Who is asked at the replica of `lease`.
    pub(super) fn whom(&self, tier: &Tier, lease: &Lease) -> Whom {
        match self.is_foreign(lease) {
            false => Whom::at(tier),
            true => Whom {
                provider: "openai_compatible",
                ..Whom::at(tier)
            },
        }
    }

    /// Asks the replica of `lease`. Gives the lease back where the answer does not hold it.
    pub(super) async fn ask_replica(
        &self,
        tier: &Tier,
        lease: Lease,
    ) -> Result<(Source, Option<Lease>), Failure> {
        let upstream = match self.is_foreign(&lease) {
            true => Upstream::Compatible,
            false => Upstream::Worker,
        };
        // It was planned for what the deployment's spec says, and this replica is of the revision before.
        if upstream != Upstream::of(tier) && !self.ask.beyond(upstream).required.is_empty() {
            let tier = tier.name().to_owned();
            return Err(Failure::Unsupported { tier });
        }
        if upstream == Upstream::Compatible {
            let source = self.ask_foreign(tier, lease.address).await?;
            return Ok((source, Some(lease)));
        }
        let tenant = self.decision.state().tenant.clone();
        let model = model_name(tier.deployment().unwrap_or_default(), tier.adapter());
        let call = worker::Call {
            tier: tier.name(),
            model: &model,
            tenant: &tenant,
        };
        let source = match self.ask.wire {
            Wire::Embeddings => Source::here(worker::embed(lease, call, self.ask).await?),
            _ => Source::Worker(Box::new(worker::open(lease, call, self.ask).await?)),
        };
        Ok((source, None))
    }

    async fn ask_foreign(&self, tier: &Tier, address: SocketAddr) -> Result<Source, Failure> {
        let endpoint = self.endpoint_at(tier, address).await;
        let tenant = self.sharer();
        let of = (tier.name(), tenant.as_str());
        let entered = self.shared.endpoints.enter(&endpoint, of, self.commit_by);
        let pass = entered.await.map_err(|failure| match failure {
            // Another replica may be well.
            Failure::CircuitOpen { tier, .. } => Failure::Connect { tier },
            failure => failure,
        })?;
        let call = endpoint::Call {
            tier: tier.name(),
            endpoint: &endpoint,
            reach: Reach::Replica,
            key: None,
            bundle: None,
            redaction: None,
            decision: Some(self.decision),
            pass: &pass,
            is_judged: tier.accept().is_some() && !self.ask.is_read_only(),
        };
        let dialler = &self.shared.dialler;
        let opened = match self.ask.wire {
            Wire::Embeddings => endpoint::embed(call, dialler, self.ask)
                .await
                .map(Source::here),
            _ => endpoint::open(call, dialler, self.ask)
                .await
                .map(|source| Source::Endpoint(Box::new(source), None)),
        };
        pass.opened(&opened);
        let mut source = opened?;
        if let Source::Endpoint(_, kept) = &mut source {
            *kept = Some(pass);
        }
        Ok(source)
    }

    /// The replica as what is asked. Who is silent for long is found by the attempt itself, before these times.
    async fn endpoint_at(&self, tier: &Tier, address: SocketAddr) -> Endpoint {
        let patience = 2 * self.settings.idle_timeout;
        let deployment = tier.deployment().unwrap_or_default();
        Endpoint {
            provider: Provider::OpenAICompatible,
            model: self.model_at(deployment, address).await,
            base_url: base_url(address),
            unsupported: Vec::new(),
            api_key: None,
            ca_bundle: None,
            headers: Vec::new(),
            api_version: None,
            default_output_tokens: None,
            max_output_tokens: None,
            has_budget: false,
            price: Price::default(),
            timeouts: Timeouts {
                connect: CONNECT,
                first_byte: patience,
                idle: patience,
            },
        }
    }

    /// What the replica calls its model: asked once, and the deployment's name where it does not say.
    async fn model_at(&self, deployment: &str, address: SocketAddr) -> String {
        if let Some(known) = self.shared.pool.model(address) {
            return known;
        }
        let listed = timeout(LONGEST_LIST, self.listed(address)).await;
        let Some(list) = listed.ok().flatten() else {
            tracing::debug!(%address, "the replica does not list its models");
            return deployment.to_owned();
        };
        let model = model_of(&list, deployment);
        self.shared.pool.learn_model(address, &model);
        model
    }

    async fn listed(&self, address: SocketAddr) -> Option<Value> {
        let dialler = &self.shared.dialler;
        let url: Url = format!("{}/models", base_url(address)).parse().ok()?;
        dialler.check_literal(Reach::Replica, &url).ok()?;
        let client = dialler.client(Reach::Replica, CONNECT, None).ok()?;
        let answer = client.get(url).send().await.ok()?;
        let answer = answer.error_for_status().ok()?;
        let mut pieces = answer.bytes_stream();
        let mut list = Vec::new();
        while let Some(piece) = pieces.next().await {
            list.extend_from_slice(&piece.ok()?);
            if list.len() > LONGEST_LIST_BYTES {
                return None;
            }
        }
        serde_json::from_slice(&list).ok()
    }
}

fn base_url(address: SocketAddr) -> String {
    format!("http://{address}/v1")
}

/// The deployment's own name where the list has it, else the first of the list.
fn model_of(list: &Value, deployment: &str) -> String {
    let models = list["data"].as_array().into_iter().flatten();
    let names: Vec<&str> = models.filter_map(|model| model["id"].as_str()).collect();
    let first = names.first().copied().unwrap_or(deployment);
    match names.contains(&deployment) {
        true => deployment.to_owned(),
        false => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_model_is_called_as_its_deployment_where_its_server_does_and_else_as_the_first_of_the_list()
    {
        let list = |names: &[&str]| {
            let models = names
                .iter()
                .map(|name| json!({ "id": name, "object": "model" }));
            json!({ "object": "list", "data": models.collect::<Vec<_>>() })
        };
        assert_eq!(
            model_of(&list(&["/models/qwen.gguf"]), "chat"),
            "/models/qwen.gguf"
        );
        assert_eq!(model_of(&list(&["base", "chat"]), "chat"), "chat");
        for nothing in [
            list(&[]),
            json!({}),
            json!([{ "id": "a" }]),
            json!({ "data": [{ "id": 1 }] }),
        ] {
            assert_eq!(model_of(&nothing, "chat"), "chat", "{nothing}");
        }
    }
}
