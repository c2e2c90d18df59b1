//! The lanes of a command, and the one loop that watches over their programs.

use super::checkpoints::Checkpoints;
use super::course::{Course, Goal, Outcome};
use super::keeper::Keeper;
use super::launch::{Launch, Start};
use super::memory::Memory;
use super::process::{CHUNK, Process};
use super::{leftovers, process};
use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
use crate::space::Points;
use crate::strategies::minimized;
use crate::study::objective::CommandObjective;
use crate::study::objective::template::CHECKPOINT;
use crate::study::resolve::Study;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// The stop flag is looked at so often.
const STOP_EVERY: Duration = Duration::from_millis(50);
/// Where the system does not say by itself that a program has ended, it is looked at so often.
const END_EVERY: Duration = Duration::from_millis(2);
/// What programs hold in memory is looked at so often.
const MEMORY_EVERY: Duration = Duration::from_millis(250);
/// Who has left the group of a program that is over is looked for so often.
const LEFTOVERS_EVERY: Duration = Duration::from_secs(2);

/// The runs of a study's command.
pub(in crate::study) struct CommandTrainer<'a> {
    command: &'a CommandObjective,
    launch: Launch<'a>,
    keeper: Keeper,
    lanes: Vec<Option<CommandLane>>,
    /// Slots that were released.
    free: Vec<Slot>,
    /// Candidates of the points that are started next.
    announced: Vec<u64>,
    checkpoints: Checkpoints,
    /// Whether a candidate's lanes go fold by fold: the end of its lanes is not its own then.
    is_by_fold: bool,
    /// Where the study says how much may be held.
    memory: Option<Memory>,
    memory_seen: Instant,
    leftovers_seen: Instant,
    /// What the next start of a program is marked with.
    next_start: u64,
    buffer: Vec<u8>,
}

/// One run of a candidate.
struct CommandLane {
    candidate: u64,
    repeat: usize,
    row: Vec<f64>,
    run: Option<Run>,
    /// What a program that was not kept had said, where it has not been started again: it may have been ahead of its rung.
    left: Option<Course>,
    state: State,
    /// Its value on the last rung that it came to; NaN before, and where it is beyond a limit.
    reached: f64,
}

impl CommandLane {
    fn begun(candidate: u64, repeat: usize, row: Vec<f64>) -> CommandLane {
        CommandLane { candidate, repeat, row, run: None, left: None, state: State::Underway, reached: f64::NAN }
    }

    fn is_suspended(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.has_ended && run.since.is_none())
    }
}

/// How far a lane is.
#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Not at its goal.
    Underway,
    /// On a rung.
    Standing,
    /// At its end, with its values; without any if it failed.
    Over(Vec<f64>),
}

/// A program that was started.
struct Run {
    process: Process,
    course: Course,
    /// Its number among all starts of the study.
    start: u64,
    /// How long it ran before it was last suspended.
    ran: Duration,
    /// Since when it has been running; `None` while it is suspended or over.
    since: Option<Instant>,
    has_ended: bool,
    /// Whether it stood suspended before it came to run as it does now.
    is_resumed: bool,
}

impl Run {
    fn ran(&self) -> Duration {
        self.ran + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the end of a program that had been on a rung is the trial's. One that ended on its rung begins again; one that
    /// went on behind it has come to its end.
    fn is_final(&self, outcome: &Outcome) -> bool {
        self.course.has_news() || matches!(outcome, Outcome::Failed(_))
    }

    fn pause(&mut self) {
        self.ran = self.ran();
        self.since = None;
    }
}

/// A lane that is being advanced.
struct Active<'a> {
    slot: Slot,
    goal: Goal<'a>,
    /// How long its program had run before.
    ran: Duration,
}

/// What beginning to advance a lane has led to.
enum Begun {
    /// It runs.
    Running,
    /// It is at its goal already.
    Done(Outcome),
    /// The system has no room for another process at the moment.
    NoRoom(io::Error),
}

/// What a look at a running lane shows.
enum Seen {
    /// It runs.
    Running,
    /// It is at its goal.
    Done(Outcome),
    /// Its program had ended on its rung, and is to be started again.
    Ended,
}

