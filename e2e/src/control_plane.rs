//! etcd and the API server, which both kinds of test cluster begin with.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::running::Running;

/// How long the API server may take to be ready. It takes 3 s on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// Who may call the API server, each with a token of its own.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: String,
    pub(crate) group: Option<&'static str>,
}

/// How an API server is started.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) assets: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) address: Ipv4Addr,
    pub(crate) callers: Vec<Caller>,
    /// What differs between an API server alone and one with nodes.
    pub(crate) arguments: Vec<String>,
}

/// A running etcd and API server. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    folder: PathBuf,
    url: String,
    tokens: Vec<(Caller, String)>,
    etcd: Command,
    api_server: Command,
    /// etcd, and then the API server while it runs.
    programs: Vec<Running>,
}

pub(crate) const ADMIN: &str = "admin";

impl ControlPlane {
    /// Starts both on ports that are free now, and waits until the API server is ready.
    ///
    /// # Errors
    /// When one of them ends, or is not ready in time.
    pub(crate) async fn start(plan: &Plan<'_>) -> Result<Self> {
        let [etcd, peers, api] = free_ports(plan.address)?;
        let tokens = plan
            .callers
            .iter()
            .map(|caller| (caller.clone(), token()))
            .collect();
        let mut this = Self {
            folder: plan.folder.to_path_buf(),
            url: format!("https://{}:{api}", plan.address),
            tokens,
            etcd: store(plan, etcd, peers),
            api_server: api_server(plan, etcd, api),
            programs: Vec::new(),
        };
        this.write_tokens()?;
        let etcd = Running::start(&this.folder, "etcd", &mut this.etcd)?;
        this.programs.push(etcd);
        this.start_api_server().await?;
        Ok(this)
    }

    /// Starts the API server, which does not run, and waits until it is ready.
    pub(crate) async fn start_api_server(&mut self) -> Result<()> {
        self.programs.push(Running::start(
            &self.folder,
            "kube-apiserver",
            &mut self.api_server,
        )?);
        self.wait_until_ready().await
    }

    /// Ends the API server at once and waits for its end; etcd goes on.
    pub(crate) fn kill_api_server(&mut self) {
        for mut server in self.programs.drain(1..) {
            server.kill();
        }
    }

    /// Ends etcd at once and waits for its end; the API server goes on, with nothing to read from.
    pub(crate) fn kill_etcd(&mut self) {
        self.programs[0].kill();
    }

    /// Starts etcd again on what it had written, and waits until the API server is ready.
    pub(crate) async fn start_etcd(&mut self) -> Result<()> {
        self.programs[0] = Running::start(&self.folder, "etcd", &mut self.etcd)?;
        self.wait_until_ready().await
    }

    /// Where the certificates and the key of service accounts are.
    pub(crate) fn certificates(folder: &Path) -> PathBuf {
        folder.join("certificates")
    }

    /// Ends both and waits for them: their ports are free afterwards.
    pub(crate) fn stop(&mut self) {
        // In the order in which they need each other, the last first.
        while let Some(mut program) = self.programs.pop() {
            program.stop();
        }
    }

