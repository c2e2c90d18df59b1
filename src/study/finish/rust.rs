//! The end of a search of an objective in Rust: which candidate is the best. What it has learned is the program's own.

use super::{Closing, chosen, scored};
use crate::study::choice;
use crate::study::clock::Clock;
use crate::study::events::{Observers, Phase};
use crate::study::objective::RustObjective;
use crate::study::result::{RunResult, RustFacts};
use crate::study::run_dir::RunDir;

pub(super) fn finish(
    closing: &Closing<'_>,
    rust: &RustObjective,
    dir: &RunDir,
    clock: &mut Clock,
    observers: &mut Observers,
) -> RunResult {
    clock.enter(Phase::Writing, observers);
    let Closing { study, history, .. } = closing;
    let ranked = choice::ranked(study.direction(), &scored(study, history), 1);
    // There is one: the study would have ended before.
    let best = ranked.first().map_or(0, |best| best.candidate);
    let facts = RustFacts { name: rust.name().to_owned(), version: rust.version().to_owned() };
    RunResult { rust: Some(facts), ..closing.result(chosen(study, history, best), dir, clock) }
}
