//! The checks of what is decided before anything is generated: rules, the classifier, pins.

use std::collections::BTreeSet;

use weir_crds::{HeaderValues, RoutePolicySpec, TokenRange, When, is_entry_name, is_object_name};

use super::{Check, http_names::is_header_name};
use crate::language::{LANGUAGES, is_recognised};
use crate::rules::{Classifier, Label, Rule, Share, Then};

/// Names become labels of metrics.
const LONGEST_NAME: usize = 63;

impl Check {
    pub(super) fn rules(&mut self, spec: &RoutePolicySpec) -> Vec<Rule> {
        self.unique("spec.rules", spec.rules.iter().map(|rule| &rule.name));
        let mut rules = Vec::new();
        for (index, rule) in spec.rules.iter().enumerate() {
            let at = format!("spec.rules[{index}]");
            let name = &rule.name;
            if !is_object_name(name) || name.contains('.') || name.len() > LONGEST_NAME {
                let message = "must be lower-case letters, digits and dashes, at most 63";
                self.invalid(format!("{at}.name"), message);
            }
            self.when(&format!("{at}.when"), &rule.when, spec);
            let then = self.then(&format!("{at}.then"), &rule.then, spec);
            rules.extend(then.map(|then| Rule {
                name: name.clone(),
                when: rule.when.clone(),
                then,
            }));
        }
        rules
    }

    fn when(&mut self, at: &str, when: &When, spec: &RoutePolicySpec) {
        if let Some(range) = &when.prompt_tokens {
            self.range(&format!("{at}.promptTokens"), range);
        }
        if let Some(header) = &when.header {
            self.header(&format!("{at}.header"), header);
        }
        if let Some(metadata) = &when.metadata {
            if metadata.name.is_empty() {
                self.invalid(format!("{at}.metadata.name"), "is empty");
            }
            self.values(format!("{at}.metadata.values"), &metadata.values);
        }
        if let Some(language) = &when.language
            && !is_recognised(language)
        {
            let message = format!(
                "{language:?} is no ISO 639-1 code of a language that is recognised: {}",
                LANGUAGES.join(" ")
            );
            self.invalid(format!("{at}.language"), message);
        }
        if let Some(tenant) = &when.tenant {
            self.tenant(&format!("{at}.tenant"), tenant, spec);
        }
        if let Some(adapter) = &when.adapter {
            let mut models = spec.models.iter();
            let is_asked_for = |model: &String| {
                let asked = model.rsplit_once(':');
                asked.is_some_and(|(_, asked)| asked == adapter)
            };
            if !models.any(is_asked_for) {
                let message = format!("no model name of the policy ends in \":{adapter}\"");
                self.invalid(format!("{at}.adapter"), message);
            }
        }
    }

    fn range(&mut self, at: &str, range: &TokenRange) {
        match (range.over, range.under) {
            (None, None) => self.invalid(at, "must have one of over and under, or both"),
            (Some(over), Some(under)) if over.saturating_add(1) >= under => {
                let message = format!("no number is over {over} and under {under}");
                self.invalid(at, message);
            }
            _ => {}
        }
    }

    /// A header that a request may have.
    pub(super) fn header(&mut self, at: &str, header: &HeaderValues) {
        if !is_header_name(&header.name) {
            self.invalid(format!("{at}.name"), "is no name of a header");
        }
        self.values(format!("{at}.values"), &header.values);
        // Several values come in one header with commas between them.
        let never = |value: &&String| value.contains(',') || value.trim() != value.as_str();
        if let Some(value) = header.values.iter().find(never) {
            let message =
                format!("{value:?} has a comma, or a space at an end, and matches nothing");
            self.invalid(format!("{at}.values"), message);
        }
    }

    fn values(&mut self, field: String, values: &[String]) {
        if values.is_empty() {
            self.invalid(field, "must not be empty");
        }
    }

