//! A user's shader on a GPU: a batch of points with the keys of their streams goes there, each lane's values come back, or the
//! reason why it has none.

use super::Lanes;
use super::batches::{self, Batches, Evaluate, Layout, Plan};
use crate::backend::gpu::{Gpu, ResidentError};
use crate::backend::{BackendError, Lane, LaneReport, Slot, StopFlag, Trainer, Weights};
use crate::space::Points;
use crate::study::objective::WgslObjective;
use std::ops::ControlFlow;

/// A shader opened on a GPU.
pub struct WgslTrainer<'a> {
    objective: &'a WgslObjective,
    batches: Batches,
    lanes: Lanes,
}

/// What came back of a lane.
pub(super) struct Evaluated {
    values: Vec<f64>,
    /// How it ended: one of [`WgslObjective`]'s numbers.
    reason: u32,
}

impl<'a> WgslTrainer<'a> {
    /// Compiles the shader for the device, and uploads its tables.
    pub fn open(gpu: &Gpu, objective: &'a WgslObjective) -> Result<WgslTrainer<'a>, BackendError> {
        let (bytes, most) = (4 * objective.tables().words().len() as u64, gpu.adapter().largest_binding);
        if bytes > most {
            let need = format!("its tables take {} MiB together, one binding may hold {} MiB", bytes >> 20, most >> 20);
            return Err(of_shader(BackendError::DeviceTooSmall { device: gpu.name().to_owned(), need }));
        }
        let plan = Plan {
            kernel: objective.kernel(),
            workgroup: WgslObjective::WORKGROUP,
            words: objective.params().words() + 2,
            constants: objective.tables().words().to_vec(),
            scratch: 0,
            values: objective.directions().len() + 1,
        };
        let batches = Batches::open(gpu, plan).map_err(of_shader)?;
        Ok(WgslTrainer { objective, batches, lanes: Lanes::new() })
    }

    /// What becomes of lanes at these rows of the points and of these repeats; `None` when the stop flag was raised.
    fn evaluate_in(
        &mut self,
        places: &[(usize, usize)],
        layout: Layout,
        stop: &StopFlag,
    ) -> Result<Option<Vec<Evaluated>>, ResidentError> {
        let count = places.len();
        let mut points = vec![0; count * (self.objective.params().words() + 2)];
        let mut one = Vec::new();
        for (member, (row, repeat)) in places.iter().enumerate() {
            one.clear();
            self.objective.params().encode(self.lanes.points.row(*row), &mut one);
            one.extend(self.objective.key(*repeat).0);
            one.iter().enumerate().for_each(|(word, bits)| points[word * count + member] = *bits);
        }
        let Some(found) = self.batches.evaluate(&points, layout, stop)? else { return Ok(None) };
        let values = self.objective.directions().len();
        let word = |word: usize, member: usize| found.get(word * count + member).copied().unwrap_or(WgslObjective::CUT);
        let evaluated = |member: usize| Evaluated {
            values: (0..values).map(|value| f64::from(f32::from_bits(word(value, member)))).collect(),
            reason: word(values, member),
        };
        Ok(Some((0..count).map(evaluated).collect()))
    }

    /// Why a lane has no value, if it has none.
    fn failure(&self, evaluated: &Evaluated) -> Option<String> {
        match evaluated.reason {
            WgslObjective::EVALUATED => {}
            // By itself, too.
            WgslObjective::CUT => {
                return Some(
                    "the device's driver ends its loops before their time, as Mesa's does after 65,535 turns"
                        .to_owned(),
                );
            }
            WgslObjective::ENDLESS => {
                return Some(format!("its loops take more than {} turns: objective.steps", self.objective.steps()));
            }
            reason => {
                let table = reason.checked_sub(WgslObjective::BEYOND).map_or(usize::MAX, |table| table as usize);
                let name = self.objective.tables().name(table).unwrap_or("of no name");
                return Some(format!("it reads beyond the rows or columns of the table {name}"));
            }
        }
        let mut numbered = (1..).zip(&evaluated.values);
        let (number, value) = numbered.find(|(_, value)| !value.is_finite())?;
        Some(match evaluated.values.len() {
            1 => format!("its value is {value}"),
            _ => format!("its value {number} is {value}"),
        })
    }
}

impl Evaluate for WgslTrainer<'_> {
    type Found = Vec<Evaluated>;

