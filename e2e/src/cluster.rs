//! A whole Kubernetes cluster on this machine: a control plane, two nodes that run pods,
//! Services, names and network policies. Linux and root.
//!
//! There is at most one on a machine. What an earlier one left behind, for whatever
//! reason, is removed before a new one starts.

mod addresses;
mod cgroups;
mod enforce;
mod evidence;
mod harm;
mod images;
mod network;
mod node;
mod remains;
mod requirements;
mod rules;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use enforce::enforce;
pub use harm::Filled;
pub use images::{BASE, Images, PYTHON, Recipe};

use crate::control_plane::{self, ADMIN, Caller, ControlPlane, Plan};
use crate::kubectl::Kubectl;
use crate::programs::{COREDNS, HELM, KUBERNETES};
use crate::run::{self, tool};
use crate::running::Running;
use crate::settings::{self, repository, target_folder};

use addresses::{HOST, PLACES, Place, SERVICES};
use images::{COREDNS as COREDNS_IMAGE, PAUSE};
use node::Node;

/// How long nodes and names may take to be ready. It takes 15 s on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    assets: PathBuf,
    kubeconfig: PathBuf,
    kubectl: Kubectl,
    plane: ControlPlane,
    programs: Vec<Running>,
    nodes: Vec<Node>,
    /// Takes the cluster down should this process end without doing so.
    guardian: Child,
    _lock: File,
}

/// One line on why a cluster cannot be started on this machine, if it cannot.
pub fn missing() -> Option<String> {
    requirements::missing()
}

/// Whether leaving out the tests that need a cluster is a failure.
pub fn required() -> bool {
    settings::variable(settings::REQUIRE_NODES).is_some_and(|value| value != "0")
}

impl Cluster {
    /// Brings a cluster up and waits until its nodes run pods and its names resolve.
    /// `helper` is the `weir-cluster` program, which keeps the network's rules.
    ///
    /// # Errors
    /// When the machine lacks something, or a part does not start; nothing is left then.
    pub async fn up(helper: &Path) -> Result<Self> {
        if let Some(missing) = missing() {
            bail!(missing);
        }
        let lock = only_one()?;
        tokio::task::spawn_blocking(remains::take_down)
            .await
            .context("clearing away an earlier cluster")??;
        let folder = target_folder().join("e2e/cluster");
        let started = Self::start(&folder, helper, lock).await;
        if started.is_err() {
            evidence::keep_program_logs(&folder);
            remains::take_down().context("clearing away a cluster that did not start")?;
        }
        started
    }