    /// Tenants are the entries of the Secret with the keys.
    fn tenant(&mut self, field: &str, tenant: &str, spec: &RoutePolicySpec) {
        if spec.auth.is_none() {
            self.invalid(field, "there are no tenants without spec.auth");
        } else if !is_entry_name(tenant) {
            self.entry_name(field, tenant);
        }
    }

    /// Nothing where a rule does not do exactly one thing.
    fn then(&mut self, at: &str, then: &weir_crds::Then, spec: &RoutePolicySpec) -> Option<Then> {
        match (&then.start, &then.only, &then.reject, &then.split) {
            (Some(start), None, None, None) => {
                let start = self.tier(&format!("{at}.start"), start, spec);
                Some(Then::Start(start))
            }
            (None, Some(only), None, None) => {
                let only = self.tier(&format!("{at}.only"), only, spec);
                Some(Then::Only(only))
            }
            (None, None, Some(reject), None) => Some(Then::Reject {
                message: reject.message.clone(),
            }),
            (None, None, None, Some(split)) => {
                let at = format!("{at}.split");
                self.unique(&at, split.iter().map(|share| &share.tier));
                let weights: u64 = split.iter().map(|share| u64::from(share.weight)).sum();
                if weights != 100 {
                    let message = format!("the weights must sum to 100 and sum to {weights}");
                    self.invalid(at.as_str(), message);
                }
                let shares = split.iter().enumerate().map(|(index, share)| Share {
                    tier: self.tier(&format!("{at}[{index}].tier"), &share.tier, spec),
                    weight: share.weight,
                });
                Some(Then::Split(shares.collect()))
            }
            _ => {
                self.invalid(at, "must have exactly one of start, only, reject and split");
                None
            }
        }
    }

    pub(super) fn classifier(&mut self, spec: &RoutePolicySpec) -> Option<Classifier> {
        let classifier = spec.classifier.as_ref()?;
        let at = "spec.classifier";
        let (deployment, labels) = match (&classifier.deployment, &classifier.labels) {
            (Some(deployment), Some(labels)) if classifier.learned.is_none() => {
                (deployment, labels)
            }
            // What learns is not implemented, and is named as that.
            (None, None) if classifier.learned.is_some() => return None,
            _ => {
                let message = "must have either learned, or deployment and labels";
                self.invalid(at, message);
                return None;
            }
        };
        self.object_name(format!("{at}.deployment.name"), &deployment.name);
        let field = format!("{at}.labels");
        self.unique(&field, labels.iter().map(|label| &label.label));
        if labels.len() < 2 {
            self.invalid(
                field.as_str(),
                "must have at least two labels to choose from",
            );
        }
        let labels = labels.iter().enumerate().map(|(index, label)| Label {
            label: label.label.clone(),
            start: self.tier(&format!("{field}[{index}].start"), &label.start, spec),
        });
        Some(Classifier {
            labels: labels.collect(),
            deployment: deployment.name.clone(),
        })
    }

    /// The tenants that may pin a tier.
    pub(super) fn pins(&mut self, spec: &RoutePolicySpec) -> BTreeSet<String> {
        let tenants = spec.pin.iter().flat_map(|pin| &pin.tenants);
        for (index, tenant) in tenants.clone().enumerate() {
            self.tenant(&format!("spec.pin.tenants[{index}]"), tenant, spec);
        }
        self.unique("spec.pin.tenants", tenants.clone());
        tenants.cloned().collect()
    }

    /// The place of the tier, or one that nothing will ever see because the problem is kept.
    fn tier(&mut self, field: &str, name: &str, spec: &RoutePolicySpec) -> usize {
        let place = spec.tiers.iter().position(|tier| tier.name == name);
        place.unwrap_or_else(|| {
            let names: Vec<&str> = spec.tiers.iter().map(|tier| tier.name.as_str()).collect();
            let message = format!("{name:?} is no tier: there are {}", names.join(", "));
            self.invalid(field, message);
            0
        })
    }
}

#[cfg(test)]
mod tests;
