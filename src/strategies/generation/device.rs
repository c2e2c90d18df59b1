//! The device's executor: a generation is a few dispatches over buffers that stay there, many generations a submission. The
//! host reads the state when it is asked for it.

use super::axes::Axes;
use super::cpu::{best_of, founded};
use super::state::{HEAD, Layout, State, WIDTH, head};
use super::{Course, CourseError, GenerationMethod};
use crate::backend::gpu::{Binding, Gpu, Kernel, Resident, ResidentBuffer, ResidentError, Role};
use crate::base::random::Key;
use crate::data::metrics::Direction;
use crate::functions::FunctionShader;
use crate::space::{Codec, Scale, Space};

/// Invocations of a workgroup; sums and searches over members are trees of so many.
const WORKGROUP: usize = super::de::TREE;
/// Words of an axis.
const AXIS_WORDS: usize = 8;
/// Seconds that a submission is meant to take, and generations that it has at most.
const SUBMISSION: f64 = 0.1;
const MOST_AT_ONCE: u64 = 64;
/// Members that one workgroup sorts: their keys and numbers take 8 KiB of its memory.
const MOST_OF_A_TILE: usize = 1024;

/// A function of the device's, as its kernels call it.
pub struct DeviceObjective<'a> {
    /// Adds the function's sources and constants to a kernel. What they may call stands in shaders/strategies/objective.wgsl.
    pub define: &'a dyn Fn(Kernel) -> Kernel,
    /// What its `constant(index)` gives.
    pub constants: Vec<f32>,
    /// Words that each member has behind its `scratch(member, index)`.
    pub scratch: usize,
    /// What is to be added to each value that it gives.
    pub offset: f64,
}

