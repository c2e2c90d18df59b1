//! Ends a search where little is left to gain: once what can still be found is better by less than matters, or than the noise
//! of the folds tells apart (Makarova et al. 2022, "Automatic termination for hyperparameter optimization",
//! arXiv:2104.08166, eq. (5)).

use super::choice::mean;
use super::history::{History, Trial};
use super::objective::Objective;
use super::parts::Parts;
use super::resolve::Study;
use crate::base::random::stream;
use crate::data::FoldRows;
use crate::strategies::RegretBound;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[stop] regret`: what may be left to gain where the search ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    /// As much as the best candidate's folds leave unsure.
    Noise,
    /// So much, in the metric's unit.
    Within(f64),
}

/// How the study says it.
const NOISE: &str = "noise";

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Allowed::Noise => serializer.serialize_str(NOISE),
            Allowed::Within(most) => serializer.serialize_f64(*most),
        }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Allowed, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Number(f64),
            Text(String),
        }
        let what = "a number in the metric's unit, more than 0, or \"noise\"";
        match Said::deserialize(deserializer) {
            Ok(Said::Number(most)) if most > 0.0 && most.is_finite() => Ok(Allowed::Within(most)),
            Ok(Said::Text(text)) if text == NOISE => Ok(Allowed::Noise),
            _ => Err(serde::de::Error::custom(format!("it has to be {what}"))),
        }
    }
}

/// What may be left to gain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Remaining {
    /// How much better the best that there is may be than the best that was found, in the metric's unit, by a process of the
    /// trials.
    pub regret: f64,
    /// The search ends where that is no more than this.
    pub allowed: f64,
    /// After how many candidates it was looked at.
    pub candidates: u64,
}

/// Trials before the first look, and by which share they grow from look to look.
const FIRST_LOOK: usize = 20;
const GROWTH: usize = 10;

/// Looks at what is left to gain from time to time.
pub(super) struct RegretRule {
    allowed: Allowed,
    bound: RegretBound,
    parts: Parts,
    /// By which the error of the folds' mean is larger than if they shared no training rows.
    overlap: f64,
    /// Those that came to their end by themselves, scored or failed, in the order in which they were told.
    told: Vec<u64>,
    next_look: usize,
    last: Option<Remaining>,
}

impl RegretRule {
    /// The rule of a study that has one.
    pub(super) fn new(study: &Study) -> Option<RegretRule> {
        Some(RegretRule {
            allowed: study.config.stop.regret?,
            bound: RegretBound::new(study.space.clone(), study.direction(), study.key.child(stream::REGRET)),
            parts: study.parts.clone(),
            overlap: overlap(&study.objective),
            told: Vec::new(),
            next_look: FIRST_LOOK,
            last: None,
        })
    }

    /// What was seen last.
    pub(super) fn last(&self) -> Option<Remaining> {
        self.last
    }

    /// Hears of a candidate that has come to its end, and was not ended early.
    pub(super) fn tell(&mut self, candidate: u64) {
        self.told.push(candidate);
    }

    /// Looks, where it is time; whether the search may end.
    pub(super) fn is_over(&mut self, history: &History, study: &Study) -> bool {
        if self.told.len() < self.next_look {
            return false;
        }
        self.next_look = self.told.len() + self.told.len().div_ceil(GROWTH);
        let value = |trial: &Trial, row: &[f64]| match study.objective.violation(trial, row) > 0.0 {
            true => f64::NAN,
            false => trial.value(),
        };
        let found = self.told.iter().filter_map(|id| Some((history.point(*id), history.trials.get(id)?)));
        let found: Vec<(&[f64], f64, &Trial)> = found.map(|(row, trial)| (row, value(trial, row), trial)).collect();
        let best = found.iter().filter(|(_, value, _)| !value.is_nan());
        let best = best.min_by(|a, b| study.direction().compare(a.1, b.1));
        let allowed = match (self.allowed, best) {
            (Allowed::Within(most), _) => Some(most),
            (Allowed::Noise, Some((_, _, trial))) => {
                self.parts.std_error(&trial.scores).map(|error| error * self.overlap)
            }
            (Allowed::Noise, None) => None,
        };
        let trials: Vec<(&[f64], f64)> = found.iter().map(|(row, value, _)| (*row, *value)).collect();
        let (Some(allowed), Some(regret)) = (allowed, self.bound.of(&trials)) else { return false };
        self.last = Some(Remaining { regret, allowed, candidates: self.told.len() as u64 });
        regret <= allowed
    }
}

/// Nadeau & Bengio 2003 ("Inference for the generalization error", section 3): parts that share training rows err alike, and
/// the variance of their mean is that of so many parts, plus their rows to score over their rows to train.
fn overlap(objective: &Objective) -> f64 {
    let Ok(models) = objective.models() else { return 1.0 };
    let ratio = |fold: &FoldRows| {
        let scored = fold.evals.iter().map(Vec::len).sum::<usize>() as f64 / fold.evals.len().max(1) as f64;
        scored / fold.train.len().max(1) as f64
    };
    let ratios: Vec<f64> = models.splits.folds.iter().map(ratio).collect();
    (1.0 + objective.parts().a_repeat() as f64 * mean(&ratios)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_is_noise_or_a_number() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Holder {
            regret: Allowed,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|holder| holder.regret);
        assert_eq!(read("regret = \"noise\"").unwrap(), Allowed::Noise);
        assert_eq!(read("regret = 0.5").unwrap(), Allowed::Within(0.5));
        assert_eq!(read("regret = 1").unwrap(), Allowed::Within(1.0));
        for wrong in ["regret = 0", "regret = -1.0", "regret = \"none\"", "regret = nan", "regret = true"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("a number in the metric's unit, more than 0, or \"noise\""), "{error}");
        }
        for allowed in [Allowed::Noise, Allowed::Within(0.25)] {
            let text = toml::to_string(&Holder { regret: allowed }).unwrap();
            assert_eq!(read(&text).unwrap(), allowed, "{text}");
        }
    }
}
