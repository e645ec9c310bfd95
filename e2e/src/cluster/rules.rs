//! From NetworkPolicies to the rules of a packet filter, purely.
//!
//! What it does not know: SCTP, and policies that select by a Service's address.
//! Everything else of `networking.k8s.io/v1` it does, for pods with IPv4.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

const TABLE: &str = "inet weir-policies";

/// What the rules are made from.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) pods: Vec<Pod>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) policies: Vec<NetworkPolicy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// One thing that may be spoken to, or may speak.
struct Opening<'a> {
    peers: Option<&'a Vec<NetworkPolicyPeer>>,
    ports: Option<&'a Vec<NetworkPolicyPort>>,
}

/// The whole table, to be loaded in one go in place of the one before.
pub(crate) fn compile(world: &World) -> String {
    let mut chains = String::new();
    let mut jumps = String::new();
    for pod in &world.pods {
        let Some(address) = address(pod) else {
            continue;
        };
        for direction in [Direction::Ingress, Direction::Egress] {
            let policies = world.isolating(pod, direction);
            if policies.is_empty() {
                continue;
            }
            let (side, prefix) = match direction {
                Direction::Ingress => ("daddr", "in"),
                Direction::Egress => ("saddr", "out"),
            };
            let name = format!("{prefix}-{}", address.replace('.', "-"));
            let rules: String = policies
                .iter()
                .map(|policy| world.rules(policy, pod, direction))
                .collect();
            _ = writeln!(jumps, "ip {side} {address} jump {name}");
            _ = writeln!(chains, "chain {name} {{\n{rules}drop\n}}");
        }
    }
    format!(
        "table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{chains}chain forward {{\n\
         type filter hook forward priority 10; policy accept;\n\
         ct state established,related accept\n{jumps}}}\n}}\n"
    )
}

impl World {
    /// The policies that say what a pod may do in a direction. None: it may do anything.
    fn isolating(&self, pod: &Pod, direction: Direction) -> Vec<&NetworkPolicy> {
        self.policies
            .iter()
            .filter(|policy| policy.metadata.namespace == pod.metadata.namespace)
            .filter(|policy| {
                policy
                    .spec
                    .as_ref()
                    .is_some_and(|spec| governs(spec, direction))
            })
            .filter(|policy| {
                let spec = policy.spec.as_ref();
                spec.is_some_and(|spec| {
                    spec.pod_selector
                        .as_ref()
                        .is_none_or(|selector| selects(selector, pod.metadata.labels.as_ref()))
                })
            })
            .collect()
    }

    fn rules(&self, policy: &NetworkPolicy, pod: &Pod, direction: Direction) -> String {
        let Some(spec) = &policy.spec else {
            return String::new();
        };
        let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
        let mut rules = String::new();
        for opening in openings(spec, direction) {
            for peer in self.addresses(&opening, namespace, direction) {
                for port in ports(&opening, pod) {
                    _ = writeln!(rules, "{peer} {port} return");
                }
            }
        }
        rules
    }

    /// Matches on the other side's address; an empty one is anybody.
    fn addresses(&self, opening: &Opening<'_>, own: &str, direction: Direction) -> Vec<String> {
        let side = match direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        };
        let Some(peers) = opening.peers.filter(|peers| !peers.is_empty()) else {
            return vec![String::new()];
        };
        let mut matches = Vec::new();
        for peer in peers {
            if let Some(block) = &peer.ip_block {
                let family = family(&block.cidr);
                let except: String = block
                    .except
                    .iter()
                    .flatten()
                    .map(|range| format!(" {family} {side} != {range}"))
                    .collect();
                matches.push(format!("{family} {side} {}{except}", block.cidr));
            } else {
                let pods = self.pods.iter().filter(|pod| self.is_peer(peer, pod, own));
                matches.extend(
                    pods.filter_map(address)
                        .map(|address| format!("ip {side} {address}")),
                );
            }
        }
        matches
    }

    fn is_peer(&self, peer: &NetworkPolicyPeer, pod: &Pod, own: &str) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let in_namespace = match &peer.namespace_selector {
            None => namespace == own,
            Some(selector) => self
                .namespaces
                .iter()
                .filter(|candidate| candidate.metadata.name.as_deref() == Some(namespace))
                .any(|candidate| selects(selector, candidate.metadata.labels.as_ref())),
        };
        let chosen = |selector| selects(selector, pod.metadata.labels.as_ref());
        in_namespace && peer.pod_selector.as_ref().is_none_or(chosen)
    }
}

/// The family of a range, as the packet filter calls it.
fn family(range: &str) -> &'static str {
    if range.contains(':') { "ip6" } else { "ip" }
}

fn governs(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    match &spec.policy_types {
        Some(types) => types.iter().any(|name| *name == format!("{direction:?}")),
        None => direction == Direction::Ingress || spec.egress.is_some(),
    }
}

