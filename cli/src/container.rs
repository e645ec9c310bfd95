//! What the container of a desired pod is as a process of this machine: arguments and variables.
//!
//! Pure. What has no meaning here is left out; what a user asked for and does not get is named.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;

use k8s_openapi::api::core::v1::Container;

/// Arguments that are the pod's: its addresses and paths.
const ARGS_OF_THE_POD: [&str; 9] = [
    "--listen",
    "--admin",
    "--termination-log",
    "--packed-cache",
    "--credentials",
    "--ca-bundle",
    "--adapters",
    "--pins",
    "--chat-template",
];
/// Variables that are the pod's: its log is read by programs, and routers of other machines need
/// notice of its end.
const VARIABLES_OF_THE_POD: [&str; 1] = ["WEIR_LOG_FORMAT"];

/// What of a container holds here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Local {
    /// Without addresses, which every start has its own of.
    pub(crate) args: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    /// Variables that take their value from an object of the cluster.
    pub(crate) left_out: Vec<String>,
}

impl Local {
    /// `milli_cpu` is what the container may use, `cores` what there is here.
    pub(crate) fn new(container: &Container, milli_cpu: u64, cores: NonZeroUsize) -> Self {
        let mut local = Self {
            args: args(container.args.as_deref().unwrap_or_default()),
            ..Self::default()
        };
        for variable in container.env.iter().flatten() {
            match (&variable.value, &variable.value_from) {
                _ if VARIABLES_OF_THE_POD.contains(&variable.name.as_str()) => {}
                (_, Some(_)) => local.left_out.push(variable.name.clone()),
                (value, None) => {
                    let value = value.clone().unwrap_or_default();
                    local.variables.push((variable.name.clone(), value));
                }
            }
        }
        if !local
            .variables
            .iter()
            .any(|(name, _)| name == "WEIR_THREADS")
        {
            let threads = threads(milli_cpu, cores);
            local.args.push(format!("--threads={threads}"));
        }
        local
    }

    /// Keeps downloads and packed weights below a folder of this machine, where no variable names
    /// another.
    pub(crate) fn keeping(mut self, folder: &Path) -> Self {
        for (variable, argument, below) in [
            ("WEIR_CACHE", "--cache", "models"),
            ("WEIR_PACKED_CACHE", "--packed-cache", "packed"),
        ] {
            if !self.variables.iter().any(|(name, _)| name == variable) {
                let folder = folder.join(below);
                self.args.push(format!("{argument}={}", folder.display()));
            }
        }
        self
    }

    /// Takes what a download may need to show from a folder of this machine.
    pub(crate) fn with_credentials(mut self, folder: &Path) -> Self {
        self.args
            .push(format!("--credentials={}", folder.display()));
        self
    }

    /// Serves the adapters that are listed in a folder of this machine.
    pub(crate) fn with_adapters(mut self, folder: &Path) -> Self {
        self.args.push(format!("--adapters={}", folder.display()));
        self
    }

    /// Renders conversations by a file of this machine.
    pub(crate) fn with_template(mut self, file: &Path) -> Self {
        self.args
            .push(format!("--chat-template={}", file.display()));
        self
    }

    /// The arguments of one start.
    pub(crate) fn args_at(&self, serving: SocketAddr, admin: SocketAddr) -> Vec<String> {
        let addresses = [format!("--listen={serving}"), format!("--admin={admin}")];
        self.args.iter().cloned().chain(addresses).collect()
    }
}

/// As many as a worker in that container would start, and no more than there are cores.
fn threads(milli_cpu: u64, cores: NonZeroUsize) -> usize {
    let given = usize::try_from(milli_cpu / 1000).unwrap_or(usize::MAX);
    given.clamp(1, cores.get())
}

/// The arguments without the pod's, in either spelling.
fn args(of_container: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = of_container.iter();
    while let Some(arg) = rest.next() {
        let name = arg.split('=').next().unwrap_or(arg);
        if !ARGS_OF_THE_POD.contains(&name) {
            kept.push(arg.clone());
        } else if name == arg {
            rest.next();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn local(container: Value) -> Local {
        let mut container = container;
        container["name"] = "worker".into();
        let container = serde_json::from_value(container).unwrap();
        Local::new(&container, 2500, NonZeroUsize::new(16).unwrap())
    }

    #[test]
    fn the_addresses_of_the_pod_are_replaced_in_both_spellings() {
        let local = local(json!({ "args": [
            "--model-name=triage", "--listen=0.0.0.0:8000", "--admin", "0.0.0.0:9090",
            "--termination-log=/dev/termination-log", "--source", "file:///m",
            "--packed-cache=/cache/packed", "--credentials=/credentials", "--adapters=/adapters",
            "--pins=/revision", "--chat-template=/revision/chat_template.jinja",
        ] }));
        let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
        assert_eq!(
            local.args_at(addresses[0], addresses[1]),
            [
                "--model-name=triage",
                "--source",
                "file:///m",
                "--threads=2",
                "--listen=127.0.0.1:1",
                "--admin=127.0.0.1:2"
            ]
        );
    }

    #[test]
    fn plain_variables_are_passed_and_those_from_the_cluster_named() {
        let local = local(json!({ "env": [
            { "name": "RUST_BACKTRACE", "value": "1" },
            { "name": "EMPTY" },
            { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "a", "key": "b" } } },
            { "name": "WEIR_LOG_FORMAT", "value": "json" },
        ] }));
        let expected = [("RUST_BACKTRACE", "1"), ("EMPTY", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(local.variables, expected);
        assert_eq!(local.left_out, ["TOKEN"]);
    }

    #[test]
    fn a_replica_computes_with_the_cpu_it_was_given_and_what_is_there() {
        let threads = |milli_cpu, cores| threads(milli_cpu, NonZeroUsize::new(cores).unwrap());
        assert_eq!(threads(250, 8), 1);
        assert_eq!(threads(3900, 8), 3);
        assert_eq!(threads(16_000, 8), 8);
    }

    #[test]
    fn what_is_kept_lies_where_the_machine_says_unless_a_variable_names_a_folder() {
        let threads = json!({ "name": "WEIR_THREADS", "value": "1" });
        let folder = Path::new("kept");
        let kept = local(json!({ "env": [threads] })).keeping(folder);
        assert_eq!(
            kept.args,
            ["--cache=kept/models", "--packed-cache=kept/packed"]
        );
        let named = json!({ "name": "WEIR_PACKED_CACHE", "value": "/mine" });
        let kept = local(json!({ "env": [threads, named] })).keeping(folder);
        assert_eq!(kept.args, ["--cache=kept/models"]);
    }

    #[test]
    fn threads_that_a_user_named_in_a_variable_stay() {
        let local = local(json!({ "env": [{ "name": "WEIR_THREADS", "value": "7" }] }));
        assert!(local.args.is_empty());
    }
}
