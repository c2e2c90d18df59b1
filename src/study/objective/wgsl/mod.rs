//! A user's shader in place of data and model: `fn objective(p: Params) -> f32` in WGSL, read and explained before anything is
//! run, on a machine without a GPU too.

mod error;
mod explain;
mod params;
mod tables;

pub use error::WgslError;

use params::Params;
use tables::Tables;

use super::options::{ObjectiveOptions, check_repeats};
use super::{Objective, Resolved};
use crate::backend::gpu::{Binding, Kernel, Role, UsersFunction, inspect};
use crate::base::hash::Hasher;
use crate::base::random::{Key, stream};
use crate::data::metrics::Direction;
use crate::data::read::near_file;
use crate::functions::EvaluationBatch;
use crate::space::Space;
use crate::study::config::{BackendChoice, StudyConfig};
use crate::study::error::{ConfigError, StudyError};
use crate::study::resolve::{at, placed};
use crate::study::source::{About, Source};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The function that a shader has.
const FUNCTION: &str = "objective";
/// Values that it may give.
const VALUES_MOST: usize = 16;
/// Turns of loops that an evaluation may have where the study does not say. At two microseconds a turn, a few hundred
/// operations on a slow device, it ends within the 100 ms of a dispatch; and software drivers end loops after 65,535.
const STEPS: u32 = 50_000;
/// More would keep a slow device for minutes.
const STEPS_MOST: u32 = 10_000_000;

/// A shader, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct WgslObjective {
    path: PathBuf,
    text: String,
    params: Params,
    tables: Tables,
    directions: Vec<Direction>,
    /// Whether it gives an `f32` itself, no vector or array.
    is_scalar: bool,
    repeats: usize,
    steps: u32,
    key: Key,
}

impl WgslObjective {
    /// Members of a workgroup.
    pub const WORKGROUP: u32 = 64;
    /// A lane's last word where it has its values.
    pub const EVALUATED: u32 = 0;
    /// The same where the driver ended its loops before their time.
    pub const CUT: u32 = 1;
    /// The same where its loops took more turns than they may.
    pub const ENDLESS: u32 = 2;
    /// The same where it read beyond the first table; each further table has the next number.
    pub const BEYOND: u32 = 3;

    /// What it is called: its file.
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of two values is better, for each value that it gives.
    pub fn directions(&self) -> &[Direction] {
        &self.directions
    }

    /// Evaluations of a candidate.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Turns that the loops of an evaluation may have together.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// What fills `Params`.
    pub(in crate::study) fn params(&self) -> &Params {
        &self.params
    }

    /// The tables that it reads.
    pub(in crate::study) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What all candidates' evaluations of this number draw by.
    pub(in crate::study) fn key(&self, repeat: usize) -> Key {
        self.key.child(repeat as u32)
    }

    /// Of the shader and of every table's name and cells.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hasher::default();
        hash.text(&self.text);
        hash.word(self.tables.fingerprint());
        hash.finish()
    }

    pub(super) fn describe(&self) -> String {
        let values = match self.directions.len() {
            1 => String::new(),
            values => format!(", {values} values"),
        };
        let repeats =
            if self.repeats > 1 { format!(", {} evaluations a candidate", self.repeats) } else { String::new() };
        let tables: Vec<&str> = self.tables.names().collect();
        let tables = if tables.is_empty() { String::new() } else { format!(", with {}", tables.join(", ")) };
        format!("the shader {}{values}{repeats}{tables}", self.name())
    }

    /// The kernel that evaluates a batch. It binds an [`EvaluationBatch`]; points, `[word][member]`, each the words of
    /// its parameters and the two of a key; the tables' numbers; and values, `[word][member]`, each the values' bits and one
    /// of the numbers above.
    pub fn kernel(&self) -> Kernel {
        let words = self.params.words() as u32;
        let values = self.directions.len();
        let mut evaluate = String::new();
        let give = |text: &mut String, word: usize, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    thousandfold_give(member, {word}u, bitcast<u32>({value}));");
        };
        let _ = writeln!(evaluate, "fn thousandfold_evaluate(member: u32) {{");
        let _ = writeln!(evaluate, "    let params = {};", self.params.construct());
        let _ = writeln!(evaluate, "    let value = {FUNCTION}(params);");
        match self.is_scalar {
            true => give(&mut evaluate, 0, "value"),
            false => (0..values).for_each(|word| give(&mut evaluate, word, &format!("value[{word}]"))),
        }
        evaluate.push_str("}\n");
        let mut kernel = declared(&self.text, &self.params, &self.tables, self.steps)
            .constant("thousandfold_workgroup", Self::WORKGROUP)
            .constant("thousandfold_key_word", words)
            .constant("thousandfold_reason_word", values as u32)
            .constant("thousandfold_cut", Self::CUT)
            .constant("thousandfold_endless", Self::ENDLESS)
            .generated(&evaluate);
        kernel.sources.push(include_str!("../../../../shaders/objective/evaluate.wgsl"));
        kernel
    }
}

