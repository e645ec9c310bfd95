//! The arguments that every binary has, from flags or from the environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::logs;

/// Flatten this into a binary's own arguments (`#[command(flatten)]`).
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ProcessArgs {
    /// Address of the admin port: /livez, /readyz, /metrics, /log-level. Port 0 takes a free one.
    #[arg(long, env = "WEIR_ADMIN", value_name = "ADDRESS", default_value_t = ProcessArgs::default().admin)]
    pub admin: SocketAddr,

    /// What is logged: a level, or directives such as `info,weir_router=debug`.
    #[arg(long, env = "WEIR_LOG_LEVEL", value_name = "LEVEL", default_value_t = ProcessArgs::default().log_level)]
    pub log_level: String,

    /// How a log line looks.
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,

    /// OpenTelemetry collector that takes traces over gRPC, as in `http://collector:4317`.
    #[arg(long, env = "WEIR_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// How long to go on accepting after readiness is off, so that balancers can notice.
    #[arg(long, env = "WEIR_SHUTDOWN_DELAY", value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    pub shutdown_delay: Duration,

    /// How long work that was begun may take to end once nothing new is accepted.
    #[arg(long, env = "WEIR_SHUTDOWN_DEADLINE", value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub shutdown_deadline: Duration,
}

impl Default for ProcessArgs {
    /// What the flags default to.
    fn default() -> Self {
        Self {
            admin: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)),
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            shutdown_delay: Duration::ZERO,
            shutdown_deadline: Duration::from_secs(30),
        }
    }
}

impl ProcessArgs {
    /// For a part that runs inside another process, and for tests: a free admin port on loopback,
    /// and no log line unless something is wrong.
    pub fn embedded() -> Self {
        Self {
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            log_level: "warn".to_owned(),
            ..Self::default()
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// `Human` where standard error is a terminal, `Json` elsewhere.
    Auto,
    /// One coloured line for a person.
    Human,
    /// One JSON object for a machine.
    Json,
}

/// Reads a duration as Go and the two resources write it: `250ms`, `2m`, `1h30m`. A plain `0` is zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("`{text}` is not a duration such as 250ms, 30s, 2m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        // `ms` is tried before `m`, which is its beginning.
        let (unit_millis, unit) = [(1, "ms"), (1_000, "s"), (60_000, "m"), (3_600_000, "h")]
            .into_iter()
            .find(|(_, unit)| rest.starts_with(unit))
            .ok_or_else(wrong)?;
        rest = &rest[unit.len()..];
        let millis = number.checked_mul(unit_millis).ok_or_else(wrong)?;
        total = total
            .checked_add(Duration::from_millis(millis))
            .ok_or_else(wrong)?;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// Reads the address of a collector and leaves it as it is: a process that was given another one
/// would not start.
pub fn parse_collector(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>();
    match uri {
        Ok(uri) if uri.scheme_str() == Some("http") => Ok(text.to_owned()),
        _ => Err(format!(
            "the OTLP endpoint `{text}` must begin with http:// (TLS to a collector is not built in)"
        )),
    }
}

/// Reads what is to be logged and leaves it as it is, for whoever hands it on.
pub fn parse_log_level(text: &str) -> Result<String, String> {
    match logs::parse_level(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        process: ProcessArgs,
    }

    #[test]
    fn flags_default_to_what_default_says() {
        let parsed = Cli::parse_from(["weir"]).process;
        assert_eq!(
            format!("{parsed:?}"),
            format!("{:?}", ProcessArgs::default())
        );
    }

    #[test]
    fn durations_are_read_as_the_resources_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_collector_is_an_address_without_tls() {
        let collector = "http://collector.observability.svc:4317";
        assert_eq!(parse_collector(collector), Ok(collector.to_owned()));
        for text in [
            "",
            "collector:4317",
            "https://collector:4317",
            "http://",
            "http://a b",
        ] {
            let message = parse_collector(text).unwrap_err();
            assert!(message.contains("must begin with http://"), "{message}");
        }
    }

    #[test]
    fn a_log_level_is_a_level_or_directives() {
        for text in ["debug", "info,weir_router=debug"] {
            assert_eq!(parse_log_level(text), Ok(text.to_owned()));
        }
        assert!(
            parse_log_level("weir=loud")
                .unwrap_err()
                .contains("weir=loud")
        );
    }

    #[test]
    fn a_duration_that_is_none_is_refused_with_an_example() {
        for text in ["", "5", "s", "1d", "-1s", "1.5s", "99999999999999999999h"] {
            let message = parse_duration(text).unwrap_err();
            assert!(message.contains("such as 250ms"), "{text}: {message}");
        }
    }
}
