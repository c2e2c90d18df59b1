//! A killed study ends with the same bits, and a journal that cannot be trusted says so.

use crate::study::{lanes_trained, run};
use crate::support::{Folder, quiet, studies};
use std::path::{Path, PathBuf};
use thousandfold::backend::StopFlag;
use thousandfold::strategies::STRATEGIES;
use thousandfold::study::events::{Event, Observer, Phase};
use thousandfold::study::journal::{Frame, Header, Journal, read};
use thousandfold::study::model_file::FittedModel;
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::{Existing, RunDir};
use thousandfold::study::{Ended, LoadedConfig, Start, StudyConfig, StudyError, load_result, load_run, tune};

/// Four frames of outcomes and more: a batch is journalled at its end.
fn study(folder: &Folder) -> LoadedConfig {
    studies::small(folder, &["search.batch=3".to_owned()])
}

fn journal(folder: &Folder) -> PathBuf {
    folder.path().join("run/journal.tfj")
}

/// The result of the run in a folder after going on with it.
pub fn resumed(folder: &Folder) -> String {
    let loaded = load_run(&folder.path().join("run"), &[]).unwrap();
    studies::comparable(&run(loaded, Existing::Resume))
}

fn refused(loaded: LoadedConfig, existing: Existing, salvage: bool) -> StudyError {
    tune(loaded, Start { existing, salvage }, &mut quiet(), &StopFlag::default()).unwrap_err()
}

/// Where each frame of a journal ends.
pub fn ends(path: &Path) -> Vec<usize> {
    let bytes = std::fs::read(path).unwrap();
    let mut ends = vec![12];
    while *ends.last().unwrap() < bytes.len() {
        let at = *ends.last().unwrap();
        ends.push(at + 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize);
    }
    ends
}

#[test]
fn a_journal_cut_anywhere_goes_on_to_the_same_result() {
    let folder = Folder::new();
    let whole = studies::comparable(&run(study(&folder), Existing::Refuse));
    let bytes = std::fs::read(journal(&folder)).unwrap();
    let ends = ends(&journal(&folder));
    assert!(ends.len() > 5, "a header, four batches and the test score");
    for pair in ends[1..].windows(2) {
        // At a frame's end, in its header, in its payload, and one byte before its end.
        for cut in [pair[0], pair[0] + 5, (pair[0] + pair[1]) / 2, pair[1] - 1] {
            std::fs::write(journal(&folder), &bytes[..cut]).unwrap();
            std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
            assert_eq!(resumed(&folder), whole, "cut at byte {cut}");
        }
        // What a power cut leaves where a file had grown before its blocks were written: zeros to its end, from the frame's
        // start or from its middle on; a payload without its header, or with half of it.
        let zeros = |from: usize, to: usize| {
            let mut bytes = bytes[..pair[1]].to_vec();
            bytes[from..to].fill(0);
            bytes
        };
        let (start, end) = (pair[0], pair[1]);
        let lost =
            [(start, end), ((start + end) / 2, end), (start, start + 8), (start, start + 1), (start + 1, start + 8)];
        let grown = [&bytes[..start], &[0; 5000]].concat();
        let cases = lost.map(|(from, to)| (format!("zeros at {from}..{to}"), zeros(from, to)));
        for (case, left) in cases.into_iter().chain([("zeros behind the end".to_owned(), grown)]) {
            std::fs::write(journal(&folder), left).unwrap();
            std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
            assert_eq!(resumed(&folder), whole, "{case}");
        }
    }
}

#[test]
fn a_journal_of_a_strategy_that_learns_goes_on_to_the_same_result() {
    for entry in STRATEGIES.iter().filter(|entry| entry.is_adaptive()) {
        let folder = Folder::new();
        let strategy = format!("search.strategy=\"{}\"", entry.name());
        // So many that tpe has begun to learn where the journal is cut.
        let settings = ["search.batch=3", "search.population=4", "search.candidates=30"].map(str::to_owned);
        // What moves along numbers alone has a space of these alone.
        let numbers = ["layers", "hidden", "activation", "batch", "schedule"];
        let held = ["1", "8", "\"relu\"", "32", "\"constant\""];
        let held = numbers.iter().zip(held).map(|(name, value)| format!("space.{name}={value}"));
        let held = held.filter(|_| entry.refines()).collect();
        let study = studies::small(&folder, &[settings.to_vec(), vec![strategy], held].concat());
        let whole = studies::comparable(&run(study, Existing::Refuse));
        let bytes = std::fs::read(journal(&folder)).unwrap();
        let ends = ends(&journal(&folder));
        std::fs::write(journal(&folder), &bytes[..ends[ends.len() / 2]]).unwrap();
        std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
        assert_eq!(resumed(&folder), whole, "{}", entry.name());
    }
}

