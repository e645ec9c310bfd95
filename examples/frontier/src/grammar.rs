//! The grammar of tickets, `examples/triage/tickets/grammar.json`, as the trainer also reads it.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;

use crate::template::{Slots, Template};

const SOURCE: &str = include_str!("../../triage/tickets/grammar.json");

/// What belongs to whom.
#[derive(Debug)]
pub(crate) struct Grammar {
    pub(crate) teams: Vec<Team>,
    /// A complaint that names a service only, with the team that owns that matter of it.
    pub(crate) complaints: Vec<(Template, String)>,
    /// Of two teams, the one named first here takes the ticket.
    pub(crate) precedence: Vec<String>,
    pub(crate) off_topic: Vec<Template>,
    /// The team that takes what is no matter of any team.
    pub(crate) desk: String,
}

/// A team and the matters that are its own.
#[derive(Debug)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) matters: Vec<Template>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    slots: Slots,
    teams: Vec<TeamEntry>,
    vague: Vec<VagueEntry>,
    register: BTreeMap<String, BTreeMap<String, String>>,
    precedence: Vec<String>,
    off_topic: OffTopicEntry,
}

#[derive(Deserialize)]
struct TeamEntry {
    name: String,
    matters: Vec<String>,
}

#[derive(Deserialize)]
struct VagueEntry {
    name: String,
    phrases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OffTopicEntry {
    team: String,
    training: Vec<String>,
    held_out: Vec<String>,
}

impl Grammar {
    /// The grammar this binary was built with. Fails only if that file is not a grammar.
    pub(crate) fn built_in() -> anyhow::Result<Self> {
        let file: File = serde_json::from_str(SOURCE).context("read the grammar of tickets")?;
        let parse = |text: &String| Template::parse(text, &file.slots);
        Ok(Self {
            teams: file
                .teams
                .iter()
                .map(|team| Team {
                    name: team.name.clone(),
                    matters: team.matters.iter().map(parse).collect(),
                })
                .collect(),
            complaints: complaints(&file),
            precedence: file.precedence.clone(),
            off_topic: file
                .off_topic
                .training
                .iter()
                .chain(&file.off_topic.held_out)
                .map(parse)
                .collect(),
            desk: file.off_topic.team.clone(),
        })
    }
}

/// One template per service, group and phrase: which service is named decides.
fn complaints(file: &File) -> Vec<(Template, String)> {
    let mut complaints = Vec::new();
    for (service, owners) in &file.register {
        let mut slots = file.slots.clone();
        slots.insert("service".to_owned(), vec![service.clone()]);
        for group in &file.vague {
            if let Some(owner) = owners.get(&group.name) {
                complaints.extend(
                    group
                        .phrases
                        .iter()
                        .map(|phrase| (Template::parse(phrase, &slots), owner.clone())),
                );
            }
        }
    }
    complaints
}
