//! The trainer of a pipeline whose budgets count training rows. On a rung a lane is a whole training on a subset of its fold's
//! rows, and on the next one another training on more of them: there is nothing to go on from. Preparation is fitted on the
//! subset too, and with all rows a lane has the bits that it would have without rungs.
//!
//! Each rung is a trainer of its own, opened when its first lane comes.

use super::objective::Models;
use super::pipeline::Pipeline;
use crate::backend::cpu::memory_limit;
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::base::random::Key;
use crate::data::prepare::PrepareOptions;
use crate::data::splits::Subsets;
use crate::data::{Fold, Input, Problem};
use crate::space::Points;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, Weak};

/// Folds with some of their training rows, prepared: once for all pipelines that prepare alike, as long as one of them needs them.
pub(super) struct Cuts<'a> {
    models: &'a Models,
    subsets: &'a Subsets,
    /// The study's.
    key: Key,
    made: Mutex<Vec<Made>>,
}

struct Made {
    input: Input,
    prepare: PrepareOptions,
    budget: u64,
    folds: Vec<Weak<Fold>>,
}

impl<'a> Cuts<'a> {
    /// Of models that schedulers give rows; `None` of others.
    pub(super) fn of(models: &'a Models, key: Key) -> Option<Arc<Cuts<'a>>> {
        let subsets = models.subsets.as_ref()?;
        Some(Arc::new(Cuts { models, subsets, key, made: Mutex::new(Vec::new()) }))
    }

    /// The folds of `whole` with as many of their training rows as a budget says.
    fn problem(&self, pipeline: &Pipeline, budget: u64, whole: &Problem) -> Result<Problem, BackendError> {
        let (input, prepare) = (pipeline.model.input(), pipeline.prepare);
        let is_same = |made: &&Made| made.input == input && made.prepare == prepare && made.budget == budget;
        // Who panicked while it held the list cannot have left half an entry.
        let mut made = self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        made.retain(|made| made.folds.iter().all(|fold| fold.strong_count() > 0));
        let known = made.iter().find(is_same).and_then(|made| made.folds.iter().map(Weak::upgrade).collect());
        let folds: Vec<Arc<Fold>> = match known {
            Some(folds) => folds,
            None => {
                let cut = self.models.cut_folds(pipeline, self.subsets, budget, self.key);
                let folds = cut.map_err(|error| BackendError::Unsuited {
                    model: pipeline.model.name(),
                    reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
                    // The key counts what several models have in common.
                    alternative: format!(
                        "Begin with more rows: --set search.min_budget={}",
                        self.models.pipelines.beyond(budget, pipeline)
                    ),
                })?;
                let weak = folds.iter().map(Arc::downgrade).collect();
                made.push(Made { input, prepare, budget, folds: weak });
                folds
            }
        };
        Ok(Problem { folds, ..whole.clone() })
    }
}

/// Opens a trainer on a problem.
pub(super) type Opener<'a> = Box<dyn Fn(Arc<Problem>) -> Result<Box<dyn Trainer>, BackendError> + Send + 'a>;

/// A lane in its slot: it has no state but where it stands with all of its rows.
struct RowLane {
    point: Vec<f64>,
    fold: usize,
    /// The budget that it was last trained with.
    had: Option<u64>,
    /// Its slot in the trainer of all rows, where it was kept there.
    kept: Option<Slot>,
}

struct Rung {
    budget: u64,
    trainer: Box<dyn Trainer>,
    /// Prepared numbers of its folds.
    numbers: usize,
}

/// A trainer for each rung, behind one set of slots.
pub(super) struct RowsTrainer<'a> {
    pipeline: &'a Pipeline,
    whole: Arc<Problem>,
    cuts: Arc<Cuts<'a>>,
    opener: Opener<'a>,
    /// The full budget: the training rows of the smallest fold.
    full: u64,
    /// Open rungs; the one that trained last comes last.
    open: Vec<Rung>,
    /// Prepared numbers that the rungs below the last may hold together; none where memory is limited, as each open trainer
    /// takes what it is allowed.
    room: usize,
    wants_gradients: bool,
    slots: Vec<Option<RowLane>>,
    free: Vec<u32>,
}

