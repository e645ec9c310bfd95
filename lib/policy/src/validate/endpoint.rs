//! The checks of an endpoint: where it is, what it costs, what is sent along.

use std::net::IpAddr;

use weir_crds::{EndpointPrice, Location, Money, Provider};

use super::{Check, http_names::is_header_name};
use crate::records::is_service;
use crate::tier::{ANTHROPIC_WITHOUT_SAMPLING, Endpoint, Price, Timeouts};

/// Where OpenAI itself is.
const OPENAI: &str = "https://api.openai.com/v1";
/// Where Anthropic itself is; the version of the wire comes behind it.
const ANTHROPIC: &str = "https://api.anthropic.com";
/// What Anthropic refuses, even at its defaults, since its models draw as they like.
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// How the names of headers end that let their sender in.
const CREDENTIALS: [&str; 5] = ["authorization", "key", "token", "secret", "cookie"];
const IN_PLAIN_TEXT: &str =
    "a key is not sent in plain text out of the cluster: use https:// in baseUrl";

impl Check {
    /// Nothing where the endpoint has no usable address; every other problem is only kept.
    pub(super) fn endpoint(
        &mut self,
        at: &str,
        endpoint: &weir_crds::Endpoint,
    ) -> Option<Endpoint> {
        let base_url = match (&endpoint.base_url, endpoint.provider) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Provider::OpenAICompatible) => {
                self.invalid(format!("{at}.baseUrl"), "OpenAICompatible needs it");
                return None;
            }
            (None, Provider::Anthropic) => ANTHROPIC.to_owned(),
            (None, Provider::OpenAI) => OPENAI.to_owned(),
        };
        if let Err(message) = check_url(&base_url, endpoint) {
            self.invalid(format!("{at}.baseUrl"), message);
        }
        if let Some(entry) = &endpoint.api_key_secret_ref {
            self.object_name(format!("{at}.apiKeySecretRef.name"), &entry.name);
            self.entry_name(format!("{at}.apiKeySecretRef.key"), &entry.key);
        }
        if let Some(bundle) = &endpoint.ca_bundle {
            let (at, entry) = (format!("{at}.caBundle"), &bundle.config_map_ref);
            self.object_name(format!("{at}.configMapRef.name"), &entry.name);
            self.entry_name(format!("{at}.configMapRef.key"), &entry.key);
            if !base_url.to_ascii_lowercase().starts_with("https://") {
                self.invalid(at, "nothing is encrypted without https:// in baseUrl");
            }
        }
        let mut checked = Endpoint {
            provider: endpoint.provider,
            model: endpoint.model.clone(),
            unsupported: self.unsupported(at, endpoint),
            api_key: endpoint.api_key_secret_ref.clone(),
            ca_bundle: endpoint
                .ca_bundle
                .as_ref()
                .map(|bundle| bundle.config_map_ref.clone()),
            headers: self.headers(at, endpoint, is_exposed(&base_url, endpoint.location)),
            api_version: endpoint.api_version.clone(),
            default_output_tokens: endpoint.default_output_tokens,
            max_output_tokens: endpoint.max_output_tokens,
            has_budget: self.has_budget,
            base_url,
            price: match &endpoint.price {
                Some(price) => self.price(&format!("{at}.price"), price),
                None => Price::default(),
            },
            timeouts: Timeouts {
                connect: self.duration(
                    &format!("{at}.timeouts.connect"),
                    &endpoint.timeouts.connect,
                ),
                first_byte: self.duration(
                    &format!("{at}.timeouts.firstByte"),
                    &endpoint.timeouts.first_byte,
                ),
                idle: self.duration(&format!("{at}.timeouts.idle"), &endpoint.timeouts.idle),
            },
        };
        if checked.is_counted() {
            let uncounted = uncounted(checked.provider).iter().copied();
            checked.unsupported.extend(uncounted.map(str::to_owned));
        }
        Some(checked)
    }

    /// The fields to leave out: those that the policy names, and those that the version of the API
    /// refuses.
    fn unsupported(&mut self, at: &str, endpoint: &weir_crds::Endpoint) -> Vec<String> {
        let mut unsupported = endpoint.unsupported.clone();
        let version = endpoint.api_version.as_deref();
        if endpoint.provider != Provider::Anthropic {
            return unsupported;
        }
        if let Some(version) = version
            && !is_date(version)
        {
            let message = "must be a date, as in 2026-10-21";
            self.invalid(format!("{at}.apiVersion"), message);
        }
        if version.is_none_or(|version| version >= ANTHROPIC_WITHOUT_SAMPLING) {
            let missing = SAMPLING.map(str::to_owned).into_iter();
            let missing = missing.filter(|field| !endpoint.unsupported.contains(field));
            unsupported.extend(missing);
        }
        unsupported
    }

    fn headers(
        &mut self,
        at: &str,
        endpoint: &weir_crds::Endpoint,
        is_exposed: bool,
    ) -> Vec<(String, String)> {
        for (name, value) in &endpoint.headers {
            let field = format!("{at}.headers.{name}");
            if !is_header_name(name) {
                self.invalid(field, "is no name of a header");
            } else if value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
                self.invalid(field, "has a control character");
            } else if matches!(
                name.to_ascii_lowercase().as_str(),
                "host" | "content-length" | "transfer-encoding" | "connection"
            ) {
                self.invalid(field, "belongs to the connection and cannot be set");
            } else if is_exposed && is_credential(name) {
                self.invalid(field, IN_PLAIN_TEXT);
            }
        }
        endpoint.headers.clone().into_iter().collect()
    }

    fn price(&mut self, at: &str, price: &EndpointPrice) -> Price {
        let input = self.number(&format!("{at}.inputPerMillion"), &price.input_per_million);
        Price {
            input,
            output: self.number(&format!("{at}.outputPerMillion"), &price.output_per_million),
            cache_read: match &price.cache_read_per_million {
                Some(text) => self.number(&format!("{at}.cacheReadPerMillion"), text),
                None => input,
            },
            cache_write: match &price.cache_write_per_million {
                Some(text) => self.number(&format!("{at}.cacheWritePerMillion"), text),
                // As long as it is kept longest, so that nothing is counted too low.
                None => input + input,
            },
        }
    }

    fn number(&mut self, field: &str, text: &str) -> Money {
        text.parse().unwrap_or_else(|error| {
            self.invalid(field, error);
            Money::default()
        })
    }
}

