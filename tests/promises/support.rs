//! Small problems and trainers for the promises.

use ndarray::Array2;
use std::ops::ControlFlow;
use std::sync::Arc;
use thousandfold::backend::cpu::CpuOptions;
use thousandfold::backend::{BackendError, Lane, LaneReport, StopFlag, Trainer, Weights};
use thousandfold::base::random::{Key, normal, uniform, uniform_f64};
use thousandfold::base::registry::Named;
use thousandfold::data::metrics::{Direction, Metric, Reduced, Statistic};
use thousandfold::data::{Affine, Fold, Prediction, Problem, Rows, Target, Task, Truth};
use thousandfold::models::Model;
use thousandfold::space::{Domain, Points, Space};

/// Mean squared error against one-hot or plain targets: smooth, so that every bit of a prediction shows in it.
pub struct SquaredError;

impl Named for SquaredError {
    fn name(&self) -> &'static str {
        "squared_error"
    }
    fn summary(&self) -> &'static str {
        "mean squared error against one-hot or plain targets"
    }
}

impl Metric for SquaredError {
    fn direction(&self) -> Direction {
        Direction::Minimize
    }
    fn supports(&self, _: Task, _: usize) -> bool {
        true
    }
    fn statistic(&self) -> Statistic {
        Statistic::Predictions
    }
    fn finish(&self, truth: Truth<'_>, reduced: Reduced<'_>) -> f64 {
        let Reduced::Predictions(prediction) = reduced else { panic!("asked for predictions") };
        let square = |a: f32, b: f32| f64::from(a - b) * f64::from(a - b);
        let (sum, rows) = match (truth.target, prediction) {
            (Target::Classes { codes, .. }, Prediction::Probabilities { classes, values }) => {
                let one_hot = |i: usize| f32::from(u8::from(codes[i / classes] as usize == i % classes));
                (values.iter().enumerate().map(|(i, p)| square(*p, one_hot(i))).sum::<f64>(), codes.len())
            }
            (Target::Values(truth), Prediction::Values(values)) => {
                (truth.iter().zip(values).map(|(a, b)| square(*a, *b)).sum(), truth.len())
            }
            _ => panic!("prediction of another kind than the target"),
        };
        sum / rows as f64
    }
}

/// Rows with a learnable target: `classes` classes, or a number where `classes` is 1.
pub fn rows(seed: u64, rows: usize, features: usize, classes: usize) -> Rows {
    let key = Key::from_seed(seed);
    let draw = |i: usize, j: usize| normal(key.words((i * features + j) as u64)[0]);
    let x = Array2::from_shape_fn((rows, features), |(i, j)| draw(i, j));
    // The same coefficients for every seed: training and validation rows follow one law.
    let coefficient = |j: usize, k: usize| normal(Key::from_seed(99).words((j * 31 + k) as u64)[0]);
    let score = |i: usize, k: usize| (0..features).map(|j| x[[i, j]] * coefficient(j, k)).sum::<f32>();
    let y = if classes == 1 {
        Target::Values((0..rows).map(|i| 50.0 + 7.0 * score(i, 0) + uniform(key.words(i as u64)[1])).collect())
    } else {
        let best = |i: usize| (0..classes).max_by(|&a, &b| score(i, a).total_cmp(&score(i, b)));
        Target::Classes { codes: (0..rows).map(|i| best(i).unwrap() as u32).collect(), classes }
    };
    Rows::new(x, y)
}

/// A problem of `folds` folds; every fold has its own rows.
pub fn problem(folds: usize, n: usize, features: usize, classes: usize, budget: u64) -> Arc<Problem> {
    let task = if classes == 1 { Task::Regression } else { Task::Classification };
    let target = if classes == 1 { Affine { shift: 50.0, scale: 20.0 } } else { Affine::IDENTITY };
    let folds = (0..folds as u64)
        .map(|fold| {
            let key = Key::from_seed(5).child(fold as u32);
            let evals = vec![rows(100 + fold, n / 2 + 3, features, classes)];
            Arc::new(Fold::of_numbers(key, rows(10 + fold, n, features, classes), evals, target))
        })
        .collect();
    Arc::new(Problem { task, outputs: classes, metric: &SquaredError, budget, folds })
}