impl<'a> CommandTrainer<'a> {
    /// Opens a study's command, whose checkpoints are kept in `dir`.
    pub(in crate::study) fn open(
        study: &'a Study,
        dir: &Path,
        command: &'a CommandObjective,
    ) -> Result<Self, BackendError> {
        let failed = |error: io::Error| BackendError::Processes { reason: format!("/bin/sh: {error}") };
        if command.template().names(CHECKPOINT) && dir.to_str().is_none() {
            return Err(BackendError::PathNotText { path: dir.display().to_string() });
        }
        let launch = Launch::new(study, command);
        let keeper = Keeper::start(&format!("{}={}", leftovers::VARIABLE, launch.mark())).map_err(failed)?;
        let memory = command.memory().map(|_| Memory::new()).transpose();
        let memory = memory.map_err(|error| BackendError::Unwatched { reason: error.to_string() })?;
        let now = Instant::now();
        Ok(CommandTrainer {
            command,
            launch,
            keeper,
            lanes: Vec::new(),
            free: Vec::new(),
            announced: Vec::new(),
            checkpoints: Checkpoints::new(dir, command.repeats()),
            is_by_fold: study.axis().is_by_fold(),
            memory,
            memory_seen: now,
            leftovers_seen: now,
            next_start: 0,
            buffer: vec![0; CHUNK],
        })
    }

    fn lane(&mut self, slot: Slot) -> Result<&mut CommandLane, BackendError> {
        self.lanes.get_mut(slot.0 as usize).and_then(Option::as_mut).ok_or(BackendError::NoSuchSlot(slot.0))
    }

    /// Sets a lane on its way: from where it stands, or by a new start.
    fn begin(&mut self, slot: Slot, goal: Goal<'_>) -> Result<Begun, BackendError> {
        let lane = self.lane(slot)?;
        if let Some(run) = &mut lane.run {
            run.course.go_on();
            if let Some(outcome) = run.course.read(goal) {
                return Ok(Begun::Done(outcome));
            }
            if !run.has_ended {
                run.process.resume();
                (run.since, run.is_resumed) = (Some(Instant::now()), true);
                return Ok(Begun::Running);
            }
            let outcome = run.course.end(goal, &run.process.end());
            if run.is_final(&outcome) {
                return Ok(Begun::Done(outcome));
            }
            lane.run = None;
        }
        if let Some(course) = &mut lane.left {
            course.go_on();
            if let Some(outcome) = course.read(goal) {
                return Ok(Begun::Done(outcome));
            }
        }
        self.start_program(slot, goal)
    }

    fn start_program(&mut self, slot: Slot, goal: Goal<'_>) -> Result<Begun, BackendError> {
        let number = self.next_start;
        self.next_start += 1;
        let (candidate, repeat, row) = {
            let lane = self.lane(slot)?;
            (lane.candidate, lane.repeat, lane.row.clone())
        };
        let failed = |reason: String| Ok(Begun::Done(Outcome::Failed(reason)));
        let checkpoint = match self.checkpoints.make(candidate, repeat) {
            Ok(checkpoint) => checkpoint,
            Err(error) if is_scarce(&error) => return Ok(Begun::NoRoom(error)),
            Err(error) => return failed(format!("its checkpoint directory cannot be made: {error}")),
        };
        let start = Start { candidate, repeat, row: &row, goal, checkpoint: &checkpoint, number };
        match Process::start(&mut self.launch.command(&start), &self.keeper) {
            Ok(process) => {
                let since = Some(Instant::now());
                let lane = self.lane(slot)?;
                let (course, ran) = (lane.left.take().map(Course::again).unwrap_or_default(), Duration::ZERO);
                let (has_ended, is_resumed) = (false, false);
                lane.run = Some(Run { process, course, start: number, ran, since, has_ended, is_resumed });
                Ok(Begun::Running)
            }
            Err(error) if is_scarce(&error) => Ok(Begun::NoRoom(error)),
            Err(error) => failed(format!("it cannot be started: {error}")),
        }
    }