/// Fields by which a call costs more than its own tokens at the endpoint's prices, by how much nobody can
/// say before.
fn uncounted(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Anthropic => &[
            "mcp_servers",
            "container",
            "compaction",
            "context_management",
            "fallbacks",
            "speed",
            "inference_geo",
        ],
        Provider::OpenAI => &[
            "web_search_options",
            "prediction",
            "context_management",
            "service_tier",
            "modalities",
            "audio",
        ],
        // Other models, searches and plugins: what those who sell the models of others have such words for.
        Provider::OpenAICompatible => &[
            "web_search_options",
            "prediction",
            "service_tier",
            "modalities",
            "audio",
            "models",
            "plugins",
            "search_parameters",
            "enable_search",
        ],
    }
}

fn check_url(url: &str, endpoint: &weir_crds::Endpoint) -> Result<(), &'static str> {
    let lower = url.to_ascii_lowercase();
    let schemes = ["https://", "http://"].into_iter();
    let mut rests = schemes.filter_map(|scheme| lower.strip_prefix(scheme));
    let Some(rest) = rests.next() else {
        return Err("must begin with https:// or http://");
    };
    let host = host(rest);
    if authority(rest).contains('@') {
        return Err("must not hold a user name: use apiKeySecretRef");
    }
    if host.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("has no host");
    }
    if rest.contains(['?', '#']) {
        return Err("must end with a path: take out what follows ? or #");
    }
    let is_inside = endpoint.location == Location::Inside;
    if is_inside && !(is_service(host) || is_here(host)) {
        return Err("location: Inside needs a host that ends in .svc or .svc.<cluster domain>");
    }
    if endpoint.api_key_secret_ref.is_some() && is_exposed(url, endpoint.location) {
        return Err(IN_PLAIN_TEXT);
    }
    Ok(())
}

/// Whether what is sent to `url` can be read by others on its way out of the cluster.
fn is_exposed(url: &str, location: Location) -> bool {
    let lower = url.to_ascii_lowercase();
    let plain = lower.strip_prefix("http://");
    plain.is_some_and(|rest| location != Location::Inside && !is_here(host(rest)))
}

/// On a laptop a Service is an address of this machine; elsewhere the router dials none of those.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

/// Of a URL behind its scheme.
fn host(rest: &str) -> &str {
    let authority = authority(rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    host.unwrap_or_default()
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Whether a header of this name lets its sender in: `Authorization`, `X-Api-Key`, `X-Auth-Token`.
fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIALS.iter().any(|end| name.ends_with(end))
}

fn is_date(text: &str) -> bool {
    let digits =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('-');
    let mut next = |length| parts.next().is_some_and(|part| digits(part, length));
    next(4) && next(2) && next(2) && parts.next().is_none()
}