/// Points all over the space, whole numbers up to `widest` so that a debug build stays quick.
pub fn mixed_points(space: &Space, count: usize, widest: f64) -> Points {
    let mut points = Points::new(space.parameters.len());
    points.push(&space.defaults());
    for i in 1..count {
        let key = Key::from_seed(i as u64);
        let columns = space.parameters.iter().enumerate();
        let row: Vec<f64> = columns
            .map(|(column, parameter)| {
                let u = uniform_f64(key.words(column as u64));
                match &parameter.domain {
                    Domain::Float { low, high, .. } => low + u * (high - low) * 0.3 * (widest / 40.0),
                    Domain::Int { low, high, .. } => {
                        (*low as f64 + u * ((*high as f64).min(widest) - *low as f64)).round()
                    }
                    Domain::Ordinal(values) | Domain::Categorical(values) => (u * values.len() as f64).floor(),
                    Domain::Bool => u.round(),
                    Domain::Fixed(_) => parameter.default,
                }
            })
            .collect();
        points.push(&row);
    }
    points
}

/// Opens a model on the CPU.
pub fn open_cpu(model: &dyn Model, space: &Space, problem: &Arc<Problem>, options: &CpuOptions) -> Box<dyn Trainer> {
    model.open_cpu(space, problem.clone(), options).unwrap()
}

/// Trains every point on every fold; reports in the order point, fold, with times set to zero.
pub fn train(trainer: &mut dyn Trainer, points: &Points, folds: usize, budget: u64) -> Vec<LaneReport> {
    try_train(trainer, points, folds, budget).unwrap()
}

/// As [`train`], where the trainer may refuse.
pub fn try_train(
    trainer: &mut dyn Trainer,
    points: &Points,
    folds: usize,
    budget: u64,
) -> Result<Vec<LaneReport>, BackendError> {
    let lanes: Vec<Lane> =
        (0..points.len()).flat_map(|point| (0..folds).map(move |fold| Lane { point, fold })).collect();
    let slots = trainer.start(points, &lanes)?;
    let mut reports = Vec::new();
    let mut report = |lane: LaneReport| {
        reports.push(LaneReport { seconds: 0.0, ..lane });
        ControlFlow::Continue(())
    };
    trainer.advance(&slots, budget, true, &StopFlag::default(), &mut report)?;
    reports.sort_by_key(|report| slots.iter().position(|slot| *slot == report.slot));
    Ok(reports)
}

