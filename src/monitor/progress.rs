//! How far a study is: two lines that are drawn again and again in a terminal, a line now and then anywhere else.
//!
//! What is shown is a pure function of the state and the width; what matters least goes first where space is short.

use super::style::{FAINT, GOOD, NOTICE, STRONG, paint};
use super::text::{count, duration, first_that_fits, number, stopped_early, thousands, with_error, wrap_words};
use crate::study::events::{BestSoFar, Event, Observer, Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The bar is drawn so often at most.
const REDRAW: Duration = Duration::from_millis(100);
/// Where lines cannot be drawn over, there is one so often.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Width that is written for where the output has none of its own.
const PLAIN_COLUMNS: usize = 120;

/// Shows progress on standard error, so that standard output holds the result alone.
pub struct ProgressView {
    state: State,
    output: Output,
    drawn: Instant,
    has_color: bool,
}

enum Output {
    Terminal(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

/// What there is to show.
#[derive(Debug, Clone)]
struct State {
    phase: Phase,
    metric: &'static str,
    progress: Option<Progress>,
}

impl ProgressView {
    /// For a terminal on standard error.
    pub fn terminal(has_color: bool) -> ProgressView {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        // A template that only holds the message cannot be wrong.
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        ProgressView::new(Output::Terminal(bar), has_color)
    }

    /// For a file or a pipe.
    pub fn lines(out: Box<dyn Write + Send>) -> ProgressView {
        ProgressView::new(Output::Lines(out), false)
    }

    fn new(output: Output, has_color: bool) -> ProgressView {
        let state = State { phase: Phase::Loading, metric: "", progress: None };
        ProgressView { state, output, drawn: Instant::now(), has_color }
    }

    /// Shows a line that stays.
    fn say(&mut self, line: &str) -> io::Result<()> {
        let line = if self.has_color { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() };
        match &mut self.output {
            Output::Terminal(bar) => bar.println(wrap_words(&line, terminal_columns())),
            Output::Lines(out) => writeln!(out, "{line}")?,
        }
        Ok(())
    }

    /// Shows the state, if it is time to.
    fn draw(&mut self, is_forced: bool) -> io::Result<()> {
        let every = if matches!(self.output, Output::Terminal(_)) { REDRAW } else { LINE_EVERY };
        if !is_forced && self.drawn.elapsed() < every {
            return Ok(());
        }
        self.drawn = Instant::now();
        match &mut self.output {
            Output::Terminal(bar) => {
                let text = self.state.lines(terminal_columns().saturating_sub(1)).join("\n");
                let text = if self.has_color { text } else { anstream::adapter::strip_str(&text).to_string() };
                bar.set_message(text);
                bar.tick();
            }
            Output::Lines(out) => {
                if let Some(progress) = self.state.progress.filter(|_| self.state.phase == Phase::Searching) {
                    writeln!(out, "{}", self.state.plain(&progress))?;
                    out.flush()?;
                }
            }
        }
        Ok(())
    }
}

impl Observer for ProgressView {
    fn notify(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Phase(phase) => {
                self.state.phase = *phase;
                self.draw(matches!(self.output, Output::Terminal(_)))
            }
            Event::Note(note) => self.say(&format!("{} {note}", paint(NOTICE, "note:"))),
            Event::Started { study, dir, metric, data, backend, progress, .. } => {
                self.state.metric = metric;
                self.state.progress = Some(*progress);
                let resumed = match progress.resumed {
                    0 => String::new(),
                    done => format!(", {} of them done before", thousands(done)),
                };
                let amount = count(progress.total, "candidate");
                let (study, dir) = (paint(STRONG, study), dir.display());
                self.say(&format!("{study}: {data}"))?;
                self.say(&format!("{amount}{resumed} on {backend}, in {dir}"))?;
                self.draw(matches!(self.output, Output::Terminal(_)))
            }
            Event::Lane(progress) | Event::Trials { progress, .. } => {
                self.state.progress = Some(*progress);
                self.draw(false)
            }
            Event::Finished(_) => {
                if let Output::Terminal(bar) = &self.output {
                    bar.finish_and_clear();
                }
                Ok(())
            }
        }
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        // A study that ended early leaves no half-drawn bar above the error.
        if let Output::Terminal(bar) = &self.output {
            bar.finish_and_clear();
        }
    }
}

impl State {
    /// One or two lines of at most `columns` columns.
    fn lines(&self, columns: usize) -> Vec<String> {
        match &self.progress {
            Some(progress) if self.phase == Phase::Searching => {
                let mut lines = vec![self.bar(progress, columns)];
                lines.extend(progress.best.map(|best| self.best(progress, &best, columns)));
                lines
            }
            _ => vec![first_that_fits(columns, [format!("{} ...", self.phase.name())])],
        }
    }

    /// Done of all, lanes a second, time left; shorter and shorter.
    fn bar(&self, progress: &Progress, columns: usize) -> String {
        let done = format!("{}/{}", thousands(progress.candidates), thousands(progress.total));
        let rate = format!("{} lanes/s", number(progress.lanes_per_second(), 3));
        let left = time_left(progress).map(|left| format!("  {} left", duration(left))).unwrap_or_default();
        let tails = [
            format!("  {done} candidates  {rate}{left}"),
            format!("  {done}  {rate}{left}"),
            format!("  {done}{left}"),
            format!("  {done}"),
        ];
        const LEAST_BAR: usize = 10;
        const MOST_BAR: usize = 40;
        let tail = tails.iter().find(|tail| tail.chars().count() + LEAST_BAR <= columns);
        match tail {
            Some(tail) => {
                let cells = (columns - tail.chars().count()).min(MOST_BAR);
                let share = progress.candidates as f64 / progress.total.max(1) as f64;
                format!("{}{tail}", drawn_bar(share, cells))
            }
            None => first_that_fits(columns, [done]),
        }
    }

    /// The best so far, and how many failed; shorter and shorter.
    fn best(&self, progress: &Progress, best: &BestSoFar, columns: usize) -> String {
        let score = with_error(best.value, best.std_error);
        let pruned = match progress.pruned {
            0 => String::new(),
            pruned => paint(FAINT, format!("  {}", stopped_early(pruned, progress.saved))),
        };
        let failed = match progress.failed {
            0 => String::new(),
            failed => paint(NOTICE, format!("  {} failed", thousands(failed))),
        };
        let (metric, candidate) = (self.metric, best.candidate);
        let painted = paint(GOOD, &score);
        first_that_fits(
            columns,
            [
                format!("best {metric} {painted}  {}{pruned}{failed}", paint(FAINT, format!("candidate {candidate}"))),
                format!("best {metric} {painted}{pruned}{failed}"),
                format!("best {metric} {painted}{failed}"),
                format!("best {metric} {painted}"),
                format!("best {painted}"),
                number(best.value, 4),
            ],
        )
    }

    /// All on one line, for files.
    fn plain(&self, progress: &Progress) -> String {
        let mut parts = vec![
            format!("{}/{} candidates", thousands(progress.candidates), thousands(progress.total)),
            format!("{} lanes/s", number(progress.lanes_per_second(), 3)),
        ];
        if let Some(best) = &progress.best {
            let score = with_error(best.value, best.std_error);
            parts.push(format!("best {} {score} (candidate {})", self.metric, best.candidate));
        }
        if progress.pruned > 0 {
            parts.push(stopped_early(progress.pruned, progress.saved));
        }
        if progress.failed > 0 {
            parts.push(format!("{} failed", thousands(progress.failed)));
        }
        parts.extend(time_left(progress).map(|left| format!("{} left", duration(left))));
        super::text::clip(&parts.join(", "), PLAIN_COLUMNS)
    }
}

/// Columns of the terminal on standard error.
fn terminal_columns() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
}

/// A line as long as the share that is done, drawn on a faint one.
fn drawn_bar(share: f64, cells: usize) -> String {
    let halves = ((share.clamp(0.0, 1.0) * 2.0 * cells as f64).round() as usize).min(2 * cells);
    let (full, half) = (halves / 2, halves % 2);
    let done = format!("{}{}", "━".repeat(full), "╸".repeat(half));
    format!("{}{}", paint(GOOD, done), paint(FAINT, "─".repeat(cells - full - half)))
}

/// At the pace of this session's work, and no more than the time that it has; nothing before its first lane.
fn time_left(progress: &Progress) -> Option<Duration> {
    let by_pace = progress.seconds * (1.0 - progress.share) / progress.share;
    let seconds = progress.limit.map_or(by_pace, |limit| by_pace.min(limit - progress.seconds));
    if progress.candidates >= progress.total { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::text::width;

    fn state() -> State {
        let best = BestSoFar { candidate: 641, value: 0.071_234, std_error: Some(0.008_09) };
        let progress = Progress {
            candidates: 812,
            total: 2000,
            lanes: 4060,
            share: 0.406,
            resumed: 0,
            seconds: 4.0,
            limit: None,
            best: Some(best),
            failed: 3,
            pruned: 0,
            trained: 0,
            saved: 0.0,
            remaining: None,
        };
        State { phase: Phase::Searching, metric: "log_loss", progress: Some(progress) }
    }

    fn plain(columns: usize) -> Vec<String> {
        state().lines(columns).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn everything_is_said_where_there_is_room() {
        let lines = plain(100);
        assert!(lines[0].ends_with("  812/2,000 candidates  1,015 lanes/s  5.9 s left"), "{lines:?}");
        assert!(lines[0].starts_with("━━━━━━━━━━━━━━━━────"), "{lines:?}");
        assert_eq!(lines[1], "best log_loss 0.0712 ± 0.0081  candidate 641  3 failed");
    }

    #[test]
    fn no_more_time_is_left_than_the_study_has() {
        let progress = Progress { limit: Some(5.0), ..state().progress.unwrap() };
        assert_eq!(time_left(&progress), Some(Duration::from_secs(1)));
        assert_eq!(time_left(&Progress { share: 0.0, limit: None, ..progress }), None);
    }

    #[test]
    fn what_matters_most_is_left_at_40_columns_and_fewer() {
        assert_eq!(plain(40), ["━━━━━━━──────────  812/2,000  5.9 s left", "best log_loss 0.0712 ± 0.0081  3 failed"]);
        assert_eq!(plain(9), ["812/2,000", "0.07123"]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 1..140 {
            assert!(state().lines(columns).iter().all(|line| width(line) <= columns), "{columns}");
        }
    }
}
