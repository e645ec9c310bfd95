//! The port that clients use, and what their connections are held to.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use weir_process::Process;
use weir_process::connections::{Beyond, Limits, Patience, Times, serve};

use crate::args::Args;

/// Requests under way on one connection of HTTP/2. A gateway opens more connections.
const MOST_STREAMS: u32 = 256;

/// A key, cookies and a trace take a few kilobytes.
const MOST_HEAD_BYTES: u32 = 64 << 10;

/// Beyond the patience with which an answer is given up: so long there is time to hear of that.
const BEYOND_PATIENCE: Duration = Duration::from_secs(30);

/// For a client that takes nothing when the process ends, or its connection does.
const FAREWELL: Duration = Duration::from_secs(5);

/// Answers on `listener` by `routes`, as a required task, until draining; then what has begun.
pub(crate) fn open(process: &Process, args: &Args, listener: TcpListener, routes: Router) {
    let limits = Limits {
        most: args.max_connections,
        beyond: Beyond::TurnAway,
        most_streams: MOST_STREAMS,
        most_head_bytes: Some(MOST_HEAD_BYTES),
        times: Times {
            head: args.connection_patience,
            stall: args.reader_patience + BEYOND_PATIENCE,
            farewell: FAREWELL,
        },
        patience: Some(Patience {
            reader: args.reader_patience,
            idle: args.connection_patience,
        }),
    };
    let draining = process.shutdown().draining();
    process.tasks().spawn_required("clients", async move {
        serve(listener, routes, limits, draining).await;
        Ok(())
    });
}
