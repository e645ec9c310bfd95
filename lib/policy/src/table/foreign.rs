//! Which deployments have a server that is not ours: the tiers that name them know it, whatever policy they are of.

use std::collections::BTreeSet;

use weir_crds::{Protocol, SLMDeployment};

use crate::validate::Settings;

/// Their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreign(BTreeSet<String>);

impl Foreign {
    pub fn among(deployments: &[&SLMDeployment]) -> Self {
        let all = deployments.iter();
        let foreign = all.filter(|deployment| deployment.spec.engine.protocol == Protocol::OpenAI);
        Self(
            foreign
                .filter_map(|deployment| deployment.metadata.name.clone())
                .collect(),
        )
    }

    /// Tells the tiers of these deployments.
    pub fn tell(&self, settings: &mut Settings) {
        for tier in &mut settings.tiers {
            if tier.deployment().is_some_and(|name| self.0.contains(name)) {
                *tier = tier.foreign();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use weir_crds::SLMDeployment;

    use crate::compile;
    use crate::testing::{deployment, policy};

    fn foreign() -> SLMDeployment {
        let mut deployment = deployment("triage");
        let engine = json!({ "image": "a:1", "protocol": "OpenAI" });
        deployment.spec.engine = serde_json::from_value(engine).unwrap();
        deployment
    }

    #[test]
    fn a_tier_of_a_deployment_of_anothers_server_is_foreign_in_a_policy_and_alone() {
        for (deployment, is_foreign) in [(foreign(), true), (deployment("triage"), false)] {
            let table = compile([&policy("support")], [&deployment], &BTreeMap::new());
            for model in ["support", "triage"] {
                let tiers = &table.route(model).unwrap().settings.tiers;
                let of_deployment = tiers.iter().filter(|tier| tier.deployment().is_some());
                let found: Vec<bool> = of_deployment.map(|tier| tier.is_foreign()).collect();
                assert_eq!(found, [is_foreign], "{model}");
            }
        }
    }
}