/// Trains one point on fold 0 and reads its weights back.
pub fn weights(trainer: &mut dyn Trainer, space: &Space, row: &[f64], budget: u64) -> Weights {
    // What a row lacks at its end has the model's default.
    let row = [row, space.defaults().get(row.len()..).unwrap_or_default()].concat();
    let points = Points::from_values(row.len(), row);
    let slots = trainer.start(&points, &[Lane { point: 0, fold: 0 }]).unwrap();
    trainer.advance(&slots, budget, true, &StopFlag::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    trainer.read_back(slots[0]).unwrap()
}

/// Scores as bits, so that equality means equality.
pub fn bits(reports: &[LaneReport]) -> Vec<u64> {
    reports
        .iter()
        .flat_map(|report| std::iter::once(report.train).chain(report.evals.clone()))
        .map(f64::to_bits)
        .collect()
}

/// A text without the list of all models, which grows.
pub fn without_models(text: &str) -> String {
    let names: Vec<&str> = thousandfold::models::MODELS.iter().map(|model| model.name()).collect();
    text.replace(&names.join(", "), "(every model)")
}

/// A temporary folder that goes when the test ends.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    /// The override that puts the run into the folder.
    pub fn run_set(&self) -> String {
        format!("run.dir={}", self.path().join("run").display())
    }

    pub fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Nobody watches.
pub fn quiet() -> thousandfold::study::events::Observers {
    thousandfold::study::events::Observers::default()
}

/// Small studies.
pub mod studies {
    use super::Folder;
    use std::fmt::Write;
    use std::path::PathBuf;
    use thousandfold::base::random::{Key, normal};
    use thousandfold::study::{LoadedConfig, StudyConfig, result::RunResult};

    /// A table of three kinds that two of four numbers tell apart, with a text and some missing cells.
    pub fn flowers(folder: &Folder) -> PathBuf {
        folder.write("flowers.csv", &table(0.0, &[]))
    }

    fn table(test_shift: f64, test_rows: &[usize]) -> String {
        let key = Key::from_seed(8);
        let mut text = "a,b,c,d,colour,part,kind\n".to_owned();
        for row in 0..120 {
            let kind = row % 3;
            let is_test = test_rows.contains(&row);
            let draw = |column: u64| f64::from(normal(key.words(row as u64 * 8 + column)[0]));
            let shift = if is_test { test_shift } else { 0.0 };
            let a = draw(0) + kind as f64 * 1.5 + shift;
            let b = draw(1) - (kind == 1) as u8 as f64 * 2.0 + shift;
            let c = if row % 17 == 5 { String::new() } else { format!("{:.3}", draw(2) + shift) };
            let colour = ["red", "blue", "green"][(row / 3) % 3];
            let part = if is_test { "test" } else { "train" };
            writeln!(text, "{a:.4},{b:.4},{c},{:.4},{colour},{part},k{kind}", draw(3)).unwrap();
        }
        text
    }

    const STUDY: &str = "[data]\nfile = 'flowers.csv'\ntarget = 'kind'\n[model]\nbudget = 3\n[space]\nhidden = { int = [4, 24], log = true }\n[search]\nstrategy = 'random'\ncandidates = 12\nseed = 5\n[validate]\nfolds = 3\n";

    fn load(folder: &Folder, sets: &[String]) -> LoadedConfig {
        let path = folder.write("study.toml", STUDY);
        // Whatever this machine has: the promises of a study are kept on the processor first.
        let mut sets = [&["run.backend=cpu".to_owned()], sets].concat();
        // The default model's space does not fit the others.
        if sets.iter().any(|set| set.starts_with("model.name")) {
            std::fs::write(
                &path,
                STUDY.replace("hidden = { int = [4, 24], log = true }\n", "").replace("budget = 3", ""),
            )
            .unwrap();
        }
        if !sets.iter().any(|set| set.starts_with("run.dir")) {
            sets.push(folder.run_set());
        }
        StudyConfig::load(&path, &sets).unwrap()
    }

    /// Twelve perceptrons on three folds of the flowers.
    pub fn small(folder: &Folder, sets: &[String]) -> LoadedConfig {
        folder.write("flowers.csv", &table(0.0, &[]));
        load(folder, sets)
    }

    /// The same with every fifth row marked as a test row whose features are moved.
    pub fn small_with_test(folder: &Folder, shift: f64, sets: &[String]) -> LoadedConfig {
        let rows: Vec<usize> = (0..120).step_by(5).collect();
        folder.write("flowers.csv", &table(shift, &rows));
        load(folder, sets)
    }

    /// A result without what differs between runs that must be equal: times and places.
    pub fn comparable(result: &RunResult) -> String {
        let mut json = serde_json::to_value(result).unwrap();
        forget_times_and_places(&mut json);
        json.to_string()
    }

    /// Leaves in a result what must be equal between runs.
    pub fn forget_times_and_places(result: &mut serde_json::Value) {
        for key in [
            "seconds",
            "lanes_per_second",
            "run_dir",
            "model_file",
            "best_file",
            "recipe_file",
            "lineage_file",
            "device",
        ] {
            result[key].take();
        }
        for chosen in ["best", "one_se", "bias_corrected"] {
            result[chosen]["seconds_per_lane"].take();
        }
        // A result without trade-offs has no front.
        for list in ["top", "front"] {
            for chosen in result.get_mut(list).and_then(|list| list.as_array_mut()).into_iter().flatten() {
                chosen["seconds_per_lane"].take();
            }
        }
    }
}

/// The program itself, as a user meets it.
pub mod program {
    use super::Folder;
    use std::process::{Command, Stdio};

    /// What it said, and its exit code.
    #[derive(Debug)]
    pub struct Told {
        pub code: Option<i32>,
        pub out: String,
        pub err: String,
    }

    /// The program, to be started in the folder; nothing of the user's environment shows in what it does.
    pub fn command(folder: &Folder, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thousandfold"));
        command.current_dir(folder.path()).args(arguments).stdin(Stdio::null());
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "THOUSANDFOLD_LOG"] {
            command.env_remove(name);
        }
        command
    }

    pub fn ended(command: &mut Command) -> Told {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs it to its end.
    pub fn run(folder: &Folder, arguments: &[&str]) -> Told {
        ended(&mut command(folder, arguments))
    }

    /// Runs it to its end, which must be a good one.
    pub fn done(folder: &Folder, arguments: &[&str]) -> Told {
        let told = run(folder, arguments);
        assert_eq!(told.code, Some(0), "{arguments:?}: {}", told.err);
        told
    }

    /// The result of a run without what differs between runs that must be equal: times and places.
    pub fn result(folder: &Folder, run: &str) -> serde_json::Value {
        let text = std::fs::read_to_string(folder.path().join(run).join("result.json")).unwrap();
        let mut result: serde_json::Value = serde_json::from_str(&text).unwrap();
        super::studies::forget_times_and_places(&mut result);
        result
    }
}
