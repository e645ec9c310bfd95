//! What clients are answered, through the real SDK.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use weir_e2e::repository;

use crate::sdk::{Answer, Ask};
use crate::stage::{EXAMPLE, Stage, eventually};

/// The name that the example's policy gives its clients.
pub const MODEL: &str = "support-assistant";

/// A question of the example, with what becomes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    pub question: String,
    pub expected_tier: String,
    pub expected_answer: String,
}

/// A line of the held-out set.
#[derive(Debug, Deserialize)]
struct Ticket {
    ticket: String,
    kind: String,
    truth: String,
}

impl Question {
    /// The example's question for a tier.
    pub fn for_tier(tier: &str) -> Result<Self> {
        let file = repository().join("examples/triage/tickets/questions.json");
        let all: Vec<Self> = serde_json::from_str(&fs::read_to_string(&file)?)
            .with_context(|| format!("reading {}", file.display()))?;
        let found = all
            .into_iter()
            .find(|question| question.expected_tier == tier);
        found.with_context(|| format!("the example has a question for {tier}"))
    }

    pub fn ask(&self, base_url: &str, model: &str, stream: bool) -> Ask {
        Ask {
            base_url: base_url.to_owned(),
            model: model.to_owned(),
            question: self.question.clone(),
            stream,
        }
    }

    /// Asked of the example's router from a node, streamed and not.
    pub fn asked_on_node(&self, stage: &Stage) -> Result<[Answer; 2]> {
        self.asked_at(&stage.address(EXAMPLE, "weir-router")?, stage)
    }

    /// Asked of a router from a node, streamed and not.
    pub fn asked_at(&self, url: &str, stage: &Stage) -> Result<[Answer; 2]> {
        let asks = [self.ask(url, MODEL, false), self.ask(url, MODEL, true)];
        let answers = stage.sdk.ask_on_node(stage, &asks)?;
        answers
            .try_into()
            .map_err(|_| anyhow::anyhow!("two asks have two answers"))
    }

    /// Both answers are as the example promises.
    pub fn is_answered_by(&self, answers: &[Answer]) -> Result<()> {
        answers
            .iter()
            .try_for_each(|answer| answer.is(&self.expected_tier, &self.expected_answer))
    }
}

pub async fn a_clear_ticket_is_answered_by_the_small_model(stage: &Stage) -> Result<()> {
    let question = Question::for_tier("small")?;
    let answers = question.asked_on_node(stage)?;
    question.is_answered_by(&answers)?;
    let score = answers[0]
        .headers
        .get("x-weir-score")
        .context("the small tier has a score")?;
    ensure!(
        score.parse::<f64>()? >= 0.9,
        "it was accepted with a score of {score}"
    );
    ensure!(
        answers[0].headers.contains_key("x-weir-cost"),
        "no cost in {:?}",
        answers[0]
    );
    Ok(())
}

/// What the small model wrote would show: it would have been another answer.
pub async fn an_ambiguous_ticket_is_answered_by_the_frontier_and_nothing_small_leaks(
    stage: &Stage,
) -> Result<()> {
    let question = Question::for_tier("frontier")?;
    question.is_answered_by(&question.asked_on_node(stage)?)?;
    let mistaken = mistakes_of_the_small_model(stage)?;
    ensure!(
        !mistaken.is_empty(),
        "the small model made no mistake to look for"
    );
    let url = stage.address(EXAMPLE, "weir-router")?;
    let streams = [false, true];
    let asks: Vec<Ask> = mistaken
        .iter()
        .flat_map(|question| streams.map(|stream| question.ask(&url, MODEL, stream)))
        .collect();
    let answers = stage.sdk.ask_on_node(stage, &asks)?;
    let mut escalated = 0;
    for (question, answers) in mistaken.iter().zip(answers.chunks(streams.len())) {
        if answers.iter().all(|answer| answer.tier() == "frontier") {
            question.is_answered_by(answers)?;
            escalated += 1;
        }
    }
    ensure!(
        escalated > 0,
        "none of {} mistakes was escalated",
        mistaken.len()
    );
    Ok(())
}

