//! Which addresses may be dialled; plain values, so that they can be tested without a network.
//!
//! An address that stands for another one, because a gateway would translate it, is judged as the
//! one it stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_policy::cidr::Cidr;

/// Where a tier's endpoint may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Only in the networks of the cluster.
    Inside,
    /// A replica, whose address the API server has told: in the networks of the cluster, where they are known.
    Replica,
    /// Anywhere but on this machine and on the link, where metadata services live.
    Outside,
}

/// What else is known of where this router runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub cluster: Vec<Cidr>,
    pub api_servers: Vec<IpAddr>,
    pub allow_loopback: bool,
}

/// The address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0} is on the link, where only this machine's own services are")]
    LinkLocal(IpAddr),
    #[error("{0} is a metadata service of a cloud")]
    Metadata(IpAddr),
    #[error("{0} is this machine")]
    Loopback(IpAddr),
    #[error("{0} is the API server of the cluster")]
    ApiServer(IpAddr),
    #[error("{0} is not the address of one host")]
    NoHost(IpAddr),
    #[error("{0} is not in the cluster's networks")]
    NotInCluster(IpAddr),
}

/// Metadata services that are not on the link: of Alibaba, Azure and Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Likewise in private ranges of IPv6: of Amazon, Google and Scaleway.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042),
];

impl Rules {
    pub fn check(&self, reach: Reach, address: IpAddr) -> Result<(), Refused> {
        let address = match address {
            IpAddr::V6(address) => stands_for(address)?,
            v4 => v4,
        };
        if is_metadata(address) {
            return Err(Refused::Metadata(address));
        }
        if is_on_link(address) {
            return Err(Refused::LinkLocal(address));
        }
        if self.api_servers.contains(&address) {
            return Err(Refused::ApiServer(address));
        }
        if address.is_loopback() || address.is_unspecified() {
            return match self.allow_loopback {
                true => Ok(()),
                false => Err(Refused::Loopback(address)),
            };
        }
        if is_no_host(address) {
            return Err(Refused::NoHost(address));
        }
        let in_cluster = || self.cluster.iter().any(|network| network.contains(address));
        let must_be_in_cluster = match reach {
            Reach::Inside => true,
            Reach::Replica => !self.cluster.is_empty(),
            Reach::Outside => false,
        };
        match must_be_in_cluster && !in_cluster() {
            true => Err(Refused::NotInCluster(address)),
            false => Ok(()),
        }
    }
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => METADATA_V4.contains(&address),
        IpAddr::V6(address) => METADATA_V6.contains(&address),
    }
}

fn is_on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Many, none, or nobody yet: multicast, broadcast, this network (0.0.0.0/8) and reserved.
fn is_no_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets()[0], 0 | 224..),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// The address that `address` leads to. Fails where that cannot be seen from it.
fn stands_for(address: Ipv6Addr) -> Result<IpAddr, Refused> {
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match address.segments() {
        // The unspecified one and loopback are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Ok(address.into()),
        // IPv4-compatible, IPv4-mapped, translated (SIIT), NAT64.
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        // 6to4.
        [0x2002, high, low, ..] => of(high, low),
        // NAT64 with a prefix of somebody's choice, and Teredo.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Err(Refused::NoHost(address.into())),
        _ => Ok(address.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reach: Reach, allow_loopback: bool, address: &str) -> Result<(), Refused> {
        let rules = Rules {
            cluster: vec![
                "10.96.0.0/12".parse().unwrap(),
                "168.63.0.0/16".parse().unwrap(),
            ],
            api_servers: vec![
                "10.96.0.1".parse().unwrap(),
                "fd00:10:96::1".parse().unwrap(),
            ],
            allow_loopback,
        };
        rules.check(reach, address.parse().unwrap())
    }

    /// Wherever the endpoint may be, and also on a laptop.
    fn is_always(refused: fn(IpAddr) -> Refused, addresses: &[&str]) {
        for address in addresses {
            for (reach, laptop) in [
                (Reach::Outside, false),
                (Reach::Inside, true),
                (Reach::Replica, false),
            ] {
                let error = check(reach, laptop, address).expect_err(address);
                let kind = refused("::".parse().unwrap());
                assert_eq!(
                    std::mem::discriminant(&error),
                    std::mem::discriminant(&kind),
                    "{address}: {error}"
                );
            }
        }
    }

    #[test]
    fn nothing_on_the_link_is_dialled_however_it_is_written() {
        is_always(
            Refused::LinkLocal,
            &[
                "169.254.169.254",
                "fe80::1",
                "::ffff:169.254.169.254",
                "::169.254.169.254",
                "::ffff:0:a9fe:a9fe",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
            ],
        );
    }

    #[test]
    fn metadata_services_elsewhere_are_not_dialled() {
        is_always(
            Refused::Metadata,
            &[
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "64:ff9b::a83f:8110",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fd00:42::42",
            ],
        );
    }

    #[test]
    fn the_api_server_is_not_dialled_although_it_is_in_the_cluster() {
        is_always(
            Refused::ApiServer,
            &["10.96.0.1", "::ffff:10.96.0.1", "fd00:10:96::1"],
        );
    }

    #[test]
    fn what_is_not_one_host_is_not_dialled() {
        is_always(
            Refused::NoHost,
            &[
                "0.1.2.3",
                "224.0.0.1",
                "239.255.255.250",
                "240.0.0.1",
                "255.255.255.255",
                "ff02::1",
                "::ffff:224.0.0.1",
                "64:ff9b:1::7f00:1",
                "2001:0:7f00:1::1",
            ],
        );
    }

    #[test]
    fn this_machine_is_dialled_only_on_a_laptop() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            let checked = check(Reach::Outside, false, address);
            assert!(matches!(checked, Err(Refused::Loopback(_))), "{address}");
            assert_eq!(check(Reach::Inside, true, address), Ok(()));
        }
    }

    #[test]
    fn a_replica_must_be_in_the_cluster_where_its_networks_are_known() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(check(Reach::Replica, false, "10.96.3.4"), Ok(()));
        let outside = check(Reach::Replica, false, "192.0.2.1");
        assert_eq!(outside, Err(Refused::NotInCluster(address("192.0.2.1"))));
        let unknown = Rules::default();
        assert_eq!(unknown.check(Reach::Replica, address("192.0.2.1")), Ok(()));
        let inside = unknown.check(Reach::Inside, address("192.0.2.1"));
        assert!(matches!(inside, Err(Refused::NotInCluster(_))));
    }

    #[test]
    fn an_inside_endpoint_must_be_in_the_cluster_and_an_outside_one_may_be() {
        assert_eq!(check(Reach::Inside, false, "10.96.3.4"), Ok(()));
        assert_eq!(check(Reach::Outside, false, "10.96.3.4"), Ok(()));
        assert_eq!(check(Reach::Outside, false, "192.0.2.1"), Ok(()));
        assert_eq!(check(Reach::Outside, false, "2606:4700::1"), Ok(()));
        let checked = check(Reach::Inside, false, "192.0.2.1");
        assert!(matches!(checked, Err(Refused::NotInCluster(_))));
    }
}
