//! Which team a ticket belongs to, by the grammar: the right answer of the triage task.

use std::collections::BTreeMap;

use crate::grammar::Grammar;

/// Below this many bytes an off-topic sentence has to be the whole text: a greeting alone is
/// off-topic, a greeting before something unknown says nothing.
const TELLING_BYTES: usize = 10;

/// How many words of its own a team needs before a ticket in free words counts as its.
const ENOUGH_WORDS: f64 = 1.0;

/// Reads tickets.
#[derive(Debug)]
pub(crate) struct Desk {
    grammar: Grammar,
    /// How much a word speaks for a team (by its place in the grammar): less, the more teams use it.
    weights: BTreeMap<String, Vec<(usize, f64)>>,
}

impl Desk {
    pub(crate) fn new(grammar: Grammar) -> Self {
        let weights = weights(&grammar);
        Self { grammar, weights }
    }

    /// The team of a ticket; none where the text does not read like a ticket at all.
    ///
    /// A ticket made from the grammar gets the answer that is right by it. Other text gets the
    /// team whose words it uses most, if one stands out.
    pub(crate) fn team(&self, ticket: &str) -> Option<&str> {
        let text = normal(ticket);
        self.by_matter(&text)
            .or_else(|| self.by_register(&text))
            .or_else(|| self.by_topic(&text))
            .or_else(|| self.by_words(&text))
    }

    fn by_matter(&self, text: &str) -> Option<&str> {
        let rank = |team: &str| self.grammar.precedence.iter().position(|name| name == team);
        self.grammar
            .teams
            .iter()
            .filter(|team| {
                team.matters
                    .iter()
                    .any(|matter| matter.find(text).is_some())
            })
            .map(|team| team.name.as_str())
            .min_by_key(|team| rank(team))
    }

    fn by_register(&self, text: &str) -> Option<&str> {
        let (_, owner) = self
            .grammar
            .complaints
            .iter()
            .find(|(complaint, _)| complaint.find(text).is_some())?;
        Some(owner)
    }

    fn by_topic(&self, text: &str) -> Option<&str> {
        let whole = text.trim_matches(|c: char| !c.is_alphanumeric()).len();
        let known = self.grammar.off_topic.iter().any(|topic| {
            topic
                .find(text)
                .is_some_and(|(start, end)| end - start >= TELLING_BYTES.min(whole))
        });
        known.then_some(self.grammar.desk.as_str())
    }

    fn by_words(&self, text: &str) -> Option<&str> {
        let mut sums = vec![0.0; self.grammar.teams.len()];
        for word in words(text) {
            for &(team, weight) in self.weights.get(word).into_iter().flatten() {
                sums[team] += weight;
            }
        }
        let mut order: Vec<usize> = (0..sums.len()).collect();
        order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]));
        let (&first, &second) = (order.first()?, order.get(1)?);
        let stands_out = sums[first] >= ENOUGH_WORDS && sums[first] > sums[second];
        stands_out.then(|| self.grammar.teams[first].name.as_str())
    }
}

fn weights(grammar: &Grammar) -> BTreeMap<String, Vec<(usize, f64)>> {
    let mut teams_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, team) in grammar.teams.iter().enumerate() {
        let mut all = Vec::new();
        team.matters
            .iter()
            .for_each(|matter| matter.words(&mut all));
        for word in all {
            let teams = teams_of.entry(word).or_default();
            if !teams.contains(&index) {
                teams.push(index);
            }
        }
    }
    teams_of
        .into_iter()
        .map(|(word, teams)| {
            // A word of n teams is worth 1/n² to each: words of many teams must not add up.
            let weight = 1.0 / (teams.len() * teams.len()) as f64;
            (
                word.to_owned(),
                teams.into_iter().map(|team| (team, weight)).collect(),
            )
        })
        .collect()
}

/// Lower case, with every run of white space as one space.
fn normal(text: &str) -> String {
    text.to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Words long enough to mean something.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn desk() -> Desk {
        Desk::new(Grammar::built_in().unwrap())
    }

    #[test]
    fn every_held_out_ticket_goes_to_its_true_team() {
        let desk = desk();
        let held_out = include_str!("../../triage/heldout.jsonl");
        let mut count = 0;
        for line in held_out.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let ticket = line["ticket"].as_str().unwrap();
            assert_eq!(desk.team(ticket), line["truth"].as_str(), "{line}");
            count += 1;
        }
        assert!(count >= 1000, "only {count} tickets");
    }

    #[test]
    fn of_two_matters_the_one_that_precedes_decides() {
        let ticket =
            "Is there an outage in Oslo today? And I forgot my password for the customer portal.";
        assert_eq!(desk().team(ticket), Some("outages"));
    }

    #[test]
    fn the_register_decides_who_owns_a_complaint_about_a_service() {
        let desk = desk();
        let owners: Vec<_> = ["heron", "kestrel", "plover", "curlew"]
            .iter()
            .filter_map(|service| desk.team(&format!("{service} is acting up since yesterday")))
            .collect();
        assert_eq!(owners.len(), 4);
        assert!(owners.iter().any(|owner| *owner != owners[0]), "{owners:?}");
    }

    #[test]
    fn a_ticket_in_free_words_goes_to_the_team_whose_words_it_uses() {
        assert_eq!(
            desk().team("Invoice and receipt do not match!"),
            Some("billing")
        );
    }

    #[test]
    fn text_that_is_no_ticket_has_no_team() {
        for text in ["", "   ", "zzz qqq", "Hello, zebra xylophone quartz"] {
            assert_eq!(desk().team(text), None, "{text:?}");
        }
    }
}