#[test]
fn a_run_that_is_made_longer_goes_on_as_it_was_planned() {
    for entry in STRATEGIES.iter().filter(|entry| entry.name() != "grid" && entry.name() != "portfolio") {
        let folder = Folder::new();
        let study = |candidates: u64, dir: &str| {
            let set = |key: &str, value: &str| format!("{key}={value}");
            let place = set("run.dir", &folder.path().join(dir).display().to_string());
            let function = [set("objective.function", "sphere"), set("objective.dimensions", "2"), place];
            let strategy = [set("search.strategy", entry.name()), set("search.batch", "7")];
            let candidates = set("search.candidates", &candidates.to_string());
            StudyConfig::of_sets(
                "sphere",
                &[&function[..], &strategy, &[candidates, "run.backend=cpu".to_owned()]].concat(),
            )
            .unwrap()
        };
        let short = run(study(40, "run"), Existing::Refuse);
        // From the study itself, and from the run's directory.
        let longer = run(study(60, "run"), Existing::Resume);
        let dir = folder.path().join("run");
        let longest = run(load_run(&dir, &["search.candidates=90".to_owned()]).unwrap(), Existing::Resume);
        let counts = [&short, &longer, &longest].map(|result| result.counts.proposed);
        assert_eq!(counts, [40, 60, 90], "{}", entry.name());
        assert!(longest.best.value <= longer.best.value && longer.best.value <= short.best.value, "{}", entry.name());
        // What does not learn does not see where it was stopped: the run's study gives the same again.
        if !entry.is_adaptive() {
            let elsewhere = format!("run.dir={}", folder.path().join("again").display());
            let mut again = run(StudyConfig::load(&dir.join("study.toml"), &[elsewhere]).unwrap(), Existing::Refuse);
            again.study.clone_from(&longest.study);
            assert_eq!(studies::comparable(&again), studies::comparable(&longest), "{}", entry.name());
        }
    }
}

#[test]
fn what_was_chosen_by_the_time_there_is_stays_chosen_whatever_time_there_is_then() {
    let folder = Folder::new();
    let study = |time: &str| {
        let settings = ["search.strategy=\"auto\"", "search.batch=3", "search.candidates=30", time].map(str::to_owned);
        studies::small(&folder, &settings)
    };
    let whole = run(study("stop.time=\"1h\""), Existing::Refuse);
    let said = whole.decisions.join("\n");
    assert!(said.contains("to see how long candidates train") && said.contains("trained in"), "{said}");
    let bytes = std::fs::read(journal(&folder)).unwrap();
    let ends = ends(&journal(&folder));
    // Behind the choice, which sixteen candidates are enough for.
    let cut = || {
        std::fs::write(journal(&folder), &bytes[..ends[ends.len() - 4]]).unwrap();
        std::fs::remove_file(folder.path().join("run/result.json")).unwrap();
    };
    cut();
    assert_eq!(resumed(&folder), studies::comparable(&whole));
    for time in ["stop.time=\"2h\"", "run.threads=2"] {
        cut();
        assert_eq!(studies::comparable(&run(study(time), Existing::Resume)), studies::comparable(&whole), "{time}");
    }
}

#[test]
fn what_is_journalled_is_never_trained_again() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let bytes = std::fs::read(journal(&folder)).unwrap();
    // The header and two of the four batches.
    std::fs::write(journal(&folder), &bytes[..ends(&journal(&folder))[3]]).unwrap();
    let loaded = load_run(&folder.path().join("run"), &[]).unwrap();
    assert_eq!(lanes_trained(loaded, Existing::Resume), 6 * 3, "six candidates on three folds were missing");
}

#[test]
fn an_interrupted_study_keeps_what_was_finished_and_goes_on() {
    let folder = Folder::new();
    let whole = {
        let folder = Folder::new();
        studies::comparable(&run(study(&folder), Existing::Refuse))
    };
    struct StopAfter(StopFlag, u64);
    impl Observer for StopAfter {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if let Event::Trials { progress, .. } = event
                && progress.candidates >= self.1
            {
                self.0.raise();
            }
            Ok(())
        }
    }
    let stop = StopFlag::default();
    let mut observers = quiet();
    observers.push(Box::new(StopAfter(stop.clone(), 6)));
    match tune(study(&folder), Start::default(), &mut observers, &stop).unwrap() {
        Ended::Interrupted { candidates, .. } => assert!((6..12).contains(&candidates)),
        Ended::Finished(_) => panic!("it was interrupted"),
    }
    assert!(load_result(&folder.path().join("run")).unwrap().is_none());
    assert_eq!(resumed(&folder), whole);
}

