//! The end of a search of a command: which candidate is the best, and what its runs have left.

use super::{Closing, chosen, front, scored};
use crate::study::choice;
use crate::study::clock::Clock;
use crate::study::command_trainer::Checkpoints;
use crate::study::events::{Observers, Phase};
use crate::study::objective::CommandObjective;
use crate::study::result::{CommandFacts, RunResult};
use crate::study::run_dir::RunDir;

pub(super) fn finish(
    closing: &Closing<'_>,
    command: &CommandObjective,
    dir: &RunDir,
    clock: &mut Clock,
    observers: &mut Observers,
) -> RunResult {
    clock.enter(Phase::Writing, observers);
    let Closing { study, history, .. } = closing;
    let ranked = choice::ranked(study.direction(), &scored(study, history), 1);
    // There is one: the study would have ended before.
    let best = ranked.first().map_or(0, |best| best.candidate);
    let checkpoints = Checkpoints::new(dir.path(), command.repeats());
    let front = front(study, history);
    // Who has not come to an end may go on when the run is made longer.
    checkpoints
        .keep(|candidate| candidate == best || front.contains(&candidate) || !history.trials.contains_key(&candidate));
    // With repeats each has a directory; the first one in which there is anything stands for all.
    let checkpoint = (0..command.repeats()).map(|repeat| checkpoints.of(best, repeat)).find(|folder| folder.is_dir());
    let facts = CommandFacts {
        line: command.line().to_string(),
        directory: command.directory().display().to_string(),
        checkpoint: checkpoint.map(|folder| folder.display().to_string()),
    };
    RunResult { command: Some(facts), ..closing.result(chosen(study, history, best), dir, clock) }
}
