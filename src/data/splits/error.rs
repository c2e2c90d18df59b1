//! Why rows cannot be split as asked, and what to ask for instead. A remedy is named only where it would work.

/// A number of parts that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How many parts.
    pub parts: u32,
    /// The key in the study that asks for them.
    pub key: &'static str,
}

impl Asked {
    /// What to write so that at most `most` parts are needed; nothing where no number would do.
    fn fewer(self, most: u64) -> String {
        match self.key {
            "validate.folds" if most >= 2 => format!("\n  Take fewer folds: --folds {most}"),
            "validate.outer_folds" if most >= 3 => format!("\n  Take fewer: --set validate.outer_folds={most}"),
            _ => String::new(),
        }
    }
}

/// Why rows cannot be split as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A class would be missing in a fold.
    #[error("class \"{class}\" has {rows} row(s) outside the test rows, fewer than the {} folds{}\n  Drop the class's rows, or split without classes: --set validate.method=k_fold{}", asked.parts, asked.fewer(*rows), if *are_integers {
        "\n  If it is a number that is to be predicted: --set data.task=regression"
    } else {
        ""
    })]
    FewRowsInClass {
        /// The class.
        class: String,
        /// Its rows outside the test.
        rows: u64,
        /// Whether the classes are whole numbers that only their fewness made classes.
        are_integers: bool,
        /// What was asked for.
        asked: Asked,
    },
    /// Not even a row a fold.
    #[error("{rows} row(s) outside the test rows are too few for {} folds{}", asked.parts, match most {
        0 | 1 => "\n  Lock fewer rows away ([data] test), or collect more".to_owned(),
        _ => asked.fewer(*most),
    })]
    FewRows {
        /// Rows outside the test.
        rows: u64,
        /// The most folds that these rows allow.
        most: u64,
        /// What was asked for.
        asked: Asked,
    },
    /// Not even a group a fold.
    #[error("column \"{column}\" has {groups} group(s) outside the test rows, fewer than the {} folds{}", asked.parts, asked.fewer(*groups))]
    FewGroups {
        /// The group column.
        column: String,
        /// Its groups outside the test.
        groups: u64,
        /// What was asked for.
        asked: Asked,
    },
    /// Rows of one time are never parted, so each fold needs a time of its own, and the first training rows another.
    #[error("column \"{column}\" holds {times} different time(s) outside the test rows, too few for {} folds in order of time{}", asked.parts, asked.fewer(times.saturating_sub(1)))]
    FewTimes {
        /// The time column.
        column: String,
        /// Its different values outside the test.
        times: u64,
        /// What was asked for.
        asked: Asked,
    },
    /// Nothing would be left on one side of a split.
    #[error("{key} = {share} cannot split {rows} row(s): {need}")]
    NothingLeft {
        /// The key that asks for the split.
        key: &'static str,
        /// The share that it asks for.
        share: String,
        /// The rows to split.
        rows: u64,
        /// What is needed for a split.
        need: &'static str,
    },
    /// A fold column with too few values.
    #[error("column \"{column}\" names {folds} fold(s) outside the test rows; {}", match is_nested {
        true => "validate.outer_folds needs three or more: the inner folds are the other outer ones",
        false => "two or more are needed",
    })]
    FewNamedFolds {
        /// The fold column.
        column: String,
        /// Its distinct values.
        folds: u64,
        /// Whether they are the outer parts of nested cross-validation.
        is_nested: bool,
    },
    /// A method without the column that it needs.
    #[error("validate.method = \"{method}\" needs a column that names {role}\n  Say which: [data] {key} = \"...\"")]
    NeedsColumn {
        /// The method.
        method: &'static str,
        /// What the column would hold.
        role: &'static str,
        /// The key that names the column.
        key: &'static str,
    },
    /// Groups are named, and the method would split them.
    #[error(
        "validate.method = \"{method}\" would split the groups of column \"{column}\"\n  Keep them whole: --set validate.method=group, or take [data] group away"
    )]
    SplitsGroups {
        /// The method.
        method: &'static str,
        /// The group column.
        column: String,
    },
    /// No split keeps groups whole and rows in order of time.
    #[error(
        "columns \"{group}\" and \"{time}\" cannot both decide the splits: groups stay whole, or rows in order of time\n  Take one away: [data] group or [data] time"
    )]
    GroupsAndTime {
        /// The group column.
        group: String,
        /// The time column.
        time: String,
    },
    /// Stratifying needs classes.
    #[error("validate.method = \"stratified\" needs classes, and the target is numbers\n  Use \"k_fold\"")]
    NoClasses,
    /// A number out of its range.
    #[error("{key} = {value} is not possible: {need}")]
    OutOfRange {
        /// The key in the study.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        need: &'static str,
    },
}
