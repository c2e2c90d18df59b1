//! `list`: what the registries hold.

use super::failure::Failure;
use super::terminal::print;
use crate::base::registry::Named;
use crate::data::Task;
use crate::data::metrics::{Direction, METRICS};
use crate::functions::{FUNCTIONS, Function};
use crate::models::MODELS;
use crate::monitor::table::{Align, Table};
use crate::monitor::text::thousands;
use crate::schedulers::SCHEDULERS;
use crate::strategies::STRATEGIES;
use clap::{Args, ValueEnum};

/// List the models, strategies, metrics, schedulers or functions that studies can name
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  thousandfold list metrics")]
pub(super) struct ListArguments {
    /// What to list
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Models,
    Strategies,
    Metrics,
    Schedulers,
    Functions,
}

impl ListArguments {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let table = match self.kind {
            Kind::Models => models(),
            Kind::Strategies => named("strategy", STRATEGIES),
            Kind::Metrics => metrics(),
            Kind::Schedulers => named("scheduler", SCHEDULERS),
            Kind::Functions => functions(),
        };
        print(&table.render(0))
    }
}

fn models() -> Table {
    let mut table = Table::new([
        ("model", Align::Left),
        ("predicts", Align::Left),
        ("budget", Align::Right),
        ("", Align::Left),
        ("rungs", Align::Left),
        ("what it is", Align::Left),
    ]);
    for model in MODELS {
        let tasks: Vec<&str> = model.tasks().iter().map(|task| predicts(*task)).collect();
        let budget = model.budget();
        let default = thousands(budget.default);
        let cells = [model.name(), &tasks.join(", "), &default, budget.unit, budget.counted(), model.summary()];
        table.row(cells.map(str::to_owned));
    }
    table
}

fn named<T: Named + ?Sized>(kind: &str, entries: &[&T]) -> Table {
    let mut table = Table::new([(kind, Align::Left), ("what it does", Align::Left)]);
    entries.iter().for_each(|entry| table.row([entry.name(), entry.summary()].map(str::to_owned)));
    table
}

fn functions() -> Table {
    let mut table = Table::new([
        ("function", Align::Left),
        ("parameters", Align::Right),
        ("objectives", Align::Right),
        ("what it is", Align::Left),
    ]);
    for function in FUNCTIONS {
        let parameters = parameters(*function);
        let cells = [function.name(), &parameters, &function.objectives().to_string(), function.summary()];
        table.row(cells.map(str::to_owned));
    }
    table
}

/// `2 to 1,000`, or `6` where there is no choice.
fn parameters(function: &dyn Function) -> String {
    let allowed = function.dimensions();
    match (*allowed.start() as u64, *allowed.end() as u64) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{} to {}", thousands(least), thousands(most)),
    }
}

fn metrics() -> Table {
    let mut table = Table::new([
        ("metric", Align::Left),
        ("scores", Align::Left),
        ("better is", Align::Left),
        ("what it is", Align::Left),
    ]);
    for metric in METRICS {
        let is_for = |task, outputs| metric.supports(task, outputs);
        let scores = match (is_for(Task::Classification, 3), is_for(Task::Classification, 2)) {
            (true, _) => "classes",
            (_, true) => "two classes",
            _ => "numbers",
        };
        let better = if metric.direction() == Direction::Minimize { "less" } else { "more" };
        table.row([metric.name(), scores, better, metric.summary()].map(str::to_owned));
    }
    table
}

fn predicts(task: Task) -> &'static str {
    match task {
        Task::Classification => "classes",
        Task::Regression => "numbers",
    }
}