#[test]
fn an_observer_that_fails_is_dropped_and_the_study_goes_on() {
    struct Full;
    impl Observer for Full {
        fn notify(&mut self, _: &Event<'_>) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
    }
    let folder = Folder::new();
    let mut observers = quiet();
    observers.push(Box::new(Full));
    let ended = tune(study(&folder), Start::default(), &mut observers, &StopFlag::default()).unwrap();
    assert!(matches!(ended, Ended::Finished(_)));
}

#[test]
fn a_finished_run_is_shown_again_without_reading_the_test_rows_again() {
    let folder = Folder::new();
    let whole = studies::comparable(&run(study(&folder), Existing::Refuse));
    let frames = read(&journal(&folder), false).unwrap().0.len();
    assert_eq!(resumed(&folder), whole);
    assert_eq!(read(&journal(&folder), false).unwrap().0.len(), frames, "no second test frame");
}

#[test]
fn more_candidates_can_be_asked_of_a_finished_run() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let loaded = load_run(&folder.path().join("run"), &["search.candidates=15".to_owned()]).unwrap();
    let longer = run(loaded, Existing::Resume);
    let other = Folder::new();
    let at_once = studies::small(&other, &["search.batch=3".to_owned(), "search.candidates=15".to_owned()]);
    assert_eq!(studies::comparable(&longer), studies::comparable(&run(at_once, Existing::Refuse)));
}

#[test]
fn less_than_a_run_has_done_can_be_asked_of_it() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let scores = |result: &thousandfold::study::result::RunResult| -> Vec<_> {
        let chosen = std::iter::once(&result.best).chain(&result.top);
        chosen.map(|one| (one.candidate, one.params.clone(), one.folds.clone(), one.train_value)).collect()
    };
    for (set, done) in [("search.candidates=5", 5), ("stop.target=100", 3)] {
        let sets = [set.to_owned()];
        let shorter = run(load_run(&folder.path().join("run"), &sets).unwrap(), Existing::Resume);
        assert_eq!((shorter.counts.proposed, shorter.counts.complete), (done, done), "{set}");
        let other = Folder::new();
        let at_once = studies::small(&other, &["search.batch=3".to_owned(), set.to_owned()]);
        assert_eq!(scores(&shorter), scores(&run(at_once, Existing::Refuse)), "{set}");
        let model = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
        assert_eq!(model.meta.params, shorter.best.params, "the model file holds the candidate that is best now");
    }
}

#[test]
fn the_model_file_holds_the_best_of_the_result_however_the_run_was_lengthened_and_shortened() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    // All winners were tested by the third run: only the model file has to follow from there on.
    for candidates in [1, 12, 1, 12] {
        let sets = [format!("search.candidates={candidates}")];
        let result = run(load_run(&folder.path().join("run"), &sets).unwrap(), Existing::Resume);
        assert_eq!(result.best.candidate == 0, candidates == 1);
        let model = FittedModel::load(&folder.path().join("run/model.safetensors")).unwrap();
        assert_eq!(model.meta.params, result.best.params, "{candidates} candidates");
    }
}

#[test]
fn a_second_reading_of_the_test_rows_is_told() {
    let folder = Folder::new();
    let first = run(study(&folder), Existing::Refuse);
    // A single candidate is its own winner: another one than that of all twelve.
    assert_ne!(first.best.candidate, 0);
    let loaded = load_run(&folder.path().join("run"), &["search.candidates=1".to_owned()]).unwrap();
    let told = |result: &thousandfold::study::result::RunResult| {
        result.notes.iter().any(|note| note.contains("had been read before"))
    };
    assert!(!told(&first) && told(&run(loaded, Existing::Resume)));
}

