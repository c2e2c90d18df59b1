//! How far a benchmark is: one line that is drawn again and again in a terminal, a line a result anywhere else.

use crate::monitor::text::{number, thousands};
use crate::study::bench::{BenchEvent, Measuring};
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::io::Write;

/// Shows a benchmark's progress on standard error.
pub enum BenchView {
    /// Nobody is to be told.
    Quiet,
    /// Draws over its own line.
    Terminal(ProgressBar),
    /// A line a result.
    Lines(Box<dyn Write>),
}

impl BenchView {
    /// For a terminal on standard error.
    pub fn terminal() -> BenchView {
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        BenchView::Terminal(bar)
    }

    /// Shows an event. What cannot be written is dropped: a benchmark does not fail by its watcher.
    pub fn show(&mut self, event: &BenchEvent<'_>) {
        match self {
            BenchView::Quiet => {}
            BenchView::Terminal(bar) => {
                bar.set_message(line(event));
                bar.tick();
            }
            BenchView::Lines(_) if matches!(event, BenchEvent::Measuring(_)) => {}
            BenchView::Lines(out) => {
                let _ = writeln!(out, "{}", line(event));
            }
        }
    }
}

impl Drop for BenchView {
    fn drop(&mut self) {
        if let BenchView::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn line(event: &BenchEvent<'_>) -> String {
    match event {
        BenchEvent::Preparing => "preparing the data".to_owned(),
        BenchEvent::Opening(backend) => format!("{backend}: opening, and measuring its peaks"),
        BenchEvent::Comparing => "comparing scores".to_owned(),
        BenchEvent::Measuring(Measuring { backend, lanes, done }) => {
            format!("{backend}: {}/{} lanes", thousands(*done as u64), thousands(*lanes as u64))
        }
        BenchEvent::Measured { backend, point } => {
            let (lanes, rate) = (thousands(point.lanes as u64), number(point.lanes_per_second, 3));
            format!("{backend}: {lanes} lanes in {} s, {rate} lanes/s", number(point.seconds, 3))
        }
    }
}
