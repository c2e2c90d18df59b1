//! A benchmark as text for a terminal, as Markdown and as a plot: the same tables and sentences in each.

mod progress;

pub use progress::BenchView;

use super::chart::{Chart, Series, svg};
use super::style::{NOTICE, STRONG, paint};
use super::table::{Align, Table};
use super::text::{bytes, count, number, thousands, with_prefix};
use crate::study::bench::{BackendReport, BenchReport, Crossover, Point, Shapes};

/// Everything that was measured, for a terminal.
pub fn text(report: &BenchReport) -> String {
    let mut text = format!("{}\n{}\n\n", paint(STRONG, title(report)), setting(report).join("\n"));
    text += &speed(report).render(0);
    text += &format!("\n{}", start_up(report).render(0));
    if let Some(kernels) = kernels(report) {
        text += &format!("\n{}", kernels.render(0));
    }
    text.push('\n');
    findings(report).iter().for_each(|finding| text += &format!("{finding}\n"));
    text
}

/// The same as a Markdown page, with the plot from the file of this name.
pub fn markdown(report: &BenchReport, plot: &str) -> String {
    let list = |items: Vec<String>| -> String {
        items.iter().map(|item| format!("- {}\n", anstream::adapter::strip_str(item))).collect()
    };
    let mut page = format!("# {}\n\n{}\n", title(report), list(setting(report)));
    page += &format!("![Lanes a second over lanes]({plot})\n\n{}", speed(report).markdown());
    page += &format!("\n## Start-up and peaks\n\n{}", start_up(report).markdown());
    if let Some(kernels) = kernels(report) {
        page += &format!("\n## Kernels\n\n{}", kernels.markdown());
    }
    page + &format!("\n## Findings\n\n{}", list(findings(report)))
}

/// Lanes a second over lanes, a line a backend.
pub fn plot(report: &BenchReport) -> String {
    let series = report.backends.iter().map(|backend| Series {
        name: backend.backend.to_owned(),
        points: backend.points.iter().map(|point| (point.lanes as f64, point.lanes_per_second)).collect(),
    });
    svg(&Chart {
        title: title(report),
        x: "lanes".to_owned(),
        y: "lanes per second".to_owned(),
        series: series.collect(),
    })
}

fn title(report: &BenchReport) -> String {
    let shapes = match report.shapes {
        Shapes::Default => "default shapes",
        Shapes::Random => "random shapes",
    };
    let (study, model) = (&report.study, &report.model);
    format!("{study}: {model}, {} {}, {shapes}", thousands(report.budget), report.budget_unit)
}

/// What was trained on, and on what.
fn setting(report: &BenchReport) -> Vec<String> {
    let (data, machine) = (&report.data, &report.machine);
    let memory = machine.processor.memory.map_or(String::new(), |memory| format!(", {}", bytes(memory)));
    let data = format!(
        "{} by {} in {}",
        count(data.rows as u64, "training row"),
        count(data.features as u64, "feature"),
        count(data.folds as u64, "fold")
    );
    let machine = format!("{}{memory}, {}, thousandfold {}", machine.processor.name, machine.os, report.version);
    let devices = report.backends.iter().map(|backend| format!("{}: {}", backend.backend, device(backend)));
    [data, machine].into_iter().chain(devices).collect()
}

fn device(backend: &BackendReport) -> String {
    let driver = backend.driver.as_ref().map_or(String::new(), |driver| format!(", {driver}"));
    let software = if backend.is_software { "; software: the processor plays a GPU" } else { "" };
    format!("{}{driver}{software}", backend.device)
}

fn speed(report: &BenchReport) -> Table {
    let headings = ["lanes", "seconds", "lanes/s", "FLOP/s", "of peak", "B/s", "of peak"];
    let numbers = headings.map(|heading| (heading, Align::Right));
    let mut table = Table::new(std::iter::once(("", Align::Left)).chain(numbers));
    for (backend, point) in points(report) {
        table.row([
            backend.backend.to_owned(),
            thousands(point.lanes as u64),
            number(point.seconds, 3),
            number(point.lanes_per_second, 3),
            with_prefix(point.flops),
            percent(point.flops_share),
            with_prefix(point.bytes),
            percent(point.bytes_share),
        ]);
    }
    table
}

