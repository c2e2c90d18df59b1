//! What a study of a command promises: any program can be tuned, whatever it does the study goes on and says why it failed,
//! schedulers stop it by its values on the way, and nothing of it is left behind.
#![cfg(unix)]

mod ends;
mod rungs;
mod values;

use crate::study::run;
use crate::support::program::{self, command, done};
use crate::support::{Folder, quiet, studies};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use thousandfold::backend::StopFlag;
use thousandfold::space::{Points, Value};
use thousandfold::study::journal::{Frame, read};
use thousandfold::study::resolve::Study;
use thousandfold::study::result::{Chosen, RunResult};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::scorer::Scorer;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, load_run, tune};

/// A study file in a folder, beside a script that it may run as `sh run.sh`.
fn written(folder: &Folder, study: &str, script: &str) -> std::path::PathBuf {
    folder.write("run.sh", script);
    folder.write("study.toml", study)
}

fn loaded(folder: &Folder, study: &str, script: &str, sets: &[&str]) -> LoadedConfig {
    let path = written(folder, study, script);
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).chain([folder.run_set()]).collect();
    StudyConfig::load(&path, &sets).unwrap()
}

fn ended(folder: &Folder, study: &str, script: &str) -> RunResult {
    run(loaded(folder, study, script, &[]), Existing::Refuse)
}

fn float(chosen: &Chosen, name: &str) -> f64 {
    match chosen.params.get(name) {
        Some(Value::Float(value)) => *value,
        other => panic!("{name}: {other:?}"),
    }
}

/// Processes whose environment says that they run for a study of this folder, the dead ones that nobody has waited for left out.
fn survivors(folder: &Folder) -> Vec<u32> {
    let mark = format!("THOUSANDFOLD_CHECKPOINT={}", std::fs::canonicalize(folder.path()).unwrap().display());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lives = |entry: &std::fs::DirEntry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.filter(lives).filter_map(number).collect()
}

/// Waits until something that other processes do is done.
fn until(what: &str, mut is_done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_done() {
        assert!(began.elapsed() < Duration::from_secs(60), "after a minute still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

const SQUARES: &str = "[objective]\ncommand = ['sh', 'run.sh', '{x}', '--n={n}']\nworkers = 4\n[space]\nx = { float = [-2, 2] }\nn = { int = [1, 9] }\nis_on = [false, true]\nkind = ['a b', \"it's\"]\n[search]\nstrategy = 'random'\ncandidates = 30\n";

#[test]
fn parameters_come_as_arguments_and_environment_and_the_value_is_what_is_printed() {
    let folder = Folder::new();
    let script = r#"
[ "$1" = "$THOUSANDFOLD_x" ] && [ "$2" = "--n=$THOUSANDFOLD_n" ] && [ -d "$THOUSANDFOLD_CHECKPOINT" ] || exit 3
case $THOUSANDFOLD_kind in 'a b'|"it's") ;; *) exit 4 ;; esac
case $THOUSANDFOLD_is_on in true|false) ;; *) exit 5 ;; esac
[ "$THOUSANDFOLD_BUDGET.$THOUSANDFOLD_WHOLE_BUDGET.$THOUSANDFOLD_REPEAT.$THOUSANDFOLD_SEED" = 1.1.0.0 ] || exit 6
[ "$(pwd -P)" = "$(dirname "$(dirname "$(dirname "$THOUSANDFOLD_CHECKPOINT")")")" ] || exit 7
echo "trial $THOUSANDFOLD_TRIAL"
awk -v x="$1" -v n="$THOUSANDFOLD_n" 'BEGIN { printf "{\"value\": %.17g}\n", x * x + n }'
"#;
    let result = ended(&folder, SQUARES, script);
    assert_eq!((result.counts.complete, result.counts.failed), (30, 0), "{:?}", result.failures);
    for chosen in &result.top {
        let (x, n) = (float(chosen, "x"), chosen.params.get("n").cloned());
        let Some(Value::Int(n)) = n else { panic!("{n:?}") };
        assert!((chosen.value - (x * x + n as f64)).abs() < 1e-12, "{chosen:?}");
    }
    assert!(result.top.windows(2).all(|pair| pair[0].value <= pair[1].value), "less is better");
    let facts = result.command.unwrap();
    assert_eq!(facts.line, "sh run.sh {x} --n={n}");
    assert_eq!(facts.checkpoint, None, "nothing was kept in it");
    assert!(!folder.path().join("run/checkpoints").exists());
}

#[test]
fn a_shell_one_liner_is_enough_and_more_may_be_better() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = \"awk -v x={x} 'BEGIN { print -(x - 1)^2 }'\"\ndirection = 'maximize'\n[space]\nx = { float = [-2, 2] }\n[search]\ncandidates = 40\n";
    let result = ended(&folder, study, "");
    assert!(result.best.value <= 0.0 && result.best.value > -0.1, "{:?}", result.best);
    assert!((float(&result.best, "x") - 1.0).abs() < 0.4);
}