    fn batches(&mut self) -> &mut Batches {
        &mut self.batches
    }

    fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Lanes whose loops the driver has ended are evaluated again, each by itself. One driver counts the turns of several lanes
    /// together, and what a lane gives must not depend on its neighbours.
    fn evaluate(
        &mut self,
        places: &[(usize, usize)],
        stop: &StopFlag,
    ) -> Result<Option<Vec<Evaluated>>, ResidentError> {
        let Some(mut all) = self.evaluate_in(places, Layout::Dense, stop)? else { return Ok(None) };
        let is_cut = |one: &Evaluated| one.reason == WgslObjective::CUT;
        let cut: Vec<usize> = all.iter().enumerate().filter(|(_, one)| is_cut(one)).map(|(member, _)| member).collect();
        if !cut.is_empty() {
            let again: Vec<(usize, usize)> = cut.iter().map(|member| places[*member]).collect();
            let Some(alone) = self.evaluate_in(&again, Layout::Apart, stop)? else { return Ok(None) };
            cut.into_iter().zip(alone).for_each(|(member, one)| all[member] = one);
        }
        Ok(Some(all))
    }

    fn values(
        &self,
        found: &Vec<Evaluated>,
        number: usize,
        _place: (usize, usize),
        values: &mut Vec<f64>,
    ) -> Option<String> {
        let evaluated = &found[number];
        values.clone_from(&evaluated.values);
        self.failure(evaluated)
    }

    fn explained(error: BackendError) -> BackendError {
        of_shader(error)
    }
}

impl Trainer for WgslTrainer<'_> {
    fn start(&mut self, points: &Points, lanes: &[Lane]) -> Result<Vec<Slot>, BackendError> {
        Ok(self.lanes.start(points, lanes))
    }

    fn advance(
        &mut self,
        slots: &[Slot],
        budget: u64,
        _keep: bool,
        stop: &StopFlag,
        report: &mut dyn FnMut(LaneReport) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        batches::advance(self, slots, budget, stop, report)
    }

    /// A shader has no weights.
    fn read_back(&mut self, _slot: Slot) -> Result<Weights, BackendError> {
        Ok(Weights::of(Vec::new()))
    }

    fn release(&mut self, slots: &[Slot]) {
        self.lanes.release(slots);
    }
}

