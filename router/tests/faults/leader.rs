//! Whoever grants slices of the budgets: the leader's own function, over what the router reports, without an
//! API server between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;
use weir_crds::{Money, Period};
use weir_policy::budget::PurseLoad;
use weir_policy::budget::ledger::{Book, Ledger};
use weir_policy::budget::round::{Reported, round};
use weir_policy::compile;
use weir_policy::load::RouterLoad;

use crate::stage::Stage;

const EVERY: Duration = Duration::from_millis(100);

/// Grants what the stage's router needs, for ever.
pub async fn lead(stage: &Stage) {
    let mut book = Book::default();
    loop {
        let load: RouterLoad = serde_json::from_value(stage.load().await).unwrap();
        let policies = stage.world.borrow().policies.clone();
        book = dealt(&book, &policies, Some(&load), Timestamp::now());
        let ledgers = book.policies.clone();
        stage
            .world
            .send_modify(|world| Arc::make_mut(world).ledgers = ledgers);
        sleep(EVERY).await;
    }
}

/// The book that follows now, where there is one router, or none.
pub fn dealt(
    book: &Book,
    policies: &[Arc<weir_crds::RoutePolicy>],
    load: Option<&RouterLoad>,
    now: Timestamp,
) -> Book {
    let table = compile(policies.iter().map(Arc::as_ref), [], &BTreeMap::new());
    let known = ["support".to_owned()].into();
    let router = load.map(|load| Reported {
        pod: "weir-router-1",
        load: Some(load),
    });
    round(book, (&table, &known), router.as_slice(), now)
}

/// What the router has of the month's budget.
pub fn purse(load: &Value) -> PurseLoad {
    serde_json::from_value(load["purses"]["support"]["Month"].clone()).unwrap()
}

/// What is granted of it.
pub fn ledger(stage: &Stage) -> Ledger {
    stage.world.borrow().ledgers["support"][&Period::Month].clone()
}

/// What the stand-in would charge for all that it has answered, at the prices of [`endpoint`](crate::stage::endpoint).
pub async fn charged(client: &reqwest::Client, frontier: &str) -> Money {
    let bill = client.get(format!("{frontier}/control/bill"));
    let bill = bill.send().await.unwrap().text().await.unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let tokens = |name: &str| bill[name].as_u64().unwrap();
    let price = |price: &str| price.parse::<Money>().unwrap();
    price("3").per_million(tokens("input_tokens"))
        + price("15").per_million(tokens("output_tokens"))
}
