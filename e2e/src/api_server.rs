//! An API server with etcd behind it and nothing else: no nodes, no controllers, no root.
//!
//! What it does not do: pods never run, service accounts, endpoints and garbage
//! collection do not happen, and a namespace that is deleted stays.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::OnceCell;

use crate::control_plane::{self, ADMIN, Caller, ControlPlane, Plan};
use crate::crds;
use crate::kubectl::Kubectl;
use crate::programs;
use crate::running::end_left_overs;
use crate::settings::{self, target_folder};

/// A reachable API server with our two kinds applied.
#[derive(Debug)]
pub struct ApiServer {
    kubeconfig: PathBuf,
    kubectl: Kubectl,
    /// Absent where the user brought a cluster.
    own: Option<Own>,
    /// The run that the namespaces of this one are labelled with.
    run: String,
    /// On a cluster of the user's it takes our namespaces away when it sees its input closed.
    cleaner: Option<Child>,
}

/// What has to end when we do.
#[derive(Debug)]
struct Own {
    plane: ControlPlane,
    guardian: Child,
    folder: PathBuf,
    _lock: File,
}

/// Label of the namespaces that were made for tests, with the run that made them.
const RUN: &str = "weir.dev/test-run";

/// How many this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);
static SHARED: OnceCell<ApiServer> = OnceCell::const_new();

impl ApiServer {
    /// The one API server of this test binary, started at the first call.
    /// It ends with the process, however the process ends.
    ///
    /// # Panics
    /// When it cannot be started: no test of this binary can say anything then.
    pub async fn shared() -> &'static Self {
        SHARED
            .get_or_init(|| async {
                match Self::start().await {
                    Ok(server) => server,
                    Err(error) => panic!("starting an API server: {error:?}"),
                }
            })
            .await
    }

    /// Starts an API server that ends when it is dropped, or uses the one of `KUBECONFIG`.
    ///
    /// # Errors
    /// When programs are missing and cannot be built, or do not start.
    pub async fn start() -> Result<Self> {
        let server = match settings::variable(settings::KUBECONFIG) {
            Some(kubeconfig) => Self::of_the_user(kubeconfig.into())?,
            None => Self::of_our_own().await?,
        };
        crds::apply(&server.kubectl)?;
        Ok(server)
    }

    /// Uses a cluster that somebody else runs; the namespaces that are made on it begin to go when
    /// this is dropped or the process ends.
    ///
    /// # Errors
    /// When kubectl is missing and cannot be built.
    pub fn of_the_user(kubeconfig: PathBuf) -> Result<Self> {
        let folder = target_folder().join("e2e");
        let kubectl = Kubectl::of_the_user(&kubeconfig, &folder)?;
        let run = control_plane::token();
        let delete = kubectl.command(&format!(
            "delete namespaces --selector={RUN}={run} --ignore-not-found --wait=false"
        ));
        Ok(Self {
            cleaner: Some(cleaner(&delete)?),
            kubeconfig,
            kubectl,
            own: None,
            run,
        })
    }

    async fn of_our_own() -> Result<Self> {
        let assets = tokio::task::spawn_blocking(programs::assets)
            .await
            .context("building the Kubernetes programs")??;
        let folders = target_folder().join("e2e");
        remove_left_overs(&folders);
        let mut last = anyhow::anyhow!("it was never tried");
        // Between our looking for a free port and its being bound, another may take it.
        for _ in 0..3 {
            // One process may have several, and each its own folder.
            let count = STARTED.fetch_add(1, Ordering::Relaxed);
            let folder = folders.join(format!("api-{}-{count}", std::process::id()));
            match Own::start(&assets, folder).await {
                Ok(own) => {
                    let kubeconfig = own.plane.kubeconfig(ADMIN)?;
                    let kubectl = Kubectl::new(&assets, &kubeconfig, &own.folder);
                    return Ok(Self {
                        kubeconfig,
                        kubectl,
                        own: Some(own),
                        run: control_plane::token(),
                        cleaner: None,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as its administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Where its logs are; absent for a cluster of the user's.
    pub fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.as_path())
    }

    /// A client as its administrator. Each test makes its own, because a client ends
    /// with the runtime of the test that made it.
    ///
    /// # Panics
    /// When the kubeconfig that we wrote is unusable.
    pub async fn client(&self) -> kube::Client {
        control_plane::client(&self.kubeconfig)
            .await
            .expect("our kubeconfig makes a client")
    }

    /// Makes a namespace for one test, with a name that begins as asked.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> String {
        let namespaces: Api<Namespace> = Api::all(self.client().await);
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                labels: Some([(RUN.to_owned(), self.run.clone())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let made = namespaces.create(&PostParams::default(), &namespace).await;
        made.expect("an administrator may make namespaces")
            .metadata
            .name
            .expect("an object that was made has a name")
    }
}

impl Own {
    async fn start(assets: &Path, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).context("making the folder of an API server")?;
        let lock = File::create(folder.join("lock")).context("making the lock of a folder")?;
        lock.lock().context("taking the lock of a folder")?;
        let guardian = guardian(&folder)?;
        let plan = Plan {
            assets,
            folder: &folder,
            address: Ipv4Addr::LOCALHOST,
            callers: vec![Caller {
                user: ADMIN.to_owned(),
                group: Some("system:masters"),
            }],
            arguments: [
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=198.19.0.0/16",
                "--allow-privileged=true",
                // Loopback cannot be the address of a Service's endpoint.
                "--endpoint-reconciler-type=none",
                // It refuses pods whose service account no controller has made.
                "--disable-admission-plugins=ServiceAccount",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let plane = ControlPlane::start(&plan).await?;
        Ok(Self {
            plane,
            guardian,
            folder,
            _lock: lock,
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.plane.stop();
        // It sees its input closed, and removes the folder.
        drop(self.guardian.stdin.take());
        self.guardian.wait().ok();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(mut cleaner) = self.cleaner.take() {
            drop(cleaner.stdin.take());
            cleaner.wait().ok();
        }
    }
}

/// Starts a process that runs a command once ours has ended or has closed its input.
fn cleaner(command: &Command) -> Result<Child> {
    let variables = command.get_envs();
    Command::new("sh")
        .args([
            "-c",
            "trap '' INT TERM HUP; cat > /dev/null; exec \"$@\"",
            "cleaner",
        ])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(variables.filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting what cleans up on a cluster of the user's")
}

/// Starts a process that outlives ours just long enough to end the programs of a folder
/// and remove it. A static is never dropped, and a killed process drops nothing at all:
/// the guardian waits for the end of a pipe, which no kind of ending leaves open.
fn guardian(folder: &Path) -> Result<Child> {
    let script = r#"
        trap '' INT TERM HUP
        cat > /dev/null
        for file in "$1"/*.pid; do
            [ -e "$file" ] && kill -KILL "$(cat "$file")" 2> /dev/null
        done
        rm -rf "$1"
    "#;
    Command::new("sh")
        .args(["-c", script, "guardian"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting the guardian of a folder")
}

/// Removes the folders of processes that were killed together with their guardians.
fn remove_left_overs(folders: &Path) {
    let Ok(entries) = fs::read_dir(folders) else {
        return;
    };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let is_ours = folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("api-"));
        let Ok(lock) = File::open(folder.join("lock")) else {
            continue;
        };
        if is_ours && lock.try_lock().is_ok() {
            end_left_overs(&folder);
            fs::remove_dir_all(&folder).ok();
        }
    }
}