#[test]
fn the_same_study_gives_the_same_result_whatever_runs_at_a_time() {
    let script = "awk -v x=\"$1\" 'BEGIN { printf \"%.17g\\n\", (x - 0.3)^2 }'\n";
    let of = |workers: &str| {
        let folder = Folder::new();
        let sets = ["search.strategy=tpe", "search.batch=10", workers];
        let result = run(loaded(&folder, SQUARES, script, &sets), Existing::Refuse);
        result.top.iter().map(|one| (one.candidate, one.value.to_bits())).collect::<Vec<_>>()
    };
    assert_eq!(of("objective.workers=1"), of("objective.workers=7"));
}

#[test]
fn what_its_conditions_switch_off_is_neither_an_argument_nor_in_the_environment() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh', '--kind', '{kind}', '--momentum', '{momentum}', '--m={momentum}']\n[space]\nkind = ['adam', 'sgd']\nmomentum = { float = [0.5, 0.9], when = { kind = 'sgd' } }\n[search]\nstrategy = 'random'\ncandidates = 12\n";
    let script = r#"
case "$*" in
  "--kind adam") [ -z "${THOUSANDFOLD_momentum+x}" ] && echo 1 ;;
  "--kind sgd --momentum $THOUSANDFOLD_momentum --m=$THOUSANDFOLD_momentum") echo 2 ;;
  *) echo "$*" >&2; exit 3 ;;
esac
"#;
    // What the study itself was started with does not show through.
    written(&folder, study, script);
    let mut program = command(&folder, &["tune", "study.toml", "-q"]);
    let told = program::ended(program.env("THOUSANDFOLD_momentum", "0.7"));
    assert_eq!(told.code, Some(0), "{}", told.err);
    let result = program::result(&folder, "runs/study");
    assert_eq!(result["counts"]["complete"], 12, "{result}");
    let values: Vec<f64> = result["top"].as_array().unwrap().iter().map(|one| one["value"].as_f64().unwrap()).collect();
    assert!(values.contains(&1.0) && values.contains(&2.0), "{values:?}");
}

#[test]
fn each_repeat_has_a_seed_of_its_own_and_all_candidates_have_the_same() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = 'echo $THOUSANDFOLD_SEED'\nrepeats = 3\n[space]\nx = { float = [0, 1] }\n[search]\ncandidates = 3\nseed = 5\n";
    let result = ended(&folder, study, "");
    assert!(result.top.len() == 3 && result.top.iter().all(|one| one.folds == [5.0, 6.0, 7.0]), "{:?}", result.top);
    assert_eq!((result.best.value, result.lanes), (6.0, 9));
    assert!((result.best.std_error.unwrap() - 1.0 / 3f64.sqrt()).abs() < 1e-12);
}

#[test]
fn what_a_run_may_use_can_be_changed_when_it_goes_on_and_what_it_runs_cannot() {
    let folder = Folder::new();
    let result = ended(&folder, SQUARES, "echo \"$1\"\n");
    let dir = folder.path().join("run");
    let free = ["objective.workers=1", "objective.timeout=9s", "objective.memory=900", "search.candidates=33"];
    let longer = run(load_run(&dir, &free.map(str::to_owned)).unwrap(), Existing::Resume);
    assert_eq!((result.counts.complete, longer.counts.complete), (30, 33));
    let other = load_run(&dir, &["objective.command=echo {x}".to_owned()]).unwrap();
    let start = Start { existing: Existing::Resume, salvage: false };
    let said = tune(other, start, &mut quiet(), &StopFlag::default()).unwrap_err().to_string();
    assert!(said.contains("objective.command was"), "{said}");
}

#[test]
fn a_choice_by_the_time_there_is_stays_whatever_runs_at_a_time_then() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\nworkers = 16\n[space]\nx = { float = [-2, 2] }\n[search]\nstrategy = 'auto'\nbatch = 14\ncandidates = 30\n[stop]\ntime = '12s'\n";
    let whole = ended(&folder, study, "sleep 0.5\necho \"$1\"\n");
    assert_eq!(whole.counts.complete, 30);
    // Sixteen at a time all of them can be afforded; one at a time there would be time for 24.
    assert!(whole.decisions.iter().any(|said| said.contains("trained in")), "{:?}", whole.decisions);
    let sets = ["objective.workers=1", "search.candidates=31"].map(str::to_owned);
    let dir = folder.path().join("run");
    let longer = run(load_run(&dir, &sets).unwrap(), Existing::Resume);
    assert_eq!((longer.counts.complete, &longer.decisions), (31, &whole.decisions));
    let kept = std::fs::read_to_string(dir.join("study.toml")).unwrap();
    let kept: toml::Table = toml::from_str(&kept).unwrap();
    let (now, then) = (&kept["objective"]["workers"], &kept["search"]["plan"]["workers"]);
    assert_eq!((now.as_integer(), then.as_integer()), (Some(1), Some(16)));
}

