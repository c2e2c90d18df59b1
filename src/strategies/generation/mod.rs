//! Whole generations as arithmetic on flat f32 arrays, for searches whose objective is a function that the machine which
//! searches can compute itself: no candidate goes through the study's loop.
//!
//! A [`GenerationMethod`] is a list of passes over a [`State`] of plain words, with a CPU form here and a kernel in
//! shaders/strategies. What is drawn is a function of key, generation, member and axis, and what is decided is decided by
//! integers and exact comparisons, so that neither threads nor the processor's width matter, and a device decides alike.

mod axes;
mod cmaes;
mod cpu;
mod de;
mod device;
mod draws;
mod genetic;
mod pso;
mod random;
mod rates;
mod state;

pub use axes::Axes;
pub use cpu::{CpuCourse, Objective};
pub use device::{DeviceCourse, DeviceObjective, DevicePlan, Step, device_kernels};
pub use state::{Layout, State};

use super::StrategyOptions;
use crate::space::Space;
use cpu::Turn;

pub(super) static RANDOM: random::Random = random::Random;
pub(super) static DE: de::De = de::De;
pub(super) static PSO: pso::Pso = pso::Pso { is_ring: false };
pub(super) static PSO_RING: pso::Pso = pso::Pso { is_ring: true };
pub(super) static GENETIC: genetic::Genetic = genetic::Genetic;
pub(super) static CMAES: cmaes::CmaEs = cmaes::CmaEs;

/// A strategy that makes, evaluates and learns from whole generations.
pub trait GenerationMethod: Sync {
    /// Members of a generation where the study does not say.
    fn default_members(&self, axes: usize, candidates: u64) -> u64;
    /// The fewest members that it works with.
    fn fewest_members(&self) -> u64 {
        1
    }
    /// What it keeps, and what it needs besides while it works.
    fn layout(&self, axes: usize, members: usize) -> Layout;
    /// What `cmaes` learns at; nothing for others.
    fn rates(&self, _axes: usize, _members: usize) -> Option<rates::Rates> {
        None
    }
    /// Completes a state that holds founders and nothing else.
    fn begin(&self, _state: &mut State) {}
    /// How it runs on a device.
    fn device(&self, layout: &Layout) -> DevicePlan;
    /// One generation on the CPU.
    fn turn(&self, turn: &mut Turn<'_>);
}

/// Why whole generations cannot search this space, if they cannot.
pub fn refusal(space: &Space) -> Option<String> {
    Axes::new(space).err()
}

/// Members of a generation, as the study sets them or as the method does: as many as counters of 32 bits can number.
pub fn members(method: &dyn GenerationMethod, axes: usize, options: &StrategyOptions) -> usize {
    let most = u64::from(u32::MAX) / (axes.next_multiple_of(state::WIDTH) as u64).max(1);
    let wanted = options.population.unwrap_or_else(|| method.default_members(axes, options.candidates));
    wanted.max(method.fewest_members()).min(most.min(MOST_MEMBERS)) as usize
}

/// More members are no better, and a device searches tiles of 1,024 for the rank of each.
const MOST_MEMBERS: u64 = 1 << 20;

/// A search by whole generations, wherever it runs.
pub trait Course: Send {
    /// Goes on for so many generations. An error is a device's.
    fn advance(&mut self, generations: u64) -> Result<(), CourseError>;
    /// Generations so far.
    fn generation(&self) -> u64;
    /// Candidates evaluated so far.
    fn evaluated(&self) -> u64;
    /// At most `count` values with their points: the best of all first, then the best of the generation at hand. Members
    /// that failed are left out.
    fn best(&self, count: usize) -> Vec<(f64, Vec<f64>)>;
    /// All that the course depends on.
    fn state(&self) -> Vec<u32>;
    /// Takes up a state of the same method, space, members and key; false where it cannot be one.
    fn restore(&mut self, words: &[u32]) -> bool;
}

/// A device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device stopped a search by generations: {reason}")]
pub struct CourseError {
    /// What its driver says.
    pub reason: String,
}

/// What tests of several methods need.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::base::random::Key;
    use crate::data::metrics::Direction;
    use crate::functions;

    /// A search on the processor for the least value of a function.
    pub fn course(
        method: &'static dyn GenerationMethod,
        function: &str,
        dimensions: usize,
        members: usize,
        seed: u64,
    ) -> CpuCourse {
        let Ok(function) = functions::find(function) else { panic!("there is no {function}") };
        let opened = function.open(dimensions, 1);
        let value = move |point: &[f64]| {
            let mut value = [0.0];
            opened.evaluate(point, &mut value);
            value[0]
        };
        let offset = function.shader(dimensions, 1).map_or(0.0, |shader| shader.offset);
        let objective = Objective { value: Box::new(value), lanes: function.lanes(), offset };
        let (space, key) = (function.space(dimensions), Key::from_seed(seed));
        let course = CpuCourse::new(method, &space, members, key, Direction::Minimize, objective);
        course.unwrap_or_else(|refusal| panic!("{refusal}"))
    }
}

#[cfg(test)]
mod tests;
