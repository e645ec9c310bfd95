//! The address of the proxy for what leaves the cluster, as the chart, the operator and routers read it.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use regex::Regex;

/// What such an address looks like; the chart's schema has the same, or nothing. No name and password: an argument is
/// there for all to read.
pub const PATTERN: &str = "^https?://(([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?\\.)*[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?\\.?|((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])|\\[([0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?/?$";

static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(PATTERN).expect("the pattern is one"));

/// The address of a proxy as it was written, if it is one.
pub fn parse(text: &str) -> Result<String, String> {
    let in_brackets = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let is_address = in_brackets.is_none_or(|(host, _)| host.parse::<Ipv6Addr>().is_ok());
    match ADDRESS.is_match(text) && is_address {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no address of a proxy: write it as http://HOST:PORT or https://HOST:PORT, without a path, a name \
             or a password"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_that_is_asked_over_http_or_tls() {
        for text in [
            "http://proxy.egress.svc:3128",
            "https://proxy.example.com",
            "http://proxy/",
            "http://10.1.1.1:3128",
            "http://[fd00::1]:65535",
        ] {
            assert_eq!(parse(text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_no_router_could_dial_is_refused_as_it_was_written() {
        for text in [
            "",
            "proxy:3128",
            "http:proxy",
            "http://",
            "http://:3128",
            "http:///proxy",
            "http://proxy:0",
            "http://proxy:65536",
            "http://proxy:port",
            "http://10.1.1:3128",
            "http://300.1.1.1:3128",
            "http://[fd00:::1]:3128",
            "http://proxy :3128",
            "http://-proxy:3128",
            "http://me:secret@proxy:3128",
            "http://proxy:3128/path",
            "http://proxy:3128?query",
            "socks5://proxy:1080",
            "http://proxy:3128\n",
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(&format!("`{text}`")), "{refused}");
        }
    }
}
