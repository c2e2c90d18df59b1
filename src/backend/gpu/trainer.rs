//! The trainer of every model on the GPU: lanes in batches that fit the memory, batches in dispatches that fit the time
//! limit. A batch that ran out of memory is halved; one whose device was lost runs again on a rebuilt one, and one whose
//! driver ended loops before their time in dispatches of half as many ticks.

mod frozen;

use super::Gpu;
use super::kernel::{Kernel, Role};
use super::plan::{GpuPlan, LANE_CUT, LANE_DONE, LANE_LIMIT, LANE_NOT_FINITE, LanePlan, Phase, Progress, Span, words};
use super::runner::{Opening, Runner};
use super::session::{Buffer, Copy, Fault, Pipeline, Session};
use super::slices::Slicer;
use crate::backend::{BackendError, Lane, LaneReport, LaneStatus, Slot, StopFlag, Trainer, Weights};
use crate::space::Points;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Instant;

/// Lanes of a trainer's first batch; after it, batches follow the time they take.
const FIRST_BATCH: usize = 1024;
/// Batches of fewer lanes leave a large GPU idle.
const LEAST_BATCH: usize = 128;
/// A batch aims to take this long, in seconds, so that reports and the stop flag are not far apart.
const BATCH_SECONDS: Range<f64> = 1.0..5.0;

/// A model opened on a GPU.
pub struct GpuTrainer<P> {
    gpu: Gpu,
    plan: P,
    resident: Option<Resident>,
    slots: BTreeMap<u32, SlotState>,
    next_slot: u32,
    wants_states: bool,
    /// Bytes that a batch may take; halved when memory runs out.
    batch_bytes: u64,
    /// Lanes that a batch may have, by the time that batches take.
    batch_lanes: usize,
    most_ticks: MostTicks,
    /// Devices lost so far, and how many of them since the last whole batch.
    losses: usize,
    losses_in_a_row: usize,
}

/// Ticks that a dispatch of each phase may have; halved when the driver ended loops before their time.
struct MostTicks {
    train: u64,
    score: u64,
}

#[derive(Clone)]
struct SlotState {
    fold: usize,
    /// As it is trained at its beginning.
    first: LanePlan,
    /// As it is trained from so many units of budget on; ascending.
    turns: Vec<(u64, LanePlan)>,
    /// Units of budget done.
    done: u64,
    /// Seconds of training since it was last reported.
    seconds: f64,
    /// Units that were done and kept before a loss took them.
    lost: u64,
    home: Option<Home>,
}

impl SlotState {
    /// As it is trained where it stands.
    fn lane(&self) -> &LanePlan {
        let turn = self.turns.iter().rev().find(|(at, _)| *at <= self.done);
        turn.map_or(&self.first, |(_, lane)| lane)
    }

    /// Units of budget done, and how far it can be trained towards a budget before it turns.
    fn span(&self, budget: u64) -> (u64, u64) {
        let turn = self.turns.iter().map(|(at, _)| *at).find(|at| *at > self.done);
        (self.done, turn.map_or(budget, |at| at.min(budget)))
    }
}

/// Where a kept lane's state lies.
#[derive(Clone)]
struct Home {
    state: Arc<Buffer>,
    word: u32,
    progress: Progress,
}

/// What stays on one device between batches.
pub(super) struct Resident {
    pub(super) session: Arc<Session>,
    pub(super) shared: Vec<Buffer>,
    pub(super) prepared: Vec<Buffer>,
    pub(super) opening: Opening,
    pub(super) span: Buffer,
    pub(super) window: Buffer,
    pub(super) window_units: Range<u64>,
    pub(super) train: Vec<Arc<Pipeline>>,
    pub(super) score: Vec<Arc<Pipeline>>,
}

/// The buffers of one batch.
pub(super) struct Batch {
    pub(super) lanes: Buffer,
    pub(super) progress: Buffer,
    pub(super) state: Arc<Buffer>,
    pub(super) results: Buffer,
    /// Where each lane's state and results start, in words.
    pub(super) places: Vec<(u32, u32)>,
    pub(super) state_words: u32,
    pub(super) result_words: u32,
}