    /// What has become of a running lane since it was last looked at. `is_ready` if there may be something to read of it.
    fn look(&mut self, active: &Active<'_>, is_ready: bool) -> Seen {
        let timeout = self.command.timeout();
        let lane = self.lanes.get_mut(active.slot.0 as usize).and_then(Option::as_mut);
        let Some(run) = lane.and_then(|lane| lane.run.as_mut()) else { return Seen::Ended };
        if is_ready {
            let (buffer, course) = (&mut self.buffer, &mut run.course);
            run.process.read(buffer, |bytes| course.push(bytes));
            if let Some(outcome) = course.read(active.goal) {
                return Seen::Done(outcome);
            }
            if run.process.has_ended(buffer, |bytes| course.push(bytes)) {
                run.has_ended = true;
                let outcome = course.end(active.goal, &run.process.end());
                return if !run.is_resumed || run.is_final(&outcome) { Seen::Done(outcome) } else { Seen::Ended };
            }
        }
        match timeout.filter(|timeout| run.ran() >= *timeout) {
            Some(timeout) => {
                let timeout = humantime::format_duration(timeout);
                Seen::Done(Outcome::Failed(format!("it ran longer than its timeout of {timeout}")))
            }
            None => Seen::Running,
        }
    }

    /// Lanes whose programs hold more memory than they may.
    fn too_large(&mut self, running: &[Active<'_>]) -> Vec<(Slot, Outcome)> {
        let Some(most) = self.command.memory().filter(|_| self.memory_seen.elapsed() >= MEMORY_EVERY) else {
            return Vec::new();
        };
        let groups: Vec<_> = running
            .iter()
            .filter_map(|active| {
                let run = self.lanes.get(active.slot.0 as usize)?.as_ref()?.run.as_ref()?;
                Some((active.slot, run.process.group()))
            })
            .collect();
        self.memory_seen = Instant::now();
        let Some(memory) = &mut self.memory else { return Vec::new() };
        let held = match memory.of(&groups.iter().map(|(_, group)| *group).collect::<Vec<_>>()) {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!("what programs hold in memory could not be looked at this time: {error}");
                return Vec::new();
            }
        };
        let beyond = groups.into_iter().filter_map(|(slot, group)| {
            let held = held.get(&group).copied().filter(|held| *held > most)?;
            let reason = format!("it held {} MiB of {} that it may", held >> 20, most >> 20);
            Some((slot, Outcome::Failed(reason)))
        });
        beyond.collect()
    }

    /// Kills who has left the group of a program that is over.
    fn look_for_leftovers(&mut self) {
        if self.leftovers_seen.elapsed() < LEFTOVERS_EVERY {
            return;
        }
        let runs = self.lanes.iter().flatten().filter_map(|lane| lane.run.as_ref());
        let living: HashSet<u64> = runs.filter(|run| !run.has_ended).map(|run| run.start).collect();
        self.keeper.look();
        leftovers::kill(self.launch.mark(), |start| !living.contains(&start));
        self.leftovers_seen = Instant::now();
    }