impl<'a> RowsTrainer<'a> {
    /// A trainer of lanes on `whole` and on subsets of its training rows. Where `is_roomy`, rungs stay open beside each other
    /// until they hold as many rows as all of the folds do, or half of the memory that is free.
    pub(super) fn open(
        pipeline: &'a Pipeline,
        whole: Arc<Problem>,
        cuts: Arc<Cuts<'a>>,
        opener: Opener<'a>,
        is_roomy: bool,
    ) -> Result<RowsTrainer<'a>, BackendError> {
        let free = (memory_limit(0) / size_of::<f32>() as u64) as usize;
        let room = if is_roomy { numbers(&whole).min(free) } else { 0 };
        let (full, wants_gradients) = (cuts.subsets.full(), false);
        let (open, slots, free) = (Vec::new(), Vec::new(), Vec::new());
        let mut trainer = RowsTrainer { pipeline, whole, cuts, opener, full, open, room, wants_gradients, slots, free };
        // What is too large for a device shows now.
        trainer.rung(full)?;
        Ok(trainer)
    }

    fn lane(&self, slot: Slot) -> Result<&RowLane, BackendError> {
        self.slots.get(slot.0 as usize).and_then(Option::as_ref).ok_or(BackendError::NoSuchSlot(slot.0))
    }

    /// The trainer of a rung.
    fn rung(&mut self, budget: u64) -> Result<&mut dyn Trainer, BackendError> {
        let rung = match self.open.iter().position(|rung| rung.budget == budget) {
            Some(place) => self.open.remove(place),
            None => self.opened(budget)?,
        };
        self.open.push(rung);
        match self.open.last_mut() {
            Some(rung) => Ok(rung.trainer.as_mut()),
            None => unreachable!("a rung was pushed"),
        }
    }

    fn opened(&mut self, budget: u64) -> Result<Rung, BackendError> {
        let problem = match budget == self.full {
            true => self.whole.clone(),
            false => Arc::new(self.cuts.problem(self.pipeline, budget, &self.whole)?),
        };
        let numbers = numbers(&problem);
        self.close(self.room.saturating_sub(numbers));
        let mut trainer = match (self.opener)(problem.clone()) {
            // Beside no other rung it may fit.
            Err(_) if !self.open.is_empty() => {
                self.close(0);
                (self.opener)(problem)?
            }
            opened => opened?,
        };
        if self.wants_gradients {
            trainer.want_gradients(true);
        }
        Ok(Rung { budget, trainer, numbers })
    }

    /// Closes rungs, those first that trained longest ago, until no more than so many numbers are held below the last rung. That
    /// one's rows are there anyway; where nothing may be held, it is closed too, unless lanes stand on it.
    fn close(&mut self, most: usize) {
        let stands = self.slots.iter().flatten().any(|lane| lane.kept.is_some());
        let full = self.full;
        let mut held: usize = self.open.iter().filter(|rung| rung.budget < full).map(|rung| rung.numbers).sum();
        self.open.retain(|rung| match (rung.budget == full, held > most) {
            (true, _) => stands || most > 0,
            (false, true) => {
                held -= rung.numbers;
                false
            }
            (false, false) => true,
        });
    }

    /// The points of some lanes, each once where neighbours share it, and the lanes on them.
    fn gather(&self, slots: &[Slot]) -> Result<(Points, Vec<Lane>), BackendError> {
        let mut points = Points::new(self.pipeline.space.parameters.len());
        let mut lanes = Vec::with_capacity(slots.len());
        let mut last: Option<&[f64]> = None;
        let is_same = |a: &[f64], b: &[f64]| a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()));
        for slot in slots {
            let lane = self.lane(*slot)?;
            if !last.is_some_and(|last| is_same(last, &lane.point)) {
                points.push(&lane.point);
                last = Some(&lane.point);
            }
            lanes.push(Lane { point: points.len() - 1, fold: lane.fold });
        }
        Ok((points, lanes))
    }

    /// Lets go of what lanes have kept of a training on all rows.
    fn drop_kept(&mut self, slots: &[Slot]) {
        let mut take = |slot: &Slot| self.slots.get_mut(slot.0 as usize)?.as_mut()?.kept.take();
        let kept: Vec<Slot> = slots.iter().filter_map(&mut take).collect();
        if let Some(rung) = self.open.iter_mut().find(|rung| rung.budget == self.full).filter(|_| !kept.is_empty()) {
            rung.trainer.release(&kept);
        }
    }
}

