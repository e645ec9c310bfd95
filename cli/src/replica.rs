//! One replica as a child process: started, watched, started again, ended.
//!
//! The child is this very program as `weir worker`, with the arguments and variables that the
//! operator's desired pod template gives its container and the addresses of this machine in place
//! of the pod's.
//! A child ends when its standard input closes, so none outlives this process however it ends.

mod pauses;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use weir_operator::poll;
use weir_policy::load::WorkerLoad;

use crate::container::Local;
use pauses::Pauses;

/// What a child may take beyond its drain, to close its ports and send its last traces.
const CLOSING: Duration = Duration::from_secs(5);

/// How often a starting child is asked whether it is ready.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// What a child is started with.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaSpec {
    /// Unique on this machine once it is numbered; names its log.
    pub(crate) name: String,
    /// Of the container in the pod template.
    pub(crate) local: Local,
    pub(crate) program: PathBuf,
    /// Where logs go.
    pub(crate) logs: PathBuf,
    /// How long an ending child may take.
    pub(crate) drain: Duration,
}

impl ReplicaSpec {
    /// The same, for the replica with this number.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        Self {
            name: format!("{}-{number}", self.name),
            ..self.clone()
        }
    }
}

/// What happens to a replica, for whoever keeps count.
#[derive(Debug)]
pub(crate) enum ReplicaEvent {
    Ready(SocketAddr),
    /// What it says of itself while it is ready: every second, and where that changes.
    Load(Box<WorkerLoad>),
    /// It has ended, or could not be started; it is started again after a pause.
    Gone {
        reason: String,
    },
}

/// Keeps one replica running until `stop` resolves, then ends it within its drain.
pub(crate) async fn keep(
    spec: ReplicaSpec,
    client: reqwest::Client,
    stop: impl Future<Output = ()>,
    tell: impl Fn(ReplicaEvent),
) {
    tokio::pin!(stop);
    let mut pauses = Pauses::default();
    loop {
        let mut served_since = None;
        let reason = match Replica::start(&spec) {
            Ok(mut replica) => tokio::select! {
                reason = replica.watch(&client, &tell, &mut served_since) => reason,
                () = &mut stop => return replica.end(spec.drain).await,
            },
            Err(error) => format!("cannot start: {error}"),
        };
        let served = served_since.map(|since: Instant| since.elapsed());
        let pause = pauses.after(served.unwrap_or_default());
        if pause.is_told {
            tracing::warn!(
                replica = spec.name,
                reason,
                "a replica ends time after time, and is started again later and later"
            );
        }
        tell(ReplicaEvent::Gone { reason });
        tokio::select! {
            () = sleep(pause.length) => {}
            () = &mut stop => return,
        }
    }
}

struct Replica {
    child: Child,
    /// Held open for as long as the child is to live; waiting would close it if the child had it.
    _life: Option<ChildStdin>,
    serving: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

impl Replica {
    fn start(spec: &ReplicaSpec) -> io::Result<Self> {
        let (serving, admin) = (free_port()?, free_port()?);
        let log = spec.logs.join(format!("{}.log", spec.name));
        // What the one before said stays: it may be why it ended.
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut child = Command::new(&spec.program)
            .arg("worker")
            .args(spec.local.args_at(serving, admin))
            .envs(spec.local.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            // A terminal's interrupt goes to the whole group; children end when this process says.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            _life: child.stdin.take(),
            child,
            serving,
            admin,
            log,
        })
    }

    /// Tells when it is ready and what it says from then on, and returns why it ended.
    async fn watch(
        &mut self,
        client: &reqwest::Client,
        tell: &impl Fn(ReplicaEvent),
        served_since: &mut Option<Instant>,
    ) -> String {
        let (serving, admin) = (self.serving, self.admin);
        let follow = async {
            ready(client, admin).await;
            *served_since = Some(Instant::now());
            tell(ReplicaEvent::Ready(serving));
            let load = format!("http://{admin}/load");
            poll::ask_on(client, &load, |answered| {
                if let Some(load) = answered.ok().and_then(|load| load.worker) {
                    tell(ReplicaEvent::Load(Box::new(load)));
                }
            })
            .await;
        };
        tokio::select! {
            () = follow => {}
            // The status says less than the last line.
            _ = self.child.wait() => {}
        }
        last_line(&self.log)
    }

    async fn end(mut self, drain: Duration) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // Failing means that it has ended already.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if timeout(drain + CLOSING, self.child.wait()).await.is_err() {
            tracing::warn!(log = %self.log.display(), "a replica outlasted its drain and is killed");
            let _ = self.child.kill().await;
        }
    }
}

async fn ready(client: &reqwest::Client, admin: SocketAddr) {
    let url = format!("http://{admin}/readyz");
    while !client
        .get(&url)
        .send()
        .await
        .is_ok_and(|r| r.status().is_success())
    {
        sleep(PROBE_EVERY).await;
    }
}

/// A port that was free a moment ago. Another program may take it before the child does; the child
/// then ends and the next start takes other ports.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_reason_is_the_last_line_that_says_something() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), "started\nUnsupported: tensor x\n\n").unwrap();
        assert_eq!(last_line(log.path()), "Unsupported: tensor x");
    }

    /// A replica of the program of this name in the folder.
    fn spec(folder: &Path, program: &str, drain: Duration) -> ReplicaSpec {
        ReplicaSpec {
            name: "triage-1".into(),
            local: Local::default(),
            program: folder.join(program),
            logs: folder.into(),
            drain,
        }
    }

    fn client() -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        poll::client().unwrap()
    }

    #[tokio::test]
    async fn a_replica_that_is_told_to_end_has_its_drain_for_what_it_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (program, begun) = (folder.path().join("slow"), folder.path().join("slow.begun"));
        let script = "#!/bin/sh\n\
                      trap 'sleep 0.3; touch $0.ended; exit' TERM\n\
                      touch $0.begun\n\
                      while :; do sleep 0.05; done\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let stop = async {
            while !begun.exists() {
                sleep(PROBE_EVERY).await;
            }
        };
        let spec = spec(folder.path(), "slow", Duration::from_secs(30));
        keep(spec, client(), stop, |_| {}).await;
        assert!(folder.path().join("slow.ended").exists());
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_is_tried_again() {
        let logs = tempfile::tempdir().unwrap();
        let spec = spec(logs.path(), "nothing", Duration::ZERO);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let stop = async {
            for _ in 0..2 {
                let event = told.recv().await;
                assert!(
                    matches!(&event, Some(ReplicaEvent::Gone { reason }) if reason.starts_with("cannot start: ")),
                    "{event:?}"
                );
            }
        };
        keep(spec, client(), stop, move |event| tell.send(event).unwrap()).await;
    }
}