fn start_up(report: &BenchReport) -> Table {
    let headings = ["open (s)", "compile (s)", "prepare (s)", "peak FLOP/s", "peak B/s"];
    let numbers = headings.map(|heading| (heading, Align::Right));
    let mut table = Table::new(std::iter::once(("", Align::Left)).chain(numbers));
    for backend in &report.backends {
        let start_up = &backend.start_up;
        table.row([
            backend.backend.to_owned(),
            format!("{:.3}", start_up.open),
            format!("{:.3}", start_up.compile),
            format!("{:.3}", start_up.prepare),
            with_prefix(backend.peaks.flops),
            with_prefix(backend.peaks.bandwidth),
        ]);
    }
    table
}

/// Device time of each kernel at every number of lanes.
fn kernels(report: &BenchReport) -> Option<Table> {
    let mut table = Table::new([
        ("kernel", Align::Left),
        ("lanes", Align::Right),
        ("device seconds", Align::Right),
        ("of the run", Align::Right),
        ("dispatches", Align::Right),
        ("mean (ms)", Align::Right),
    ]);
    let mut has_rows = false;
    for (_, point) in points(report) {
        for kernel in &point.kernels {
            has_rows = true;
            table.row([
                kernel.kernel.clone(),
                thousands(point.lanes as u64),
                number(kernel.seconds, 3),
                percent(kernel.seconds / point.seconds),
                thousands(kernel.dispatches),
                number(1e3 * kernel.seconds / kernel.dispatches as f64, 2),
            ]);
        }
    }
    has_rows.then_some(table)
}

fn points(report: &BenchReport) -> impl Iterator<Item = (&BackendReport, &Point)> {
    report.backends.iter().flat_map(|backend| backend.points.iter().map(move |point| (backend, point)))
}

/// A share of a peak.
fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share, 2))
}

/// What follows from the figures, a sentence each.
fn findings(report: &BenchReport) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(reason) = &report.without_gpu {
        findings.push(format!("no GPU was measured: {reason}"));
    }
    findings.extend(report.crossover.map(crossover));
    if let Some(comparison) = &report.comparison {
        let verdict = match comparison.agrees {
            true => "CPU and GPU agree".to_owned(),
            false => paint(NOTICE, "CPU and GPU do not agree"),
        };
        let mut finding = format!(
            "{verdict}: scores of {} after {} of {} {} differ by {} at most ({} allowed)",
            count(comparison.lanes as u64, "lane"),
            thousands(comparison.budget),
            thousands(report.budget),
            report.budget_unit,
            number(comparison.largest_difference, 2),
            number(comparison.tolerance, 2)
        );
        if comparison.unlike > 0 {
            finding += &format!("; {} ended otherwise on the GPU", count(comparison.unlike as u64, "lane"));
        }
        findings.push(finding);
    }
    if let Some(drift) = &report.drift {
        findings.push(format!(
            "after the full budget {} of {} differ by {} in the median, {} at most: training amplifies roundings",
            report.metric,
            count(drift.lanes as u64, "lane"),
            number(drift.median_difference, 2),
            number(drift.largest_difference, 2)
        ));
    }
    for (backend, point) in points(report).filter(|(_, point)| point.not_finite > 0) {
        let (name, lanes) = (backend.backend, thousands(point.lanes as u64));
        findings.push(format!("{name}: {} of {lanes} lanes turned to NaN", thousands(point.not_finite as u64)));
    }
    for backend in &report.backends {
        let not_run = backend.not_run.iter();
        findings.extend(not_run.map(|not_run| {
            let lanes = count(not_run.lanes as u64, "lane");
            format!("{} did not run {lanes}: {}", backend.backend, not_run.reason)
        }));
    }
    findings
}

fn crossover(crossover: Crossover) -> String {
    match crossover {
        Crossover::At(lanes) => format!("the GPU overtakes the CPU at about {} lanes", number(lanes, 2)),
        Crossover::GpuFrom(lanes) => {
            format!("the GPU is faster from {} on, the fewest that both trained", count(lanes as u64, "lane"))
        }
        Crossover::CpuUpTo(lanes) => {
            format!("the CPU is faster up to {}, the most that both trained", count(lanes as u64, "lane"))
        }
    }
}
