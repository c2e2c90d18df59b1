//! What a run of a program has come to: how its results make the value of a trial at a budget. Nothing here knows of processes.

use super::protocol::{Lines, Said, number, quoted, said};

/// How far a trial goes, and what it is to say there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Goal<'a> {
    /// The budget that it is trained to.
    pub(super) budget: u64,
    /// The whole budget of a trial; `None` of programs without steps.
    pub(super) whole: Option<u64>,
    /// The names of what its results say beside the value.
    pub(super) others: &'a [String],
}

impl Goal<'_> {
    /// Whether the trial goes to its end.
    fn is_whole(self) -> bool {
        self.whole.is_none_or(|whole| self.budget >= whole)
    }
}

/// What became of a trial at its goal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It has a value.
    Value {
        /// A finite one.
        value: f64,
        /// What its result says beside it, finite too; on the way NaN where it does not say it.
        others: Vec<f64>,
        /// Units of budget that it had.
        used: u64,
    },
    /// It has none, and why.
    Failed(String),
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with nothing wrong.
    Good,
    /// Otherwise, in words.
    Bad(String),
}

/// The results of a run of a program, up to where they were needed.
#[derive(Debug, Default)]
pub(super) struct Course {
    lines: Lines,
    /// The last result.
    last: Option<Last>,
    /// The last line that is not empty, as far as it may be a number or is to be quoted.
    talk: Vec<u8>,
    /// Whether there was more of it: the beginning of a number is none.
    is_cut: bool,
    /// Whether there were results since the goal was set.
    has_news: bool,
}

/// A result.
#[derive(Debug)]
struct Last {
    value: f64,
    others: Vec<Option<f64>>,
    step: Option<u64>,
}

/// Of the last line so much is remembered.
const REMEMBERED: usize = 512;

impl Course {
    /// Takes what the program printed.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// Whether the program has said anything since it was last asked to go on.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// A new goal is set.
    pub(super) fn go_on(&mut self) {
        self.has_news = false;
    }

    /// For a program that is started again because the one before was not kept: it goes on behind what that one has said.
    pub(super) fn again(self) -> Course {
        Course { last: self.last, ..Course::default() }
    }

    /// Reads lines until the goal is reached. What is printed behind it stays, for a later goal.
    pub(super) fn read(&mut self, goal: Goal<'_>) -> Option<Outcome> {
        while let Some(line) = self.lines.next() {
            match said(line, goal.others) {
                Some(Said::Failure(reason)) => return Some(Outcome::Failed(format!("it said: {reason}"))),
                Some(Said::Value { value, others, step }) => {
                    self.has_news = true;
                    let is_beyond = step.zip(goal.whole).is_some_and(|(step, whole)| step > whole);
                    if is_beyond && self.last.is_some() {
                        // Who goes beyond the whole budget has had it.
                        return Some(self.value(goal));
                    }
                    self.last = Some(Last { value, others, step });
                    if is_beyond || !goal.is_whole() && step.is_some_and(|step| step >= goal.budget) {
                        return Some(self.value(goal));
                    }
                }
                None if line.iter().any(|byte| !byte.is_ascii_whitespace()) => {
                    self.talk.clear();
                    self.talk.extend(line.iter().take(REMEMBERED));
                    self.is_cut = line.len() > REMEMBERED;
                }
                None => {}
            }
        }
        None
    }

    /// The program has ended, and all that it printed is here.
    pub(super) fn end(&mut self, goal: Goal<'_>, end: &End) -> Outcome {
        self.lines.end();
        if let Some(outcome) = self.read(goal) {
            return outcome;
        }
        match end {
            End::Bad(reason) => Outcome::Failed(reason.clone()),
            End::Good => {
                if self.last.is_none() {
                    let value = number(&self.talk).filter(|_| !self.is_cut);
                    // A bare number says nothing beside itself.
                    let others = vec![None; goal.others.len()];
                    self.last = value.map(|value| Last { value, others, step: None });
                }
                self.value(goal)
            }
        }
    }