    /// Writes the kubeconfig of a caller beside the others, once the certificate exists.
    pub(crate) fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let (_, token) = self
            .tokens
            .iter()
            .find(|(caller, _)| caller.user == user)
            .with_context(|| format!("{user} is no caller of this API server"))?;
        let path = self
            .folder
            .join(format!("{}.kubeconfig", user.replace(':', "-")));
        let authority = Self::certificates(&self.folder).join("apiserver.crt");
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "weir",
            "clusters": [{ "name": "weir", "cluster": {
                "server": self.url,
                "certificate-authority": authority,
            }}],
            "users": [{ "name": user, "user": { "token": token } }],
            "contexts": [{ "name": "weir", "context": { "cluster": "weir", "user": user } }],
        });
        fs::write(&path, format!("{config:#}\n")).context("writing a kubeconfig")?;
        Ok(path)
    }

    fn write_tokens(&self) -> Result<()> {
        let lines: String = self
            .tokens
            .iter()
            .map(|(caller, token)| {
                format!(
                    "{token},{},{},\"{}\"\n",
                    caller.user,
                    caller.user,
                    caller.group.unwrap_or("")
                )
            })
            .collect();
        fs::write(self.folder.join("tokens.csv"), lines).context("writing the tokens")
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        let mut last = anyhow::anyhow!("it was never asked");
        while Instant::now() < deadline {
            for program in &mut self.programs {
                program.still_runs()?;
            }
            match self.asks_ready().await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(last.context(format!(
            "the API server was not ready in {START_PATIENCE:?}"
        )))
    }

    async fn asks_ready(&self) -> Result<()> {
        if !Self::certificates(&self.folder)
            .join("apiserver.crt")
            .exists()
        {
            bail!("it has not written its certificate yet");
        }
        let client = client(&self.kubeconfig(ADMIN)?).await?;
        let request = http_get("/readyz")?;
        client
            .request_text(request)
            .await
            .context("asking whether it is ready")?;
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client from a kubeconfig. It lives as long as the runtime that it was made on.
///
/// # Errors
/// When the kubeconfig does not make one.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig).context("reading a kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .context("understanding a kubeconfig")?;
    Client::try_from(config).context("making a client")
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>> {
    http::Request::get(path)
        .body(Vec::new())
        .context("making a request")
}

fn store(plan: &Plan<'_>, port: u16, peers: u16) -> Command {
    // etcd is never spoken to from a node: it stays on loopback.
    let client_url = format!("http://127.0.0.1:{port}");
    let peer_url = format!("http://127.0.0.1:{peers}");
    let mut etcd = Command::new(plan.assets.join("etcd"));
    etcd.arg("--data-dir")
        .arg(plan.folder.join("etcd"))
        .args([
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
        ])
        .args([
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
        ])
        .args(["--initial-cluster", &format!("default={peer_url}")])
        // What a power cut would lose here nobody misses.
        .args(["--unsafe-no-fsync", "--log-level", "warn"]);
    etcd
}

fn api_server(plan: &Plan<'_>, etcd: u16, port: u16) -> Command {
    let certificates = ControlPlane::certificates(plan.folder);
    // The server makes a key for its own certificate, and that one signs for service
    // accounts too: no program for keys is needed.
    let key = certificates.join("apiserver.key");
    let address = plan.address.to_string();
    let mut server = Command::new(plan.assets.join("kube-apiserver"));
    server
        .args(["--etcd-servers", &format!("http://127.0.0.1:{etcd}")])
        .args(["--bind-address", &address, "--advertise-address", &address])
        .args(["--secure-port", &port.to_string(), "--cert-dir"])
        .arg(&certificates)
        .arg("--token-auth-file")
        .arg(plan.folder.join("tokens.csv"))
        .args([
            "--service-account-issuer",
            "https://kubernetes.default.svc.cluster.local",
        ])
        .arg("--service-account-signing-key-file")
        .arg(&key)
        .arg("--service-account-key-file")
        .arg(&key)
        .args(&plan.arguments);
    server
}

/// Three ports that nobody listened on a moment ago: one to serve on, two on loopback.
fn free_ports(address: Ipv4Addr) -> Result<[u16; 3]> {
    let listeners = [Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, address]
        .map(|address| TcpListener::bind(SocketAddr::new(IpAddr::V4(address), 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let listener = listener
            .as_ref()
            .map_err(|error| anyhow::anyhow!("looking for a free port: {error}"))?;
        *port = listener
            .local_addr()
            .context("looking for a free port")?
            .port();
    }
    Ok(ports)
}

/// A token that nobody can guess who cannot read our folder.
pub(crate) fn token() -> String {
    use std::hash::{BuildHasher, RandomState};
    (0..2)
        .map(|n| format!("{:016x}", RandomState::new().hash_one(n)))
        .collect()
}
