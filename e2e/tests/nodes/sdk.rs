//! The real `openai` SDK as a client, on a node's network and in a pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use weir_e2e::{cache_folder, output_of, succeed, tool};

use crate::stage::Stage;

/// The release that the tests speak to, so that a new one does not surprise them.
const OPENAI: &str = "openai==3.52.*";
/// The Python of Debian 12, which the pods' image has.
const POD_PYTHON: &str = "3.11";

/// One question.
#[derive(Debug, Clone, Serialize)]
pub struct Ask {
    pub base_url: String,
    pub model: String,
    pub question: String,
    pub stream: bool,
}

/// What the SDK made of an answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    #[serde(default)]
    pub content: Option<String>,
    /// How many pieces of text a stream came in.
    #[serde(default)]
    pub chunks: usize,
    #[serde(default)]
    pub finish: Option<String>,
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub error: Option<String>,
}

impl Answer {
    /// The answer's text, where there is one.
    pub fn text(&self) -> Result<&str> {
        match (&self.content, &self.error) {
            (Some(content), None) => Ok(content.trim()),
            _ => bail!("no answer but {self:?}"),
        }
    }

    /// The tier that answered.
    pub fn tier(&self) -> &str {
        self.headers.get("x-weir-tier").map_or("", String::as_str)
    }

    /// Holds the answer against what it should be.
    pub fn is(&self, tier: &str, text: &str) -> Result<()> {
        ensure!(
            self.text()? == text,
            "{text:?} was expected of {tier}, not {self:?}"
        );
        ensure!(
            self.tier() == tier,
            "{tier} was expected to answer, not {self:?}"
        );
        ensure!(self.chunks > 0, "no text came in {self:?}");
        ensure!(
            self.finish.as_deref() == Some("stop"),
            "an end was expected in {self:?}"
        );
        ensure!(
            self.headers.contains_key("x-weir-decision"),
            "no decision in {self:?}"
        );
        Ok(())
    }
}

/// Where the SDK is installed: for this machine's Python and for the pods'.
#[derive(Debug)]
pub struct Sdk {
    python: PathBuf,
    /// Site packages for the image of client pods.
    pub packages: PathBuf,
}

impl Sdk {
    /// Installs the SDK by pip, once.
    pub fn install() -> Result<Self> {
        let folder = cache_folder()
            .join("sdk")
            .join(OPENAI.replace(['=', '.', '*'], "-"));
        let sdk = Self {
            python: folder.join("venv/bin/python"),
            packages: folder.join("packages"),
        };
        if folder.join("whole").exists() {
            return Ok(sdk);
        }
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).context("making the folder of the SDK")?;
        succeed(tool("python3 -m venv").arg(folder.join("venv"))).context("making a venv")?;
        let pip = || {
            let mut pip = Command::new(&sdk.python);
            pip.args(["-m", "pip", "install", "--quiet", OPENAI]);
            pip
        };
        succeed(&mut pip()).context("installing the SDK")?;
        let platform = format!("manylinux2014_{}", std::env::consts::ARCH);
        let mut for_pods = pip();
        for_pods
            .args([
                "--only-binary=:all:",
                "--python-version",
                POD_PYTHON,
                "--platform",
                &platform,
            ])
            .arg("--target")
            .arg(&sdk.packages);
        succeed(&mut for_pods).context("installing the SDK for pods")?;
        fs::write(folder.join("whole"), "").context("noting that the SDK is whole")?;
        Ok(sdk)
    }

    /// The Python of this machine that has it.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// Asks from a node's network, outside any pod.
    pub fn ask_on_node(&self, stage: &Stage, asks: &[Ask]) -> Result<Vec<Answer>> {
        let mut python = stage.cluster.on_node(1, "");
        python.arg(&self.python).arg(script());
        answers(&output_of(&mut python, &serde_json::to_string(asks)?)?)
    }

    /// Asks from the client pod of a namespace.
    pub fn ask_in_pod(&self, stage: &Stage, namespace: &str, asks: &[Ask]) -> Result<Vec<Answer>> {
        let words = format!("exec -i --namespace {namespace} client -- python3 /ask.py");
        let mut exec = stage.cluster.kubectl().command(&words);
        answers(&output_of(&mut exec, &serde_json::to_string(asks)?)?)
    }
}

/// The program that asks.
pub fn script() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nodes/ask.py"))
}

fn answers(json: &str) -> Result<Vec<Answer>> {
    serde_json::from_str(json).with_context(|| format!("reading what the SDK said: {json}"))
}
