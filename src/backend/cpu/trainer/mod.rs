//! The CPU's trainer: lanes become groups of sixteen, groups become tasks for threads, scores stream back.
//!
//! A model says only how one group walks ([`LaneModel`]). Which lanes share a group changes no bit of any of them, so
//! the trainer is free to sort lanes by shape, to take as many threads as there are, and to regroup survivors. What lanes
//! of a fold share is done before them, in pieces, so that one fold's work too has all threads.

mod frozen;
mod kept;
mod regroup;
mod scores;
mod turns;

use super::CpuOptions;
use super::lane_model::{GroupKey, LaneModel, LaneProgress};
use super::score::LaneScore;
use super::simd::{LANES, Level};
use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
use crate::data::Problem;
use crate::space::Points;
use kept::Kept;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};
use turns::{Recipe, Turn};

/// A group is asked for a stop after this share of its budget for the first time, then after longer and longer strides,
/// as long as one is shorter than [`SHORTEST_STRIDE`].
const FIRST_STRIDE: u64 = 32;
/// See [`FIRST_STRIDE`].
const SHORTEST_STRIDE: Duration = Duration::from_millis(250);

enum SlotState<M: LaneModel> {
    Free,
    /// At its beginning: its state was dropped if it had units of budget before.
    Started {
        params: M::Params,
        fold: usize,
        had: u64,
    },
    Trained {
        group: usize,
        lane: usize,
        fold: usize,
    },
    /// Trained and scored without being kept; only waits to be released.
    Spent,
}

/// A model opened on the CPU.
pub struct CpuTrainer<M: LaneModel> {
    model: Arc<M>,
    problem: Arc<Problem>,
    folds: Vec<OnceLock<M::Fold>>,
    pool: rayon::ThreadPool,
    level: Level,
    memory: u64,
    wants_gradients: bool,
    wants_states: bool,
    wants_training_scores: bool,
    slots: Vec<SlotState<M>>,
    free_slots: Vec<u32>,
    kept: Kept<M>,
    /// Of the slots whose lanes turn.
    recipes: HashMap<u32, Recipe<M::Params>>,
    /// Bytes of the lanes of a call that stood before it.
    standing: u64,
    /// Bytes that the others take at a time, with what all of them share.
    in_training: u64,
}

/// Sixteen lanes or fewer on their way through one call of `advance`.
struct Job<M: LaneModel> {
    fold: usize,
    slots: Vec<Slot>,
    params: Vec<M::Params>,
    /// `None` until the lanes' first training.
    state: Option<M::Group>,
    /// Units of budget that the lanes have had.
    had: u64,
    /// Turns on the way.
    turns: Vec<Turn<M::Params>>,
    /// Whether its lanes stood before the call.
    stood: bool,
    /// Whether its state was dropped for want of room, so that its lanes begin anew when they go on.
    begins_anew: bool,
}

impl<M: LaneModel> Job<M> {
    /// Of lanes at their beginning.
    fn fresh(fold: usize, slots: Vec<Slot>, params: Vec<M::Params>) -> Job<M> {
        Job { fold, slots, params, state: None, had: 0, turns: Vec::new(), stood: false, begins_anew: false }
    }
}

/// Folds whose lanes are trained together.
struct Wave {
    folds: Vec<usize>,
    /// What the lanes of all folds that are held meanwhile share.
    bytes: u64,
    /// Whether no other fold's shared work has room beside it.
    is_alone: bool,
}