fn openings(spec: &NetworkPolicySpec, direction: Direction) -> Vec<Opening<'_>> {
    match direction {
        Direction::Ingress => spec
            .ingress
            .iter()
            .flatten()
            .map(|rule| Opening {
                peers: rule.from.as_ref(),
                ports: rule.ports.as_ref(),
            })
            .collect(),
        Direction::Egress => spec
            .egress
            .iter()
            .flatten()
            .map(|rule| Opening {
                peers: rule.to.as_ref(),
                ports: rule.ports.as_ref(),
            })
            .collect(),
    }
}

/// Matches on the port; an empty one is any.
fn ports(opening: &Opening<'_>, pod: &Pod) -> Vec<String> {
    let Some(ports) = opening.ports.filter(|ports| !ports.is_empty()) else {
        return vec![String::new()];
    };
    ports
        .iter()
        .filter_map(|port| one_port(port, pod))
        .collect()
}

fn one_port(port: &NetworkPolicyPort, pod: &Pod) -> Option<String> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
    let first = match &port.port {
        None => return Some(format!("meta l4proto {protocol}")),
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .flat_map(|container| container.ports.iter().flatten())
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)?,
    };
    let last = port.end_port.unwrap_or(first);
    Some(format!("{protocol} dport {first}-{last}"))
}

fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| label(key) == Some(value));
    let expressed = selector.match_expressions.iter().flatten().all(|wish| {
        let named = |value: &String| wish.values.iter().flatten().any(|wanted| wanted == value);
        match wish.operator.as_str() {
            "In" => label(&wish.key).is_some_and(named),
            "NotIn" => !label(&wish.key).is_some_and(named),
            "Exists" => label(&wish.key).is_some(),
            _ => label(&wish.key).is_none(),
        }
    });
    equal && expressed
}

/// The address of a pod that has one to itself and is not over.
fn address(pod: &Pod) -> Option<String> {
    let on_host = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.host_network)
        .unwrap_or(false);
    let status = pod.status.as_ref()?;
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    (!on_host && !over).then(|| status.pod_ip.clone()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, labels: &Value, address: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "team", "labels": labels },
            "spec": { "containers": [
                { "name": "main", "ports": [{ "name": "http", "containerPort": 8000 }] },
            ]},
            "status": { "podIP": address, "phase": "Running" },
        }))
        .unwrap()
    }

    fn world(spec: &Value) -> World {
        let policy = json!({ "metadata": { "name": "p", "namespace": "team" }, "spec": spec });
        World {
            pods: vec![
                pod("worker", &json!({ "role": "worker" }), "198.18.1.2"),
                pod("router", &json!({ "role": "router" }), "198.18.2.3"),
            ],
            namespaces: Vec::new(),
            policies: vec![serde_json::from_value(policy).unwrap()],
        }
    }

    #[test]
    fn a_pod_that_no_policy_selects_is_not_mentioned() {
        let table = compile(&world(
            &json!({ "podSelector": { "matchLabels": { "role": "none" } } }),
        ));
        assert!(!table.contains("jump"), "{table}");
    }

    #[test]
    fn a_selected_pod_is_reached_by_its_peers_on_a_named_port_and_by_nobody_else() {
        let table = compile(&world(&json!({
            "podSelector": { "matchLabels": { "role": "worker" } },
            "ingress": [{
                "from": [{ "podSelector": { "matchLabels": { "role": "router" } } }],
                "ports": [{ "port": "http" }],
            }],
        })));
        let chain =
            "chain in-198-18-1-2 {\nip saddr 198.18.2.3 tcp dport 8000-8000 return\ndrop\n}";
        assert!(table.contains(chain), "{table}");
        assert!(
            table.contains("ip daddr 198.18.1.2 jump in-198-18-1-2"),
            "{table}"
        );
        assert!(!table.contains("out-"), "{table}");
    }

    #[test]
    fn a_policy_for_egress_without_rules_lets_nothing_out() {
        let table = compile(&world(&json!({
            "podSelector": { "matchExpressions": [{ "key": "role", "operator": "In", "values": ["worker"] }] },
            "policyTypes": ["Egress"],
        })));
        assert!(table.contains("chain out-198-18-1-2 {\ndrop\n}"), "{table}");
        assert!(!table.contains("chain in-"), "{table}");
    }

    #[test]
    fn a_range_of_addresses_leaves_out_what_it_excepts() {
        let table = compile(&world(&json!({
            "podSelector": {},
            "ingress": [{ "from": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }] }],
        })));
        assert!(
            table.contains("ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16  return"),
            "{table}"
        );
    }

    #[test]
    fn a_range_is_of_its_own_family() {
        let all = json!([
            { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } },
            { "ipBlock": { "cidr": "::/0", "except": ["fe80::/10"] } },
        ]);
        let table = compile(&world(&json!({
            "podSelector": {}, "policyTypes": ["Egress"],
            "egress": [{ "to": all, "ports": [{ "port": 443 }] }],
        })));
        for rule in [
            "ip daddr 0.0.0.0/0 ip daddr != 169.254.0.0/16 tcp dport 443-443 return",
            "ip6 daddr ::/0 ip6 daddr != fe80::/10 tcp dport 443-443 return",
        ] {
            assert!(table.contains(rule), "{table}");
        }
    }
}