    /// What the last result says.
    fn value(&self, goal: Goal<'_>) -> Outcome {
        match &self.last {
            Some(last) => match last.fault(goal) {
                Some(reason) => Outcome::Failed(reason),
                None => {
                    let used = last.step.map_or(goal.budget, |step| step.min(goal.whole.unwrap_or(goal.budget)));
                    let used = if goal.whole.is_none() { goal.budget } else { used };
                    let others = last.others.iter().map(|other| other.unwrap_or(f64::NAN)).collect();
                    Outcome::Value { value: last.value, others, used }
                }
            },
            None => {
                let talk = quoted(&String::from_utf8_lossy(&self.talk));
                let printed = match talk.is_empty() {
                    true => "nothing".to_owned(),
                    false => format!("no result; its last line was: {talk}"),
                };
                Outcome::Failed(format!("it ended without a value: it printed {printed}"))
            }
        }
    }
}

impl Last {
    /// Why it is no result of a trial at its goal, if it is none: numbers are finite, and at the end of a trial all are there.
    fn fault(&self, goal: Goal<'_>) -> Option<String> {
        let after = || self.step.map(|step| format!(" after step {step}")).unwrap_or_default();
        if !self.value.is_finite() {
            return Some(format!("its value is {}{}", self.value, after()));
        }
        goal.others.iter().zip(&self.others).find_map(|(name, other)| match other {
            Some(other) if !other.is_finite() => Some(format!("its \"{}\" is {other}{}", quoted(name), after())),
            None if goal.is_whole() => Some(format!("its last result says no number \"{}\"", quoted(name))),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(budget: u64, whole: u64) -> Goal<'static> {
        Goal { budget, whole: Some(whole), others: &[] }
    }

    const NO_STEPS: Goal<'_> = Goal { budget: 1, whole: None, others: &[] };

    fn steps(range: std::ops::RangeInclusive<u64>) -> String {
        range.map(|step| format!("{{\"step\": {step}, \"value\": {}}}\ntalk\n", 100 - step)).collect()
    }

    fn value(value: f64, used: u64) -> Outcome {
        Outcome::Value { value, others: Vec::new(), used }
    }

    /// What a program that prints this comes to.
    fn ended(text: &str, goal: Goal<'_>, end: End) -> Outcome {
        let mut course = Course::default();
        course.push(text.as_bytes());
        course.read(goal).unwrap_or_else(|| course.end(goal, &end))
    }

    #[test]
    fn the_value_is_that_of_the_first_line_that_has_come_to_the_budget() {
        let mut course = Course::default();
        course.push(steps(1..=2).as_bytes());
        assert_eq!(course.read(goal(3, 27)), None);
        course.push(steps(3..=12).as_bytes());
        assert_eq!(course.read(goal(3, 27)), Some(value(97.0, 3)));
        // What was printed before it could be suspended is not lost.
        course.go_on();
        assert!(!course.has_news());
        assert_eq!(course.read(goal(9, 27)), Some(value(91.0, 9)));
        course.go_on();
        assert_eq!(course.read(goal(27, 27)), None);
        assert!(course.has_news());
        course.push(steps(13..=27).as_bytes());
        assert_eq!(course.read(goal(27, 27)), None, "it may have something to do behind its last step");
        assert_eq!(course.end(goal(27, 27), &End::Good), value(73.0, 27));
    }

    #[test]
    fn whoever_is_started_again_goes_on_behind_what_was_said() {
        let mut course = Course::default();
        course.push(format!("{}{{\"step\": 5, \"val", steps(1..=4)).as_bytes());
        assert_eq!(course.read(goal(1, 5)), Some(value(99.0, 1)));
        assert_eq!(course.read(goal(3, 5)), Some(value(97.0, 3)), "it had raced ahead");
        assert_eq!(course.read(goal(5, 5)), None);
        let mut course = course.again();
        // It was ended between its checkpoint of the sixth step and that step's line.
        course.push(b"{\"step\": 6, \"value\": 0}\n");
        assert_eq!(course.read(goal(5, 5)), Some(value(96.0, 4)));
    }

    #[test]
    fn who_goes_beyond_the_whole_budget_is_stopped_there() {
        assert_eq!(ended(&steps(1..=40), goal(27, 27), End::Good), value(73.0, 27));
        let tens = "{\"step\":10,\"value\":1}\n{\"step\":20,\"value\":2}\n{\"step\":30,\"value\":3}\n";
        assert_eq!(ended(tens, goal(27, 27), End::Good), value(2.0, 20));
        assert_eq!(ended(tens, goal(3, 27), End::Good), value(1.0, 10), "the first line behind the rung");
        assert_eq!(ended("{\"step\":30,\"value\":3}\n", goal(27, 27), End::Good), value(3.0, 27));
    }

    #[test]
    fn the_last_result_holds_and_a_bare_number_where_there_is_none() {
        assert_eq!(ended("{\"value\": 1}\n{\"value\": 2}\n7\n", NO_STEPS, End::Good), value(2.0, 1));
        assert_eq!(ended("loading\n7\n\n  \n", NO_STEPS, End::Good), value(7.0, 1));
        assert_eq!(ended("7", NO_STEPS, End::Good), value(7.0, 1));
        assert!(matches!(ended(&"1".repeat(REMEMBERED + 1), NO_STEPS, End::Good), Outcome::Failed(_)), "it is cut");
        let overlong = format!("7\n{}", "x".repeat(100 << 10));
        assert!(matches!(ended(&overlong, NO_STEPS, End::Good), Outcome::Failed(_)), "the number is not the last line");
        assert_eq!(ended(&steps(1..=4), NO_STEPS, End::Good), value(96.0, 1));
        assert_eq!(ended(&steps(1..=4), goal(9, 27), End::Good), value(96.0, 4), "it ended by itself before its rung");
        assert_eq!(ended("0.5\n", goal(9, 27), End::Good), value(0.5, 9));
    }

    fn failed(text: &str, goal: Goal<'_>, end: End) -> String {
        match ended(text, goal, end) {
            Outcome::Failed(reason) => reason,
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn what_stands_beside_the_value_is_needed_at_the_end_and_may_be_there_before() {
        let names = ["size".to_owned(), "loss".to_owned()];
        let goal = |budget| Goal { others: &names, ..goal(budget, 9) };
        let others = |text: &str, budget| match ended(text, goal(budget), End::Good) {
            Outcome::Value { others, .. } => others,
            outcome => panic!("{text}: {outcome:?}"),
        };
        let first = "{\"step\": 3, \"value\": 1, \"loss\": 7}\n";
        let on_the_way = others(first, 3);
        assert!(on_the_way[0].is_nan() && on_the_way[1] == 7.0, "{on_the_way:?}");
        let whole = "{\"value\": 1, \"loss\": 7, \"size\": 5}\n";
        assert_eq!(others(&format!("{first}{whole}"), 9), [5.0, 7.0]);
        // The last result holds, as what it leaves out is not known where a run goes on.
        let missing = "its last result says no number \"size\"";
        for text in [first, &format!("{whole}{first}"), &whole.replace("5", "\"five\""), "7\n"] {
            assert_eq!(failed(text, goal(9), End::Good), missing, "{text}");
        }
        for budget in [3, 9] {
            let text = first.replace('7', "NaN").replace("\"loss", "\"size\": 2, \"loss");
            assert_eq!(failed(&text, goal(budget), End::Good), "its \"loss\" is NaN after step 3");
        }
        let beyond = format!("{}{{\"step\": 10, \"value\": 0}}\n", whole.replace("\"value", "\"step\": 9, \"value"));
        assert_eq!(others(&beyond, 9), [5.0, 7.0], "what is beyond is not looked at");
    }

    #[test]
    fn every_failure_has_its_reason() {
        let said = failed;
        assert_eq!(said("", NO_STEPS, End::Good), "it ended without a value: it printed nothing");
        let garbage = said("a\nb\u{1}\n", NO_STEPS, End::Good);
        assert_eq!(garbage, "it ended without a value: it printed no result; its last line was: b");
        assert_eq!(said("7\nx\n", NO_STEPS, End::Good).split(": ").last(), Some("x"), "the number is not the last");
        assert_eq!(said("{\"value\": NaN}\n", NO_STEPS, End::Good), "its value is NaN");
        assert_eq!(said("inf\n", NO_STEPS, End::Good), "its value is inf");
        assert_eq!(said("{\"step\":3,\"value\":NaN}\n", goal(3, 9), End::Good), "its value is NaN after step 3");
        assert_eq!(said("{\"value\":1}\n{\"failure\":\"no\"}\n", NO_STEPS, End::Good), "it said: no");
        let bad = End::Bad("exit code 3".to_owned());
        assert_eq!(said("{\"value\":1}\n", NO_STEPS, bad), "exit code 3", "a value does not excuse a crash");
    }
}