#[test]
fn what_is_interrupted_in_its_refit_goes_on_to_the_same_result() {
    let whole = {
        let folder = Folder::new();
        studies::comparable(&run(study(&folder), Existing::Refuse))
    };
    struct StopAt(Phase, StopFlag);
    impl Observer for StopAt {
        fn notify(&mut self, event: &Event<'_>) -> std::io::Result<()> {
            if matches!(event, Event::Phase(phase) if *phase == self.0) {
                self.1.raise();
            }
            Ok(())
        }
    }
    let folder = Folder::new();
    let stop = StopFlag::default();
    let mut observers = quiet();
    observers.push(Box::new(StopAt(Phase::Refitting, stop.clone())));
    let ended = tune(study(&folder), Start::default(), &mut observers, &stop).unwrap();
    assert!(matches!(ended, Ended::Interrupted { candidates: 12, .. }));
    assert!(load_result(&folder.path().join("run")).unwrap().is_none());
    assert_eq!(resumed(&folder), whole);
}

#[test]
fn a_fresh_start_that_cannot_be_made_deletes_nothing() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let before = std::fs::read(journal(&folder)).unwrap();
    let wrong = studies::small(&folder, &["validate.metric=rmse".to_owned()]);
    assert!(refused(wrong, Existing::Fresh, false).to_string().contains("rmse"));
    assert_eq!(std::fs::read(journal(&folder)).unwrap(), before);
}

#[test]
fn a_fresh_start_that_is_stopped_leaves_no_result_without_its_journal() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let result = folder.path().join("run/result.json");
    std::fs::remove_file(&result).unwrap();
    // What no file can be deleted as.
    std::fs::create_dir(&result).unwrap();
    let dir = RunDir::open(&folder.path().join("run"), Existing::Fresh).unwrap();
    dir.clear().unwrap_err();
    assert!(dir.has_run());
    std::fs::remove_dir(&result).unwrap();
    dir.clear().unwrap();
    assert!(!dir.has_run());
}

#[test]
fn the_study_of_a_run_says_nothing_of_where_the_run_is() {
    let folder = Folder::new();
    let whole = studies::comparable(&run(study(&folder), Existing::Refuse));
    assert_eq!(resumed(&folder), whole);
    let again = StudyConfig::load(&folder.path().join("run/study.toml"), &[]).unwrap();
    assert_eq!(again.config.run.dir, None);
    assert_eq!(again.run_dir(), Path::new("runs/study"));
    let elsewhere = StudyConfig::load(
        &folder.path().join("run/study.toml"),
        &[format!("run.dir={}", folder.path().join("again").display())],
    );
    assert_eq!(studies::comparable(&run(elsewhere.unwrap(), Existing::Refuse)), whole);
}

#[test]
fn going_on_with_another_version_is_told() {
    let folder = Folder::new();
    let same = run(study(&folder), Existing::Refuse);
    let frames = read(&journal(&folder), false).unwrap().0;
    std::fs::remove_file(journal(&folder)).unwrap();
    let mut others = frames.into_iter();
    let Some(Frame::Header(header)) = others.next() else { panic!("the first frame is the header") };
    let older = Header { program: "0.0.1".to_owned(), ..header };
    let mut written = Journal::create(&journal(&folder), older).unwrap();
    others.for_each(|frame| written.append(&frame).unwrap());
    let other = run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume);
    let told = |result: &RunResult| result.notes.iter().any(|note| note.contains("begun by version 0.0.1"));
    assert!(!told(&same) && told(&other), "{:?}", other.notes);
}

#[test]
fn a_run_directory_is_not_overwritten_by_accident() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let error = refused(study(&folder), Existing::Refuse, false).to_string();
    assert!(
        error.contains("holds a run already") && error.contains("--resume") && error.contains("--fresh"),
        "{error}"
    );
    let fresh = run(study(&folder), Existing::Fresh);
    assert_eq!(fresh.counts.proposed, 12);
}

#[test]
fn other_data_and_other_studies_are_refused() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let seed = studies::small(&folder, &["search.batch=3".to_owned(), "search.seed=6".to_owned()]);
    assert!(refused(seed, Existing::Resume, false).to_string().contains("another study"));
    let data = studies::small_with_test(&folder, 3.0, &["search.batch=3".to_owned()]);
    assert!(refused(data, Existing::Resume, false).to_string().contains("other data"));
}

#[test]
fn two_writers_are_refused() {
    let folder = Folder::new();
    let dir = folder.path().join("run");
    let held = RunDir::open(&dir, Existing::Refuse).unwrap();
    let error = refused(study(&folder), Existing::Resume, false).to_string();
    assert!(error.contains("in use by another"), "{error}");
    drop(held);
    run(study(&folder), Existing::Refuse);
}