/// A lane that was trained and scored.
struct Scored {
    slot: u32,
    report: LaneReport,
    home: Option<Home>,
}

impl<P: GpuPlan> GpuTrainer<P> {
    /// Opens a plan: compiles its kernels and uploads its shared data.
    pub fn open(gpu: &Gpu, plan: P) -> Result<GpuTrainer<P>, BackendError> {
        let mut trainer = GpuTrainer {
            gpu: gpu.clone(),
            plan,
            resident: None,
            slots: BTreeMap::new(),
            next_slot: 0,
            wants_states: false,
            batch_bytes: gpu.batch_bytes(),
            batch_lanes: FIRST_BATCH,
            most_ticks: MostTicks { train: u64::MAX, score: u64::MAX },
            losses: 0,
            losses_in_a_row: 0,
        };
        while let Err(fault) = trainer.settle() {
            match fault {
                Fault::Lost(reason) => trainer.recover(reason)?,
                fault => return Err(gpu.error(fault)),
            }
        }
        Ok(trainer)
    }

    /// Makes kernels and shared data resident on the present device.
    fn settle(&mut self) -> Result<(), Fault> {
        let session = self.gpu.session();
        let shared = self.plan.shared();
        let shared = shared.iter().map(|array| {
            session.fits("the data", 4 * array.len() as u64)?;
            session.upload("shared", array)
        });
        let shared = shared.collect::<Result<Vec<_>, _>>()?;
        let prepared = self.plan.prepared().into_iter().map(|words| {
            let bytes = session.fits("what all lanes share", words.saturating_mul(4))?;
            session.storage("prepared", bytes)
        });
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let prologue = self.plan.prologue();
        let pipelines = prologue.iter().map(|pass| session.pipeline(&pass.kernel)).collect::<Result<Vec<_>, _>>()?;
        let compile = |kernels: &[Kernel]| -> Result<Vec<_>, Fault> {
            kernels.iter().map(|kernel| session.pipeline(kernel)).collect()
        };
        self.resident = Some(Resident {
            shared,
            prepared,
            opening: Opening::new(prologue, pipelines),
            span: session.uniform("span", size_of::<Span>() as u64)?,
            window: session.storage("window", 4)?,
            window_units: 0..0,
            train: compile(self.plan.kernels(Phase::Train))?,
            score: compile(self.plan.kernels(Phase::Score))?,
            session,
        });
        Ok(())
    }

    /// After a loss: a new device, and every kept lane back to its start. An equal second training gives equal bits.
    fn recover(&mut self, reason: String) -> Result<(), BackendError> {
        self.losses_in_a_row += 1;
        if self.losses_in_a_row > 1 {
            return Err(self.gpu.failed(format!("it was lost twice in a row: {reason}")));
        }
        self.resident = None;
        self.forget(|_| true);
        self.slots.values_mut().for_each(|slot| slot.done = 0);
        self.losses += 1;
        self.gpu.rebuild(self.losses)?;
        Ok(())
    }

    /// Sends kept lanes back to their start; whether there were any.
    fn forget(&mut self, which: impl Fn(u32) -> bool) -> bool {
        let mut any = false;
        for (_, slot) in self.slots.iter_mut().filter(|(slot, state)| state.home.is_some() && which(**slot)) {
            (slot.home, slot.lost, slot.done, any) = (None, slot.done, 0, true);
        }
        any
    }

    /// Bytes of the states that are kept. A batch's buffer stays as long as one of its lanes does, so that it may be more.
    fn kept_bytes(&self) -> u64 {
        self.slots.values().filter(|slot| slot.home.is_some()).map(|slot| slot.lane().bytes()).sum()
    }

