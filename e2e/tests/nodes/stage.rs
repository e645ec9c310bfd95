//! What the stories stand on: the cluster, our images on its nodes, and the SDK.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::cluster::{BASE, Images, PYTHON, Recipe};
use weir_e2e::{
    Cluster, METRICS_SERVER, SERVERS, build_programs, given_programs, output, repository, succeed,
    target_folder, tool,
};

use crate::sdk::{self, Sdk};

/// The namespace of the example: its policy names the frontier there.
pub const EXAMPLE: &str = "default";
/// The image of pods that ask.
pub const CLIENT: &str = "weir.test/client:1";
/// The image of an S3 server: `servers s3 ADDRESS`.
pub const STORE: &str = "weir.test/store:1";
/// What we publish, by the name of its image and of its program.
const PUBLISHED: [(&str, &str); 4] = [
    ("operator", "weir-operator"),
    ("router", "weir-router"),
    ("worker", "weir-worker"),
    ("stand-in", "weir-stand-in"),
];

/// Everything that a story may use.
#[derive(Debug)]
pub struct Stage {
    pub cluster: Cluster,
    pub sdk: Sdk,
    /// Whether pauses are to last as long as they are said to.
    pub whole: bool,
}

/// What a fault lasts where it is only tried in short.
const SHORT: Duration = Duration::from_secs(12);

impl Stage {
    /// Sets the stage; nothing is left of it where that fails.
    pub async fn set(helper: &Path, whole: bool) -> Result<Self> {
        // Before the cluster starts: compilers would take the processors from it.
        let sdk = tokio::task::spawn_blocking(|| {
            collect_programs()?;
            SERVERS.built()?;
            METRICS_SERVER.built()?;
            Sdk::install()
        });
        let sdk = sdk.await.context("preparing programs")??;
        let cluster = Cluster::up(helper).await?;
        Ok(Self {
            cluster,
            sdk,
            whole,
        })
    }

    /// Builds the images of our programs, and puts them on the nodes.
    pub fn load_images(&self) -> Result<()> {
        load_images(&self.cluster, &self.sdk)
    }

    /// Lets a fault last: as long as that in the tests of faults, a moment in all others.
    pub async fn pause(&self, long: Duration) {
        let long = if self.whole { long } else { long.min(SHORT) };
        tokio::time::sleep(long).await;
    }

    pub fn clear(self) -> Result<()> {
        self.cluster.down()
    }

    /// kubectl with arguments on one line.
    pub fn kubectl(&self, arguments: &str) -> Result<String> {
        self.cluster.kubectl().run(arguments)
    }

    /// kubectl's answer as JSON.
    pub fn json(&self, arguments: &str) -> Result<Value> {
        let text = self.kubectl(&format!("{arguments} --output=json"))?;
        serde_json::from_str(&text).context("reading what kubectl said")
    }

    /// A condition of an object: its status, reason and message.
    pub fn condition(&self, object: &str, kind: &str) -> Result<[String; 3]> {
        let value = self.json(&format!("get {object}"))?;
        let conditions = value["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .into_iter()
            .find(|condition| condition["type"] == kind);
        let found = found.with_context(|| format!("{object} has no condition {kind}"))?;
        Ok(["status", "reason", "message"]
            .map(|field| found[field].as_str().unwrap_or("").to_owned()))
    }

    /// The OpenAI address of a Service, as seen from a node, where names do not resolve.
    pub fn address(&self, namespace: &str, service: &str) -> Result<String> {
        let service = self.json(&format!("get service {service} --namespace {namespace}"))?;
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("the Service has an address")?;
        Ok(format!("http://{address}/v1"))
    }

    /// The record of a decision of a namespace's router.
    pub fn decision(&self, namespace: &str, id: &str) -> Result<Value> {
        const GET: &str = "import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())";
        let url = self.address(namespace, "weir-router")?;
        let mut get = self.cluster.on_node(1, "python3 -c");
        let text = output(get.args([GET, &format!("{url}/decisions/{id}")]))?;
        serde_json::from_str(&text).context("reading the record of a decision")
    }

    /// Has the next answers of a stand-in go wrong in a way that it knows; it is the Service of a namespace.
    pub fn plan_fault(
        &self,
        (namespace, service): (&str, &str),
        fault: &str,
        count: usize,
    ) -> Result<()> {
        const POST: &str = "import sys,urllib.request as r; \
            r.urlopen(r.Request(sys.argv[1], sys.argv[2].encode(), {'content-type': 'application/json'}), timeout=5)";
        let url = self.address(namespace, service)?.replace("/v1", "");
        let plan = serde_json::json!({ "fault": fault, "count": count }).to_string();
        let mut post = self.cluster.on_node(1, "python3 -c");
        output(post.args([POST, &format!("{url}/control/faults"), &plan])).map(drop)
    }

    /// The names of a namespace's routers that are not leaving.
    pub fn routers(&self, namespace: &str) -> Result<Vec<String>> {
        let chosen = format!("--selector=weir.dev/component=router --namespace {namespace}");
        let pods = self.json(&format!("get pods {chosen}"))?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let staying = pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let names = staying.filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Kills the process of a pod's only container, at once.
    pub fn kill(&self, namespace: &str, pod: &str) -> Result<()> {
        let [node, container] = self.container(namespace, pod)?;
        self.cluster.kill_container(&node, &container)
    }

    /// The node of a pod, and the id of its only container there.
    pub fn container(&self, namespace: &str, pod: &str) -> Result<[String; 2]> {
        let found = self.json(&format!("get pod {pod} --namespace {namespace}"))?;
        let container = &found["status"]["containerStatuses"][0]["containerID"];
        let [node, container] =
            [&found["spec"]["nodeName"], container].map(|value| value.as_str().unwrap_or_default());
        let container = container.trim_start_matches("containerd://");
        Ok([node, container].map(str::to_owned))
    }

    /// Makes a namespace that enforces *restricted* Pod Security, and waits until pods may be made there.
    pub fn restricted_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&format!("create namespace {name}"))?;
        self.kubectl(&format!(
            "label namespace {name} pod-security.kubernetes.io/enforce=restricted"
        ))?;
        // Whose account a pod names by itself; a controller makes it.
        self.kubectl(&format!(
            "wait serviceaccount/default --namespace {name} --for=create --timeout=60s"
        ))?;
        Ok(())
    }

