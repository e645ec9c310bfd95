//! A network: what the operator is told, hands on as text, and the router compares addresses with.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix_bits: u32,
}

/// The text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as 10.244.0.0/16 or fd00::/8")]
pub struct CidrError(String);

impl Cidr {
    /// Whether `address` is in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix_bits).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix_bits).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CidrError(text.to_owned());
        let (network, prefix_bits) = text.split_once('/').ok_or_else(wrong)?;
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let prefix_bits: u32 = prefix_bits.parse().map_err(|_| wrong())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        if prefix_bits > most {
            return Err(wrong());
        }
        Ok(Self {
            network,
            prefix_bits,
        })
    }
}

impl fmt::Display for Cidr {
    /// As it is parsed: bits of the address beyond the prefix stay.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let pods: Cidr = "10.244.0.0/16".parse().unwrap();
        for (address, inside) in [
            ("10.244.3.4", true),
            ("10.245.0.1", false),
            ("::ffff:10.244.3.4", true),
            ("fd00::1", false),
        ] {
            assert_eq!(pods.contains(address.parse().unwrap()), inside, "{address}");
        }
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("192.0.2.1".parse().unwrap()));
        let six: Cidr = "fd00::/8".parse().unwrap();
        assert!(six.contains("fd12::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "x/8",
            "::/129",
            "300.0.0.0/8",
            "",
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains("such as"), "{text}");
            assert!(error.contains(text));
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_parsed() {
        for text in ["10.244.0.0/16", "10.1.2.3/8", "fd00::/8", "::/0"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
    }
}
