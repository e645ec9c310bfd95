//! What NetworkPolicies are made from besides the users' objects: the chart's `networkPolicies`, as
//! it is written there.

use std::str::FromStr;

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use serde::Deserialize;
use serde_json::json;
use weir_policy::cidr::Cidr;

use super::exact;

/// Who may speak to whom. What is left out is as in the chart.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicies {
    /// Whether there are any.
    pub enabled: bool,
    /// Who may ask routers; nobody named means everybody.
    #[serde(deserialize_with = "exact::list")]
    pub clients: Vec<NetworkPolicyPeer>,
    /// Who may read metrics.
    #[serde(deserialize_with = "exact::list")]
    pub scrapers: Vec<NetworkPolicyPeer>,
    /// Who resolves names; nobody named means everybody.
    #[serde(deserialize_with = "exact::list")]
    pub dns: Vec<NetworkPolicyPeer>,
    pub api_server: ApiServer,
    /// Where workers fetch models from besides ports 80 and 443 of everywhere.
    pub sources: Vec<Network>,
    /// Whether routers and workers may ask for a cloud identity.
    pub metadata: bool,
    pub egress: Egress,
}

/// Where the API server is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiServer {
    /// None means everywhere.
    pub cidrs: Vec<Network>,
    pub ports: Vec<u16>,
}

/// What each may reach besides.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Egress {
    /// Is the chart's to write: it makes the operator's own policy.
    #[serde(deserialize_with = "exact::list")]
    pub operator: Vec<NetworkPolicyEgressRule>,
    #[serde(deserialize_with = "exact::list")]
    pub routers: Vec<NetworkPolicyEgressRule>,
    #[serde(deserialize_with = "exact::list")]
    pub workers: Vec<NetworkPolicyEgressRule>,
}

/// A [`Cidr`] as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(pub Cidr);

impl TryFrom<String> for Network {
    type Error = weir_policy::cidr::CidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl Default for NetworkPolicies {
    /// What the chart's values are.
    fn default() -> Self {
        Self {
            enabled: true,
            clients: Vec::new(),
            scrapers: vec![namespace("monitoring")],
            dns: default_dns(),
            api_server: ApiServer::default(),
            sources: Vec::new(),
            metadata: false,
            egress: Egress::default(),
        }
    }
}

impl Default for ApiServer {
    /// The ports of usual clusters; the address differs from one to the next.
    fn default() -> Self {
        Self {
            cidrs: Vec::new(),
            ports: vec![443, 6443, 8443, 16443],
        }
    }
}

impl FromStr for NetworkPolicies {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// The pods of the cluster's own name server, whatever they are called, and the caches that clusters have on the
/// link, each at an address of its own. Only the ports of name servers are open there.
fn default_dns() -> Vec<NetworkPolicyPeer> {
    let cache = peer(json!({ "ipBlock": { "cidr": "169.254.0.0/16" } }));
    vec![namespace("kube-system"), cache]
}

/// Every pod of a namespace.
pub fn namespace(name: &str) -> NetworkPolicyPeer {
    let labels = json!({ "kubernetes.io/metadata.name": name });
    peer(json!({ "namespaceSelector": { "matchLabels": labels } }))
}

fn peer(of: serde_json::Value) -> NetworkPolicyPeer {
    serde_json::from_value(of).expect("a peer is written as Kubernetes has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_in_the_chart_and_what_is_unknown_is_refused() {
        let none: NetworkPolicies = "{}".parse().unwrap();
        assert_eq!(none, NetworkPolicies::default());
        let cidrs: NetworkPolicies = r#"{"apiServer":{"cidrs":["10.0.0.1/32"]}}"#.parse().unwrap();
        assert_eq!(cidrs.api_server.ports, ApiServer::default().ports);
        for wrong in [r#"{"sources":["10.0.0.0/33"]}"#, r#"{"source":[]}"#] {
            assert!(wrong.parse::<NetworkPolicies>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mistyped_name_in_a_selector_is_refused_and_does_not_select_everybody() {
        let labels = r#"{ "matchLabels": { "app": "shop" } }"#;
        let right = format!(r#"{{ "clients": [{{ "podSelector": {labels} }}] }}"#);
        assert!(right.parse::<NetworkPolicies>().is_ok());
        let port = r#"{ "egress": { "workers": [{ "ports": [{ "prot": 80 }] }] } }"#.to_owned();
        for (wrong, name) in [
            (right.replace("podSelector", "podSelectr"), "podSelectr"),
            (right.replace("matchLabels", "matchLabel"), "matchLabel"),
            (
                right
                    .replace("clients", "dns")
                    .replace("app", "a")
                    .replace("matchLabels", "x"),
                "x",
            ),
            (port, "prot"),
        ] {
            let error = wrong.parse::<NetworkPolicies>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("unknown field `{name}`")),
                "{error}"
            );
        }
    }
}