/// What a device could not do, where the processor is no way out.
pub(in crate::study) fn of_shader(error: BackendError) -> BackendError {
    let (device, reason, remedy) = match error {
        BackendError::DeviceTooSmall { device, need } => {
            (device, need, "Take fewer rows in [objective.tables], or another device: thousandfold devices")
        }
        BackendError::DeviceFailed { device, reason } => (
            device,
            reason,
            "Every candidate that was journalled is safe. A lane that takes long is ended by fewer turns of its loops, [objective] steps; there may be another device, too: thousandfold resume RUN --device NAME",
        ),
        BackendError::ShaderRejected { device, reason, .. } => (
            device,
            reason,
            "Its driver is to blame, as the text is right: another device may take it: thousandfold devices",
        ),
        other => return other,
    };
    BackendError::UsersShader { device, reason, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::LaneStatus;
    use crate::backend::gpu::{GpuOptions, Provoked, open_for_test};
    use crate::study::StudyConfig;
    use crate::study::objective::Objective;
    use crate::study::resolve::Study;

    /// Loops of up to 40,000 turns, some of them endless, and random numbers.
    const SHADER: &str = "
fn objective(p: Params) -> vec2f {
    var n = 0u;
    if (p.x < 0.4) {
        while (n < u32(p.x * 100000.0)) { n += 1u; }
    } else if (p.x < 0.8) {
        loop { if (n >= u32(p.x * 40000.0)) { break; } n += 1u; }
    } else {
        loop { n = n * 5u; }
    }
    return vec2f(f32(n), random_normal() + numbers_at(u32(p.x * 3.0), 0u));
}";
    const LANES: usize = 300;

    /// How a lane ended, and the bits of its values.
    type Ended = (LaneStatus, u64, u64);

    /// Each lane's end, on a device with these options; `None` without one.
    fn evaluated(options: GpuOptions) -> Option<Result<Vec<Ended>, BackendError>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("numbers.csv"), "a\n1\n20\n300\n").unwrap();
        std::fs::write(folder.path().join("objective.wgsl"), SHADER).unwrap();
        let path = folder.path().join("study.toml");
        let text = "[objective]\nwgsl = 'objective.wgsl'\nrepeats = 2\ntables = { numbers = 'numbers.csv' }\n[space]\nx = { float = [0, 1] }\n";
        std::fs::write(&path, text).unwrap();
        let study = Study::resolve(StudyConfig::load(&path, &[]).unwrap()).unwrap();
        let Objective::Wgsl(objective) = &study.objective else { panic!("it is a shader") };
        let gpu = open_for_test(options)?;
        let mut trainer = match WgslTrainer::open(&gpu, objective) {
            Ok(trainer) => trainer,
            Err(error) => return Some(Err(error)),
        };
        let mut points = Points::new(1);
        (0..LANES / 2).for_each(|lane| points.push(&[(lane * 37 % 150) as f64 / 150.0]));
        let lanes: Vec<Lane> = (0..LANES).map(|lane| Lane { point: lane / 2, fold: lane % 2 }).collect();
        let slots = trainer.start(&points, &lanes).unwrap();
        let mut found = Vec::new();
        let advanced = trainer.advance(&slots, 1, false, &StopFlag::default(), &mut |lane| {
            found.push((lane.slot, (lane.status, lane.evals[0].to_bits(), lane.others[0].to_bits())));
            ControlFlow::Continue(())
        });
        found.sort_by_key(|(slot, _)| *slot);
        Some(advanced.map(|()| found.into_iter().map(|(_, lane)| lane).collect()))
    }

    #[test]
    fn bits_do_not_depend_on_dispatches_memory_or_a_lost_device() {
        let Some(plain) = evaluated(GpuOptions::default()) else { return };
        let plain = plain.map_err(|error| error.to_string()).unwrap();
        let failed = plain.iter().filter(|(status, ..)| *status == LaneStatus::Failed).count();
        assert_eq!((plain.len(), failed), (LANES, LANES / 5), "a fifth never ends");
        for lane in (0..LANES).filter(|lane| plain[*lane].0 == LaneStatus::Trained) {
            let x = (lane / 2 * 37 % 150) as f32 / 150.0;
            let turns = (x * if x < 0.4 { 100_000.0 } else { 40_000.0 }) as u32;
            assert_eq!(f64::from_bits(plain[lane].1), f64::from(turns), "{x}");
        }
        let small = Provoked { most_lanes: 1, ..Provoked::default() };
        let lost = Provoked { losses_after: vec![1], ..Provoked::default() };
        let few = GpuOptions { memory: 1000, ..GpuOptions::default() };
        let full = Provoked { largest_buffer: 2000, ..Provoked::default() };
        let provoked = [small, lost, full].map(|provoked| GpuOptions { provoked, ..GpuOptions::default() });
        for options in provoked.into_iter().chain([few]) {
            let found = evaluated(options.clone()).unwrap().map_err(|error| error.to_string());
            assert_eq!(found.unwrap(), plain, "{options:?}");
        }
    }

    #[test]
    fn a_second_loss_ends_the_run_and_sends_nobody_to_the_processor() {
        let provoked = Provoked { losses_after: vec![1, 1], ..Provoked::default() };
        let Some(found) = evaluated(GpuOptions { provoked, ..GpuOptions::default() }) else { return };
        let error = found.unwrap_err();
        assert!(matches!(error, BackendError::UsersShader { .. }), "{error}");
        assert!(error.to_string().contains("lost twice") && !error.to_string().contains("--backend cpu"), "{error}");
    }
}