#[test]
fn whoever_ends_just_after_another_is_journalled_while_others_run() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh']\nworkers = 3\n[space]\nx = { float = [0, 1] }\n[search]\ncandidates = 3\n";
    let script = "case $THOUSANDFOLD_TRIAL in 0) sleep 1.2 ;; 1) sleep 1.6 ;; 2) sleep 1000 ;; esac\necho 1\n";
    written(&folder, study, script);
    let mut program = command(&folder, &["tune", "study.toml", "-q"]);
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = folder.path().join("runs/study/journal.tfj");
    let journalled = || {
        let (frames, _) = read(&journal, false).ok()?;
        let outcomes = frames.iter().map(|frame| match frame {
            Frame::Outcomes(outcomes) => outcomes.seconds.len(),
            _ => 0,
        });
        Some(outcomes.sum::<usize>())
    };
    let began = Instant::now();
    until("both are journalled", || journalled() == Some(2) || began.elapsed() > Duration::from_secs(20));
    let count = journalled();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(count, Some(2));
}

#[test]
fn who_is_scored_by_others_proposals_has_a_number_and_a_directory_of_its_own() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh']\n[space]\nx = { float = [0, 1] }\n";
    let script = "[ -f \"$THOUSANDFOLD_CHECKPOINT/x\" ] && exit 3\necho x >\"$THOUSANDFOLD_CHECKPOINT/x\"\necho $THOUSANDFOLD_TRIAL\n";
    let study = Study::resolve(loaded(&folder, study, script, &[])).unwrap();
    let mut scorer = Scorer::open(&study).unwrap();
    let mut points = Points::new(1);
    (0..3).for_each(|point| points.push(&[f64::from(point) / 3.0]));
    let mut values = || scorer.score(&points).unwrap().iter().map(|trial| trial.value()).collect::<Vec<_>>();
    assert_eq!((values(), values()), (vec![0.0, 1.0, 2.0], vec![3.0, 4.0, 5.0]));
    assert!(!folder.path().join("run").exists());
}

#[test]
fn what_cannot_be_run_is_said_before_anything_is() {
    let base = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\n[space]\nx = { float = [0, 1] }\n";
    let of = |from: &str, to: &str| base.replace(from, to);
    let cases = [
        of("'sh', 'run.sh', '{x}'", "'no_such_program', '{x}'"),
        of("'sh', 'run.sh', '{x}'", "'./run.sh'"),
        of("['sh', 'run.sh', '{x}']", "'no_such_program --x={x}'"),
        of("['sh', 'run.sh', '{x}']", "[]"),
        of("['sh', 'run.sh', '{x}']", "3"),
        of("{x}", "{y}"),
        of("x = { float = [0, 1] }", ""),
        of("x = {", "seed = {"),
        of("x = {", "my-x = {"),
        of("[0, 1]", "[1, 0]"),
        of("\n[space]", "\nfunction = 'sphere'\n[space]"),
        of("\n[space]", "\nnoise = 1.0\n[space]"),
        of("\n[space]", "\ntimeout = '0s'\n[space]"),
        of("\n[space]", "\nbudgets = 3\n[space]"),
        of("\n[space]", "\ndirectory = 'nowhere'\n[space]"),
        of("command = ['sh', 'run.sh', '{x}']", "workers = 3"),
        base.to_owned() + "[search]\nscheduler = 'halving'\n",
        of("\n[space]", "\nbudget = 1\n[space]") + "[search]\nscheduler = 'median'\n",
        base.to_owned() + "[model]\nname = 'gbdt'\n",
        base.to_owned() + "[run]\nbackend = 'gpu'\n",
        base.to_owned() + "[run]\nhistory = 'best:10'\n",
        base.to_owned() + "[search]\nlimits = { seconds = 1.0 }\n",
        base.to_owned() + "[search]\nobjectives = ['score', 'size']\n",
        of("\n[space]", "\nothers = { value = 'minimize' }\n[space]"),
        of("\n[space]", "\nothers = { size = 'less' }\n[space]"),
        of("\n[space]", "\nlimits = { step = 3 }\n[space]"),
        of("\n[space]", "\nlimits = { size = 'much' }\n[space]"),
        of("\n[space]", "\nlimits = { size = { most = 3 } }\n[space]"),
        of("\n[space]", "\nlimits = { size = { min = 3, max = 2 } }\n[space]"),
        of("\n[space]", "\ndirections = ['minimize']\n[space]"),
        of("\n[space]", "\nothers = { size = 'minimize' }\n[space]") + "[search]\nstrategy = 'cmaes'\n",
        of("['sh', 'run.sh', '{x}']", "'sh run.sh \"{x}\"'").replace("{ float = [0, 1] }", "['a b', 'c']"),
    ];
    let mut said = Vec::new();
    for study in cases {
        let folder = Folder::new();
        written(&folder, &study, "echo 1 >was_run\n");
        let told = program::run(&folder, &["tune", "study.toml", "-q"]);
        assert_eq!(told.code, Some(1), "{study}\n{}", told.err);
        assert!(!folder.path().join("was_run").exists() && !folder.path().join("runs").exists(), "{study}");
        let place = std::fs::canonicalize(folder.path()).unwrap().display().to_string();
        said.push(told.err.replace(&place, "FOLDER"));
    }
    insta::assert_snapshot!(said.join("\n"));
}
