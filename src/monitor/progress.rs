//! How far a study is: a few lines that are drawn again and again in a terminal, a line now and then anywhere else.
//!
//! What is shown is a pure function of the state and the width; what matters least goes first where space is short.

use super::style::{FAINT, GOOD, NOTICE, STRONG, paint};
use super::text::{count, duration, first_that_fits, number, saving, stopped_early, thousands, with_error, wrap_words};
use crate::study::events::{BestSoFar, Event, Observer, Phase, Progress, Rungs};
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
    /// One to three lines of at most `columns` columns.
    fn lines(&self, columns: usize) -> Vec<String> {
        match &self.progress {
            Some(progress) if self.phase == Phase::Searching => {
                let mut lines = vec![self.bar(progress, columns)];
                lines.extend(progress.rungs.map(|rungs| rung(progress, &rungs, columns)));
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
            // Said beside the rung.
            _ if progress.rungs.is_some() => String::new(),
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

    /// All on one line, for files: the best one's number, and then the rate, go first where there is too much of it.
    fn plain(&self, progress: &Progress) -> String {
        let line = |has_rate: bool, has_number: bool| {
            let mut parts =
                vec![format!("{}/{} candidates", thousands(progress.candidates), thousands(progress.total))];
            if has_rate {
                parts.push(format!("{} lanes/s", number(progress.lanes_per_second(), 3)));
            }
            match &progress.rungs {
                Some(rungs) => {
                    parts.push(format!("{}: {} lanes alive{}", on_rung(rungs), left(rungs), saved(progress)))
                }
                None if progress.pruned > 0 => parts.push(stopped_early(progress.pruned, progress.saved)),
                None => {}
            }
            if let Some(best) = &progress.best {
                let score = with_error(best.value, best.std_error);
                let candidate = if has_number { format!(" (candidate {})", best.candidate) } else { String::new() };
                parts.push(format!("best {} {score}{candidate}", self.metric));
            }
            if progress.failed > 0 {
                parts.push(format!("{} failed", thousands(progress.failed)));
            }
            parts.extend(time_left(progress).map(|left| format!("{} left", duration(left))));
            parts.join(", ")
        };
        first_that_fits(PLAIN_COLUMNS, [line(true, true), line(true, false), line(false, false)])
    }
}

/// Where those that climb stand, how many are left of them, and what that saved; shorter and shorter.
fn rung(progress: &Progress, rungs: &Rungs, columns: usize) -> String {
    let (rung, left, short) = (on_rung(rungs), left(rungs), saved(progress));
    let early = match progress.pruned {
        0 => String::new(),
        pruned => paint(FAINT, format!("  {}", stopped_early(pruned, progress.saved))),
    };
    first_that_fits(
        columns,
        [
            format!("{rung}: {left} lanes alive{early}"),
            format!("{rung}: {left} lanes alive{short}"),
            format!("{rung}: {left} alive{short}"),
            format!("{rung}: {left} alive"),
            rung,
        ],
    )
}

/// `rung 9/27`, or `fold 3/5`.
fn on_rung(rungs: &Rungs) -> String {
    let what = if rungs.is_by_fold { "fold" } else { "rung" };
    format!("{what} {}/{}", thousands(rungs.budget), thousands(rungs.whole))
}

/// `120 of 360`
fn left(rungs: &Rungs) -> String {
    format!("{} of {}", thousands(rungs.alive), thousands(rungs.entered))
}

/// `, 61 % saved`, once there is something to save.
fn saved(progress: &Progress) -> String {
    let [_, short] = saving(progress.saved);
    if progress.pruned == 0 { String::new() } else { format!(", {short}") }
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
            rungs: None,
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

    /// On the second of three rungs.
    fn climbing() -> State {
        let rungs = Rungs { budget: 9, whole: 27, is_by_fold: false, entered: 360, alive: 120 };
        let mut state = state();
        state.progress =
            state.progress.map(|progress| Progress { rungs: Some(rungs), pruned: 748, saved: 0.612, ..progress });
        state
    }

    fn stripped(state: &State, columns: usize) -> Vec<String> {
        state.lines(columns).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn under_a_scheduler_the_rung_is_said_with_who_is_left_and_what_that_saved() {
        let lines = stripped(&climbing(), 100);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "rung 9/27: 120 of 360 lanes alive  748 stopped early, 61 % of training saved");
        assert_eq!(lines[2], "best log_loss 0.0712 ± 0.0081  candidate 641  3 failed");
        let narrow = stripped(&climbing(), 40);
        assert_eq!(narrow[1], "rung 9/27: 120 of 360 alive, 61 % saved");
        assert_eq!(
            [60, 35, 20].map(|columns| stripped(&climbing(), columns)[1].clone()),
            ["rung 9/27: 120 of 360 lanes alive, 61 % saved", "rung 9/27: 120 of 360 alive", "rung 9/27",]
        );
        let mut race = climbing();
        let rungs = Rungs { budget: 3, whole: 5, is_by_fold: true, entered: 1000, alive: 1000 };
        race.progress =
            race.progress.map(|progress| Progress { rungs: Some(rungs), pruned: 0, saved: 0.0, ..progress });
        assert_eq!(stripped(&race, 100)[1], "fold 3/5: 1,000 of 1,000 lanes alive", "nothing is saved yet");
    }

    #[test]
    fn rungs_that_take_more_than_they_save_say_so_at_any_width() {
        let mut dear = climbing();
        dear.progress = dear.progress.map(|progress| Progress { saved: -0.2, ..progress });
        assert_eq!(
            [100, 60].map(|columns| stripped(&dear, columns)[1].clone()),
            [
                "rung 9/27: 120 of 360 lanes alive  748 stopped early, 20 % more training than without",
                "rung 9/27: 120 of 360 lanes alive, 20 % more training"
            ]
        );
        let plain = dear.plain(&dear.progress.unwrap());
        assert!(plain.contains("120 of 360 lanes alive, 20 % more training, best"), "{plain}");
    }

    #[test]
    fn a_line_for_files_leaves_out_what_matters_least() {
        let climbing = climbing();
        let progress = climbing.progress.unwrap();
        assert_eq!(
            climbing.plain(&progress),
            "812/2,000 candidates, rung 9/27: 120 of 360 lanes alive, 61 % saved, best log_loss 0.0712 ± 0.0081, 3 failed, 5.9 s left"
        );
        assert_eq!(
            state().plain(&state().progress.unwrap()),
            "812/2,000 candidates, 1,015 lanes/s, best log_loss 0.0712 ± 0.0081 (candidate 641), 3 failed, 5.9 s left"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 1..140 {
            for state in [state(), climbing()] {
                assert!(state.lines(columns).iter().all(|line| width(line) <= columns), "{columns}");
            }
        }
    }
}
