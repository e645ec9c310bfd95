//! Who may speak to routers and workers, and to whom these may speak.
//!
//! A pod that a NetworkPolicy selects is reached by nobody, and reaches nobody, that none names:
//! both are closed but for what is said here. The namespace's other pods are nobody's business.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use weir_crds::{Location, RoutePolicySpec, labels};
use weir_policy::last_good::LastGood;

use super::Shared;
use crate::destination::Destination;
use crate::settings::Settings;
use crate::settings::network::{NetworkPolicies, namespace};

/// Where clouds keep credentials, by the range that it is part of: on the link, and, of Alibaba, Azure, Oracle,
/// Amazon, Google and Scaleway, elsewhere. Routers dial none of these either.
const METADATA: [(&str, &[&str]); 2] = [
    (
        "0.0.0.0/0",
        &[
            "169.254.0.0/16",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
        ],
    ),
    (
        "::/0",
        &[
            "fe80::/10",
            "fd00:ec2::/32",
            "fd20:ce::254/128",
            "fd00:42::42/128",
        ],
    ),
];
/// Some name servers listen on the second and have a Service that listens on the first.
const DNS_PORTS: [u16; 2] = [53, 5353];
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// One policy for routers and one for workers, where there are to be any.
pub fn policies(
    shared: &Shared<'_>,
    last_good: &BTreeMap<String, LastGood>,
    settings: &Settings,
) -> Vec<NetworkPolicy> {
    if !settings.network_policies.enabled {
        return Vec::new();
    }
    vec![
        routers(shared, last_good, settings),
        workers(shared, settings),
    ]
}

fn routers(
    shared: &Shared<'_>,
    last_good: &BTreeMap<String, LastGood>,
    settings: &Settings,
) -> NetworkPolicy {
    let values = &settings.network_policies;
    let mut egress = common(shared.namespace, settings);
    egress.push(to(vec![selected(of_workers())], &[labels::WORKER_PORT]));
    egress.push(api_server(values));
    egress.extend(reached(shared.namespace, last_good, settings));
    egress.extend(values.egress.routers.iter().cloned());
    NetworkPolicy {
        metadata: shared.of_routers(labels::ROUTER_NAME),
        spec: Some(spec(
            labels::of_router(),
            vec![
                from(values.clients.clone(), labels::ROUTER_PORT),
                from(observers(settings), labels::ADMIN_PORT),
            ],
            egress,
        )),
    }
}

fn workers(shared: &Shared<'_>, settings: &Settings) -> NetworkPolicy {
    let values = &settings.network_policies;
    let mut egress = common(shared.namespace, settings);
    egress.push(to(anywhere(), &[HTTP, HTTPS]));
    if !values.sources.is_empty() {
        let sources = values.sources.iter();
        egress.push(to(
            sources
                .map(|range| block(&range.0.to_string(), &[]))
                .collect(),
            &[],
        ));
    }
    egress.extend(values.egress.workers.iter().cloned());
    NetworkPolicy {
        metadata: shared.metadata(labels::WORKER_SERVICE_ACCOUNT, of_workers()),
        spec: Some(spec(
            of_workers(),
            vec![
                from(vec![selected(labels::of_router())], labels::WORKER_PORT),
                from(observers(settings), labels::ADMIN_PORT),
            ],
            egress,
        )),
    }
}

/// The labels of every worker of the namespace.
pub fn of_workers() -> BTreeMap<String, String> {
    [
        (labels::MANAGED_BY, labels::MANAGER),
        (labels::COMPONENT, labels::WORKER),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .into()
}

fn spec(
    of: BTreeMap<String, String>,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: selected(of).pod_selector,
        policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
        ingress: Some(ingress),
        egress: Some(egress),
    }
}

/// What routers and workers both reach: names, the collector, and a cloud's identity where it is
/// allowed.
fn common(own: &str, settings: &Settings) -> Vec<NetworkPolicyEgressRule> {
    let values = &settings.network_policies;
    let collector = settings.pods_otlp_endpoint.as_deref();
    let collector = collector.and_then(|url| Destination::of(url, own));
    let metadata = METADATA.iter().flat_map(|(_, ranges)| *ranges);
    let metadata = metadata.map(|range| block(range, &[])).collect();
    let mut rules = vec![names(values)];
    rules.extend(collector.map(|collector| towards(&collector)));
    rules.extend(values.metadata.then(|| to(metadata, &[])));
    rules
}

fn names(values: &NetworkPolicies) -> NetworkPolicyEgressRule {
    let ports = ["UDP", "TCP"].into_iter().flat_map(|protocol| {
        DNS_PORTS.map(|number| NetworkPolicyPort {
            protocol: Some(protocol.into()),
            ..port(number)
        })
    });
    NetworkPolicyEgressRule {
        ports: Some(ports.collect()),
        ..to(values.dns.clone(), &[])
    }
}