#[test]
fn damage_in_the_middle_names_its_place_and_salvage_keeps_what_is_before() {
    let folder = Folder::new();
    let whole = studies::comparable(&run(study(&folder), Existing::Refuse));
    let ends = ends(&journal(&folder));
    let mut bytes = std::fs::read(journal(&folder)).unwrap();
    for place in [ends[2] + 20, ends[2]] {
        // A bit of the third frame's payload, then of its length.
        bytes[place] ^= 0x40;
        std::fs::write(journal(&folder), &bytes).unwrap();
        let loaded = load_run(&folder.path().join("run"), &[]).unwrap();
        let error = refused(loaded.clone(), Existing::Resume, false).to_string();
        let expected = format!("damaged at byte {}", ends[2]);
        assert!(error.contains(&expected) && error.contains("2 frame(s)") && error.contains("--salvage"), "{error}");
        let start = Start { existing: Existing::Resume, salvage: true };
        match tune(loaded, start, &mut quiet(), &StopFlag::default()).unwrap() {
            Ended::Finished(result) => assert_eq!(studies::comparable(&result), whole),
            Ended::Interrupted { .. } => panic!("nobody interrupted it"),
        }
        bytes[place] ^= 0x40;
    }
}

#[test]
fn what_stands_in_the_way_of_a_run_says_what_to_do() {
    let folder = Folder::new();
    let dir = folder.path().join("run");
    let mut told = String::new();
    let mut tell = |case: &str, error: StudyError| {
        let error = error.to_string().replace(&folder.path().display().to_string(), "FOLDER");
        told += &format!("# {case}\n{error}\n\n");
    };
    tell("nothing to resume", load_run(&dir, &[]).unwrap_err());
    run(study(&folder), Existing::Refuse);
    let bytes = std::fs::read(journal(&folder)).unwrap();
    let resume = |sets: &[String]| load_run(&dir, sets).unwrap();
    tell("nearly the name", load_run(&folder.path().join("runn"), &[]).unwrap_err());
    tell("it exists", refused(study(&folder), Existing::Refuse, false));
    let held = RunDir::open(&dir, Existing::Resume).unwrap();
    tell("another process", refused(resume(&[]), Existing::Resume, false));
    drop(held);
    tell("another seed", refused(resume(&["search.seed=6".to_owned()]), Existing::Resume, false));
    let write = |bytes: &[u8]| std::fs::write(journal(&folder), bytes).unwrap();
    write(&[&bytes[..8], &99_u32.to_le_bytes(), &bytes[12..]].concat());
    tell("a newer version", refused(resume(&[]), Existing::Resume, false));
    write(&[&bytes[..8], &1_u32.to_le_bytes(), &bytes[12..]].concat());
    tell("an older version", refused(resume(&[]), Existing::Resume, false));
    write(b"something else");
    tell("another file", refused(resume(&[]), Existing::Resume, false));
    write(&bytes);
    studies::small_with_test(&folder, 3.0, &[]);
    tell("other data", refused(resume(&[]), Existing::Resume, false));
    insta::assert_snapshot!(told.trim_end());
}

#[test]
fn newer_and_foreign_journals_are_refused() {
    let folder = Folder::new();
    run(study(&folder), Existing::Refuse);
    let bytes = std::fs::read(journal(&folder)).unwrap();
    let mut newer = bytes.clone();
    newer[8] = 99;
    std::fs::write(journal(&folder), &newer).unwrap();
    let loaded = load_run(&folder.path().join("run"), &[]).unwrap();
    assert!(refused(loaded.clone(), Existing::Resume, false).to_string().contains("format version 99"));
    std::fs::write(journal(&folder), b"something else").unwrap();
    assert!(refused(loaded, Existing::Resume, false).to_string().contains("is not a journal"));
}

#[test]
fn ten_million_random_candidates_take_about_a_hundred_megabytes() {
    // What a hold-out split stores of a candidate: its id, status, one score, train score and seconds.
    let outcomes = thousandfold::study::journal::Outcomes {
        candidates: vec![(1_000_000, 1000)],
        statuses: vec![(0, 990), (2, 10)],
        scores: vec![0.123_456_789; 1000],
        others: Vec::new(),
        gradients: Vec::new(),
        train: vec![0.1; 1000],
        seconds: vec![[12, 34]; 1000],
        used: vec![(30, 1000)],
        points: Vec::new(),
    };
    let bytes = postcard::to_stdvec(&Frame::Outcomes(outcomes)).unwrap().len();
    assert!(bytes < 14_100, "{bytes} bytes for 1000 candidates");
}
