//! The SDKs when their router is killed while it writes to them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::up::Up;
use crate::{folder, packages};

/// What a broken connection is called, by the SDKs or by what they connect with. An answer that only ended would raise
/// nothing.
const BROKEN: [&str; 2] = ["APIConnectionError", "TransportError"];

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_killed_is_an_error_of_the_connection_to_the_sdks() {
    let mut up = Up::start().await;
    up.drip("compatible").await;
    let said = spawn_blocking(move || {
        let mut python = packages::python();
        let arguments = up.arguments();
        let python = python
            .arg(folder().join("killed.py"))
            .args([&arguments[0], "by-compatible"]);
        let mut python = python.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(python.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "begun");
        up.kill();
        let rows: Vec<Value> = said
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        assert!(python.wait().unwrap().success());
        rows
    });
    let rows = said.await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(row["pieces"].as_u64().unwrap() >= 10, "{row}");
        let raised = row["raised"].as_array().into_iter().flatten();
        let is_of_the_connection = raised
            .filter_map(Value::as_str)
            .any(|name| BROKEN.contains(&name));
        assert!(is_of_the_connection, "{row}");
    }
}
