//! Connections to endpoints: how they are kept, and that each is checked when it is made.
//!
//! A name is checked after it was resolved, and what was checked is what is dialled, so that a name
//! that changes its address later gains nothing; an address written into the URL is checked before
//! the request, because a client does not resolve it. Redirects are not followed, since they would
//! lead to what was not checked. No proxy is asked but the one that whoever installed Weir named,
//! and for what leaves the cluster only: then the proxy is what is dialled and checked, and the
//! proxy finds the address of the endpoint's name.

mod addresses;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Proxy, Url};

use crate::args::Args;
use crate::bundle::Bundle;
use addresses::Rules;
pub(crate) use addresses::{Reach, Refused};

/// A policy's author may choose each timeout; those that differ share no connections.
const MOST_CLIENTS: usize = 64;
/// Connections that are kept to one endpoint without being used.
const MOST_IDLE: usize = 64;
/// Shorter than the idle limit of common balancers, which cut without a word.
const LONGEST_IDLE: Duration = Duration::from_secs(50);
/// A connection of HTTP/2 with an answer under way is asked whether it is there as often, and has
/// as long to say so.
const PING_EVERY: Duration = Duration::from_secs(15);
/// What an endpoint may send before its answer.
const MOST_HEAD_BYTES: u32 = 64 << 10;

/// HTTP clients, one for each reach, connect timeout and set of authorities, so that connections are kept.
pub(crate) struct Dialler {
    rules: Arc<Rules>,
    lookup: Lookup,
    /// For what leaves the cluster.
    proxy: Option<Url>,
    clients: Mutex<BTreeMap<Kind, Client>>,
}

/// What connections of one client have in common.
type Kind = (Reach, Duration, Option<[u8; 32]>);

/// Finds the addresses of a name.
type Lookup = fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;

impl Dialler {
    /// `api_servers`: what is dialled for nobody.
    pub fn new(args: &Args, api_servers: Vec<IpAddr>) -> Self {
        Self {
            rules: Arc::new(Rules {
                cluster: args.cluster_cidrs.clone(),
                api_servers,
                allow_loopback: args.allow_loopback,
            }),
            lookup,
            proxy: args.egress_proxy.clone(),
            clients: Mutex::default(),
        }
    }

    /// A client that dials only what `reach` allows, and trusts the authorities of `bundle` besides
    /// the usual ones. Fails where TLS cannot be set up.
    pub fn client(
        &self,
        reach: Reach,
        connect: Duration,
        bundle: Option<&Bundle>,
    ) -> reqwest::Result<Client> {
        let kind = (reach, connect, bundle.map(|bundle| bundle.digest));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        let client = match bundle {
            None => self.builder(reach, connect)?.build()?,
            Some(bundle) => {
                let trusted = || bundle.certificates.iter().cloned();
                let merged = self.builder(reach, connect)?.tls_certs_merge(trusted());
                // An image without authorities of its own cannot merge them.
                merged.build().or_else(|_| {
                    let only = self.builder(reach, connect)?.tls_certs_only(trusted());
                    only.build()
                })?
            }
        };
        // Whoever uses one of them goes on with it.
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(kind, client.clone());
        Ok(client)
    }

    fn builder(&self, reach: Reach, connect: Duration) -> reqwest::Result<ClientBuilder> {
        let resolver = CheckedResolver {
            rules: self.rules.clone(),
            lookup: self.lookup,
            reach,
        };
        let client = Client::builder().no_proxy();
        let client = match (&self.proxy, reach) {
            (Some(proxy), Reach::Outside) => client.proxy(Proxy::all(proxy.clone())?),
            _ => client,
        };
        Ok(client
            .connect_timeout(connect)
            .dns_resolver(Arc::new(resolver))
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(LONGEST_IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .tcp_keepalive(PING_EVERY)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_EVERY)
            .http2_max_header_list_size(MOST_HEAD_BYTES))
    }

    /// Whether this machine may be dialled.
    pub fn allows_loopback(&self) -> bool {
        self.rules.allow_loopback
    }

    /// Checks an address that is written in `url` itself. A host name passes: it is checked when
    /// it is resolved. This machine's own passes for its address, because a proxy would take it for the
    /// proxy's machine.
    pub fn check_literal(&self, reach: Reach, url: &Url) -> Result<(), Refused> {
        // Whatever notation it was written in, the URL has it in the usual one by now.
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse() {
            Ok(address) => self.rules.check(reach, address),
            Err(_) if is_this_machine(host) => self.rules.check(reach, Ipv4Addr::LOCALHOST.into()),
            Err(_) => Ok(()),
        }
    }
}

/// Whether the name is one that means loopback everywhere.
fn is_this_machine(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The addresses of the cluster's API server, of which pods are told a name or an address. One that
/// is not found now is not known.
pub(crate) async fn api_servers(host: Option<&str>) -> Vec<IpAddr> {
    let Some(host) = host else {
        return Vec::new();
    };
    match lookup(host.to_owned()).await {
        Ok(found) => found.iter().map(SocketAddr::ip).collect(),
        Err(error) => {
            tracing::warn!(host, %error, "the API server's addresses are not known");
            Vec::new()
        }
    }
}

fn lookup(name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
    async move {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        Ok(tokio::net::lookup_host((name, 0)).await?.collect())
    }
    .boxed()
}

struct CheckedResolver {
    rules: Arc<Rules>,
    lookup: Lookup,
    reach: Reach,
}

impl Resolve for CheckedResolver {
    /// Fails if any address of the name is refused: a name with one good and one bad address is
    /// not worth the doubt.
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, lookup, reach) = (self.rules.clone(), self.lookup, self.reach);
        Box::pin(async move {
            let found = lookup(name.as_str().to_owned()).await?;
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
mod tests;