fn api_server(values: &NetworkPolicies) -> NetworkPolicyEgressRule {
    let ranges = values.api_server.cidrs.iter();
    let ranges = ranges.map(|range| block(&range.0.to_string(), &[]));
    to(ranges.collect(), &values.api_server.ports)
}

/// Where the namespace's policies send asks and records. Without a tier or a store outside nothing
/// outside is reached; with a proxy only that.
fn reached(
    own: &str,
    last_good: &BTreeMap<String, LastGood>,
    settings: &Settings,
) -> Vec<NetworkPolicyEgressRule> {
    let specs = last_good.values().map(|policy| &policy.spec);
    let has_proxy = settings.egress_proxy.is_some();
    let destinations: BTreeSet<Destination> = specs
        .flat_map(|spec| of_spec(spec, (own, has_proxy)))
        .collect();
    let (outside, inside): (Vec<_>, Vec<_>) = destinations
        .into_iter()
        .partition(|destination| matches!(destination, Destination::Outside(_)));
    let mut rules: Vec<_> = inside.iter().map(towards).collect();
    if outside.is_empty() {
        return rules;
    }
    let proxy = settings.egress_proxy.as_deref();
    let proxy = proxy.and_then(|url| Destination::of(url, own));
    let ports: BTreeSet<u16> = outside
        .iter()
        .filter_map(|destination| match destination {
            Destination::Outside(port) => Some(*port),
            _ => None,
        })
        .chain([HTTPS])
        .collect();
    let ports: Vec<u16> = ports.into_iter().collect();
    rules.push(match proxy {
        Some(proxy) => towards(&proxy),
        None => to(anywhere(), &ports),
    });
    rules
}

/// Whatever is not said to be inside is asked by the proxy, where there is one. A store's address is in its Secret,
/// which is not read: it counts as one outside.
fn of_spec<'a>(
    spec: &'a RoutePolicySpec,
    (own, has_proxy): (&'a str, bool),
) -> impl Iterator<Item = Destination> + 'a {
    let endpoints = spec.tiers.iter().filter_map(|tier| tier.endpoint.as_ref());
    let endpoints = endpoints.filter_map(move |endpoint| match &endpoint.base_url {
        Some(url) if !has_proxy || endpoint.location == Location::Inside => {
            Destination::of(url, own)
        }
        _ => Some(Destination::Outside(HTTPS)),
    });
    let stores = spec.records.credentials_secret_ref.iter();
    endpoints.chain(stores.map(|_| Destination::Outside(HTTPS)))
}

fn towards(destination: &Destination) -> NetworkPolicyEgressRule {
    match destination {
        Destination::Namespace(name) => to(vec![namespace(name)], &[]),
        Destination::Address(address, port) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            to(vec![block(&format!("{address}/{bits}"), &[])], &[*port])
        }
        Destination::Outside(port) => to(anywhere(), &[*port]),
    }
}

/// Every address but those where clouds keep credentials.
fn anywhere() -> Vec<NetworkPolicyPeer> {
    METADATA
        .iter()
        .map(|(all, except)| block(all, except))
        .collect()
}

/// The operator, and who reads metrics.
fn observers(settings: &Settings) -> Vec<NetworkPolicyPeer> {
    let name = (
        "app.kubernetes.io/name".to_owned(),
        "weir-operator".to_owned(),
    );
    let operator = NetworkPolicyPeer {
        pod_selector: selected([name].into()).pod_selector,
        ..namespace(&settings.namespace)
    };
    let scrapers = settings.network_policies.scrapers.iter().cloned();
    [operator].into_iter().chain(scrapers).collect()
}

/// Nobody named is everybody.
fn from(peers: Vec<NetworkPolicyPeer>, number: u16) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(peers).filter(|peers| !peers.is_empty()),
        ports: Some(vec![port(number)]),
    }
}

/// Nobody named is everybody, and no port named is every port.
fn to(peers: Vec<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyEgressRule {
    let ports: Vec<_> = ports.iter().map(|number| port(*number)).collect();
    NetworkPolicyEgressRule {
        to: Some(peers).filter(|peers| !peers.is_empty()),
        ports: Some(ports).filter(|ports| !ports.is_empty()),
    }
}

fn selected(labels: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(labels),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except: Vec<String> = except.iter().map(ToString::to_string).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.into(),
            except: Some(except).filter(|except| !except.is_empty()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// The API server writes TCP where nothing is said, which would differ from what we want.
fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some("TCP".into()),
        port: Some(IntOrString::Int(i32::from(number))),
        ..NetworkPolicyPort::default()
    }
}