impl<M: LaneModel> CpuTrainer<M> {
    /// Opens a model on a problem; folds are prepared when their first lane starts.
    pub fn open(model: M, problem: Arc<Problem>, options: &CpuOptions) -> Result<CpuTrainer<M>, BackendError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build().map_err(|error| {
            BackendError::DeviceFailed { device: "the processor".to_owned(), reason: format!("no threads: {error}") }
        })?;
        Ok(CpuTrainer {
            model: Arc::new(model),
            folds: problem.folds.iter().map(|_| OnceLock::new()).collect(),
            problem,
            pool,
            level: options.simd.unwrap_or_else(Level::detect),
            memory: options.memory_limit(),
            wants_gradients: false,
            wants_states: false,
            wants_training_scores: true,
            slots: Vec::new(),
            free_slots: Vec::new(),
            kept: Kept::default(),
            recipes: HashMap::new(),
            standing: 0,
            in_training: 0,
        })
    }

    /// Takes the lanes out of their slots and groups them: new lanes by shape, trained ones as they stand where a whole
    /// group goes on, else gathered afresh.
    fn jobs(&mut self, slots: &[Slot], budget: u64) -> Result<Vec<Job<M>>, BackendError> {
        let mut fresh: BTreeMap<usize, Vec<(GroupKey, Slot)>> = BTreeMap::new();
        let mut trained: BTreeMap<(usize, usize), Vec<(usize, Slot)>> = BTreeMap::new();
        for &slot in slots {
            match self.slots.get(slot.0 as usize) {
                Some(SlotState::Started { params, fold, .. }) => {
                    fresh.entry(*fold).or_default().push((self.model.key(params), slot));
                }
                Some(SlotState::Trained { group, lane, fold }) if self.kept.get(*group).is_some() => {
                    trained.entry((*fold, *group)).or_default().push((*lane, slot));
                }
                _ => return Err(BackendError::NoSuchSlot(slot.0)),
            }
        }
        let mut jobs = Vec::new();
        let most = self.group_lanes();
        for (fold, mut lanes) in fresh {
            // The longest first, so that no thread is left with a long group at the end.
            lanes.sort_by(|a, b| b.cmp(a));
            for members in lanes.chunk_by(|a, b| a.0.step == b.0.step).flat_map(|alike| alike.chunks(most)) {
                let slots: Vec<Slot> = members.iter().map(|(_, slot)| *slot).collect();
                let params = slots.iter().map(|slot| self.started_params(*slot)).collect();
                jobs.push(Job::fresh(fold, slots, params));
            }
        }
        // The same candidates' folds next to each other: a stop leaves few candidates with half their folds.
        let mut place: BTreeMap<usize, usize> = BTreeMap::new();
        let mut longest: Vec<u64> = Vec::new();
        let mut order: Vec<(usize, usize, Job<M>)> = Vec::new();
        for job in jobs {
            let nth = place.entry(job.fold).or_default();
            let duration = self.model.duration(self.fold(job.fold), &job.params);
            match longest.get_mut(*nth) {
                Some(longest) => *longest = duration.max(*longest),
                None => longest.push(duration),
            }
            order.push((*nth, job.fold, job));
            *nth += 1;
        }
        order.sort_by_key(|(nth, fold, _)| (Reverse(longest[*nth]), *nth, *fold));
        let mut jobs: Vec<Job<M>> = order.into_iter().map(|(.., job)| job).collect();
        jobs.extend(self.trained_jobs(trained));
        for job in &mut jobs {
            job.turns = self.turns(&job.slots, job.had, budget);
        }
        Ok(jobs)
    }

    fn take_slot(&mut self, state: SlotState<M>) -> Slot {
        match self.free_slots.pop() {
            Some(free) => {
                self.slots[free as usize] = state;
                Slot(free)
            }
            None => {
                self.slots.push(state);
                Slot(self.slots.len() as u32 - 1)
            }
        }
    }

    fn started_params(&self, slot: Slot) -> M::Params {
        match &self.slots[slot.0 as usize] {
            SlotState::Started { params, .. } => params.clone(),
            _ => unreachable!("only started slots are grouped afresh"),
        }
    }

    fn group_lanes(&self) -> usize {
        self.model.group_lanes().clamp(1, LANES)
    }

    fn fold(&self, fold: usize) -> &M::Fold {
        self.folds[fold].get_or_init(|| self.model.open_fold(&self.problem.folds[fold]))
    }

    /// Bytes of the largest group that is yet to start.
    fn largest_group(&self, jobs: &[Job<M>]) -> u64 {
        let fresh = jobs.iter().filter(|job| job.state.is_none());
        let bytes = |job: &Job<M>| {
            let fold = self.fold(job.fold);
            let slopes = if self.wants_gradients { self.model.slope_bytes(fold, &job.params) } else { 0 };
            self.model.bytes(fold, &job.params).saturating_add(slopes)
        };
        fresh.map(bytes).max().unwrap_or(0)
    }

    /// The parameters of each fold's lanes.
    fn params_by_fold(jobs: &[Job<M>]) -> BTreeMap<usize, Vec<M::Params>> {
        let mut params: BTreeMap<usize, Vec<M::Params>> = BTreeMap::new();
        jobs.iter().for_each(|job| params.entry(job.fold).or_default().extend_from_slice(&job.params));
        params
    }

    /// The folds of these jobs in as few sets as fit into memory one after another, with what their lanes share.
    fn waves(&self, jobs: &[Job<M>]) -> Result<Vec<Wave>, BackendError> {
        let largest = self.largest_group(jobs);
        let params = Self::params_by_fold(jobs);
        let shared: Vec<(usize, u64)> =
            params.iter().map(|(fold, lanes)| (*fold, self.model.shared_bytes(self.fold(*fold), lanes))).collect();
        let need = largest.saturating_add(shared.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0));
        if need > self.memory {
            return Err(BackendError::OutOfMemory { need_mib: need.div_ceil(1 << 20), limit_mib: self.memory >> 20 });
        }
        let taken = self.kept.bytes().saturating_add(self.standing);
        let room = self.memory.saturating_sub(taken).max(need) - largest;
        // What earlier calls left in other folds counts too, as long as everything may stay.
        let others = (0..self.folds.len()).filter(|fold| !params.contains_key(fold));
        let others = others.filter_map(|fold| self.folds[fold].get()).map(|fold| self.model.shared_bytes(fold, &[]));
        let all = shared.iter().map(|(_, bytes)| *bytes).chain(others).fold(0u64, u64::saturating_add);
        if all <= room {
            return Ok(vec![Wave { folds: params.into_keys().collect(), bytes: all, is_alone: false }]);
        }
        let mut waves: Vec<Wave> = Vec::new();
        for (fold, bytes) in shared {
            match waves.last_mut() {
                Some(wave) if wave.bytes + bytes <= room => {
                    wave.folds.push(fold);
                    wave.bytes += bytes;
                }
                _ => waves.push(Wave { folds: vec![fold], bytes, is_alone: true }),
            }
        }
        Ok(waves)
    }

    /// How many groups fit in memory at a time, beside what they share.
    fn width(&self, jobs: &[Job<M>], shared: u64) -> usize {
        let taken = shared.saturating_add(self.kept.bytes()).saturating_add(self.standing);
        let fitting = self.memory.saturating_sub(taken).checked_div(self.largest_group(jobs)).unwrap_or(u64::MAX);
        self.pool.current_num_threads().min(fitting as usize).max(1)
    }

    /// Does what the jobs' lanes share; false when the stop flag was raised before its end.
    fn share(&self, jobs: &[Job<M>], stop: &StopFlag) -> bool {
        let params = Self::params_by_fold(jobs);
        loop {
            let missing = params.iter().flat_map(|(fold, lanes)| {
                let pieces = self.model.missing_pieces(self.fold(*fold), lanes);
                pieces.into_iter().map(|piece| (*fold, piece))
            });
            let missing: Vec<(usize, usize)> = missing.collect();
            if missing.is_empty() {
                return true;
            }
            let next = AtomicUsize::new(0);
            self.pool.in_place_scope(|scope| {
                for _ in 0..self.pool.current_num_threads().min(missing.len()) {
                    scope.spawn(|_| {
                        while !stop.is_raised() {
                            let Some((fold, piece)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                            self.model.do_piece(self.level, self.fold(*fold), *piece);
                        }
                    });
                }
            });
            if stop.is_raised() {
                return false;
            }
        }
    }

    /// Trains and scores groups; false when it was to end early. `shared`: bytes of what lanes share.
    fn run(
        &mut self,
        jobs: Vec<Job<M>>,
        shared: u64,
        budget: u64,
        keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> bool {
        let threads = self.width(&jobs, shared);
        let is_ready = self.share(&jobs, stop);
        let (sender, receiver) = mpsc::sync_channel::<(Job<M>, Vec<LaneReport>)>(2 * threads);
        let next = AtomicUsize::new(0);
        let is_broken = AtomicBool::new(!is_ready);
        let jobs: Vec<std::sync::Mutex<Option<Job<M>>>> =
            jobs.into_iter().map(|job| std::sync::Mutex::new(Some(job))).collect();
        let (mut done, mut done_bytes) = (Vec::new(), 0);
        let this: &CpuTrainer<M> = self;
        this.pool.in_place_scope(|scope| {
            for _ in 0..threads {
                let (sender, jobs, next, is_broken) = (sender.clone(), &jobs, &next, &is_broken);
                scope.spawn(move |_| {
                    while !stop.is_raised() && !is_broken.load(Ordering::Relaxed) {
                        let Some(place) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                        let Some(mut job) = place.lock().ok().and_then(|mut job| job.take()) else { break };
                        let Some(reports) = this.train(&mut job, budget, keep, stop) else {
                            if let Ok(mut place) = place.lock() {
                                *place = Some(job);
                            }
                            break;
                        };
                        job.had = budget;
                        if !keep {
                            job.state = None;
                        }
                        if sender.send((job, reports)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (mut job, reports) in receiver {
                this.drop_without_room(&mut job, &mut done_bytes);
                done.push(job);
                for lane in reports {
                    if report(lane).is_break() {
                        is_broken.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        // What a stop left untouched: trained lanes go back to where they stood.
        let untouched = jobs.into_iter().filter_map(|job| job.into_inner().ok().flatten());
        for job in done {
            self.put_back(job);
        }
        untouched.filter(|job| job.state.is_some()).for_each(|job| self.put_back(job));
        !is_broken.into_inner() && !stop.is_raised()
    }

    /// Trains and scores one group; `None` if it was left because of a stop. Lanes that had been trained before are then
    /// somewhat further, on their way to the same bits; others have not begun.
    fn train(&self, job: &mut Job<M>, budget: u64, keep: bool, stop: &StopFlag) -> Option<Vec<LaneReport>> {
        let began = Instant::now();
        let fold = self.fold(job.fold);
        let is_fresh = job.state.is_none();
        let mut group = job.state.take().unwrap_or_else(|| self.model.start(fold, &job.params));
        let Some(progress) = self.walk_by_turns(fold, job, &mut group, budget, stop) else {
            job.state = Some(group).filter(|_| !is_fresh);
            return None;
        };
        let rows = &self.problem.folds[job.fold];
        let lanes = job.slots.len();
        let train = match self.wants_training_scores && self.model.scores_training_rows() {
            true => self.score(fold, &mut group, 0, &rows.train, lanes),
            false => vec![LaneScore { score: f64::NAN, is_finite: true }; lanes],
        };
        let evals = rows.evals.iter().zip(1..).map(|(eval, set)| self.score(fold, &mut group, set, eval, lanes));
        let evals: Vec<Vec<LaneScore>> = evals.collect();
        let seconds = began.elapsed().as_secs_f64() / lanes as f64;
        let reports = job.slots.iter().zip(progress).enumerate();
        let reports: Option<Vec<LaneReport>> = reports
            .map(|(lane, (&slot, progress))| {
                // Gradients may take as long as training did.
                if self.wants_gradients && stop.is_raised() {
                    return None;
                }
                let is_finite = train[lane].is_finite && evals.iter().all(|scores| scores[lane].is_finite);
                let evals: Vec<f64> = evals.iter().map(|scores| scores[lane].score).collect();
                let status = match (is_finite, progress.is_capped) {
                    (false, _) => LaneStatus::NotFinite,
                    (true, true) => LaneStatus::IterationLimit,
                    (true, false) => LaneStatus::Trained,
                };
                let gradients = match status {
                    LaneStatus::NotFinite => Vec::new(),
                    _ => self.gradients(fold, &group, lane, rows, &evals),
                };
                Some(LaneReport {
                    failure: None,
                    slot,
                    status,
                    train: train[lane].score,
                    evals,
                    others: Vec::new(),
                    used: progress.used,
                    seconds,
                    gradients,
                    state: if keep { self.frozen(job, &group, lane, budget) } else { None },
                })
            })
            .collect();
        job.state = Some(group).filter(|_| reports.is_some() || !is_fresh);
        reports
    }

    /// Advances a group that has had `from` units to its budget, a stride at a time so that a stop is heard.
    fn walk(
        &self,
        fold: &M::Fold,
        group: &mut M::Group,
        from: u64,
        budget: u64,
        stop: &StopFlag,
    ) -> Option<Vec<LaneProgress>> {
        let (mut stride, mut until) = ((budget / FIRST_STRIDE).max(1), from);
        loop {
            until = budget.min(until + stride);
            let began = Instant::now();
            let progress = self.model.advance(self.level, fold, group, until);
            // Lanes that stand before the end of a stride have converged.
            if until == budget || progress.iter().all(|lane| lane.used < until) {
                return Some(progress);
            }
            if stop.is_raised() {
                return None;
            }
            if began.elapsed() < SHORTEST_STRIDE {
                stride *= 2;
            }
        }
    }

    /// The weights of a lane whose state was dropped when it had had so much budget.
    fn trained_again(&self, slot: Slot, fold: usize, params: M::Params, had: u64) -> Weights {
        let never = StopFlag::default();
        let turns = self.turns(&[slot], 0, had);
        let mut job = Job { turns, ..Job::fresh(fold, vec![slot], vec![params]) };
        self.share(std::slice::from_ref(&job), &never);
        let fold = self.fold(job.fold);
        let mut group = self.model.start(fold, &job.params);
        self.walk_by_turns(fold, &mut job, &mut group, had, &never);
        self.model.read_back(fold, &group, 0)
    }
}

impl<M: LaneModel> Trainer for CpuTrainer<M> {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        let mut slots = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let state =
                SlotState::Started { params: self.model.params(points.row(lane.point)), fold: lane.fold, had: 0 };
            slots.push(self.take_slot(state));
        }
        Ok(slots)
    }

    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        let mut left = self.jobs(slots, budget)?;
        self.send_back(&mut left, budget);
        self.make_room(&left);
        let (waves, error) = match self.waves(&left) {
            Ok(waves) => (waves, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        for wave in waves {
            let (jobs, later): (Vec<Job<M>>, Vec<Job<M>>) =
                left.into_iter().partition(|job| wave.folds.contains(&job.fold));
            left = later;
            if wave.is_alone {
                let others = self.folds.iter_mut().enumerate().filter(|(fold, _)| !wave.folds.contains(fold));
                others.for_each(|(_, fold)| *fold = OnceLock::new());
            }
            if !self.run(jobs, wave.bytes, budget, keep, stop, report) {
                break;
            }
        }
        left.into_iter().filter(|job| job.state.is_some()).for_each(|job| self.put_back(job));
        error.map_or(Ok(()), Err)
    }

    fn want_gradients(&mut self, wanted: bool) {
        self.wants_gradients = wanted;
    }

    fn want_states(&mut self, wanted: bool) {
        self.wants_states = wanted;
    }

    fn want_training_scores(&mut self, wanted: bool) {
        self.wants_training_scores = wanted;
    }

    fn thaw(&mut self, slot: Slot, had: u64, state: &[u8]) -> bool {
        self.thaw_slot(slot, had, state)
    }

    fn fork(&mut self, slots: &[Slot]) -> Result<Vec<Slot>, BackendError> {
        self.fork_slots(slots)
    }

    fn turn(&mut self, slots: &[Slot], at: u64, points: &Points) -> Result<(), BackendError> {
        self.turn_slots(slots, at, points)
    }

    fn read_back(&mut self, slot: Slot) -> Result<Weights, BackendError> {
        match self.slots.get(slot.0 as usize) {
            Some(SlotState::Trained { group, lane, fold }) => match self.kept.get(*group) {
                Some(kept) => Ok(self.model.read_back(self.fold(*fold), &kept.state, *lane)),
                None => Err(BackendError::NoSuchSlot(slot.0)),
            },
            Some(SlotState::Started { params, fold, had }) if *had > 0 => {
                Ok(self.trained_again(slot, *fold, params.clone(), *had))
            }
            _ => Err(BackendError::NoSuchSlot(slot.0)),
        }
    }

    fn release(&mut self, slots: &[Slot]) {
        for slot in slots {
            let Some(place) = self.slots.get_mut(slot.0 as usize) else { continue };
            match std::mem::replace(place, SlotState::Free) {
                SlotState::Free => continue,
                SlotState::Trained { group, .. } => self.kept.leave(group),
                SlotState::Started { .. } | SlotState::Spent => {}
            }
            self.recipes.remove(&slot.0);
            self.free_slots.push(slot.0);
        }
    }
}
