//! Where a URL leads, in the words that NetworkPolicies have for it. Pure: no name is resolved.

use std::net::IpAddr;

use reqwest::Url;

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A Service of this namespace. Which pods are behind it, and on which port these listen, only
    /// that Service knows.
    Namespace(String),
    Address(IpAddr, u16),
    /// A name of the world outside, on this port.
    Outside(u16),
}

impl Destination {
    /// Where `url` leads from a pod in the namespace `own`; nothing for what is no URL with a host.
    pub fn of(url: &str, own: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let port = url.port_or_known_default()?;
        let host = url.host_str()?.trim_end_matches('.');
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Some(Self::Address(address, port));
        }
        let labels: Vec<&str> = host.split('.').collect();
        Some(match labels.as_slice() {
            [_] => Self::Namespace(own.to_owned()),
            [_, namespace, "svc", ..] => Self::Namespace((*namespace).to_owned()),
            _ => Self::Outside(port),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_namespace_an_address_by_itself_and_all_else_by_its_port() {
        let inside = |name: &str| Destination::Namespace(name.to_owned());
        let outside = Destination::Outside;
        for (url, expected) in [
            ("http://frontier.models.svc/v1", inside("models")),
            (
                "https://frontier.models.svc.cluster.local:8443",
                inside("models"),
            ),
            ("http://collector:4317", inside("own")),
            ("https://api.openai.com/v1", outside(443)),
            ("https://models.example.com:8443/v1", outside(8443)),
            ("http://a.svc.example.com", outside(80)),
            (
                "http://10.1.2.3:4317",
                Destination::Address([10, 1, 2, 3].into(), 4317),
            ),
            (
                "http://[fd00::1]:80",
                Destination::Address("fd00::1".parse().unwrap(), 80),
            ),
        ] {
            assert_eq!(Destination::of(url, "own"), Some(expected), "{url}");
        }
        assert_eq!(Destination::of("no address", "own"), None);
    }
}
