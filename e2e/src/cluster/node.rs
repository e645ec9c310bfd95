//! A node: containerd, kubelet and kube-proxy in a network namespace.
//!
//! containerd and kubelet share a mount namespace of their own: what kubelet mounts for pods is
//! there for containerd, and each node has a [`KUBELET`] folder that no other one listens in.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::addresses::{DNS, Place};
use super::cgroups;
use super::images::PAUSE;
use super::network::inside;
use super::remains::STATE;
use crate::control_plane::ControlPlane;
use crate::run::{self, tool};
use crate::running::Running;

/// Where kubelet has the socket for device plugins, whatever its root folder is.
const KUBELET: &str = "/var/lib/kubelet";

/// The processes of one node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    folder: PathBuf,
    /// containerd, kubelet and kube-proxy, in this order.
    programs: Vec<Running>,
    /// The mount namespace of the first two, while both are killed.
    mounts: Option<File>,
}

impl Node {
    /// Starts the node's container runtime, which takes images before the rest is there.
    ///
    /// # Errors
    /// When its folders, cgroups or process cannot be made.
    pub(crate) fn start(place: Place, cluster: &Path) -> Result<Self> {
        let folder = cluster.join(place.name());
        fs::create_dir_all(folder.join("cni")).context("making the folder of a node")?;
        fs::create_dir_all(Self::state(place)).context("making the state folder of a node")?;
        cgroups::make(place)?;
        write_json(&folder.join("cni/10-weir.conflist"), &cni(place, &folder))?;
        let config = folder.join("containerd.toml");
        fs::write(&config, containerd(place, &folder)).context("configuring containerd")?;
        let mut node = Self {
            place,
            folder,
            programs: Vec::new(),
            mounts: None,
        };
        node.run("containerd", &mut apart(place, &node.folder, &config)?)?;
        Ok(node)
    }

    /// Joins the node to the cluster.
    ///
    /// # Errors
    /// When one of its programs cannot be started.
    pub(crate) fn join(&mut self, assets: &Path, plane: &ControlPlane) -> Result<()> {
        let resolver = self.folder.join("resolv.conf");
        fs::write(&resolver, format!("nameserver {DNS}\n")).context("configuring names")?;
        let config = self.folder.join("kubelet.yaml");
        write_json(&config, &self.kubelet())?;
        let mut kubelet = self.kubelet_in(&self.mounts()?, assets, plane)?;
        self.run("kubelet", &mut kubelet)?;

        let config = self.folder.join("kube-proxy.yaml");
        write_json(
            &config,
            &self.proxy(&plane.kubeconfig("system:kube-proxy")?),
        )?;
        let mut proxy = inside(self.place, "");
        proxy
            .arg(assets.join("kube-proxy"))
            .arg("--config")
            .arg(&config);
        self.run("kube-proxy", &mut proxy)
    }

    /// The kubelet, about to start in a mount namespace, from the configuration that was written.
    fn kubelet_in(&self, mounts: &Path, assets: &Path, plane: &ControlPlane) -> Result<Command> {
        let mut kubelet = inside(self.place, "nsenter");
        kubelet
            .arg(format!("--mount={}", mounts.display()))
            .arg(assets.join("kubelet"))
            .arg("--config")
            .arg(self.folder.join("kubelet.yaml"))
            .arg("--kubeconfig")
            .arg(plane.kubeconfig(&format!("system:node:{}", self.place.name()))?)
            .arg("--root-dir")
            .arg(self.folder.join("kubelet"))
            .arg("--cert-dir")
            .arg(self.folder.join("certificates"))
            .args(["--hostname-override", &self.place.name()])
            .args(["--node-ip", &self.place.address().to_string()]);
        Ok(kubelet)
    }

    /// Kills kubelet and containerd at once; what they have started goes on.
    ///
    /// # Errors
    /// When they have ended before.
    pub(crate) fn kill_programs(&mut self) -> Result<()> {
        let mounts = File::open(self.mounts()?).context("keeping the mounts of a node")?;
        self.mounts = Some(mounts);
        self.programs[..2].iter_mut().rev().for_each(Running::kill);
        Ok(())
    }

    /// Starts kubelet and containerd again, where they were killed.
    ///
    /// # Errors
    /// When they were not killed, or do not start.
    pub(crate) fn start_programs(&mut self, assets: &Path, plane: &ControlPlane) -> Result<()> {
        let kept = self.mounts.take().context("nobody killed them")?;
        let mounts = format!("/proc/{}/fd/{}", std::process::id(), kept.as_raw_fd());
        let mounts = PathBuf::from(mounts);
        let mut containerd = inside(self.place, "nsenter");
        containerd
            .arg(format!("--mount={}", mounts.display()))
            .args(["containerd", "--config"])
            .arg(self.folder.join("containerd.toml"));
        self.programs[0] = Running::start(&self.folder, "containerd", &mut containerd)?;
        let mut kubelet = self.kubelet_in(&mounts, assets, plane)?;
        self.programs[1] = Running::start(&self.folder, "kubelet", &mut kubelet)?;
        // Until then somebody has to keep the mounts.
        self.wait_for_runtime()
    }

    /// Takes the images of an archive in.
    ///
    /// # Errors
    /// When containerd refuses the archive.
    pub(crate) fn load(&self, archive: &Path) -> Result<()> {
        let socket = Self::socket(self.place);
        let mut import = tool("ctr --namespace k8s.io --address");
        import.arg(socket).args(["images", "import"]).arg(archive);
        run::succeed(&mut import)
            .with_context(|| format!("loading images into {}", self.place.name()))
    }

