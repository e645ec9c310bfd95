//! The client of what `bench/` measures of routers: light enough to be measured beside. It reads what to
//! do as one JSON object, its argument or a line of standard input, and prints JSON.
//!
//! - `ask`: asks several servers in turn, and says when of each answer the first byte and the last came;
//! - `lag`: is an endpoint as well, and says how long after it had sent an event that came;
//! - `load`: clients come at random moments, and an answer counts from when it was due;
//! - `sink`: takes traces as a collector does;
//! - `mock`: is an endpoint that has its answers ready;
//! - `hold`: keeps as many connections or streams as the next line of standard input says.
//!
//! `cargo run --release -p weir-stand-in --example client`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "its output is what it is for, and a measurement that fails has failed"
)]

mod ask;
mod hold;
mod http;
mod lag;
mod load;
mod mock;
mod sink;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
enum Measure {
    Ask(ask::Plan),
    Lag(lag::Plan),
    Load(load::Plan),
    Mock(mock::Mock),
    Sink(sink::Sink),
    Hold(hold::Plan),
}

fn main() {
    let mut line = std::env::args().nth(1).unwrap_or_default();
    if line.is_empty() {
        std::io::stdin().read_line(&mut line).unwrap();
    }
    // One thread asks, so that there is one left for who is asked.
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    match serde_json::from_str(&line).unwrap() {
        Measure::Ask(plan) => println!("{}", runtime.block_on(plan.run())),
        Measure::Lag(plan) => println!("{}", runtime.block_on(plan.run())),
        Measure::Load(plan) => println!("{}", runtime.block_on(plan.run())),
        Measure::Mock(mock) => {
            mock.start();
            println!("listens");
            loop {
                std::thread::park();
            }
        }
        Measure::Sink(sink) => runtime.block_on(sink.run()),
        Measure::Hold(plan) => runtime.block_on(plan.run()),
    }
}
