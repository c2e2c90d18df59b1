//! Whatever an objective's code does, its trial has a reason, the others are as they would be, and the study goes on.

use super::*;

/// An error with a source.
#[derive(Debug)]
struct Unreadable(std::num::ParseFloatError);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table cannot be read")
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

const KINDS: [&str; 12] =
    ["good", "says", "error", "panic", "formatted", "silent", "nan", "infinite", "two", "none", "slip", "in_drop"];

/// A kind of misbehaviour a candidate.
fn misbehaving() -> Evaluation {
    several([Direction::Minimize], |candidate| {
        let kind: &str = candidate.get("kind")?;
        match kind {
            "says" => Err(Failure::new("no data\n\n  for it")),
            "error" => Ok(vec!["x".parse::<f64>().map_err(Unreadable)?]),
            "panic" => panic!("lost"),
            "formatted" => Ok(vec![[1.0][KINDS.len()]]),
            "silent" => std::panic::panic_any(3_u8),
            "nan" => Ok(vec![f64::NAN]),
            "infinite" => Ok(vec![f64::NEG_INFINITY]),
            "two" => Ok(vec![1.0, 2.0]),
            "none" => Ok(Vec::new()),
            "slip" => Ok(vec![candidate.get("kidn")?]),
            _ => Ok(vec![candidate.id() as f64]),
        }
    })
}

/// Every kind once.
fn grid(study: LoadedConfig) -> LoadedConfig {
    with(study, |config| config.search.strategy = "grid".into())
}

#[test]
fn every_failure_is_recorded_with_its_reason_and_hurts_no_other() {
    let folder = Folder::new();
    let kinds = SpaceBuilder::new().categorical("kind", &KINDS, "good").build();
    let result = ended(grid(with(study(&folder, &kinds, misbehaving()), |config| config.run.threads = 3)));
    let counts = result.counts;
    assert_eq!((counts.proposed, counts.complete, counts.failed), (12, 2, 10), "{:?}", result.failures);
    let complete: Vec<f64> = result.top.iter().map(|one| one.value).collect();
    assert_eq!(complete, [0.0, 11.0]);
    let (frames, _) = read(&folder.path().join("run/journal.tfj"), false).unwrap();
    let reasons =
        frames.iter().filter_map(|frame| if let Frame::Reasons(reasons) = frame { Some(reasons) } else { None });
    let reasons: BTreeMap<u64, &str> =
        reasons.flatten().map(|(candidate, reason)| (*candidate, reason.as_str())).collect();
    let reason = |kind: &str| {
        let candidate = KINDS.iter().position(|one| *one == kind).unwrap() as u64;
        reasons.get(&candidate).copied().unwrap_or_default()
    };
    assert_eq!(reason("says"), "no data / for it");
    assert_eq!(reason("error"), "the table cannot be read: invalid float literal");
    assert_eq!(reason("panic"), "it panicked: lost");
    assert_eq!(reason("formatted"), "it panicked: index out of bounds: the len is 1 but the index is 12");
    assert_eq!(reason("silent"), "it panicked: it said nothing");
    assert_eq!((reason("nan"), reason("infinite")), ("its value is NaN", "its value is -inf"));
    assert_eq!(reason("two"), "it gave 2 values, and the objective has 1 value");
    assert_eq!(reason("none"), "it gave 0 values, and the objective has 1 value");
    assert!(
        reason("slip").starts_with("no parameter is called \"kidn\"; did you mean \"kind\"?"),
        "{}",
        reason("slip")
    );
    assert_eq!(reason("good"), "");
    let summary = thousandfold::monitor::summary::summary(&result, 120);
    assert!(summary.contains("it panicked: lost") && summary.contains("2 candidates of valley"), "{summary}");
    // Whoever goes on with the run hears the same of it, and nothing is evaluated again.
    let gone = several([Direction::Minimize], |_| panic!("nothing is evaluated again"));
    let again = run(grid(study(&folder, &kinds, gone)), Existing::Resume);
    assert_eq!(studies::comparable(&again), studies::comparable(&result));
}

/// Trainings that fail on their way, in every place where they can.
struct Fragile;

struct Breaking {
    place: String,
    step: u64,
}

impl CustomObjective for Fragile {
    fn budget(&self) -> u64 {
        9
    }
    fn begin<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Training + 'a>, Failure> {
        let place: String = candidate.get("kind")?;
        assert_ne!(place, "begin");
        Ok(Box::new(Breaking { place, step: 0 }))
    }
}

impl Training for Breaking {
    fn step(&mut self) -> Result<(), Failure> {
        self.step += 1;
        if self.place == "step" && self.step == 2 {
            return Err(Failure::new("step 2"));
        }
        Ok(())
    }
    fn score(&self) -> Result<Vec<f64>, Failure> {
        assert_ne!(self.place, "score");
        Ok(vec![if self.place == "nan" && self.step > 1 { f64::NAN } else { self.step as f64 }])
    }
    fn bytes(&self) -> u64 {
        assert_ne!(self.place, "bytes");
        8
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        assert!(self.place != "drop" || std::thread::panicking(), "in its drop");
    }
}

#[test]
fn a_training_may_fail_anywhere_on_its_way() {
    let places = ["good", "begin", "step", "score", "nan", "bytes", "drop"];
    let kinds = SpaceBuilder::new().categorical("kind", &places, "good").build();
    let study = grid(with(study(&Folder::new(), &kinds, Fragile), |config| {
        (config.search.scheduler, config.search.threshold) = ("threshold".to_owned(), Some(100.0));
    }));
    let result = ended(study);
    assert_eq!((result.counts.complete, result.counts.failed), (2, 5), "{:?}", result.failures);
    assert!(result.top.iter().all(|one| one.value == 9.0));
    let told: Vec<&str> = result.failures.iter().map(|one| one.reason.as_str()).collect();
    assert!(told.contains(&"step 2") && told.contains(&"its value is NaN after step 3"), "{told:?}");
    assert_eq!(told.iter().filter(|reason| reason.starts_with("it panicked: ")).count(), 3, "{told:?}");
}

#[test]
fn where_every_candidate_fails_the_reason_is_said() {
    let error = refused(study(&Folder::new(), &space(), minimize(|_| Err(Failure::new("no such table")))));
    assert!(error.contains("every one of the 30 candidates failed: no such table"), "{error}");
    assert!(error.contains("docs/rust.md"), "{error}");
}