/// Prepared numbers of a problem's folds.
fn numbers(problem: &Problem) -> usize {
    problem.folds.iter().flat_map(|fold| fold.row_sets()).map(|rows| rows.x.len()).sum()
}

impl Trainer for RowsTrainer<'_> {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        let mut slots = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let lane = RowLane { point: points.row(lane.point).to_vec(), fold: lane.fold, had: None, kept: None };
            slots.push(match self.free.pop() {
                Some(free) => {
                    self.slots[free as usize] = Some(lane);
                    Slot(free)
                }
                None => {
                    self.slots.push(Some(lane));
                    Slot(self.slots.len() as u32 - 1)
                }
            });
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
        let rung = budget.clamp(1, self.full.max(1));
        // On a rung there is nothing to keep.
        let keep = keep && rung == self.full;
        let (points, lanes) = self.gather(slots)?;
        self.drop_kept(slots);
        let whole = self.whole.budget;
        let trainer = self.rung(rung)?;
        let inner = trainer.start(&points, &lanes)?;
        let mut places: Vec<(Slot, Slot)> = inner.iter().copied().zip(slots.iter().copied()).collect();
        places.sort_unstable();
        let mut done: Vec<(Slot, Slot)> = Vec::new();
        let advanced = trainer.advance(&inner, whole, keep, stop, &mut |lane| {
            let Ok(place) = places.binary_search_by_key(&lane.slot, |(inner, _)| *inner) else {
                return ControlFlow::Continue(());
            };
            done.push(places[place]);
            report(LaneReport { slot: places[place].1, ..lane })
        });
        done.sort_unstable();
        let is_spent = |slot: &&Slot| !keep || done.binary_search_by_key(*slot, |(inner, _)| *inner).is_err();
        let spent: Vec<Slot> = inner.iter().filter(is_spent).copied().collect();
        trainer.release(&spent);
        for (inner, outer) in done {
            if let Some(Some(lane)) = self.slots.get_mut(outer.0 as usize) {
                (lane.had, lane.kept) = (Some(rung), keep.then_some(inner));
            }
        }
        advanced
    }

    fn want_gradients(&mut self, wanted: bool) {
        self.wants_gradients = wanted;
        self.open.iter_mut().for_each(|rung| rung.trainer.want_gradients(wanted));
    }

    fn read_back(&mut self, slot: Slot) -> Result<Weights, BackendError> {
        let lane = self.lane(slot)?;
        let (kept, Some(had)) = (lane.kept, lane.had) else { return Err(BackendError::NoSuchSlot(slot.0)) };
        if let Some(kept) = kept {
            return self.rung(had)?.read_back(kept);
        }
        // An equal second training gives equal bits.
        let (points, lanes) = self.gather(&[slot])?;
        let whole = self.whole.budget;
        let trainer = self.rung(had)?;
        let again = trainer.start(&points, &lanes)?;
        let advanced = trainer.advance(&again, whole, true, &StopFlag::default(), &mut |_| ControlFlow::Continue(()));
        let weights = advanced.and_then(|()| match again.first() {
            Some(again) => trainer.read_back(*again),
            None => Err(BackendError::NoSuchSlot(slot.0)),
        });
        trainer.release(&again);
        weights
    }

    fn release(&mut self, slots: &[Slot]) {
        self.drop_kept(slots);
        for slot in slots {
            if self.slots.get_mut(slot.0 as usize).and_then(Option::take).is_some() {
                self.free.push(slot.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::StudyConfig;
    use crate::study::backend::{Backend, Opened};
    use crate::study::resolve::Study;
    use std::path::Path;

    /// Ridge on two numbers that tell two kinds apart, sixty rows of each fold of three.
    fn study(folder: &Path, sets: &[&str]) -> Study {
        let rows: String = (0..90).map(|row| format!("{},{},k{}\n", row % 7, row * row % 11, row % 2)).collect();
        let file = folder.join("data.csv");
        std::fs::write(&file, format!("a,b,kind\n{rows}")).unwrap();
        let common = ["model.name=ridge", "data.test=0.0", "validate.folds=3", "run.backend=cpu"];
        let sets: Vec<String> = common.iter().chain(sets).map(|set| (*set).to_owned()).collect();
        Study::resolve(StudyConfig::for_table(&file, "kind", &sets).unwrap()).unwrap()
    }

    fn opened(study: &Study) -> Box<dyn Trainer + '_> {
        let problems = study.objective.models().unwrap().problems(study.key).unwrap();
        let Opened { trainer, .. } = Backend::open_with_trainer(study, &study.dir, problems).unwrap();
        trainer
    }

    /// The default's lane on each fold.
    fn started(study: &Study, trainer: &mut dyn Trainer) -> Vec<Slot> {
        let mut points = Points::new(study.space.parameters.len());
        points.push(&study.space.defaults());
        trainer.start(&points, &[0, 1, 2].map(|fold| Lane { point: 0, fold })).unwrap()
    }

    fn advanced(trainer: &mut dyn Trainer, slots: &[Slot], budget: u64) -> Vec<u64> {
        let mut scores = vec![0; slots.len()];
        let mut report = |report: LaneReport| {
            let place = slots.iter().position(|slot| *slot == report.slot).unwrap();
            scores[place] = report.evals[0].to_bits();
            ControlFlow::Continue(())
        };
        trainer.advance(slots, budget, true, &StopFlag::default(), &mut report).unwrap();
        scores
    }

    #[test]
    fn more_rows_are_asked_for_in_the_unit_of_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let both = ["model.name=[\"ridge\", \"mlp\"]", "model.budget={ mlp = 90 }", "search.scheduler=halving"];
        let study = study(folder.path(), &both);
        let pipelines = &study.objective.models().unwrap().pipelines;
        assert_eq!((study.budget, pipelines.first().counted()), (90, 60));
        assert_eq!(pipelines.beyond(20, pipelines.first()), 31, "of 90 units 31 are 21 of 60 rows, and 30 are 20");
        for pipeline in pipelines.iter() {
            for share in 1..pipeline.counted() {
                let more = pipelines.beyond(share, pipeline);
                assert!(pipelines.share(more, pipeline) > share && pipelines.share(more - 1, pipeline) <= share);
            }
        }
    }

    #[test]
    fn a_lane_s_weights_are_those_of_the_rows_that_it_had_last() {
        let folder = tempfile::tempdir().unwrap();
        // With memory limited one rung is open at a time, so that what is read back is trained again.
        for memory in ["run.memory=0", "run.memory=64"] {
            let whole = study(folder.path(), &[memory]);
            let mut trainer = opened(&whole);
            let slots = started(&whole, trainer.as_mut());
            let (all, scores) = (slots.clone(), advanced(trainer.as_mut(), &slots, 1));
            let weights: Vec<Weights> = all.iter().map(|slot| trainer.read_back(*slot).unwrap()).collect();

            let by_rows = study(folder.path(), &[memory, "search.scheduler=halving", "search.eta=2"]);
            assert_eq!(by_rows.budget, 60);
            let mut trainer = opened(&by_rows);
            let slots = started(&by_rows, trainer.as_mut());
            assert!(matches!(trainer.read_back(slots[0]), Err(BackendError::NoSuchSlot(_))), "nothing is trained yet");
            let half = advanced(trainer.as_mut(), &slots, 30);
            let of_half: Vec<Weights> = slots.iter().map(|slot| trainer.read_back(*slot).unwrap()).collect();
            assert!(half != scores && of_half != weights);
            // There and back: a lane stands on all rows while another rung is trained.
            assert_eq!(advanced(trainer.as_mut(), &slots, 60), scores, "{memory}");
            let others = started(&by_rows, trainer.as_mut());
            assert_eq!(advanced(trainer.as_mut(), &others, 30), half, "{memory}");
            let read: Vec<Weights> = slots.iter().map(|slot| trainer.read_back(*slot).unwrap()).collect();
            assert_eq!(read, weights, "{memory}");
            assert_eq!(trainer.read_back(others[1]).unwrap(), of_half[1], "{memory}");
            trainer.release(&slots);
            assert!(matches!(trainer.read_back(slots[0]), Err(BackendError::NoSuchSlot(_))));
            let unknown = trainer.advance(&slots, 60, false, &StopFlag::default(), &mut |_| ControlFlow::Continue(()));
            assert!(matches!(unknown, Err(BackendError::NoSuchSlot(_))));
        }
    }
}
