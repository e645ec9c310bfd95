//! What has been learnt about a policy's threshold, from its status into its settings.
//!
//! It is about the small tier, the first. What is there and valid takes the place of the built-in prior; what is
//! not valid is named, and changes nothing. A threshold that the policy fixes itself stays.

use weir_cascade::{Config, Fitted, Unfit, WEIGHTS};
use weir_crds::{CalibrationState, CalibrationStatus, Fraction};

use crate::validate::Settings;

/// Puts what `status` says into `settings`. Gives what is wrong with it, by its field.
pub(crate) fn apply(settings: &mut Settings, status: &CalibrationStatus) -> Vec<String> {
    let mut wrong = Vec::new();
    let read = read(status, &mut wrong);
    let Some((tier, accept)) = settings
        .tiers
        .first()
        .and_then(|tier| Some((tier, tier.accept()?.clone())))
    else {
        return wrong;
    };
    if status.state == Some(CalibrationState::Useless) {
        settings.useless = Some(tier.name().to_owned());
    }
    if accept.threshold.is_none()
        && let Some(learnt) = read
    {
        let accept = match learnt {
            Learnt::Threshold(threshold) => Config {
                threshold: Some(threshold),
                ..accept
            },
            Learnt::Fitted(fitted) => Config {
                fitted: Some(fitted.into()),
                ..accept
            },
        };
        settings.tiers[0] = tier.judged(accept);
    }
    wrong
}

enum Learnt {
    /// Of the built-in score.
    Threshold(f64),
    Fitted(Fitted),
}

fn read(status: &CalibrationStatus, wrong: &mut Vec<String>) -> Option<Learnt> {
    let text = status.threshold.as_ref()?;
    let threshold = match text.parse::<Fraction>() {
        Ok(threshold) => threshold.value(),
        Err(error) => {
            wrong.push(format!("status.calibration.threshold: {error}"));
            return None;
        }
    };
    if status.weights.is_empty() {
        return Some(Learnt::Threshold(threshold));
    }
    // What is no number is found with those that are not finite.
    let weights = status.weights.iter();
    let weights: Vec<f64> = weights
        .map(|weight| weight.parse().unwrap_or(f64::NAN))
        .collect();
    match Fitted::new(&weights, threshold) {
        Ok(fitted) => Some(Learnt::Fitted(fitted)),
        // The threshold is on the scale of these weights, and says nothing of another score.
        Err(unfit) => {
            wrong.push(match unfit {
                Unfit::Count(count) => {
                    format!("status.calibration.weights: there are {count} and not {WEIGHTS}")
                }
                Unfit::NotFinite(at) => {
                    format!("status.calibration.weights[{at}]: is no finite number")
                }
            });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing;
    use crate::validate;

    /// The settings of a policy whose small tier leaves its threshold open, or fixes it.
    fn applied(threshold: Option<&str>, status: Value) -> (Settings, Vec<String>) {
        let mut spec = testing::policy("support").spec;
        spec.tiers[0].accept.as_mut().unwrap().threshold = threshold.map(str::to_owned);
        let mut settings = validate::settings(&spec).unwrap();
        let wrong = apply(&mut settings, &serde_json::from_value(status).unwrap());
        (settings, wrong)
    }

    fn weights(count: usize) -> Vec<String> {
        vec!["0.5".to_owned(); count]
    }

    fn accept(settings: &Settings) -> &Config {
        settings.tiers[0].accept().unwrap()
    }

    #[test]
    fn a_learnt_threshold_is_taken_and_a_fixed_one_stays() {
        let status = json!({ "state": "Certified", "threshold": "0.871" });
        let (settings, wrong) = applied(None, status.clone());
        assert_eq!((accept(&settings).threshold, wrong.len()), (Some(0.871), 0));
        let (settings, _) = applied(Some("0.9"), status);
        assert_eq!(accept(&settings).threshold, Some(0.9));
        assert_eq!(settings.useless, None);
    }

    #[test]
    fn weights_come_with_their_own_threshold() {
        let status = json!({ "threshold": "0.6", "weights": weights(WEIGHTS) });
        let (settings, wrong) = applied(None, status);
        let fitted = accept(&settings).fitted.as_ref().unwrap();
        assert_eq!(
            (fitted.threshold(), accept(&settings).threshold),
            (0.6, None)
        );
        assert!(wrong.is_empty());
    }

    #[test]
    fn what_is_not_valid_is_named_and_the_prior_stays() {
        let mut odd = weights(WEIGHTS);
        odd[3] = "NaN".to_owned();
        let mut text = weights(WEIGHTS);
        text[0] = "much".to_owned();
        for (status, field) in [
            (
                json!({ "threshold": "2" }),
                "status.calibration.threshold: ",
            ),
            (
                json!({ "threshold": "0.5", "weights": weights(3) }),
                "status.calibration.weights: there are 3 and not 13",
            ),
            (
                json!({ "threshold": "0.5", "weights": odd }),
                "status.calibration.weights[3]: ",
            ),
            (
                json!({ "threshold": "0.5", "weights": text }),
                "status.calibration.weights[0]: ",
            ),
        ] {
            let (settings, wrong) = applied(None, status);
            assert!(wrong[0].starts_with(field), "{wrong:?}");
            let accept = accept(&settings);
            assert_eq!((accept.threshold, accept.fitted.is_none()), (None, true));
        }
        let (settings, wrong) = applied(None, json!({ "weights": weights(WEIGHTS) }));
        assert!(
            wrong.is_empty() && accept(&settings).fitted.is_none(),
            "not learnt yet"
        );
    }

    #[test]
    fn a_useless_score_is_told_by_its_tier() {
        let (settings, _) = applied(Some("0.9"), json!({ "state": "Useless" }));
        assert_eq!(settings.useless.as_deref(), Some("small"));
    }
}
