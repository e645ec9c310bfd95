//! `GET /load` on the admin port: what the operator scales by, as a long poll.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::get,
};
use serde::Deserialize;
use tokio::{sync::watch, time};
use weir_policy::load::{self, Arriving, Load, WorkerLoad};

use crate::{draining::Idle, serving::Serving};

/// How long a poll waits for news. The operator wants to know once a second that a replica lives.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Publishes reports; each has a higher version than the one before.
#[derive(Debug, Clone)]
pub struct Reports(Arc<watch::Sender<Load>>);

impl Reports {
    /// `first_version` is higher than what a process before this one reached, so that a reader
    /// that outlives it notices the change: the time in milliseconds will do.
    pub fn new(first_version: u64) -> Self {
        Self(Arc::new(watch::Sender::new(Load {
            version: first_version,
            worker: Some(WorkerLoad::default()),
            router: None,
        })))
    }

    /// Reports what `serving` does now.
    pub fn tell(&self, serving: &Serving) {
        let now = *serving.engine.load().borrow();
        self.publish(WorkerLoad {
            running: now.running,
            waiting: now.waiting,
            max_sequences: serving.engine.options().max_sequences as u32,
            blocks_used: now.blocks_used,
            blocks_total: now.blocks_total,
            preemptions: now.preemptions,
            queried_tokens: now.queried_tokens,
            hit_tokens: now.hit_tokens,
            model: Some(serving.model_facts()),
            adapters: serving.adapter_loads(),
            cold_start: Some(serving.cold_start),
            capacity: Some(load::Capacity {
                sequences: serving.capacity.sequences,
                tokens_per_second: serving.capacity.tokens_per_second,
            }),
            arriving: None,
        });
    }

    /// Reports what `serving` does until it has nothing left to do.
    pub async fn follow(&self, serving: &Serving, idle: &Idle) {
        let (mut engine, mut adapters) = (serving.engine.load(), serving.adapters.clone());
        // Where no list is followed, nothing changes any more.
        let mut may_change = true;
        loop {
            adapters.mark_unchanged();
            engine.mark_unchanged();
            self.tell(serving);
            tokio::select! {
                changed = engine.changed() => if changed.is_err() { return },
                changed = adapters.changed(), if may_change => may_change = changed.is_ok(),
                () = idle.when_drained() => return,
            }
        }
    }

    /// Reports how far the model is on its way; nothing where it is here.
    pub fn arriving(&self, arriving: Option<Arriving>) {
        self.0.send_if_modified(|load| {
            let worker = load.worker.get_or_insert_default();
            // What is served has arrived, whoever says so late.
            let is_news = worker.model.is_none() && worker.arriving != arriving;
            if is_news {
                worker.arriving = arriving;
                load.version += 1;
            }
            is_news
        });
    }

    fn publish(&self, worker: WorkerLoad) {
        self.0.send_modify(|load| {
            // Blocks come and go with every few tokens, which is no news to wake a reader for.
            let blocks_used = worker.blocks_used;
            let told = load.worker.take();
            let told = told.map(|told| WorkerLoad {
                blocks_used,
                ..told
            });
            if told.as_ref() != Some(&worker) {
                load.version += 1;
            }
            load.worker = Some(worker);
        });
    }

    pub fn routes(&self) -> Router {
        Router::new()
            .route("/load", get(poll))
            .with_state(self.0.subscribe())
    }
}

#[derive(Debug, Deserialize)]
struct Poll {
    after: Option<u64>,
}

async fn poll(State(mut reports): State<watch::Receiver<Load>>, query: Query<Poll>) -> Json<Load> {
    if let Some(after) = query.after {
        // Whether there was news or the time ran out, the answer is what holds now.
        let news = reports.wait_for(|load| load.version > after);
        let _ = time::timeout(LONGEST_WAIT, news).await;
    }
    let load = reports.borrow().clone();
    Json(load)
}