    /// Kills the process of a container, by the container's id.
    ///
    /// # Errors
    /// When it does not run here.
    pub(crate) fn kill_container(&self, container: &str) -> Result<()> {
        let mut kill = tool("ctr --namespace k8s.io --address");
        kill.arg(Self::socket(self.place));
        run::succeed(kill.args(["tasks", "kill", "--signal", "SIGKILL", container]))
            .with_context(|| format!("killing a container of {}", self.place.name()))
    }

    /// Has the memory that a container may have taken by a file in memory, which counts as the container's.
    ///
    /// # Errors
    /// When it does not run here, or has no cgroup.
    pub(crate) fn fill_memory(&self, container: &str, file: &Path) -> Result<()> {
        /// More than any container of a test may have.
        const MEBIBYTES: u32 = 1024;
        let mut list = tool("ctr --namespace k8s.io --address");
        let tasks = run::output(list.arg(Self::socket(self.place)).args(["tasks", "list"]))?;
        let mut tasks = tasks.lines().map(str::split_whitespace);
        let task = tasks.find_map(|mut words| (words.next()? == container).then(|| words.next()));
        let pid = task.flatten().context("no such container")?;
        let mut dd = tool("sh -c");
        dd.arg(r#"echo $$ > "$1/cgroup.procs" && exec dd if=/dev/zero of="$2" bs=1M count="$3""#)
            .arg("dd")
            .arg(cgroups::memory_of(pid)?)
            .arg(file)
            .arg(MEBIBYTES.to_string());
        // It ends when nobody else is left to be killed.
        run::said(&mut dd, "").map(drop)
    }

    /// Waits until containerd answers.
    ///
    /// # Errors
    /// When it ends instead, or does not answer in time.
    pub(crate) fn wait_for_runtime(&mut self) -> Result<()> {
        let mut last = anyhow::anyhow!("it was never asked");
        for _ in 0..300 {
            self.still_runs()?;
            let mut version = tool("ctr --address");
            match run::succeed(version.arg(Self::socket(self.place)).arg("version")) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Err(last.context("containerd did not answer"))
    }

    /// Fails when one of the node's programs has ended by itself.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        self.programs.iter_mut().try_for_each(Running::still_runs)
    }

    /// The sockets lie apart from the rest: their paths may have 107 bytes.
    pub(crate) fn state(place: Place) -> PathBuf {
        Path::new(STATE).join(place.name())
    }

    pub(crate) fn socket(place: Place) -> PathBuf {
        Self::state(place).join("containerd.sock")
    }

    /// The mount namespace that the node's first program, containerd, was given.
    fn mounts(&self) -> Result<PathBuf> {
        let containerd = self
            .programs
            .first()
            .context("containerd is started first")?;
        Ok(PathBuf::from(format!("/proc/{}/ns/mnt", containerd.pid())))
    }

    fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.programs
            .push(Running::start(&self.folder, name, command)?);
        Ok(())
    }

    fn kubelet(&self) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.place.address(),
            // The API server has no certificate to show. Only this machine reaches the port.
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.place.cgroup()),
            "clusterDNS": [DNS],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": format!("unix://{}", Self::socket(self.place).display()),
            // The disk and the memory are the machine's, not the node's to defend.
            "evictionHard": {
                "imagefs.available": "1%", "memory.available": "100Mi",
                "nodefs.available": "1%", "nodefs.inodesFree": "1%",
            },
            "failCgroupV1": false,
            "failSwapOn": false,
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "2s",
            // Lowering it is forbidden in many containers.
            "oomScoreAdj": 0,
            "podLogsDir": self.folder.join("pod-logs"),
            "resolvConf": self.folder.join("resolv.conf"),
            // How soon a changed Secret is in its volume: a minute is long for a test.
            "syncFrequency": "10s",
            "volumePluginDir": self.folder.join("volume-plugins"),
        })
    }

    fn proxy(&self, kubeconfig: &Path) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": self.place.name(),
            "clientConnection": { "kubeconfig": kubeconfig },
            // These limits belong to the whole machine, not to a network namespace.
            "conntrack": {
                "maxPerCore": 0, "min": 0,
                "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
        })
    }
}

/// containerd, about to start in a mount namespace with a [`KUBELET`] folder of its own.
fn apart(place: Place, folder: &Path, config: &Path) -> Result<Command> {
    let own = folder.join("var-lib-kubelet");
    for folder in [Path::new(KUBELET), &own] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut shell = inside(place, "unshare --mount --propagation private sh -c");
    shell
        .arg(r#"mount --bind "$1" "$2" && exec containerd --config "$3""#)
        .arg("containerd")
        .arg(own)
        .arg(KUBELET)
        .arg(config);
    Ok(shell)
}

fn containerd(place: Place, folder: &Path) -> String {
    let (folder, state) = (folder.display(), Node::state(place));
    let (socket, state) = (Node::socket(place), state.display());
    let socket = socket.display();
    // `restrict_oom_score_adj`: where lowering the score is forbidden no pod starts without it.
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{state}"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
"#
    )
}

/// Pods hang on the node by a link each, not on a bridge: then all of their packets are
/// routed, also between two pods of one node, and rules for the network see them.
fn cni(place: Place, folder: &Path) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": place.network(),
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": folder.join("addresses"),
                    "ranges": [[{ "subnet": place.pods() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n")).with_context(|| format!("writing {}", path.display()))
}