/// Ambiguous tickets that the small model, asked alone, answers wrongly.
fn mistakes_of_the_small_model(stage: &Stage) -> Result<Vec<Question>> {
    /// About half of them are answered wrongly.
    const ASKED: usize = 12;
    let file = repository().join("examples/triage/heldout.jsonl");
    let tickets = fs::read_to_string(&file).context("reading the held-out tickets")?;
    let tickets: Vec<Ticket> = tickets
        .lines()
        .map(|line| serde_json::from_str(line).context("reading a held-out ticket"))
        .collect::<Result<_>>()?;
    let ambiguous: Vec<Question> = tickets
        .into_iter()
        .filter(|ticket| ticket.kind == "ambiguous")
        .take(ASKED)
        .map(|ticket| Question {
            question: ticket.ticket,
            expected_tier: "frontier".to_owned(),
            expected_answer: ticket.truth,
        })
        .collect();
    let url = stage.address(EXAMPLE, "triage")?;
    let asks: Vec<Ask> = ambiguous
        .iter()
        .map(|question| question.ask(&url, "triage", false))
        .collect();
    let alone = stage.sdk.ask_on_node(stage, &asks)?;
    let pairs = ambiguous.into_iter().zip(&alone);
    pairs
        .filter_map(|(question, answer)| match answer.text() {
            Ok(text) if text == question.expected_answer => None,
            Ok(_) => Some(Ok(question)),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

pub async fn a_pod_asks_by_service_name_and_gets_the_same_answers(stage: &Stage) -> Result<()> {
    stage.client_pod(EXAMPLE)?;
    let url = format!("http://weir-router.{EXAMPLE}.svc/v1");
    let questions = [
        Question::for_tier("small")?,
        Question::for_tier("frontier")?,
    ];
    let asks: Vec<Ask> = questions
        .iter()
        .flat_map(|question| [false, true].map(|stream| question.ask(&url, MODEL, stream)))
        .collect();
    let answers = stage.sdk.ask_in_pod(stage, EXAMPLE, &asks)?;
    ensure!(
        answers.len() == asks.len(),
        "{} asks have {} answers",
        asks.len(),
        answers.len()
    );
    for (question, answers) in questions.iter().zip(answers.chunks(2)) {
        question.is_answered_by(answers)?;
    }
    Ok(())
}

/// A folder of the machine comes in by a claim; the pod that reads it stays restricted.
pub async fn the_same_model_is_served_from_a_volume(stage: &Stage) -> Result<()> {
    let folder = stage.cluster.folder().join("models");
    let model = folder.join("triage");
    fs::create_dir_all(&model).context("making a volume")?;
    for file in fs::read_dir(repository().join("examples/triage/model"))? {
        let file = file?;
        fs::copy(file.path(), model.join(file.file_name())).context("filling a volume")?;
    }
    stage
        .cluster
        .kubectl()
        .apply(&volume(&folder.to_string_lossy()))?;
    stage.cluster.kubectl().apply(
        "{apiVersion: weir.dev/v1alpha1, kind: SLMDeployment, \
          metadata: {name: from-volume, namespace: default}, \
          spec: {model: {source: 'pvc://models/triage'}, resources: {cpu: 500m, memory: 512Mi}}}",
    )?;
    stage.kubectl("wait slmdeployment/from-volume --for=condition=Ready --timeout=120s")?;
    let question = Question::for_tier("small")?;
    let url = stage.address(EXAMPLE, "from-volume")?;
    let asks = [
        question.ask(&url, "from-volume", false),
        question.ask(&url, "from-volume", true),
    ];
    let answers = eventually(Duration::from_secs(20), || {
        let answers = stage.sdk.ask_on_node(stage, &asks)?;
        answers
            .iter()
            .try_for_each(|answer| answer.text().map(drop))?;
        Ok(answers)
    })
    .await?;
    for answer in &answers {
        ensure!(
            answer.text()? == question.expected_answer,
            "the same model said {answer:?}"
        );
    }
    stage.kubectl("delete slmdeployment/from-volume --timeout=60s")?;
    Ok(())
}

fn volume(folder: &str) -> String {
    format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{ name: models }}
spec:
  storageClassName: none
  capacity: {{ storage: 1Gi }}
  accessModes: [ReadOnlyMany]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {{ namespace: {EXAMPLE}, name: models }}
  hostPath: {{ path: {folder}, type: Directory }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: models, namespace: {EXAMPLE} }}
spec:
  storageClassName: none
  accessModes: [ReadOnlyMany]
  volumeName: models
  resources: {{ requests: {{ storage: 1Gi }} }}
"
    )
}