    async fn start(folder: &Path, helper: &Path, lock: File) -> Result<Self> {
        let assets = tokio::task::spawn_blocking(build_programs)
            .await
            .context("building the programs of the cluster")??;
        let archive = folder.join("bases.tar");
        fs::create_dir_all(folder).context("making the cluster's folder")?;
        remains::note(folder)?;
        keep_in_memory(folder)?;
        network::lay()?;
        let bases = {
            let archive = archive.clone();
            tokio::task::spawn_blocking(move || make_bases(&archive))
        };
        let plane = ControlPlane::start(&plan(&assets, folder)).await?;
        let kubeconfig = plane.kubeconfig(ADMIN)?;
        let kubectl = Kubectl::new(&assets, &kubeconfig, folder);
        let programs = start_controllers(&assets, folder, &plane, helper)?;
        let mut nodes: Vec<Node> = PLACES
            .into_iter()
            .map(|place| Node::start(place, folder))
            .collect::<Result<_>>()?;
        for node in &mut nodes {
            node.wait_for_runtime()?;
        }
        bases.await.context("making the base images")??;
        let mut cluster = Self {
            folder: folder.to_path_buf(),
            assets,
            kubeconfig,
            kubectl,
            plane,
            programs,
            nodes,
            guardian: guardian(helper)?,
            _lock: lock,
        };
        cluster.load(&archive)?;
        fs::remove_file(&archive).context("removing an archive of images")?;
        for node in &mut cluster.nodes {
            node.join(&cluster.assets, &cluster.plane)?;
        }
        cluster
            .kubectl
            .apply_path(&repository().join("e2e/cluster/coredns.yaml"))?;
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// The kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as its administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A client as its administrator.
    ///
    /// # Errors
    /// When the kubeconfig that we wrote is unusable.
    pub async fn client(&self) -> Result<kube::Client> {
        control_plane::client(&self.kubeconfig).await
    }

    /// Helm as its administrator, with arguments written on one line.
    ///
    /// # Errors
    /// When Helm has to be built and cannot be.
    pub fn helm(&self, arguments: &str) -> Result<Command> {
        let mut helm = Command::new(HELM.built()?.join("helm"));
        helm.env("KUBECONFIG", &self.kubeconfig)
            .envs(
                ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"]
                    .map(|name| (name, self.folder.join("helm"))),
            )
            .args(arguments.split_whitespace());
        Ok(helm)
    }

    /// Where everything of the cluster lies while it is up.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the images of an archive on every node.
    ///
    /// # Errors
    /// When a node refuses them.
    pub fn load(&self, archive: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let loads: Vec<_> = self
                .nodes
                .iter()
                .map(|node| scope.spawn(|| node.load(archive)))
                .collect();
            loads
                .into_iter()
                .try_for_each(|load| load.join().expect("loading images does not panic"))
        })
    }

    /// A command that runs on a node's network, outside any pod, as a client elsewhere in
    /// the data centre would.
    pub fn on_node(&self, number: usize, words: &str) -> Command {
        network::inside(self.nodes[number % self.nodes.len()].place, words)
    }

    /// Fails when a part of the cluster has ended by itself.
    ///
    /// # Errors
    /// With the end of the log of the part that ended.
    pub fn still_runs(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::still_runs)?;
        self.programs.iter_mut().try_for_each(Running::still_runs)
    }

    /// Writes down what the cluster looks like, for whoever wants to know why a test
    /// failed. Returns the folder.
    pub fn keep_evidence(&self, name: &str) -> PathBuf {
        evidence::keep(&self.kubectl, &self.folder, name)
    }

    /// Takes the cluster down in full.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn down(mut self) -> Result<()> {
        self.guardian.kill().ok();
        self.guardian.wait().ok();
        for program in self.programs.iter_mut().rev() {
            program.kill();
        }
        remains::take_down()
    }

    /// Leaves the cluster running when this process ends. `weir-cluster down` ends it.
    pub fn leave(mut self) {
        self.guardian.kill().ok();
        std::mem::forget(self);
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        let waits = [
            "wait node --all --for=condition=Ready --timeout=5s",
            "-n kube-system rollout status deployment/coredns --timeout=5s",
        ];
        for wait in waits {
            while let Err(error) = self.kubectl.run(wait) {
                self.still_runs()?;
                if Instant::now() > deadline {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    }
}

/// Whether a test uses the machine's cluster now; [`Cluster::up`] waits for its end.
///
/// # Errors
/// When the lock cannot be looked at.
pub fn is_in_use() -> Result<bool> {
    Ok(lock()?.try_lock().is_err())
}

/// Takes down whatever is left of a cluster that nobody uses any more.
///
/// # Errors
/// When something of it cannot be removed, or a test is using it now.
pub fn take_down() -> Result<()> {
    let lock = lock()?;
    if lock.try_lock().is_err() {
        bail!("a test is using the cluster, and takes it down when it ends");
    }
    remains::take_down()
}

fn guardian(helper: &Path) -> Result<Child> {
    Command::new(helper)
        .args(["down", "--when-input-ends"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting the guardian of the cluster")
}

/// The lock that keeps a second cluster from being started on the machine.
fn only_one() -> Result<File> {
    let lock = lock()?;
    lock.lock().context("waiting for another cluster to go")?;
    Ok(lock)
}

fn lock() -> Result<File> {
    File::create("/run/weir-cluster.lock").context("making the cluster's lock")
}

/// Builds what is not built yet, before anything runs that a compiler would starve.
fn build_programs() -> Result<PathBuf> {
    HELM.built()?;
    COREDNS.built()?;
    KUBERNETES.built()
}

/// Keeps the cluster's folder in memory where there is plenty: nothing in it is worth a
/// disk, and taking down tens of thousands of files takes a disk longer than all the rest.
fn keep_in_memory(folder: &Path) -> Result<()> {
    /// The images of both nodes take 1.5 GB, unpacked and packed.
    const PLENTY_KIB: u64 = 8 << 20;
    let memory = fs::read_to_string("/proc/meminfo").context("reading the memory's size")?;
    let available = memory.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    if available.unwrap_or(0) < PLENTY_KIB {
        return Ok(());
    }
    run::succeed(tool("mount -t tmpfs -o size=4g weir-cluster").arg(folder))
        .context("keeping the cluster's folder in memory")
}

fn make_bases(archive: &Path) -> Result<()> {
    let images = Images::open()?;
    images.make_bases(&COREDNS.built()?)?;
    images.archive(&[BASE, PAUSE, PYTHON, COREDNS_IMAGE], archive)
}

fn plan<'a>(assets: &'a Path, folder: &'a Path) -> Plan<'a> {
    let caller = |user: &str, group| Caller {
        user: user.to_owned(),
        group,
    };
    let mut callers = vec![
        caller(ADMIN, Some("system:masters")),
        caller("system:kube-controller-manager", None),
        caller("system:kube-scheduler", None),
        caller("system:kube-proxy", None),
    ];
    let node = |place: Place| {
        caller(
            &format!("system:node:{}", place.name()),
            Some("system:nodes"),
        )
    };
    callers.extend(PLACES.map(node));
    let arguments = [
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--allow-privileged=true".to_owned(),
        // Without it `kubectl logs` asks for the address of a host called node-1.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        // Addresses of Services are for nodes: what serves a part of the API is reached in its pod.
        "--enable-aggregator-routing=true".to_owned(),
    ];
    Plan {
        assets,
        folder,
        address: HOST,
        callers,
        arguments: arguments.to_vec(),
    }
}

fn start_controllers(
    assets: &Path,
    folder: &Path,
    plane: &ControlPlane,
    helper: &Path,
) -> Result<Vec<Running>> {
    let certificates = ControlPlane::certificates(folder);
    let mut manager = Command::new(assets.join("kube-controller-manager"));
    manager
        .arg("--kubeconfig")
        .arg(plane.kubeconfig("system:kube-controller-manager")?)
        .arg("--service-account-private-key-file")
        .arg(certificates.join("apiserver.key"))
        .arg("--root-ca-file")
        .arg(certificates.join("apiserver.crt"))
        .args([
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
        ])
        .arg("--horizontal-pod-autoscaler-sync-period=3s")
        .arg("--node-monitor-grace-period=16s");
    let mut scheduler = Command::new(assets.join("kube-scheduler"));
    scheduler
        .arg("--kubeconfig")
        .arg(plane.kubeconfig("system:kube-scheduler")?)
        .args(["--leader-elect=false", "--secure-port=0"]);
    let mut rules = Command::new(helper);
    rules
        .arg("enforce")
        .arg("--kubeconfig")
        .arg(plane.kubeconfig(ADMIN)?);
    Ok(vec![
        Running::start(folder, "kube-controller-manager", &mut manager)?,
        Running::start(folder, "kube-scheduler", &mut scheduler)?,
        Running::start(folder, "network-policies", &mut rules)?,
    ])
}