    /// Makes a pod `provider`, which answers as one of outside would.
    pub fn provider_pod(&self, namespace: &str) -> Result<()> {
        let image = published("stand-in");
        let provider = restricted_pod(namespace, "provider", &image, "weir-stand-in");
        self.cluster.kubectl().apply(&provider)?;
        Ok(())
    }

    /// Makes a pod that can ask, and waits for it.
    pub fn client_pod(&self, namespace: &str) -> Result<()> {
        self.cluster.kubectl().apply(&restricted_pod(
            namespace,
            "client",
            CLIENT,
            "sleep infinity",
        ))?;
        self.kubectl(&format!(
            "wait pod/client --namespace {namespace} --for=condition=Ready --timeout=60s"
        ))?;
        Ok(())
    }
}

/// Tries until it works, or says why it last did not.
pub async fn eventually<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("it did not come about in {patience:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// A pod that passes *restricted* Pod Security, with limits.
pub fn restricted_pod(namespace: &str, name: &str, image: &str, command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "main",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": words,
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "resources": {
                    "requests": { "cpu": "10m", "memory": "32Mi" },
                    "limits": { "cpu": "1", "memory": "256Mi" },
                },
            }],
        },
    })
    .to_string()
}

/// Copies our programs, which cargo builds where nobody gave them, without what only a
/// debugger reads.
fn collect_programs() -> Result<()> {
    let built = match given_programs() {
        Some(folder) => folder,
        None => build_programs()?,
    };
    let slim = programs();
    fs::create_dir_all(&slim).context("making the folder of our programs")?;
    for (_, program) in PUBLISHED {
        let mut strip = tool("strip --strip-debug -o");
        succeed(strip.arg(slim.join(program)).arg(built.join(program)))?;
    }
    Ok(())
}

fn programs() -> PathBuf {
    target_folder().join("e2e/programs")
}

fn load_images(cluster: &Cluster, sdk: &Sdk) -> Result<()> {
    let images = Images::open()?;
    let mut names = Vec::new();
    for (image, _) in PUBLISHED {
        let name = published(image);
        images.build(&Recipe {
            name: &name,
            dockerfile: &repository().join(format!("deploy/images/{image}.Dockerfile")),
            context: repository(),
            arguments: vec![format!("BASE={BASE}"), "BINARIES=prebuilt".to_owned()],
            folders: vec![format!("prebuilt={}", programs().display())],
        })?;
        names.push(name);
    }
    build_client(&images, sdk)?;
    let lines = format!("FROM {BASE}\nCOPY servers /servers\n");
    images.build_lines(STORE, &SERVERS.built()?, &lines)?;
    names.extend([CLIENT, STORE].map(str::to_owned));
    let archive = cluster.folder().join("images.tar");
    images.archive(
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        &archive,
    )?;
    cluster.load(&archive)?;
    fs::remove_file(archive).context("removing an archive of images")
}

/// The name under which we publish an image, and which the chart and the example name.
pub fn published(image: &str) -> String {
    format!("ghcr.io/weir-dev/{image}:{}", env!("CARGO_PKG_VERSION"))
}

fn build_client(images: &Images, sdk: &Sdk) -> Result<()> {
    let context = tempfile::tempdir().context("making a folder for the client's image")?;
    let script = context.path().join("ask.py");
    fs::copy(sdk::script(), script).context("copying the program that asks")?;
    let dockerfile = context.path().join("Dockerfile");
    let lines = format!(
        "FROM {PYTHON}\nCOPY --from=sdk . /sdk\nCOPY ask.py /ask.py\nENV PYTHONPATH=/sdk PYTHONDONTWRITEBYTECODE=1\n"
    );
    fs::write(&dockerfile, lines).context("writing the client's Dockerfile")?;
    ensure!(sdk.packages.exists(), "the SDK for pods is not installed");
    images.build(&Recipe {
        name: CLIENT,
        dockerfile: &dockerfile,
        context: context.path(),
        arguments: Vec::new(),
        folders: vec![format!("sdk={}", sdk.packages.display())],
    })
}
