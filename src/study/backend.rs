//! Which backend trains a study: as it is named, or what the machine has.

#[cfg(unix)]
use super::command_trainer::CommandTrainer;
use super::config::{BackendChoice, RunOptions};
use super::error::StudyError;
use super::function_trainer::{FunctionTrainer, GpuFunctionTrainer, WgslTrainer, of_shader};
use super::objective::{CommandObjective, FunctionObjective, Models, Objective, WgslError, WgslObjective};
use super::pipeline::Pipeline;
use super::pipeline_trainer::PipelineTrainer;
use super::resolve::Study;
use super::retention::Retention;
use super::rows_trainer::{Cuts, RowsTrainer};
use super::rust_trainer::RustTrainer;
use super::sweep::mean_value;
use crate::backend::cpu::{CpuOptions, memory_limit};
use crate::backend::gpu::{Gpu, GpuOptions, Kernel};
use crate::backend::{BackendError, Trainer};
use crate::base::random::Key;
use crate::data::Problem;
use crate::strategies::generation::{self, Course, CpuCourse, DeviceCourse, DeviceObjective};
use std::path::Path;
use std::sync::Arc;

/// What trains lanes.
#[derive(Clone)]
pub(super) enum Backend {
    Cpu(CpuOptions),
    Gpu(Gpu),
    /// A command's programs, so many at a time, on whatever they choose.
    Programs(usize),
}

/// A backend with every pipeline of a study opened on it.
pub(super) struct Opened<'a> {
    pub(super) backend: Backend,
    pub(super) trainer: Box<dyn Trainer + 'a>,
    /// What the user should know of the choice.
    pub(super) notes: Vec<String>,
}

/// A search by whole generations, and the members of each.
pub(super) type OpenedCourse = (Box<dyn Course>, u64);

/// Bytes that lanes in training may take.
fn bytes(run: &RunOptions) -> u64 {
    run.memory.saturating_mul(1 << 20)
}

fn cpu_options(run: &RunOptions) -> CpuOptions {
    CpuOptions { threads: run.threads, memory: bytes(run), simd: None }
}

fn gpu_options(run: &RunOptions) -> GpuOptions {
    GpuOptions { device: run.device.clone(), memory: bytes(run), ..GpuOptions::default() }
}

/// Members of a generation on a software driver: `cmaes` adds up their products in one loop where it learns a matrix. A
/// function's two rotations of so many parameters are as long.
const SOFTWARE_MEMBERS: usize = 60_000;
/// See [`SOFTWARE_MEMBERS`].
const SOFTWARE_AXES: usize = 150;

/// Whether the study leaves it to the machine what trains it.
fn is_free(run: &RunOptions) -> bool {
    run.backend == BackendChoice::Auto && run.device.is_none()
}

/// What the user should know where the GPU that was found by itself is not the one that trains.
fn too_small(device: &str, need: &str) -> String {
    format!("{device} is too small for this study, so the processor trains: {need}")
}

impl Backend {
    /// What the processor is called.
    pub(super) const CPU: &'static str = "cpu";

    /// Opens what `[run]` asks for; `auto` takes a hardware GPU where there is one, or the device that is named.
    pub(super) fn open(run: &RunOptions) -> Result<Backend, StudyError> {
        let options = gpu_options(run);
        match run.backend {
            BackendChoice::Cpu => Ok(Backend::Cpu(cpu_options(run))),
            BackendChoice::Auto if is_free(run) => match Gpu::open(&options) {
                Ok(gpu) => Ok(Backend::Gpu(gpu)),
                Err(BackendError::NoAdapter { .. }) => Ok(Backend::Cpu(cpu_options(run))),
                Err(error) => Err(error.into()),
            },
            BackendChoice::Auto | BackendChoice::Gpu => Ok(Backend::Gpu(Gpu::open(&options)?)),
        }
    }