impl<'a> DeviceObjective<'a> {
    /// A function of the registry; `define` is its [`FunctionShader::define`].
    pub fn new(shader: &FunctionShader, define: &'a dyn Fn(Kernel) -> Kernel) -> DeviceObjective<'a> {
        let FunctionShader { constants, scratch, offset, .. } = shader;
        DeviceObjective { define, constants: constants.clone(), scratch: *scratch, offset: *offset }
    }
}

/// One dispatch of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An entry point of the method's file, with an invocation for each of so many things.
    Over(&'static str, usize),
    /// One of its entry points in one workgroup.
    Alone(&'static str),
    /// Sorts what is ranked, so that `rank_of` gives ranks.
    Rank,
    /// Values of a row's places to a column.
    Evaluate {
        /// The row of members' places.
        row: usize,
        /// The column of their values.
        column: usize,
    },
}

/// How a method runs on a device.
pub struct DevicePlan {
    /// Its file.
    pub source: &'static str,
    /// Constants of its file.
    pub counts: Vec<(&'static str, usize)>,
    /// The same of numbers.
    pub numbers: Vec<(&'static str, f32)>,
    /// Numbers behind those of the axes.
    pub table: Vec<f32>,
    /// How many values, from the first column's on, [`Step::Rank`] ranks.
    pub ranked: usize,
    /// The first generation, of founders.
    pub first: Vec<Step>,
    /// Every other.
    pub steps: Vec<Step>,
}

const MATH: &str = include_str!("../../../shaders/shared/math.wgsl");
const RANDOM: &str = include_str!("../../../shaders/shared/random.wgsl");
const HELD: &str = include_str!("../../../shaders/shared/held.wgsl");
const EXACT: &str = include_str!("../../../shaders/shared/exact.wgsl");
const SHARED: &str = include_str!("../../../shaders/strategies/shared.wgsl");
const OBJECTIVE: &str = include_str!("../../../shaders/strategies/objective.wgsl");
const RANK: &str = include_str!("../../../shaders/strategies/rank.wgsl");
const RECORD: &str = include_str!("../../../shaders/strategies/record.wgsl");

/// The buffers in the order of their bindings.
mod buffer {
    pub const HEAD: usize = 0;
    pub const VECTORS: usize = 1;
    pub const COLUMNS: usize = 2;
    pub const ROWS: usize = 3;
}

/// Kernels of a method with an objective, and which of them a generation runs on how many workgroups: the first, the others.
fn kernels(
    plan: &DevicePlan,
    layout: &Layout,
    sign: f32,
    objective: &DeviceObjective<'_>,
) -> (Vec<Kernel>, [Vec<(usize, u32)>; 2]) {
    let mut kernels: Vec<Kernel> = Vec::new();
    let mut known: Vec<Step> = Vec::new();
    let mut place = |step: Step| {
        let workgroups = match step {
            Step::Over(_, count) => count.div_ceil(WORKGROUP),
            Step::Alone(_) => 1,
            Step::Rank => tiles(plan.ranked).1,
            Step::Evaluate { .. } => layout.members.div_ceil(WORKGROUP),
        };
        let found = known.iter().position(|other| *other == step).unwrap_or_else(|| {
            known.push(step);
            kernels.push(kernel(plan, layout, sign, objective, step));
            known.len() - 1
        });
        (found, u32::try_from(workgroups).unwrap_or(u32::MAX))
    };
    let mut passes = |steps: &[Step]| {
        let steps = steps.iter().copied().chain([Step::Alone("record")]);
        steps.map(&mut place).collect::<Vec<(usize, u32)>>()
    };
    let passes = [passes(&plan.first), passes(&plan.steps)];
    (kernels, passes)
}

/// Members of a tile, a power of two, and how many tiles so many members fill.
fn tiles(ranked: usize) -> (usize, usize) {
    let tile = ranked.next_power_of_two().clamp(2, MOST_OF_A_TILE);
    (tile, ranked.div_ceil(tile))
}

fn kernel(plan: &DevicePlan, layout: &Layout, sign: f32, objective: &DeviceObjective<'_>, step: Step) -> Kernel {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let (entry, source) = match step {
        Step::Alone("record") => ("record", RECORD),
        Step::Rank => ("sort_tiles", RANK),
        Step::Over(entry, _) | Step::Alone(entry) => (entry, plan.source),
        Step::Evaluate { .. } => ("evaluate_member", OBJECTIVE),
    };
    let (tile, tiles) = tiles(plan.ranked);
    let mut kernel = Kernel::new(entry, entry, &[MATH, RANDOM, HELD, EXACT, SHARED, source])
        .constant("WORKGROUP", count(WORKGROUP))
        .constant("HEAD", count(HEAD))
        .constant("OWN", count(head::OWN))
        .constant("MEMBERS", count(layout.members))
        .constant("PADDED_MEMBERS", count(layout.members.next_multiple_of(WIDTH)))
        .constant("AXES", count(layout.axes))
        .constant("STRIDE", count(layout.stride()))
        .constant("AXIS_WORDS", count(AXIS_WORDS))
        .constant("RANKED", count(plan.ranked))
        .constant("TILE", count(tile))
        .constant("TILES", count(tiles));
    let named = |role: fn(usize) -> Role, index, name, kind| Binding::new(role(index), name, kind);
    let bindings = [
        named(Role::Prepare, buffer::HEAD, "head", "array<u32>"),
        named(Role::Prepare, buffer::VECTORS, "vectors", "array<f32>"),
        named(Role::Prepare, buffer::COLUMNS, "columns", "array<f32>"),
        named(Role::Prepare, buffer::ROWS, "rows", "array<f32>"),
        named(Role::Prepare, 4, "order", "array<u32>"),
        named(Role::Shared, 5, "axes", "array<f32>"),
        named(Role::Shared, 6, "constants", "array<f32>"),
        named(Role::Prepare, 7, "memory", "array<f32>"),
    ];
    kernel = kernel.bind(&bindings);
    if let Step::Evaluate { row, column } = step {
        let kernel = kernel.constant("PLACE_ROW", count(row)).constant("VALUE_COLUMN", count(column));
        return (objective.define)(kernel.float_constant("SIGN", sign));
    }
    for (name, value) in &plan.counts {
        kernel = kernel.constant(name, count(*value));
    }
    for (name, value) in &plan.numbers {
        kernel = kernel.float_constant(name, *value);
    }
    kernel
}

/// An axis's words: its scale (4 more where there are steps), place of the least value and distance of the places in two
/// parts each, least and greatest value; where there are steps the index of the greatest, and the step.
fn axis_words(codec: &Codec) -> [f32; AXIS_WORDS] {
    let kind = |scale: Scale| match scale {
        Scale::Linear => 0.0,
        Scale::Log => 1.0,
        Scale::Logit => 2.0,
    };
    let parts = |value: f64| {
        let high = value as f32;
        [high, (value - f64::from(high)) as f32]
    };
    match *codec {
        Codec::Continuous { scale, from, length, low, high } => {
            let ([from, from_rest], [length, length_rest]) = (parts(from), parts(length));
            [kind(scale), from, from_rest, length, length_rest, low as f32, high as f32, 0.0]
        }
        Codec::Stepped { scale, from, length, low, step, last, .. } => {
            let ([from, from_rest], [length, length_rest]) = (parts(from), parts(length));
            [4.0 + kind(scale), from, from_rest, length, length_rest, low as f32, last as f32, step as f32]
        }
        Codec::Choice { .. } | Codec::Constant(_) => [0.0; AXIS_WORDS],
    }
}

/// A search by whole generations on a device.
pub struct DeviceCourse {
    /// Sizes, and what the host saw last.
    state: State,
    axes: Axes,
    /// The sign and the offset of values.
    scale: [f64; 2],
    resident: Resident,
    first: Vec<(usize, u32)>,
    passes: Vec<(usize, u32)>,
    generation: u64,
    at_once: u64,
    /// Whether the device has the host's state, where no generation has followed it.
    is_written: bool,
}

impl DeviceCourse {
    /// A search that begins as that of the processor does. An error says why the space or the device cannot do it.
    pub fn new(
        method: &'static dyn GenerationMethod,
        space: &Space,
        members: usize,
        key: Key,
        direction: Direction,
        gpu: &Gpu,
        objective: &DeviceObjective<'_>,
    ) -> Result<DeviceCourse, String> {
        let axes = Axes::new(space)?;
        if axes.count() != axes.parameters() {
            return Err("on a device whole generations search no space with a parameter of one value".to_owned());
        }
        let state = founded(method, space, &axes, members, key);
        let layout = state.layout;
        let plan = method.device(&layout);
        let sign = -direction.sign();
        let (kernels, [first, passes]) = kernels(&plan, &layout, sign as f32, objective);
        let words = |count: usize, rows: usize| (count * rows).max(1) as u64;
        let table = axes.codecs().iter().flat_map(axis_words).chain(plan.table.iter().copied());
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<u32>>();
        let (tile, tiles) = tiles(plan.ranked);
        let (stride, own) = (layout.stride(), |label, words| ResidentBuffer::of_words(label, words));
        let buffers = vec![
            own("head", HEAD as u64),
            own("vectors", words(stride, layout.vectors + layout.scratch_vectors)),
            own("columns", words(members, layout.columns + layout.scratch_columns)),
            own("rows", words(members * stride, layout.rows + layout.scratch_rows)),
            own("order", words(members, 2) + words(tile * tiles, 2)),
            ResidentBuffer::holding("axes", bits(&table.collect::<Vec<f32>>())),
            ResidentBuffer::holding("constants", bits(&objective.constants)),
            own("memory", words(members, objective.scratch)),
        ];
        let resident = Resident::new(gpu, buffers, kernels).map_err(|error| error.to_string())?;
        let course = DeviceCourse {
            is_written: true,
            axes,
            scale: [sign, objective.offset],
            resident,
            first,
            passes,
            generation: 0,
            at_once: 1,
            state,
        };
        course.write().map_err(|error| error.to_string())?;
        Ok(course)
    }

    /// Brings the host's state to the device.
    fn write(&self) -> Result<(), ResidentError> {
        let words = self.state.to_words();
        let mut first = 0;
        for (buffer, count) in self.sections() {
            self.resident.write(buffer, 0, &words[first..first + count])?;
            first += count;
        }
        Ok(())
    }

    /// Words of a state in each buffer.
    fn sections(&self) -> [(usize, usize); 4] {
        let layout = &self.state.layout;
        let (members, stride) = (layout.members, layout.stride());
        [
            (buffer::HEAD, HEAD),
            (buffer::VECTORS, layout.vectors * stride),
            (buffer::COLUMNS, layout.columns * members),
            (buffer::ROWS, layout.rows * members * stride),
        ]
    }

    /// Brings the device's state to the host.
    fn read(&mut self) -> Result<(), ResidentError> {
        if u64::from(self.state.generation()) == self.generation {
            return Ok(());
        }
        let mut words = Vec::with_capacity(self.state.layout.words());
        for (buffer, count) in self.sections() {
            words.extend(self.resident.read(buffer, 0, count)?);
        }
        match self.state.set_words(&words) {
            true => Ok(()),
            false => Err(self.resident.gpu().failed("a search's state came back damaged").into()),
        }
    }

    /// Goes on to a generation, in submissions of some length.
    fn run(&mut self, target: u64) -> Result<(), ResidentError> {
        while self.generation < target {
            let (count, seconds) = if self.generation == 0 {
                (1, self.resident.run(&self.first)?)
            } else {
                let count = self.at_once.min(target - self.generation);
                let passes = self.passes.repeat(count as usize);
                (count, self.resident.run(&passes)?)
            };
            self.generation += count;
            // The first compiles, and says nothing.
            if self.generation > 1 && count == self.at_once {
                let wanted = SUBMISSION / (seconds / count as f64).max(1e-9);
                self.at_once = (wanted as u64).clamp(1, (2 * self.at_once).min(MOST_AT_ONCE));
            }
        }
        self.read()
    }
}

impl Course for DeviceCourse {
    /// A lost device is rebuilt, and what it did since the host saw its state last is done again.
    fn advance(&mut self, generations: u64) -> Result<(), CourseError> {
        let target = self.generation.saturating_add(generations);
        loop {
            let written = if self.is_written { Ok(()) } else { self.write() };
            self.is_written |= written.is_ok();
            let rebuilt = match written.and_then(|()| self.run(target)) {
                Ok(()) => return Ok(()),
                Err(ResidentError::Lost { .. }) => self.resident.rebuild(),
                Err(error) => Err(error),
            };
            self.generation = u64::from(self.state.generation());
            rebuilt.and_then(|()| self.write()).map_err(|error| CourseError { reason: error.to_string() })?;
        }
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn evaluated(&self) -> u64 {
        self.generation * self.state.layout.members as u64
    }

    fn best(&self, count: usize) -> Vec<(f64, Vec<f64>)> {
        best_of(&self.state, &self.axes, self.scale, count)
    }

    fn state(&self) -> Vec<u32> {
        self.state.to_words()
    }

    fn restore(&mut self, words: &[u32]) -> bool {
        let is_ours = self.state.set_words(words);
        self.generation = u64::from(self.state.generation());
        self.is_written = false;
        is_ours
    }
}

/// Every kernel of every method, with a function of two lines: for tests that translate them.
pub fn device_kernels() -> Vec<Kernel> {
    const FUNCTION: &str = "fn evaluate(member: u32) { set_scratch(member, 0u, coordinate(member, 0u)); \
                            set_value(member, 0u, scratch(member, 0u) * constant(0u)); }\n";
    let define = |mut kernel: Kernel| {
        kernel.sources.push(FUNCTION);
        kernel
    };
    let objective = DeviceObjective { define: &define, constants: vec![2.0], scratch: 1, offset: 0.0 };
    let methods = crate::strategies::STRATEGIES.iter().filter_map(|entry| entry.generations());
    let mut all: Vec<Kernel> = Vec::new();
    for method in methods {
        for axes in [5, 120] {
            // As many as fill more than one tile.
            let layout = method.layout(axes, 1100);
            all.extend(kernels(&method.device(&layout), &layout, 1.0, &objective).0);
        }
    }
    all
}