/// Everything behind a shader's text but what starts it: what the text itself can name, and what that needs.
fn declared(text: &str, params: &Params, tables: &Tables, steps: u32) -> Kernel {
    // What the text can be in the way of has other names than in the file that the kernels of models share.
    let random = ["rotate_left", "threefry", "uniform_of"]
        .iter()
        .fold(include_str!("../../../../shaders/shared/random.wgsl").to_owned(), |text, name| {
            text.replace(name, &format!("thousandfold_{name}"))
        });
    Kernel::new("wgsl_objective", "thousandfold_main", &[include_str!("../../../../shaders/objective/lane.wgsl")])
        .of_users(text)
        .layout::<EvaluationBatch>()
        .constant("thousandfold_steps", steps)
        .generated(&params.declare())
        .generated(&tables.declare(WgslObjective::BEYOND))
        .generated(&random)
        .bind(&[
            Binding::new(Role::Prepare(0), "thousandfold_batch", "EvaluationBatch"),
            Binding::new(Role::Prepared(1), "thousandfold_points", "array<u32>"),
            Binding::new(Role::Prepared(2), "thousandfold_tables", "array<f32>"),
            Binding::new(Role::Prepare(4), "thousandfold_values", "array<u32>"),
        ])
}

pub(super) fn resolve(config: &mut StudyConfig, source: &Source, key: Key) -> Result<Resolved, StudyError> {
    let Some((options, path)) = config.objective.clone().and_then(|options| Some((options.clone(), options.wgsl?)))
    else {
        return Err(ConfigError::NoObjective.into());
    };
    if let Some(key) = options.of_functions() {
        let error = ConfigError::OtherObjective { key, of: "functions", does: "evaluates a shader" };
        return Err(at(source, key, error.into()));
    }
    if let Some(key) = options.of_programs() {
        let error = ConfigError::OtherObjective { key, of: "commands", does: "evaluates a shader" };
        return Err(at(source, key, error.into()));
    }
    if let Some(key) = options.of_rust() {
        let error = ConfigError::OtherObjective { key, of: "objectives in Rust", does: "evaluates a shader" };
        return Err(at(source, key, error.into()));
    }
    if let Some(section) = config.section_of_models() {
        let error = ConfigError::TwoObjectives { section, instead: "evaluates the shader" };
        return Err(placed(source.find(section, About::Name), error.into()));
    }
    let (repeats, steps) = (options.repeats.unwrap_or(1), options.steps.unwrap_or(STEPS));
    check_repeats(repeats).map_err(|error| at(source, "objective.repeats", error.into()))?;
    if !(1..=STEPS_MOST).contains(&steps) {
        let (key, need) = ("objective.steps", format!("1 to {STEPS_MOST}").into());
        return Err(at(source, key, ConfigError::OutOfRange { key, value: steps.to_string(), need }.into()));
    }
    let space = space(config, source)?;
    let params = Params::new(&space)
        .map_err(|(name, error)| placed(source.find(&format!("space.{name}"), About::Name), error.into()))?;
    let tables = Tables::read(&options.tables, source)?;
    if let Some(name) = twice(&params, &tables) {
        return Err(placed(source.find("objective.tables", About::Name), WgslError::NameTwice { name }.into()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let near = (error.kind() == std::io::ErrorKind::NotFound).then(|| near_file(&path)).flatten();
        at(source, "objective.wgsl", WgslError::Unreadable { path: path.clone(), near, source: error }.into())
    })?;
    // Some editors of Windows begin a file by a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let function = function(&path, &text, &params, &tables, steps)?;
    let values = values(&path, &text, &function)?;
    let directions = directions(&options, &path, &function, values, source)?;
    if config.run.backend == BackendChoice::Cpu {
        return Err(at(source, "run.backend", WgslError::Processor.into()));
    }
    if let Some(objective) = &mut config.objective {
        (objective.repeats, objective.steps) = (Some(repeats), Some(steps));
    }
    let notes = (repeats > 1 && !text.contains("random_"))
        .then(|| format!("without random numbers all {repeats} evaluations of a candidate are the same"));
    let objective = WgslObjective {
        is_scalar: function.is_scalar,
        path,
        text,
        params,
        tables,
        directions,
        repeats: repeats as usize,
        steps,
        key: key.child(stream::SHADER),
    };
    // What starts it is generated: that it fits the text is seen here, not on a device.
    if let Err(fault) = inspect(&objective.kernel(), FUNCTION) {
        return Err(explain::fault(&objective.path, &objective.text, &objective.params, &objective.tables, fault));
    }
    let objective = Objective::Wgsl(Box::new(objective));
    Ok(Resolved { objective, space, notes: notes.into_iter().collect() })
}

fn space(config: &StudyConfig, source: &Source) -> Result<Space, StudyError> {
    if config.space.keys().all(|name| name == "constraints") {
        return Err(at(source, "objective.wgsl", WgslError::NoSpace.into()));
    }
    Space::of_table(&config.space).map_err(|error| {
        let place = error.key().and_then(|(key, is_name)| {
            source.find(&format!("space.{key}"), if is_name { About::Name } else { About::Value })
        });
        placed(place, error.into())
    })
}

/// A name that stands for two things behind the text.
fn twice(params: &Params, tables: &Tables) -> Option<String> {
    let names: Vec<String> = params.constants().map(str::to_owned).chain(tables.declared()).collect();
    let is_twice = |(place, name): (usize, &String)| names[..place].contains(name).then(|| name.clone());
    names.iter().enumerate().find_map(is_twice)
}

/// The text's function, looked at.
fn function(
    path: &Path,
    text: &str,
    params: &Params,
    tables: &Tables,
    steps: u32,
) -> Result<UsersFunction, StudyError> {
    let found = inspect(&declared(text, params, tables, steps), FUNCTION)
        .map_err(|fault| explain::fault(path, text, params, tables, fault))?;
    let function = found.ok_or_else(|| {
        let message = format!("{} has no function {FUNCTION}", path.display());
        let remedy = format!("Write it: fn {FUNCTION}(p: Params) -> f32 {{ ... }}");
        StudyError::from(WgslError::Text { message, remedy })
    })?;
    if function.takes != ["Params"] {
        let message = match &function.takes[..] {
            [] => format!("{FUNCTION} takes nothing, so that all candidates would have the same value"),
            takes => format!("{FUNCTION} takes {}, and has to take the candidate's parameters alone", takes.join(", ")),
        };
        let remedy = format!("Write it so: fn {FUNCTION}(p: Params) -> f32 {{ ... }}");
        return Err(explain::text(path, text, Some(function.span), message, remedy));
    }
    Ok(function)
}

/// How many values it gives.
fn values(path: &Path, text: &str, function: &UsersFunction) -> Result<usize, StudyError> {
    let (message, remedy) = match (&function.gives, function.values) {
        (_, Some(values)) if values <= VALUES_MOST => return Ok(values),
        (Some(gives), Some(_)) => (
            format!("{FUNCTION} returns {gives}"),
            format!("At most {VALUES_MOST} values can be searched for at a time"),
        ),
        (Some(gives), None) => (
            format!("{FUNCTION} returns {gives}, which is no value of a candidate"),
            "One value is an f32; several are a vec2<f32>, vec3<f32>, vec4<f32>, or an array<f32, 5>".to_owned(),
        ),
        (None, _) => (
            format!("{FUNCTION} returns nothing"),
            format!("Write what a candidate's value is: fn {FUNCTION}(p: Params) -> f32 {{ return ...; }}"),
        ),
    };
    Err(explain::text(path, text, Some(function.span.clone()), message, remedy))
}

/// The directions that the study says, if as many as there are values; all down where it says none.
fn directions(
    options: &ObjectiveOptions,
    path: &Path,
    function: &UsersFunction,
    values: usize,
    source: &Source,
) -> Result<Vec<Direction>, StudyError> {
    let (key, stated) = match (options.direction, options.directions.as_deref().unwrap_or_default()) {
        (Some(_), [_, ..]) => return Err(at(source, "objective.directions", WgslError::DirectionsTwice.into())),
        (None, []) => return Ok(vec![Direction::Minimize; values]),
        (Some(direction), []) => ("objective.direction", vec![direction]),
        (None, directions) => ("objective.directions", directions.to_vec()),
    };
    if stated.len() == values {
        return Ok(stated);
    }
    let (path, gives) = (path.to_owned(), function.gives.clone().unwrap_or_default());
    let error = WgslError::Directions { key, path, stated: stated.len(), gives, values };
    Err(at(source, key, error.into()))
}
