//! The end of a search of a user's shader: which candidate is the best.

use super::{Closing, chosen, scored};
use crate::study::choice;
use crate::study::clock::Clock;
use crate::study::events::{Observers, Phase};
use crate::study::objective::WgslObjective;
use crate::study::result::{RunResult, WgslFacts};
use crate::study::run_dir::RunDir;

pub(super) fn finish(
    closing: &Closing<'_>,
    wgsl: &WgslObjective,
    dir: &RunDir,
    clock: &mut Clock,
    observers: &mut Observers,
) -> RunResult {
    clock.enter(Phase::Writing, observers);
    let Closing { study, history, .. } = closing;
    let ranked = choice::ranked(study.direction(), &scored(study, history), 1);
    // There is one: the study would have ended before.
    let best = ranked.first().map_or(0, |best| best.candidate);
    let facts = WgslFacts {
        file: wgsl.path().display().to_string(),
        values: wgsl.directions().len(),
        repeats: wgsl.repeats(),
        steps: wgsl.steps(),
    };
    let data_fingerprint = Some(format!("{:016x}", wgsl.fingerprint()));
    RunResult { wgsl: Some(facts), data_fingerprint, ..closing.result(chosen(study, history, best), dir, clock) }
}
