//! Who has which address.
//!
//! All of them lie in 198.18.0.0/15, the range that is set aside for tests: nothing
//! outside this machine is ever meant by one of them.

use std::net::Ipv4Addr;

/// The bridge that the nodes hang on. Its address is the API server's.
pub(crate) const BRIDGE: &str = "weirbr0";
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const SERVICES: &str = "198.19.0.0/16";
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 10);

/// One of the cluster's nodes, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u8);

/// Two, so that a pod may be elsewhere.
pub(crate) const PLACES: [Place; 2] = [Place(1), Place(2)];

impl Place {
    /// The name of the Node.
    pub(crate) fn name(self) -> String {
        format!("node-{}", self.0)
    }

    /// The network namespace that holds the node's processes.
    pub(crate) fn network(self) -> String {
        format!("weir-node-{}", self.0)
    }

    /// The cgroup, in every hierarchy, that holds the node's pods.
    pub(crate) fn cgroup(self) -> String {
        format!("weir-node-{}", self.0)
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, 10 + self.0)
    }

    /// The range of the node's pods.
    pub(crate) fn pods(self) -> String {
        format!("198.18.{}.0/24", self.0)
    }
}
