//! A network of our own: a bridge, and a network namespace per node.

use std::process::Command;

use anyhow::{Context, Result};

use super::addresses::{BRIDGE, HOST, PLACES, Place};
use crate::run::{succeed, tool};

/// Lays the bridge and the namespaces of all nodes.
///
/// # Errors
/// When one of the steps is refused.
pub(crate) fn lay() -> Result<()> {
    succeed(&mut tool(&format!("ip link add {BRIDGE} type bridge")))
        .context("making the bridge")?;
    succeed(&mut tool(&format!("ip addr add {HOST}/24 dev {BRIDGE}")))?;
    succeed(&mut tool(&format!("ip link set {BRIDGE} up")))?;
    for place in PLACES {
        lay_node(place).with_context(|| format!("laying the network of {}", place.name()))?;
    }
    Ok(())
}

fn lay_node(place: Place) -> Result<()> {
    let (network, address, number) = (place.network(), place.address(), place.0);
    succeed(&mut tool(&format!("ip netns add {network}")))?;
    succeed(&mut tool(&format!(
        "ip link add weir-n{number} type veth peer name eth0 netns {network}"
    )))?;
    succeed(&mut tool(&format!(
        "ip link set weir-n{number} master {BRIDGE} up"
    )))?;
    // The way from the API server back to pods.
    succeed(&mut tool(&format!(
        "ip route add {} via {address}",
        place.pods()
    )))?;
    let within = |words: &str| succeed(&mut inside(place, words));
    within("ip link set lo up")?;
    within(&format!("ip addr add {address}/24 dev eth0"))?;
    within("ip link set eth0 up")?;
    within(&format!("ip route add default via {HOST}"))?;
    succeed(inside(place, "sh -c").arg("echo 1 > /proc/sys/net/ipv4/ip_forward"))
        .context("letting a node forward")?;
    for other in PLACES.into_iter().filter(|other| *other != place) {
        within(&format!(
            "ip route add {} via {}",
            other.pods(),
            other.address()
        ))?;
    }
    Ok(())
}

/// A command that runs in a node's network namespace and nowhere else: `ip netns exec`
/// would mount /sys anew as well, and hide the cgroups from the kubelet.
pub(crate) fn inside(place: Place, words: &str) -> Command {
    tool(&format!(
        "nsenter --net=/run/netns/{} {words}",
        place.network()
    ))
}

/// Removes whatever is there of it.
pub(crate) fn lift() {
    for place in PLACES {
        succeed(&mut tool(&format!("ip link del weir-n{}", place.0))).ok();
        succeed(&mut tool(&format!("ip netns del {}", place.network()))).ok();
    }
    succeed(&mut tool(&format!("ip link del {BRIDGE}"))).ok();
}