    /// The next batch: lanes from the front of the queue at the same unit that can be trained as far, as many as fit, longest
    /// first.
    fn next_batch(&self, waiting: &VecDeque<u32>, budget: u64) -> Vec<u32> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for slot in waiting {
            let Some(state) = self.slots.get(slot) else { break };
            bytes += state.lane().bytes();
            let fits = bytes <= self.batch_bytes
                && batch.len() < self.batch_lanes
                && Some(state.span(budget)) == self.span(&batch, budget);
            if !batch.is_empty() && !fits {
                break;
            }
            batch.push(*slot);
        }
        // Longest first: the last workgroups to start are the shortest, so that no long one runs on alone.
        let cost = |slot: &u32| self.slots.get(slot).map_or(0.0, |state| state.lane().cost);
        batch.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then(a.cmp(b)));
        batch
    }

    /// Units of budget done by the lanes of a batch, and to which they are trained: all of them the same.
    fn span(&self, batch: &[u32], budget: u64) -> Option<(u64, u64)> {
        batch.first().and_then(|slot| self.slots.get(slot)).map(|state| state.span(budget))
    }

    /// Makes the device ready for a batch, with all that lanes share on it; false when the stop flag was raised before.
    fn make_ready(&mut self, stop: &StopFlag) -> Result<bool, Fault> {
        if self.resident.is_none() {
            self.settle()?;
        }
        self.resident.as_mut().map_or(Ok(false), |resident| resident.open(stop, &self.gpu.options().provoked))
    }

    /// Trains and scores one batch; `None` when the stop flag was raised before its end. Of lanes that turn where it ends, and
    /// go on, nobody asks what they score there.
    fn run_batch(
        &mut self,
        slots: &[u32],
        budget: u64,
        keep: bool,
        turns: bool,
        stop: &StopFlag,
    ) -> Result<Option<Vec<Scored>>, Fault> {
        let start = Instant::now();
        let Some(resident) = self.resident.as_mut() else { return Err(Fault::Failed("no device".to_owned())) };
        let lanes: Vec<(u32, &SlotState)> =
            slots.iter().filter_map(|slot| Some((*slot, self.slots.get(slot)?))).collect();
        let batch = Batch::lay_out(&resident.session, &lanes)?;
        let lead_in = self.plan.lead_in();
        let done = lanes.first().map_or(0, |(_, state)| state.done);
        let from = if done == 0 { 0 } else { done + lead_in };
        let until = budget.max(done).saturating_add(lead_in);
        let slicer = |most_ticks| Slicer::new(lanes.len() as u64, most_ticks, &self.gpu.options().provoked);
        let largest = (Phase::Train, 0);
        let mut runner = Runner { resident, batch: &batch, plan: &self.plan, budget: until, stop, largest };
        let ran = match runner.train(from..until, slicer(self.most_ticks.train)) {
            Ok(true) if !turns => runner.score(slicer(self.most_ticks.score)),
            ran => ran,
        };
        let largest = runner.largest;
        let session = &resident.session;
        let progress =
            ran.and_then(|is_whole| if is_whole { batch.read_progress(session).map(Some) } else { Ok(None) });
        if let Err(Fault::LoopsCut) = progress {
            match largest {
                (Phase::Train, ticks) => self.most_ticks.train = ticks / 2,
                (Phase::Score, ticks) => self.most_ticks.score = ticks / 2,
            }
        }
        let Some(progress) = progress? else { return Ok(None) };
        let results = session.read(&batch.results, 0, batch.result_words as usize)?;
        let frozen = if keep && !turns && self.wants_states { batch.read_states(session)? } else { None };
        let all: f64 = lanes.iter().map(|(_, state)| state.lane().cost).sum();
        let seconds = start.elapsed().as_secs_f64() / all.max(f64::MIN_POSITIVE);
        let scored = lanes.iter().zip(&batch.places).zip(progress).map(|(((slot, state), place), progress)| {
            let results = &results[place.1 as usize..][..state.lane().result_words as usize];
            let (train, evals) = self.plan.scores(state.fold, results);
            let dead = progress.status == LANE_NOT_FINITE;
            let words = frozen.as_ref().and_then(|words| {
                let first = place.0 as usize;
                words.get(first..first + state.lane().state_words as usize)
            });
            let status = match progress.status {
                LANE_NOT_FINITE => LaneStatus::NotFinite,
                LANE_LIMIT => LaneStatus::IterationLimit,
                LANE_DONE => LaneStatus::Trained,
                _ => self.plan.status_at_budget(),
            };
            let report = LaneReport {
                failure: None,
                gradients: Vec::new(),
                state: words.map(|words| frozen::to_bytes::<P>(state.fold, budget.max(done), progress, words)),
                slot: Slot(*slot),
                status,
                train: if dead { f64::NAN } else { train },
                evals: if dead { vec![f64::NAN; evals.len()] } else { evals },
                others: Vec::new(),
                used: u64::from(progress.unit).saturating_sub(lead_in),
                seconds: seconds * state.lane().cost,
            };
            let home = (keep || turns).then(|| Home { state: batch.state.clone(), word: place.0, progress });
            Scored { slot: *slot, report, home }
        });
        Ok(Some(scored.collect()))
    }

    /// Trains a kept lane again that a loss sent back to its start.
    fn restore(&mut self, slot: Slot) -> Result<(), BackendError> {
        match self.slots.get(&slot.0) {
            Some(state @ SlotState { home: None, lost: budget @ 1.., .. }) => {
                let (budget, bytes) = (*budget, state.lane().bytes());
                // It must not be the one that has no room.
                if self.kept_bytes().saturating_add(bytes) > self.gpu.kept_bytes() {
                    self.forget(|_| true);
                }
                self.advance(&[slot], budget, true, &StopFlag::default(), &mut |_| ControlFlow::Continue(()))
            }
            _ => Ok(()),
        }
    }

    /// The words of a kept lane's state; the outer error where there is none.
    fn read_state(&self, slot: Slot) -> Result<Result<Vec<u32>, Fault>, BackendError> {
        let kept = self.slots.get(&slot.0).and_then(|state| Some((state.home.as_ref()?, state.lane())));
        let (Some((home, lane)), Some(resident)) = (kept, &self.resident) else {
            return Err(BackendError::NoSuchSlot(slot.0));
        };
        Ok(resident.session.read(&home.state, u64::from(home.word), lane.state_words as usize))
    }

    fn take_slot(&mut self, state: SlotState) -> Slot {
        self.slots.insert(self.next_slot, state);
        self.next_slot += 1;
        Slot(self.next_slot - 1)
    }

    /// Lets the number of lanes follow the time that batches take.
    fn adapt(&mut self, seconds: f64, lanes: usize) {
        if seconds > BATCH_SECONDS.end {
            self.batch_lanes = (lanes / 2).max(LEAST_BATCH);
        } else if seconds < BATCH_SECONDS.start && lanes == self.batch_lanes {
            self.batch_lanes *= 2;
        }
    }
}

