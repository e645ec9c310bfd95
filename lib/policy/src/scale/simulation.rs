//! Ways to choose a count, held against each other.

mod arrivals;
mod curves;
mod fleet;
mod textbook;

use arrivals::Kind;
use fleet::{Came, run};
use textbook::{Fixed, Hpa, Knative, Ours};

#[test]
fn look() {
    let kinds = arrivals::kinds();
    for kind in &kinds {
        println!(
            "== {} {} asks, {} min",
            kind.name,
            kind.asks.len(),
            kind.ms / 60000
        );
        curves::look(kind);
    }
}
