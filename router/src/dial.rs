//! Connections to endpoints: which addresses may be dialled, checked every time one is.
//!
//! A name is checked after it was resolved, so that a name that changes its address later gains
//! nothing; an address written into the URL is checked before the request, because a client does
//! not resolve it. Redirects are not followed and no proxy is asked, since either would dial what
//! was not checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};
use weir_policy::cidr::Cidr;

use crate::args::Args;

/// Where a tier's endpoint may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Only in the networks of the cluster.
    Inside,
    /// Anywhere but on this machine and on the link, where metadata services live.
    Outside,
}

/// The rules for addresses; plain values, so that they can be tested without a network.
#[derive(Clone, Debug)]
struct Rules {
    cluster: Vec<Cidr>,
    allow_loopback: bool,
}

/// The address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0} is on the link, where only this machine's own services are")]
    LinkLocal(IpAddr),
    #[error("{0} is this machine")]
    Loopback(IpAddr),
    #[error("{0} is not in the cluster's networks")]
    NotInCluster(IpAddr),
}

/// The metadata service of EC2 on IPv6 is in a private range and not on the link.
const EC2_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

impl Rules {
    fn check(&self, reach: Reach, address: IpAddr) -> Result<(), Refused> {
        let address = embedded_v4(address).map_or(address.to_canonical(), IpAddr::V4);
        let on_link = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local() || address == EC2_METADATA,
        };
        if on_link {
            return Err(Refused::LinkLocal(address));
        }
        if address.is_loopback() || address.is_unspecified() {
            return match self.allow_loopback {
                true => Ok(()),
                false => Err(Refused::Loopback(address)),
            };
        }
        let in_cluster = || self.cluster.iter().any(|network| network.contains(address));
        match reach {
            Reach::Inside if !in_cluster() => Err(Refused::NotInCluster(address)),
            _ => Ok(()),
        }
    }
}

/// The IPv4 address that a NAT64 gateway would make of `address` (64:ff9b::/96).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else {
        return None;
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// HTTP clients, one for each reach and connect timeout, so that connections are kept.
pub(crate) struct Dialler {
    rules: Arc<Rules>,
    clients: Mutex<BTreeMap<(Reach, Duration), Client>>,
}

impl Dialler {
    pub fn new(args: &Args) -> Self {
        Self {
            rules: Arc::new(Rules {
                cluster: args.cluster_cidrs.clone(),
                allow_loopback: args.allow_loopback,
            }),
            clients: Mutex::default(),
        }
    }

    /// A client that dials only what `reach` allows. Fails where TLS cannot be set up.
    pub fn client(&self, reach: Reach, connect: Duration) -> reqwest::Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(reach, connect)) {
            return Ok(client.clone());
        }
        let client = Client::builder()
            .connect_timeout(connect)
            .dns_resolver(Arc::new(CheckedResolver {
                rules: self.rules.clone(),
                reach,
            }))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Shorter than the idle limit of common balancers, which cut without a word.
            .pool_idle_timeout(Duration::from_secs(50))
            .build()?;
        clients.insert((reach, connect), client.clone());
        Ok(client)
    }

    /// Whether this machine may be dialled.
    pub fn allows_loopback(&self) -> bool {
        self.rules.allow_loopback
    }

    /// Checks an address that is written in `url` itself. A host name passes: it is checked when
    /// it is resolved.
    pub fn check_literal(&self, reach: Reach, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse() {
            Ok(address) => self.rules.check(reach, address),
            Err(_) => Ok(()),
        }
    }
}

struct CheckedResolver {
    rules: Arc<Rules>,
    reach: Reach,
}

impl Resolve for CheckedResolver {
    /// Fails if any address of the name is refused: a name with one good and one bad address is
    /// not worth the doubt.
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, reach) = (self.rules.clone(), self.reach);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            for address in &found {
                rules.check(reach, address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether `error` comes from an address that was refused.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reach: Reach, allow_loopback: bool, address: &str) -> Result<(), Refused> {
        let rules = Rules {
            cluster: vec!["10.96.0.0/12".parse().unwrap()],
            allow_loopback,
        };
        rules.check(reach, address.parse().unwrap())
    }

    #[test]
    fn nothing_on_the_link_is_dialled_however_it_is_written() {
        for address in [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
        ] {
            for (reach, laptop) in [(Reach::Outside, false), (Reach::Inside, true)] {
                let checked = check(reach, laptop, address);
                assert!(matches!(checked, Err(Refused::LinkLocal(_))), "{address}");
            }
        }
    }

    #[test]
    fn this_machine_is_dialled_only_on_a_laptop() {
        for address in ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"] {
            let checked = check(Reach::Outside, false, address);
            assert!(matches!(checked, Err(Refused::Loopback(_))), "{address}");
            assert_eq!(check(Reach::Inside, true, address), Ok(()));
        }
    }

    #[test]
    fn an_inside_endpoint_must_be_in_the_cluster_and_an_outside_one_may_be() {
        assert_eq!(check(Reach::Inside, false, "10.96.3.4"), Ok(()));
        assert_eq!(check(Reach::Outside, false, "10.96.3.4"), Ok(()));
        assert_eq!(check(Reach::Outside, false, "192.0.2.1"), Ok(()));
        let checked = check(Reach::Inside, false, "192.0.2.1");
        assert!(matches!(checked, Err(Refused::NotInCluster(_))));
    }
}