    /// Waits until there may be something to look at; of which of them.
    fn wait(&self, running: &[Active<'_>]) -> Vec<bool> {
        let run = |active: &Active| self.lanes.get(active.slot.0 as usize)?.as_ref()?.run.as_ref();
        let runs: Vec<&Run> = running.iter().filter_map(run).collect();
        let mut most = STOP_EVERY;
        for run in &runs {
            if !run.process.tells_its_end() {
                most = most.min(END_EVERY);
            }
            if let Some(timeout) = self.command.timeout() {
                most = most.min(timeout.saturating_sub(run.ran()));
            }
        }
        process::wait(runs.into_iter().map(|run| &run.process), most)
    }

    /// A lane has come to its goal: its program is suspended, or gone, and its report is made.
    fn settle(&mut self, active: &Active<'_>, outcome: Outcome, keep: bool) -> Result<LaneReport, BackendError> {
        let command = self.command;
        let lane = self.lane(active.slot)?;
        let ran = lane.run.as_mut().map_or(Duration::ZERO, |run| {
            run.pause();
            run.ran
        });
        let seconds = ran.saturating_sub(active.ran).as_secs_f64();
        // A program that goes on for ever takes room from the others, whatever it said.
        let refusal = match outcome {
            Outcome::Value { .. } if keep => None,
            _ => lane.run.as_mut().and_then(|run| run.process.kill()),
        };
        let outcome = match (outcome, refusal) {
            (Outcome::Value { .. }, Some(reason)) => Outcome::Failed(reason),
            (outcome, _) => outcome,
        };
        let (value, others, used, failure) = match outcome {
            Outcome::Value { value, others, used } => (value, others, used, None),
            Outcome::Failed(reason) => (f64::NAN, vec![f64::NAN; active.goal.others.len()], 0, Some(reason)),
        };
        if let Some(reason) = &failure {
            tracing::info!("candidate {} failed: {reason}", lane.candidate);
        }
        if keep && failure.is_none() {
            if let Some(run) = lane.run.as_ref().filter(|run| !run.has_ended) {
                run.process.suspend();
            }
            let is_beyond = command.violation(&others) > 0.0;
            (lane.state, lane.reached) = (State::Standing, if is_beyond { f64::NAN } else { value });
            while self.suspended() > self.command.suspended() && self.end_suspended() {}
        } else {
            (lane.run, lane.left) = (None, None);
            let values = std::iter::once(value).chain(others.iter().copied());
            lane.state = State::Over(if failure.is_none() { values.collect() } else { Vec::new() });
            let (candidate, repeat) = (lane.candidate, lane.repeat);
            self.checkpoints.is_done(candidate, repeat);
        }
        Ok(LaneReport {
            slot: active.slot,
            status: if failure.is_some() { LaneStatus::Failed } else { LaneStatus::Trained },
            failure,
            train: f64::NAN,
            evals: vec![value],
            others,
            used,
            seconds,
            gradients: Vec::new(),
            state: None,
        })
    }

    /// How many programs are suspended.
    fn suspended(&self) -> usize {
        self.lanes.iter().flatten().filter(|lane| lane.is_suspended()).count()
    }

    /// Ends the worst of the programs that are suspended; it is started again should it be promoted. Who has been promoted and
    /// waits for a place is needed for sure, and is ended last. Whether there was any.
    fn end_suspended(&mut self) -> bool {
        let direction = self.command.direction();
        let rank = |lane: &CommandLane| (lane.state == State::Standing, lane.reached);
        let worst = self.lanes.iter_mut().flatten().filter(|lane| lane.is_suspended()).max_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            a.0.cmp(&b.0).then(direction.compare(a.1, b.1))
        });
        let Some(lane) = worst else { return false };
        if let Some(mut run) = lane.run.take() {
            // What it said before it was suspended, and nobody has read: kept, it would be read now.
            run.process.end_now(&mut self.buffer, |bytes| run.course.push(bytes));
            lane.left = Some(run.course);
        }
        true
    }

    /// What a candidate whose runs ended so has for each objective, to be minimised; `None` where it is no choice.
    fn minimized(&self, states: &[State]) -> Option<Vec<f64>> {
        let values = means(states)?;
        let is_choice = self.command.violation(values.get(1..).unwrap_or_default()) == 0.0;
        is_choice.then(|| minimized(self.command.directions(), &values).collect())
    }

    /// Ends what runs and is not at its goal. Its checkpoint stays, for when it is started again.
    fn leave(&mut self, running: &[Active<'_>]) {
        for active in running {
            if let Some(Some(lane)) = self.lanes.get_mut(active.slot.0 as usize) {
                lane.run = None;
            }
        }
    }
}

/// The mean of each value over a candidate's runs; `None` where one of them has none.
fn means(states: &[State]) -> Option<Vec<f64>> {
    let values = |state: &State| match state {
        State::Over(values) if !values.is_empty() => Some(values.clone()),
        _ => None,
    };
    let runs: Vec<Vec<f64>> = states.iter().map(values).collect::<Option<_>>()?;
    let count = runs.first()?.len();
    let mean = |place: usize| runs.iter().map(|values| values[place]).sum::<f64>() / runs.len() as f64;
    Some((0..count).map(mean).collect())
}

/// Whether a process could not be started for want of something that others will give back.
fn is_scarce(error: &io::Error) -> bool {
    let numbers =
        [rustix::io::Errno::AGAIN, rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOMEM];
    error.raw_os_error().is_some_and(|number| numbers.iter().any(|scarce| scarce.raw_os_error() == number))
}