impl<P: GpuPlan> Trainer for GpuTrainer<P> {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        let mut slots = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let plan = self.plan.lane(points.row(lane.point), lane.fold);
            let bytes = plan.bytes();
            let (need_mib, limit_mib) = (bytes.div_ceil(1 << 20), self.gpu.batch_bytes() >> 20);
            if bytes > self.gpu.batch_bytes() && self.gpu.options().memory == self.gpu.batch_bytes() {
                return Err(BackendError::OutOfMemory { need_mib, limit_mib });
            }
            if bytes > self.gpu.batch_bytes() {
                return Err(self.gpu.too_small(format!(
                    "one lane takes {need_mib} MiB of state, one binding may hold {limit_mib} MiB"
                )));
            }
            let state = SlotState {
                fold: lane.fold,
                first: plan,
                turns: Vec::new(),
                done: 0,
                seconds: 0.0,
                lost: 0,
                home: None,
            };
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
        if let Some(unknown) = slots.iter().find(|slot| !self.slots.contains_key(&slot.0)) {
            return Err(BackendError::NoSuchSlot(unknown.0));
        }
        let called: BTreeSet<u32> = slots.iter().map(|slot| slot.0).collect();
        if self.kept_bytes() > self.gpu.kept_bytes() {
            self.forget(|slot| !called.contains(&slot));
        }
        let mut waiting: VecDeque<u32> = slots.iter().map(|slot| slot.0).collect();
        // Lanes at the same unit that can be trained as far lie together. The sort is stable: whatever a loss sets back is in
        // order too.
        let span = |slot: &u32| self.slots.get(slot).map_or((0, 0), |state| state.span(budget));
        waiting.make_contiguous().sort_by_key(span);
        while !waiting.is_empty() && !stop.is_raised() {
            let ready = self.make_ready(stop);
            let batch = self.next_batch(&waiting, budget);
            let until = self.span(&batch, budget).map_or(budget, |(_, until)| until);
            let start = Instant::now();
            let ran = ready.and_then(|ready| match ready {
                true => self.run_batch(&batch, until, keep, until < budget, stop),
                false => Ok(None),
            });
            match ran {
                Ok(None) => return Ok(()),
                Ok(Some(scored)) => {
                    self.losses_in_a_row = 0;
                    self.adapt(start.elapsed().as_secs_f64(), batch.len());
                    waiting.drain(..batch.len());
                    if until < budget {
                        // They turn, and go on from where they stand.
                        for Scored { slot, report, home } in scored {
                            if let Some(state) = self.slots.get_mut(&slot) {
                                (state.done, state.lost, state.home) = (until, 0, home);
                                state.seconds += report.seconds;
                            }
                            waiting.push_back(slot);
                        }
                        let span = |slot: &u32| self.slots.get(slot).map_or((0, 0), |state| state.span(budget));
                        waiting.make_contiguous().sort_by_key(span);
                        continue;
                    }
                    let mut flow = ControlFlow::Continue(());
                    for Scored { slot, report: mut lane_report, home } in scored {
                        if let Some(state) = self.slots.get_mut(&slot) {
                            lane_report.seconds += std::mem::take(&mut state.seconds);
                            state.done = if home.is_some() { budget.max(state.done) } else { 0 };
                            state.lost = 0;
                            state.home = home;
                        }
                        // The batch is whole: each of its lanes is reported, even if the first report ends the run.
                        if report(lane_report).is_break() {
                            flow = ControlFlow::Break(());
                        }
                    }
                    if self.kept_bytes() > self.gpu.kept_bytes() {
                        let waits: BTreeSet<u32> = waiting.iter().copied().collect();
                        self.forget(|slot| !waits.contains(&slot));
                    }
                    if flow.is_break() {
                        return Ok(());
                    }
                }
                // First what is kept and does not wait makes room, then the batch becomes smaller, then what waits begins anew.
                Err(Fault::OutOfMemory(_)) if self.forget(|slot| !waiting.contains(&slot)) => {}
                Err(Fault::OutOfMemory(_)) if batch.len() <= 1 && self.forget(|slot| !batch.contains(&slot)) => {}
                Err(Fault::OutOfMemory(reason)) if batch.len() <= 1 => {
                    return Err(self.gpu.too_small(reason));
                }
                Err(Fault::OutOfMemory(_)) => {
                    let bytes = batch.iter().filter_map(|slot| self.slots.get(slot)).map(|state| state.lane().bytes());
                    self.batch_bytes = bytes.sum::<u64>() / 2;
                }
                Err(Fault::LoopsCut) if self.most_ticks.train > 0 && self.most_ticks.score > 0 => {}
                Err(Fault::Lost(reason)) => self.recover(reason)?,
                Err(fault) => return Err(self.gpu.error(fault)),
            }
        }
        Ok(())
    }

    fn want_states(&mut self, wanted: bool) {
        self.wants_states = wanted;
    }

    fn thaw(&mut self, slot: Slot, had: u64, state: &[u8]) -> bool {
        self.thaw_slot(slot, had, state)
    }

    fn fork(&mut self, slots: &[Slot]) -> Result<Vec<Slot>, BackendError> {
        let fork = |slot: &Slot| {
            // The state itself is copied when the fork goes on.
            let state = self.slots.get(&slot.0).ok_or(BackendError::NoSuchSlot(slot.0))?.clone();
            Ok(self.take_slot(state))
        };
        slots.iter().map(fork).collect()
    }

    fn turn(&mut self, slots: &[Slot], at: u64, points: &Points) -> Result<(), BackendError> {
        for (slot, row) in slots.iter().zip(points.rows()) {
            let state = self.slots.get_mut(&slot.0).ok_or(BackendError::NoSuchSlot(slot.0))?;
            let lane = self.plan.lane(row, state.fold);
            // Whatever changes on the way leaves the state as it is laid out.
            if (lane.state_words, lane.result_words) != (state.first.state_words, state.first.result_words) {
                return Err(BackendError::Unforkable);
            }
            state.turns.push((at, lane));
        }
        Ok(())
    }

    fn read_back(&mut self, slot: Slot) -> Result<Weights, BackendError> {
        self.restore(slot)?;
        let read = match self.read_state(slot)? {
            Err(Fault::Lost(reason)) => {
                self.recover(reason)?;
                self.restore(slot)?;
                self.read_state(slot)?
            }
            read => read,
        };
        let state = self.slots.get(&slot.0).ok_or(BackendError::NoSuchSlot(slot.0))?;
        let words = read.map_err(|fault| self.gpu.error(fault))?;
        self.plan.checked_weights(&state.lane().descriptor, &words).map_err(|reason| self.gpu.failed(reason))
    }

    fn release(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.slots.remove(&slot.0);
        }
    }
}