    /// What `[run]` asks for, with a study's function, or its pipelines opened on their problems.
    pub(super) fn open_with_trainer<'a>(
        study: &'a Study,
        dir: &Path,
        problems: Vec<Arc<Problem>>,
    ) -> Result<Opened<'a>, StudyError> {
        let run = &study.config.run;
        match &study.objective {
            Objective::Models(models) => Backend::open(run)?.or_cpu(models, &problems, run, study.key),
            Objective::Function(function) => Backend::open_function(study, function),
            Objective::Command(command) => Backend::open_command(study, dir, command),
            Objective::Wgsl(wgsl) => Backend::open_wgsl(run, wgsl),
            Objective::Rust(rust) => {
                let options = cpu_options(run);
                let trainer = Box::new(RustTrainer::open(study, rust, &options)?);
                Ok(Opened { backend: Backend::Cpu(options), trainer, notes: Vec::new() })
            }
        }
    }

    /// A user's shader, which has no other way than a GPU.
    fn open_wgsl<'a>(run: &RunOptions, wgsl: &'a WgslObjective) -> Result<Opened<'a>, StudyError> {
        let gpu = Gpu::open(&gpu_options(run)).map_err(|error| match error {
            BackendError::NoAdapter { reason, known } => StudyError::from(WgslError::NoAdapter { reason, known }),
            error => of_shader(error).into(),
        })?;
        let trainer = Box::new(WgslTrainer::open(&gpu, wgsl)?);
        Ok(Opened { trainer, backend: Backend::Gpu(gpu), notes: Vec::new() })
    }

    #[cfg(unix)]
    fn open_command<'a>(study: &'a Study, dir: &Path, command: &'a CommandObjective) -> Result<Opened<'a>, StudyError> {
        let trainer = Box::new(CommandTrainer::open(study, dir, command)?);
        Ok(Opened { backend: Backend::Programs(command.workers()), trainer, notes: Vec::new() })
    }

    #[cfg(not(unix))]
    fn open_command<'a>(
        _study: &'a Study,
        _dir: &Path,
        _command: &'a CommandObjective,
    ) -> Result<Opened<'a>, StudyError> {
        Err(super::error::CommandError::System.into())
    }

    /// A function on what `[run]` asks for. Where that is left to the machine, the processor evaluates a function that has
    /// no shader, one that the GPU is too small for, and a search that keeps the best of all that does not learn.
    fn open_function<'a>(study: &Study, function: &FunctionObjective) -> Result<Opened<'a>, StudyError> {
        let run = &study.config.run;
        let sweeps = run.history != Retention::All && !study.strategy.is_adaptive();
        let on_cpu = |notes: Vec<String>| -> Result<Opened<'a>, StudyError> {
            let options = cpu_options(run);
            let trainer = Box::new(FunctionTrainer::new(function.evaluator(), &options)?);
            Ok(Opened { backend: Backend::Cpu(options), trainer, notes })
        };
        if !function.has_shader() && run.backend != BackendChoice::Cpu && !is_free(run) {
            let reason = "its choices and conditions are evaluated on the processor alone".to_owned();
            let alternative = "To search it there: --backend cpu".to_owned();
            return Err(BackendError::Unsuited { model: function.name(), reason, alternative }.into());
        }
        if sweeps && run.backend != BackendChoice::Cpu && !is_free(run) && study.strategy.generations().is_none() {
            let reason = format!("{} draws on the processor alone, and keeps the best there", study.strategy.name());
            let alternative = "To search it there: --backend cpu".to_owned();
            return Err(BackendError::Unsuited { model: function.name(), reason, alternative }.into());
        }
        if !function.has_shader() || sweeps && is_free(run) {
            return on_cpu(Vec::new());
        }
        let Backend::Gpu(gpu) = Backend::open(run)? else { return on_cpu(Vec::new()) };
        let Some((shader, noise)) = function.shader() else { return on_cpu(Vec::new()) };
        match GpuFunctionTrainer::open(&gpu, shader, noise) {
            Err(BackendError::DeviceTooSmall { device, need }) if is_free(run) => {
                on_cpu(vec![too_small(&device, &need)])
            }
            trainer => Ok(Opened { trainer: Box::new(trainer?), backend: Backend::Gpu(gpu), notes: Vec::new() }),
        }
    }

    /// Pipelines opened on their problems. Where `auto` found a GPU by itself that is too small for the study, the processor
    /// trains, and a note says so.
    fn or_cpu<'a>(
        self,
        models: &'a Models,
        problems: &[Arc<Problem>],
        run: &RunOptions,
        key: Key,
    ) -> Result<Opened<'a>, StudyError> {
        let open = |backend: &Backend| -> Result<Box<dyn Trainer + 'a>, StudyError> {
            let (pairs, cuts) = (models.pipelines.iter().zip(problems), Cuts::of(models, key));
            let trainers = pairs.map(|(pipeline, problem)| match cuts.as_ref().filter(|_| pipeline.rows.is_some()) {
                Some(cuts) => backend.trainer_by_rows(pipeline, problem.clone(), cuts.clone(), run),
                None => Ok(backend.trainer(pipeline, problem.clone())? as Box<dyn Trainer + 'a>),
            });
            Ok(Box::new(PipelineTrainer::new(&models.pipelines, trainers.collect::<Result<_, _>>()?)))
        };
        match open(&self) {
            Err(StudyError::Backend(BackendError::DeviceTooSmall { device, need })) if is_free(run) => {
                let backend = Backend::Cpu(cpu_options(run));
                let trainer = open(&backend)?;
                Ok(Opened { backend, trainer, notes: vec![too_small(&device, &need)] })
            }
            trainer => Ok(Opened { trainer: trainer?, notes: Vec::new(), backend: self }),
        }
    }

    /// A pipeline's model, opened on a problem.
    pub(super) fn trainer(&self, pipeline: &Pipeline, problem: Arc<Problem>) -> Result<Box<dyn Trainer>, BackendError> {
        let Pipeline { model, space, .. } = pipeline;
        match self {
            Backend::Cpu(options) => model.open_cpu(space, problem, options),
            Backend::Gpu(gpu) => model.open_gpu(space, problem, gpu),
            // A study has models or a command: there is no pipeline beside one.
            Backend::Programs(_) => model.open_cpu(space, problem, &CpuOptions::default()),
        }
    }

    /// The same of one whose budgets count training rows.
    fn trainer_by_rows<'a>(
        &self,
        pipeline: &'a Pipeline,
        problem: Arc<Problem>,
        cuts: Arc<Cuts<'a>>,
        run: &RunOptions,
    ) -> Result<Box<dyn Trainer + 'a>, StudyError> {
        let backend = self.clone();
        let opener = Box::new(move |problem| backend.trainer(pipeline, problem));
        Ok(Box::new(RowsTrainer::open(pipeline, problem, cuts, opener, run.memory == 0)?))
    }

    /// A search of a function by whole generations, with its members.
    pub(super) fn course(&self, study: &Study, function: &FunctionObjective) -> Result<OpenedCourse, StudyError> {
        let unsuited = |reason: String| {
            let alternative = "To search it otherwise: --set run.history=all".to_owned();
            StudyError::from(BackendError::Unsuited { model: function.name(), reason, alternative })
        };
        let by_hand = || unsuited(format!("{} does not search by whole generations", study.strategy.name()));
        let method = study.strategy.generations().ok_or_else(by_hand)?;
        let options = study.strategy_options();
        let axes = generation::Axes::new(&study.space).map_err(unsuited)?;
        let members = generation::members(method, axes.count(), &options);
        let layout = method.layout(axes.count(), members);
        let scratch = layout.stride() * (layout.scratch_vectors + members * layout.scratch_rows)
            + members * layout.scratch_columns;
        // While the state's file is written, its words and its bytes are there beside it.
        let (need, most) = (4 * (3 * layout.words() + scratch) as u64, memory_limit(bytes(&study.config.run)));
        if need > most {
            return Err(unsuited(format!(
                "{members} members of {} parameters take {} MiB of {} that are allowed; set search.population",
                axes.count(),
                need >> 20,
                most >> 20
            )));
        }
        let (space, key, direction) = (&study.space, options.key, study.direction());
        let Backend::Gpu(gpu) = self else {
            let (evaluator, repeats) = (function.evaluator(), function.repeats());
            let value = Box::new(move |point: &[f64]| mean_value(&evaluator, point, repeats));
            let objective = generation::Objective { value, lanes: function.lanes(), offset: function.offset() };
            let course = CpuCourse::new(method, space, members, key, direction, objective);
            return Ok((Box::new(course.map_err(unsuited)?), members as u64));
        };
        if function.noise() > 0.0 {
            return Err(unsuited(
                "its noise is drawn on the host, which whole generations on a device never reach".to_owned(),
            ));
        }
        if gpu.adapter().is_software && (members > SOFTWARE_MEMBERS || axes.count() > SOFTWARE_AXES) {
            return Err(unsuited(format!(
                "a software driver may end loops after 65,535 turns, so that it gets at most {SOFTWARE_MEMBERS} members of \
                 {SOFTWARE_AXES} parameters"
            )));
        }
        let no_shader = || unsuited("its choices and conditions are evaluated on the processor alone".to_owned());
        let (shader, _) = function.shader().ok_or_else(no_shader)?;
        let define = |kernel: Kernel| shader.define(kernel);
        let objective = DeviceObjective::new(&shader, &define);
        let course = DeviceCourse::new(method, space, members, key, direction, gpu, &objective);
        Ok((Box::new(course.map_err(unsuited)?), members as u64))
    }

    /// The processor, where the GPU was found by itself.
    pub(super) fn instead(&self, run: &RunOptions) -> Option<Backend> {
        (is_free(run) && self.gpu().is_some()).then(|| Backend::Cpu(cpu_options(run)))
    }

    pub(super) fn gpu(&self) -> Option<&Gpu> {
        match self {
            Backend::Cpu(_) | Backend::Programs(_) => None,
            Backend::Gpu(gpu) => Some(gpu),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Backend::Cpu(_) | Backend::Programs(_) => Backend::CPU,
            Backend::Gpu(_) => "gpu",
        }
    }

    pub(super) fn device(&self) -> String {
        match self {
            Backend::Cpu(options) => options.describe(),
            Backend::Gpu(gpu) => gpu.name().to_owned(),
            Backend::Programs(1) => "this machine, one program at a time".to_owned(),
            Backend::Programs(workers) => format!("this machine, {workers} programs at a time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::gpu::Provoked;
    use crate::study::StudyConfig;

    /// What trains a small study where the GPU has no room for its data; `None` where there is no adapter at all.
    fn opened(sets: &[&str]) -> Option<Result<(Backend, Vec<String>), StudyError>> {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..60).map(|row| format!("{},{row},k{}\n", row % 7, row % 2)).collect();
        std::fs::write(folder.path().join("data.csv"), format!("a,b,kind\n{rows}")).unwrap();
        let path = folder.path().join("study.toml");
        std::fs::write(&path, "[data]\nfile = 'data.csv'\ntarget = 'kind'\n").unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let study = Study::resolve(StudyConfig::load(&path, &sets).unwrap()).unwrap();
        let models = study.objective.models().unwrap();
        let problems = models.problems(study.key).unwrap();
        let provoked = Provoked { largest_buffer: 64, ..Provoked::default() };
        match Gpu::open(&GpuOptions { device: Some("0".to_owned()), provoked, ..GpuOptions::default() }) {
            Ok(gpu) => {
                let opened = Backend::Gpu(gpu).or_cpu(models, &problems, &study.config.run, study.key);
                Some(opened.map(|opened| (opened.backend, opened.notes)))
            }
            Err(error) => {
                assert!(std::env::var_os("REQUIRE_GPU").is_none(), "REQUIRE_GPU is set, and {error}");
                println!("SKIPPED: {error}");
                None
            }
        }
    }

    #[test]
    fn the_processor_trains_where_the_gpu_that_auto_found_is_too_small() {
        let Some(found) = opened(&[]) else { return };
        let found = found.map_err(|error| error.to_string()).unwrap();
        let (backend, notes) = found;
        assert_eq!(backend.name(), "cpu");
        assert!(notes[0].contains("is too small"));
    }

    #[test]
    fn a_gpu_that_was_asked_for_is_not_replaced() {
        for set in ["run.backend=gpu", "run.device=\"0\""] {
            let Some(named) = opened(&[set]) else { return };
            let error = named.map(|_| ()).unwrap_err();
            assert!(matches!(error, StudyError::Backend(BackendError::DeviceTooSmall { .. })), "{set}: {error}");
        }
    }
}
