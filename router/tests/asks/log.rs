//! What one test's router writes to its log.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Level;
use tracing::subscriber::{DefaultGuard, set_default};

const PANIC: &[u8] = b"\"message\":\"panic\"";

/// The log of one test: everything of it runs in the test's own thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        // Why a test fails is for a person, too.
        if bytes.windows(PANIC.len()).any(|part| part == PANIC) {
            io::stderr().write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps everything, however unimportant, until the guard is dropped.
    pub fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true);
        let lines = lines.with_max_level(Level::TRACE);
        let lines = lines.with_writer(move || writer.clone());
        (log, set_default(lines.finish()))
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The records of decisions so far.
    pub fn decisions(&self) -> Vec<Value> {
        let log = self.text();
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["message"] == "decided")
            .collect()
    }
}