impl Resident {
    /// What a binding is filled with that does not depend on a batch.
    pub(super) fn buffer(&self, role: Role) -> Option<&Buffer> {
        match role {
            Role::Span => Some(&self.span),
            Role::Window => Some(&self.window),
            Role::Shared(index) => self.shared.get(index),
            Role::Prepare(index) | Role::Prepared(index) => self.prepared.get(index),
            Role::Lanes | Role::Progress | Role::State | Role::Results => None,
        }
    }
}

impl Batch {
    fn lay_out(session: &Session, lanes: &[(u32, &SlotState)]) -> Result<Batch, Fault> {
        // A batch fits one binding, so its words are far from 2^32; one lane does because `start` refuses larger ones.
        let (mut state_words, mut result_words) = (0u32, 0u32);
        let mut places = Vec::with_capacity(lanes.len());
        let mut descriptors = Vec::new();
        let mut progress = Vec::new();
        for (_, state) in lanes {
            places.push((state_words, result_words));
            let placed = [state_words, result_words];
            descriptors.extend_from_slice(&placed);
            descriptors.extend_from_slice(state.lane().descriptor.get(placed.len()..).unwrap_or_default());
            progress.extend(words(&state.home.as_ref().map_or_else(Progress::default, |home| home.progress)));
            state_words += state.lane().state_words as u32;
            result_words += state.lane().result_words as u32;
        }
        let batch = Batch {
            lanes: session.upload("lanes", &descriptors)?,
            progress: session.upload("progress", &progress)?,
            state: Arc::new(session.storage("state", 4 * u64::from(state_words))?),
            results: session.storage("results", 4 * u64::from(result_words))?,
            places,
            state_words,
            result_words,
        };
        session.clear(&batch.results)?;
        let copies: Vec<_> = lanes
            .iter()
            .zip(&batch.places)
            .filter_map(|((_, state), place)| {
                let home = state.home.as_ref()?;
                let words = state.lane().state_words as u32;
                Some(Copy { from: &home.state, from_word: home.word, to: &batch.state, to_word: place.0, words })
            })
            .collect();
        session.copy(&copies)?;
        Ok(batch)
    }

    pub(super) fn read_progress(&self, session: &Session) -> Result<Vec<Progress>, Fault> {
        let words = session.read(&self.progress, 0, self.places.len() * size_of::<Progress>() / 4)?;
        let progress: Vec<Progress> = bytemuck::pod_collect_to_vec(&words);
        match progress.iter().any(|lane| lane.status == LANE_CUT) {
            true => Err(Fault::LoopsCut),
            false => Ok(progress),
        }
    }
}
