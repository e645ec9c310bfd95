//! Several servers in turn, so that whatever else the machine does hits all of them alike.

use std::time::Instant;

use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Connection, Target};

#[derive(Deserialize)]
pub struct Plan {
    targets: Vec<Target>,
    at_once: usize,
    rounds: usize,
    /// So many rounds come before, and are not counted.
    warm: usize,
}

impl Plan {
    /// For each server, the microseconds to the first byte and to the last, of every ask.
    pub async fn run(self) -> Value {
        let mut servers = Vec::new();
        for target in &self.targets {
            let opened = (0..self.at_once).map(|_| Connection::open(target.address));
            servers.push((target.request(), join_all(opened).await));
        }
        let mut times = vec![Vec::new(); servers.len()];
        for round in 0..self.warm + self.rounds {
            for turn in 0..servers.len() {
                // Nobody is always asked behind the same other.
                let index = (turn + round) % servers.len();
                let (request, connections) = &mut servers[index];
                let asked = connections
                    .iter_mut()
                    .map(|connection| ask(connection, request));
                let answered = join_all(asked).await;
                if round >= self.warm {
                    times[index].extend(answered);
                }
            }
        }
        let names = self.targets.iter().map(|target| target.name.clone());
        names
            .zip(times)
            .map(|(name, times)| (name, json!(times)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

async fn ask(connection: &mut Connection, request: &[u8]) -> [f64; 2] {
    let began = Instant::now();
    connection.send(request).await;
    let times = connection.read(|_, _| {}).await;
    assert_eq!(times.status, 200);
    [times.first, times.last].map(|moment| (moment - began).as_secs_f64() * 1e6)
}