impl Trainer for CommandTrainer<'_> {
    fn announce(&mut self, candidates: &[u64]) {
        self.announced = candidates.to_vec();
    }

    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        let announced = std::mem::take(&mut self.announced);
        let begun = lanes.iter().map(|lane| {
            let candidate = announced.get(lane.point).copied().unwrap_or(lane.point as u64);
            let row = points.row(lane.point).to_vec();
            let begun = Some(CommandLane::begun(candidate, lane.fold, row));
            let free = self.free.pop();
            match free.and_then(|slot| self.lanes.get_mut(slot.0 as usize)).zip(free) {
                Some((place, slot)) => {
                    *place = begun;
                    slot
                }
                None => {
                    self.lanes.push(begun);
                    Slot((self.lanes.len() - 1) as u32)
                }
            }
        });
        Ok(begun.collect())
    }

    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        let command = self.command;
        let goal = Goal { budget, whole: command.steps(), others: command.others() };
        // From here on none of them is where it ends: what is stopped now goes on another time, with its checkpoint.
        for slot in slots {
            self.lane(*slot)?.state = State::Underway;
        }
        let mut waiting: VecDeque<Slot> = slots.iter().copied().collect();
        let mut running: Vec<Active<'_>> = Vec::new();
        loop {
            if stop.is_raised() {
                self.leave(&running);
                return Ok(());
            }
            let mut done: Vec<(Active<'_>, Outcome)> = Vec::new();
            let mut no_room = None;
            while running.len() < self.command.workers()
                && let Some(slot) = waiting.pop_front()
            {
                let begun = self.begin(slot, goal)?;
                // A new start has not run before.
                let ran = self.lane(slot)?.run.as_ref().map_or(Duration::ZERO, |run| run.ran);
                let active = Active { slot, goal, ran };
                match begun {
                    Begun::Running => running.push(active),
                    Begun::Done(outcome) => done.push((active, outcome)),
                    Begun::NoRoom(error) => {
                        waiting.push_front(slot);
                        no_room = Some(error);
                        break;
                    }
                }
            }
            let ready = match (done.is_empty(), running.is_empty(), no_room) {
                // Nothing that runs will make room; what is suspended can.
                (true, true, Some(_)) if self.end_suspended() => continue,
                (true, true, Some(error)) => return Err(BackendError::Processes { reason: error.to_string() }),
                (true, true, None) => return Ok(()),
                (true, false, _) => self.wait(&running),
                (false, ..) => Vec::new(),
            };
            let mut beyond: HashMap<Slot, Outcome> = self.too_large(&running).into_iter().collect();
            self.look_for_leftovers();
            let mut still = Vec::with_capacity(running.len());
            for (place, active) in running.into_iter().enumerate() {
                let is_ready = ready.get(place).copied().unwrap_or(false);
                match (self.look(&active, is_ready), beyond.remove(&active.slot)) {
                    (Seen::Done(outcome), _) | (Seen::Running, Some(outcome)) => done.push((active, outcome)),
                    (Seen::Running, None) => still.push(active),
                    (Seen::Ended, _) => {
                        self.lane(active.slot)?.run = None;
                        waiting.push_front(active.slot);
                    }
                }
            }
            running = still;
            for (active, outcome) in done {
                if report(self.settle(&active, outcome, keep)?).is_break() {
                    // Nobody takes outcomes any more; a program may run for hours yet.
                    self.leave(&running);
                    return Ok(());
                }
            }
        }
    }

    /// What a program has learned is in its checkpoint directory.
    fn read_back(&mut self, _slot: Slot) -> Result<Weights, BackendError> {
        Ok(Weights::of(Vec::new()))
    }

    fn release(&mut self, slots: &[Slot]) {
        let mut candidates: HashMap<u64, Vec<State>> = HashMap::new();
        for slot in slots {
            if let Some(lane) = self.lanes.get_mut(slot.0 as usize).and_then(Option::take) {
                candidates.entry(lane.candidate).or_default().push(lane.state);
                self.free.push(*slot);
            }
        }
        // Who is the best is known at the search's end: until then all that anybody has kept stays.
        if self.is_by_fold {
            return;
        }
        for (candidate, states) in candidates {
            // Who was stopped on the way goes on from there another time.
            if states.contains(&State::Underway) {
                continue;
            }
            self.checkpoints.is_over(candidate, self.minimized(&states));
        }
    }
}

impl Drop for CommandTrainer<'_> {
    fn drop(&mut self) {
        self.lanes.clear();
        leftovers::kill_all(self.launch.mark());
        self.checkpoints.clear();
    }
}
