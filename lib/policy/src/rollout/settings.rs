//! `spec.rollout`, checked.

use std::time::Duration;

use rust_decimal::prelude::ToPrimitive;
use weir_crds::value::{decimal, duration};
use weir_crds::{OnFailure, OnNoTraffic, Rollout, Strategy, reasons};

use super::guard::Allowed;
use crate::validate::Problem;

/// How a rollout goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub strategy: Strategy,
    /// By ascending weight.
    pub steps: Vec<Step>,
    pub allowed: Allowed,
    pub min_asks: u64,
    pub max_step_wait: Duration,
    pub on_no_traffic: OnNoTraffic,
    pub on_failure: OnFailure,
}

/// One step of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Per cent of the asks, 1 to 99.
    pub weight: u32,
    pub pause: Duration,
}

impl Settings {
    /// Reads what the schema's rules let pass, and names every field that is not so.
    pub fn read(rollout: &Rollout) -> Result<Self, Vec<Problem>> {
        let mut check = Check::default();
        let guard = &rollout.guard;
        let settings = Self {
            strategy: rollout.strategy,
            steps: check.steps(rollout),
            allowed: Allowed {
                error_rate: check.number("guard.errorRate", &guard.error_rate),
                latency_increase: check.number("guard.latencyIncrease", &guard.latency_increase),
                escalation_increase: check
                    .number("guard.escalationIncrease", &guard.escalation_increase),
            },
            min_asks: u64::from(guard.min_asks),
            max_step_wait: check.duration("guard.maxStepWait", &guard.max_step_wait),
            on_no_traffic: guard.on_no_traffic,
            on_failure: rollout.on_failure,
        };
        if check.problems.is_empty() {
            Ok(settings)
        } else {
            Err(check.problems)
        }
    }
}

#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn steps(&mut self, rollout: &Rollout) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, step) in rollout.steps.iter().enumerate() {
            let pause = self.duration(&format!("steps[{index}].pause"), &step.pause);
            let weight = step.weight;
            let ascends = steps.last().is_none_or(|last| last.weight < weight);
            if !ascends || !(1..=99).contains(&weight) {
                let message =
                    "weights ascend from 1 to 99: full traffic follows the last step by itself";
                self.invalid(&format!("steps[{index}].weight"), message);
            }
            steps.push(Step { weight, pause });
        }
        if steps.is_empty() {
            self.invalid("steps", "there is none: write at least one");
        }
        steps
    }

    fn duration(&mut self, field: &str, text: &str) -> Duration {
        duration(text).unwrap_or_else(|error| {
            self.invalid(field, &error.to_string());
            Duration::ZERO
        })
    }

    fn number(&mut self, field: &str, text: &str) -> f64 {
        match decimal(text) {
            Ok(number) => number.to_f64().unwrap_or_default(),
            Err(error) => {
                self.invalid(field, &error.to_string());
                0.0
            }
        }
    }

    fn invalid(&mut self, field: &str, message: &str) {
        let field = format!("spec.rollout.{field}");
        self.problems.push(Problem {
            reason: reasons::INVALID,
            message: format!("{field}: {message}"),
            field,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(rollout: Value) -> Result<Settings, Vec<Problem>> {
        Settings::read(&serde_json::from_value(rollout).unwrap())
    }

    #[test]
    fn the_defaults_are_three_steps_with_a_guard() {
        let settings = read(json!({})).unwrap();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let steps: Vec<_> = settings
            .steps
            .iter()
            .map(|step| (step.weight, step.pause))
            .collect();
        assert_eq!(
            steps,
            [(5, minutes(5)), (25, minutes(10)), (50, minutes(10))]
        );
        let allowed = Allowed {
            error_rate: 0.01,
            latency_increase: 0.2,
            escalation_increase: 0.1,
        };
        assert_eq!(settings.allowed, allowed);
        assert_eq!(
            (settings.min_asks, settings.max_step_wait),
            (200, minutes(120))
        );
    }

    #[test]
    fn every_fault_is_named_by_its_field() {
        for (rollout, field) in [
            (json!({ "steps": [] }), "spec.rollout.steps"),
            (
                json!({ "steps": [{ "weight": 5, "pause": "soon" }] }),
                "spec.rollout.steps[0].pause",
            ),
            (
                json!({ "steps": [{ "weight": 0, "pause": "1s" }] }),
                "spec.rollout.steps[0].weight",
            ),
            (
                json!({ "steps": [{ "weight": 5, "pause": "1s" }, { "weight": 5, "pause": "1s" }] }),
                "spec.rollout.steps[1].weight",
            ),
            (
                json!({ "guard": { "errorRate": "1 %" } }),
                "spec.rollout.guard.errorRate",
            ),
            (
                json!({ "guard": { "latencyIncrease": "" } }),
                "spec.rollout.guard.latencyIncrease",
            ),
            (
                json!({ "guard": { "escalationIncrease": "-1" } }),
                "spec.rollout.guard.escalationIncrease",
            ),
            (
                json!({ "guard": { "maxStepWait": "0s" } }),
                "spec.rollout.guard.maxStepWait",
            ),
        ] {
            let problems = read(rollout).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].field, field);
            assert!(
                problems[0].message.starts_with(field),
                "{}",
                problems[0].message
            );
        }
    }
}
