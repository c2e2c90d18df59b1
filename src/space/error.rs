//! What can be wrong with a search space, in words.

/// A parameter that makes no sense, or that the model does not have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// No such parameter.
    #[error("[space] has an unknown parameter \"{name}\"{}\n  The model has: {}", near.as_ref().map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default(), known.join(", "))]
    UnknownParameter {
        /// As it was written.
        name: String,
        /// The nearest one.
        near: Option<String>,
        /// All of them.
        known: Vec<String>,
    },
    /// A range where each value takes a preparation of its own.
    #[error("[space] {name} cannot be a range: each value prepares the data anew\n  List values: {name} = [1, 10]")]
    NotListed {
        /// The parameter.
        name: String,
    },
    /// Not one of the ways to write a parameter.
    #[error(
        "[space] {name}: {found} is not a parameter\n  Write one of: {{ log = [1e-4, 1e-1] }}, {{ float = [0, 1] }}, {{ logit = [0.1, 0.9] }}, {{ int = [8, 256] }}, {{ ordinal = [16, 32] }}, [\"a\", \"b\"], or one value"
    )]
    NotAParameter {
        /// The parameter.
        name: String,
        /// What was written.
        found: String,
    },
    /// A key of a parameter that does not exist.
    #[error("[space] {name}: unknown key \"{key}\"{}\n  known: float, log, logit, int, ordinal, categorical, step, default, when", near.as_ref().map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default())]
    UnknownKey {
        /// The parameter.
        name: String,
        /// As it was written.
        key: String,
        /// The nearest one.
        near: Option<String>,
    },
    /// The wrong way round, or nothing to search.
    #[error("[space] {name}: low {low} is not below high {high}\n  {}", if low == high { format!("To hold it fixed: {name} = {low}") } else { format!("Write [{high}, {low}]") })]
    LowAboveHigh {
        /// The parameter.
        name: String,
        /// First number.
        low: f64,
        /// Second number.
        high: f64,
    },
    /// A range that the scale does not have.
    #[error("[space] {name}: {scale} = [{low}, {high}] is not possible, {need}")]
    ScaleRange {
        /// The parameter.
        name: String,
        /// "log" or "logit".
        scale: &'static str,
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
        /// What the scale needs.
        need: &'static str,
    },
    /// A step that is not positive or leaves the range at once.
    #[error(
        "[space] {name}: step {step} does not fit between {low} and {high}\n  It must be positive and at most their distance; whole for whole numbers, and there is none on log and logit scales of real numbers"
    )]
    Step {
        /// The parameter.
        name: String,
        /// Its step.
        step: f64,
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
    },
    /// A step that passes over the greatest value.
    #[error(
        "[space] {name}: steps of {step} from {low} pass over {high}\n  The last value would be {last}: write [{low}, {last}], or a step that ends at {high}"
    )]
    StepEnd {
        /// The parameter.
        name: String,
        /// Its step.
        step: f64,
        /// Least value.
        low: f64,
        /// Greatest value, as it was written.
        high: f64,
        /// Greatest value that steps reach.
        last: f64,
    },
    /// A default that the parameter cannot have.
    #[error("[space] {name}: the default {default} is not among its values\n  They are: {values}")]
    Default {
        /// The parameter.
        name: String,
        /// As it was written.
        default: String,
        /// What it may be.
        values: String,
    },
    /// A list without choices, or with one twice.
    #[error("[space] {name}: {problem}")]
    Choices {
        /// The parameter.
        name: String,
        /// What is wrong with its list.
        problem: String,
    },
    /// A value that the model does not know, or cannot work with.
    #[error("[space] {name}: {value} is not possible\n  The model knows: {possible}")]
    Impossible {
        /// The parameter.
        name: String,
        /// As it was written.
        value: String,
        /// What the model knows.
        possible: String,
    },
    /// Not a condition.
    #[error(
        "[space] {name}: {found} is not a condition\n  Write the parent with one value or a list of them: when = {{ optimizer = \"sgd\" }}"
    )]
    NotACondition {
        /// The parameter.
        name: String,
        /// What was written.
        found: String,
    },
    /// A condition on something that is not there.
    #[error("[space] {name}: its condition is on \"{parent}\", which is no parameter\n  Parameters are: {}", known.join(", "))]
    UnknownParent {
        /// The parameter.
        name: String,
        /// As it was written.
        parent: String,
        /// All parameters.
        known: Vec<String>,
    },
    /// A condition on a value that the parent never has.
    #[error(
        "[space] {name}: \"{parent}\" never is {value}, so {name} would never exist\n  {parent} is one of: {values}"
    )]
    ParentValue {
        /// The parameter.
        name: String,
        /// Its parent.
        parent: String,
        /// The condition's value.
        value: String,
        /// What the parent may be.
        values: String,
    },
    /// Conditions that go round.
    #[error("[space] the conditions of {} go round in a circle\n  Take one of them away", names.join(", "))]
    Cycle {
        /// The parameters on the circle.
        names: Vec<String>,
    },
    /// Not a list of constraints.
    #[error(
        "[space] constraints: {found} is no list of texts\n  Write them so: constraints = [\"layers * hidden <= 512\"]"
    )]
    NotConstraints {
        /// What was written.
        found: String,
    },
    /// A constraint that cannot be understood.
    #[error("[space] constraints: \"{text}\", at character {at}: {problem}")]
    Constraint {
        /// As it was written.
        text: String,
        /// Place in it, from 1.
        at: usize,
        /// What is wrong there.
        problem: String,
    },
}

impl SpaceError {
    /// The key of `[space]` that it is about, and whether its name is what is wrong.
    pub fn key(&self) -> Option<(&str, bool)> {
        use SpaceError::*;
        match self {
            UnknownParameter { name, .. } => Some((name, true)),
            NotAParameter { name, .. }
            | NotListed { name }
            | UnknownKey { name, .. }
            | LowAboveHigh { name, .. }
            | ScaleRange { name, .. }
            | Step { name, .. }
            | StepEnd { name, .. }
            | Default { name, .. }
            | Choices { name, .. }
            | Impossible { name, .. }
            | NotACondition { name, .. }
            | UnknownParent { name, .. }
            | ParentValue { name, .. } => Some((name, false)),
            Cycle { names } => names.first().map(|name| (name.as_str(), false)),
            NotConstraints { .. } | Constraint { .. } => Some(("constraints", false)),
        }
    }
}
