//! Clients that ask and ask with the real SDK while something goes wrong, and what came of every ask.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// Who asks, whom and what.
#[derive(Debug, Clone, Serialize)]
pub struct Wish {
    pub base_url: String,
    /// Where a client goes on after an error.
    pub next_base_url: String,
    pub model: String,
    /// `#` in it is another number each time: asks of one conversation stay with one revision.
    pub question: String,
    pub clients: usize,
    /// How many each client asks; until it is told to stop where nothing is said.
    pub asks: Option<usize>,
    /// Seconds between two asks of a client.
    pub pause: f64,
    /// What the SDK does of its own accord before it raises an error.
    pub retries: usize,
}

/// What came of an ask.
#[derive(Debug, Clone, Deserialize)]
pub struct Came {
    pub content: String,
    pub finish: Option<String>,
    pub tier: Option<String>,
    pub error: Option<String>,
    /// The error's class and those that it is one of.
    pub kinds: Vec<String>,
}

impl Came {
    /// A whole stream with that text.
    pub fn is_whole(&self, text: &str) -> bool {
        self.error.is_none()
            && self.content.trim() == text
            && self.finish.as_deref() == Some("stop")
    }

    /// Whether the SDK says that the connection broke, and does not take the answer for whole.
    pub fn is_connection_error(&self) -> bool {
        self.kinds.iter().any(|kind| kind == "APIConnectionError")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
enum Event {
    Text,
    End(Came),
}

#[derive(Debug, Default)]
struct Told {
    texts: usize,
    came: Vec<Came>,
    /// A line that was none of ours.
    puzzling: Option<String>,
}

/// Clients at work, until [`Traffic::end`]; killed where a story fails before that.
#[derive(Debug)]
pub struct Traffic {
    child: Child,
    told: Arc<Mutex<Told>>,
    reader: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Has clients ask from a node's network.
    pub fn begin(stage: &Stage, wish: &Wish) -> Result<Self> {
        let mut python = stage.cluster.on_node(1, "");
        let mut child = python
            .arg(stage.sdk.python())
            .arg(script())
            .arg(serde_json::to_string(wish)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting clients")?;
        let said = child.stdout.take().context("clients say what came")?;
        let told = Arc::new(Mutex::new(Told::default()));
        let heard = told.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let mut told = lock(&heard);
                match serde_json::from_str(&line) {
                    Ok(Event::Text) => told.texts += 1,
                    Ok(Event::End(came)) => told.came.push(came),
                    Err(_) => told.puzzling = Some(line),
                }
            }
        });
        Ok(Self {
            child,
            told,
            reader: Some(reader),
        })
    }

    /// How many answers have begun to come.
    pub fn texts(&self) -> usize {
        lock(&self.told).texts
    }

    /// How many asks have ended.
    pub fn ended(&self) -> usize {
        lock(&self.told).came.len()
    }

    /// Waits until clients that ask so many asks have done so, and gives what came of everything.
    pub fn end_by_itself(mut self) -> Result<Vec<Came>> {
        // They go on while this is open.
        let asking = self.child.stdin.take();
        let came = self.end();
        drop(asking);
        came
    }

    /// Has the clients end what they are at, and gives what came of everything.
    pub fn end(mut self) -> Result<Vec<Came>> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("waiting for clients")?;
        if let Some(reader) = self.reader.take() {
            reader
                .join()
                .map_err(|_| anyhow!("reading what came failed"))?;
        }
        let mut told = lock(&self.told);
        ensure!(
            status.success() && told.puzzling.is_none(),
            "clients ended with {status}: {:?}",
            told.puzzling
        );
        Ok(std::mem::take(&mut told.came))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Every one of at least so many answers is whole and right.
pub fn are_whole(came: &[Came], text: &str, least: usize) -> Result<()> {
    let wrong: Vec<&Came> = came.iter().filter(|came| !came.is_whole(text)).collect();
    ensure!(
        wrong.is_empty(),
        "{} of {} answers are not {text:?}: {:?}",
        wrong.len(),
        came.len(),
        &wrong[..wrong.len().min(5)]
    );
    ensure!(came.len() >= least, "only {} asks", came.len());
    Ok(())
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().expect("nothing panics while it holds this")
}

fn script() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/nodes/traffic.py"
    ))
}
