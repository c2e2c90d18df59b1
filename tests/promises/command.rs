//! What a study of a command promises: any program can be tuned, whatever it does the study goes on and says why it failed,
//! schedulers stop it by its values on the way, and nothing of it is left behind.
#![cfg(unix)]

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

/// A kind of misbehaviour a candidate, and a line of pids of what would live on.
const KINDS: [&str; 13] = [
    "good", "crash", "signal", "hang", "deaf", "garbage", "silent", "nan", "infinite", "gives_up", "flood", "orphan",
    "hog",
];
const MISBEHAVING: &str = r#"
case $THOUSANDFOLD_kind in
  good) echo '{"value": 1}' ;;
  crash) echo 'Traceback:' >&2; echo 'ValueError: no' >&2; echo '{"value": 1}'; exit 3 ;;
  signal) kill -SEGV $$ ;;
  hang) sleep 1000 ;;
  deaf) trap '' TERM INT HUP; sleep 1000 & echo $! >>pids; while :; do sleep 0.1; done ;;
  garbage) printf 'h\303\244h\377 {"value": "x"}\n{"value": \n' ;;
  silent) ;;
  nan) echo '{"value": NaN}' ;;
  infinite) echo inf ;;
  gives_up) echo '{"failure": "no data"}'; sleep 1000 ;;
  flood) yes "$(printf %01000d 7)" | head -c 100000000; head -c 20000000 /dev/zero >&2; echo; echo 2 ;;
  orphan)
    sleep 1000 & echo $! >>pids
    (trap '' TERM; sleep 1000) & echo $! >>pids
    setsid sleep 1000 & echo $! >>pids
    setsid sleep 1000 >/dev/null 2>&1 & echo $! >>pids
    echo 3 ;;
  hog) awk 'BEGIN { s = "x"; while (length(s) < 2^27) s = s s; while (1) n++ }' ;;
esac
"#;

fn misbehaving(timeout: &str) -> String {
    format!(
        "[objective]\ncommand = ['sh', 'run.sh']\nworkers = 4\ntimeout = '{timeout}'\nmemory = 100\n[space]\nkind = {KINDS:?}\n[search]\nstrategy = 'grid'\n"
    )
}

#[test]
fn every_failure_is_recorded_with_its_reason_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let result = ended(&folder, &misbehaving("15s"), MISBEHAVING);
    let counts = result.counts;
    assert_eq!((counts.proposed, counts.complete, counts.failed), (13, 3, 10), "{:?}", result.failures);
    let value = |kind: &str| {
        let is_it = |one: &&Chosen| one.params.get("kind") == Some(&Value::Text(kind.to_owned()));
        result.top.iter().find(is_it).map(|one| one.value)
    };
    assert_eq!(["good", "flood", "orphan"].map(value), [Some(1.0), Some(2.0), Some(3.0)]);
    // The journal says of each candidate how it failed.
    let (frames, _) = read(&folder.path().join("run/journal.tfj"), false).unwrap();
    let reasons: BTreeMap<u64, String> = frames
        .iter()
        .filter_map(|frame| if let Frame::Reasons(reasons) = frame { Some(reasons.clone()) } else { None })
        .flatten()
        .collect();
    let reason = |kind: &str| {
        let candidate = KINDS.iter().position(|one| *one == kind).unwrap() as u64;
        reasons.get(&candidate).map_or("", String::as_str)
    };
    assert_eq!(reason("crash"), "exit code 3: Traceback: / ValueError: no");
    assert!(reason("signal").starts_with("killed by signal 11 (SIGSEGV)"), "{}", reason("signal"));
    for kind in ["hang", "deaf"] {
        assert_eq!(reason(kind), "it ran longer than its timeout of 15s", "{kind}");
    }
    assert!(reason("garbage").contains("its last line was: {\"value\":"), "{}", reason("garbage"));
    assert_eq!(reason("silent"), "it ended without a value: it printed nothing");
    assert_eq!((reason("nan"), reason("infinite")), ("its value is NaN", "its value is inf"));
    assert_eq!(reason("gives_up"), "it said: no data");
    assert!(
        reason("hog").starts_with("it held 1") && reason("hog").ends_with("MiB of 100 that it may"),
        "{}",
        reason("hog")
    );
    assert!(["good", "flood", "orphan"].iter().all(|kind| reason(kind).is_empty()));
    // So do the result, and its summary.
    let told: BTreeMap<u64, String> = result.failures.iter().map(|one| (one.first, one.reason.clone())).collect();
    assert!(told.values().all(|told| reasons.values().any(|reason| reason == told)), "{told:?}");
    assert_eq!(result.failures.iter().map(|one| one.candidates).sum::<u64>(), 10);
    let summary = thousandfold::monitor::summary::summary(&result, 120);
    assert!(summary.contains("exit code 3"), "{summary}");
    // Nothing lives on: neither in the group of its program nor, on Linux, outside of it.
    assert_eq!(lines(&folder.path().join("pids")).len(), 5);
    assert_eq!(survivors(&folder), [0; 0]);
    assert!(!folder.path().join("run/checkpoints").exists());
    // Whoever goes on with the run hears the same of it, and nothing is run again.
    std::fs::remove_file(folder.path().join("run.sh")).unwrap();
    let resumed = run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume);
    assert_eq!(studies::comparable(&resumed), studies::comparable(&result));
}

#[test]
fn a_gigabyte_of_output_is_not_kept_in_memory() {
    let folder = Folder::new();
    // The greatest size of the study itself so far, in KiB, said by a program that has printed a lot: its parent's.
    let script = "head -c 1000000000 /dev/zero\nawk '/VmHWM/ { printf \"\\n%d\\n\", $2 }' /proc/$PPID/status\n";
    let study = "[objective]\ncommand = ['sh', 'run.sh']\nworkers = 1\n[space]\nx = { float = [0, 1] }\n[search]\ncandidates = 2\n";
    if !cfg!(target_os = "linux") {
        println!("SKIPPED: sizes of processes are read from /proc");
        return;
    }
    written(&folder, study, script);
    done(&folder, &["tune", "study.toml", "-q"]);
    let size = program::result(&folder, "runs/study")["best"]["value"].as_f64().unwrap();
    assert!(size > 1e3 && size < 500e3, "{size} KiB");
}

#[test]
fn sixty_four_at_a_time_leave_no_process_no_handle_and_no_file_behind() {
    if !cfg!(target_os = "linux") {
        println!("SKIPPED: handles of a process are read from /proc");
        return;
    }
    let folder = Folder::new();
    // A value is how many handles the study has open: all of the last ones' would be more than the first ones' if any leaked.
    let script = r#"
case $((THOUSANDFOLD_TRIAL % 7)) in
  3) sleep 1000 & exit 3 ;;
  5) sleep 1000 & echo x >"$THOUSANDFOLD_CHECKPOINT/state" ;;
esac
ls /proc/$PPID/fd | wc -l
"#;
    let study = "[objective]\ncommand = ['sh', 'run.sh']\nworkers = 64\ndirection = 'maximize'\n[space]\nx = { float = [0, 1] }\n[search]\nstrategy = 'random'\nbatch = 100\ncandidates = 600\n";
    written(&folder, study, script);
    std::fs::create_dir(folder.path().join("tmp")).unwrap();
    let mut program = command(&folder, &["tune", "study.toml", "-q"]);
    let told = program::ended(program.env("TMPDIR", folder.path().join("tmp")));
    assert_eq!(told.code, Some(0), "{}", told.err);
    let result = program::result(&folder, "runs/study");
    assert_eq!(result["counts"]["complete"], 600 - 86, "{result}");
    assert_eq!(result["failures"][0]["candidates"], 86);
    let most = result["best"]["value"].as_f64().unwrap();
    // Two pipes and an end each, and some of the study's own.
    assert!(most > 10.0 && most < f64::from(3 * 64 + 40), "{most} handles");
    assert_eq!(survivors(&folder), [0; 0]);
    let left = |path: &str| std::fs::read_dir(folder.path().join(path)).map_or(0, |entries| entries.count());
    assert_eq!(left("tmp"), 0);
    assert!(left("runs/study/checkpoints") <= 1, "the best one's alone");
}

/// Nine steps that get better with x; each is written down. It goes on from its checkpoint, and never looks at a budget.
const TRAINING: &str = r#"
step=0
[ -f "$THOUSANDFOLD_CHECKPOINT/step" ] && step=$(cat "$THOUSANDFOLD_CHECKPOINT/step")
echo "start $step" >>"log.$THOUSANDFOLD_TRIAL"
[ "$step" -gt 0 ] && awk -v x="$1" -v s="$step" 'BEGIN { printf "{\"step\": %d, \"value\": %.17g}\n", s, x / s }'
while [ "$step" -lt 9 ]; do
  step=$((step + 1))
  echo "$step" >>"log.$THOUSANDFOLD_TRIAL"
  echo "$step" >"$THOUSANDFOLD_CHECKPOINT/new" && mv "$THOUSANDFOLD_CHECKPOINT/new" "$THOUSANDFOLD_CHECKPOINT/step"
  awk -v x="$1" -v s="$step" 'BEGIN { printf "{\"step\": %d, \"value\": %.17g}\n", s, x / s }'
  sleep 0.05
done
"#;
const SCHEDULED: &str = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\nworkers = 6\nbudget = 9\n[space]\nx = { float = [1, 2] }\n[search]\nstrategy = 'random'\nscheduler = 'halving'\nbatch = 9\ncandidates = 18\n";

#[test]
fn a_scheduler_stops_programs_by_their_values_and_promoted_ones_go_on_where_they_stand() {
    let folder = Folder::new();
    let result = ended(&folder, SCHEDULED, TRAINING);
    assert_eq!(
        (result.counts.complete, result.counts.pruned, result.counts.failed),
        (2, 16, 0),
        "{:?}",
        result.failures
    );
    assert!((result.best.value - float(&result.best, "x") / 9.0).abs() < 1e-12);
    assert_eq!(result.best.used, [9]);
    let whole: Vec<String> =
        std::iter::once("start 0".to_owned()).chain((1..=9).map(|step| step.to_string())).collect();
    for chosen in &result.top {
        // Suspended twice, and never begun again.
        assert_eq!(lines(&folder.path().join(format!("log.{}", chosen.candidate))), whole);
    }
    let steps = |trial: u64| lines(&folder.path().join(format!("log.{trial}"))).len() - 1;
    let ended: Vec<usize> =
        (0..18).filter(|trial| result.top.iter().all(|one| one.candidate != *trial)).map(steps).collect();
    assert!(ended.iter().filter(|steps| **steps < 9).count() > 12, "most were stopped in time: {ended:?}");
    assert_eq!(survivors(&folder), [0; 0]);
    let checkpoint = result.command.unwrap().checkpoint.unwrap();
    assert_eq!(lines(&Path::new(&checkpoint).join("step")), ["9"], "what the best one left is kept");
    assert_eq!(std::fs::read_dir(Path::new(&checkpoint).parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn whoever_stands_on_a_rung_is_suspended_while_others_run() {
    if !cfg!(target_os = "linux") {
        println!("SKIPPED: states of processes are read from /proc");
        return;
    }
    let folder = Folder::new();
    // Each looks at those before it, which take a moment to stop. A shell that was about to start a program waits for that
    // one, which is stopped before it is another: D.
    let script = r#"
for pid in $(cat pids 2>/dev/null); do
  tries=0
  while state=$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat"); [ "$state" != T ] && [ "$state" != D ] && [ $tries -lt 100 ]; do
    tries=$((tries + 1)); sleep 0.05
  done
  echo "$state" >>states
done
echo $$ >>pids
for step in 1 2 3; do echo "{\"step\": $step, \"value\": $1}"; sleep 0.3; done
"#;
    let study = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\nworkers = 1\nbudget = 3\n[space]\nx = { float = [1, 2] }\n[search]\nstrategy = 'random'\nscheduler = 'halving'\nbatch = 3\ncandidates = 3\n";
    let result = ended(&folder, study, script);
    assert_eq!((result.counts.complete, result.counts.pruned), (1, 2), "{:?}", result.failures);
    let states = lines(&folder.path().join("states"));
    assert!(states.len() == 3 && states.iter().all(|state| state == "T" || state == "D"), "{states:?}");
    assert_eq!(lines(&folder.path().join("pids")).len(), 3, "none was begun again");
}

#[test]
fn a_promoted_program_that_was_not_kept_goes_on_from_its_checkpoint() {
    let (kept, started) = (Folder::new(), Folder::new());
    let of = |folder: &Folder, suspended: &str, script: &str| {
        let result = run(loaded(folder, SCHEDULED, script, &[suspended]), Existing::Refuse);
        result.top.iter().map(|one| (one.candidate, one.value.to_bits(), one.used.clone())).collect::<Vec<_>>()
    };
    let values = of(&kept, "objective.suspended=9", TRAINING);
    assert_eq!(of(&started, "objective.suspended=0", TRAINING), values);
    let log = lines(&started.path().join(format!("log.{}", values[0].0)));
    let starts: Vec<&String> = log.iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(starts.len(), 3, "{log:?}");
    assert!(starts[0] == "start 0" && starts[1] != "start 0" && starts[2] != "start 0", "{log:?}");
    // The same of one that looks at its budget, and ends on each rung by itself.
    let ending = Folder::new();
    let script = TRAINING.replace("-lt 9", "-lt \"$THOUSANDFOLD_BUDGET\"");
    assert_eq!(of(&ending, "objective.suspended=9", &script), values);
    let log = lines(&ending.path().join(format!("log.{}", values[0].0)));
    assert_eq!(log, ["start 0", "1", "start 1", "2", "3", "start 3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_study_that_is_killed_leaves_no_program_behind_and_goes_on_to_the_same_result() {
    let whole = {
        let folder = Folder::new();
        written(&folder, SCHEDULED, TRAINING);
        done(&folder, &["tune", "study.toml", "-q"]);
        program::result(&folder, "runs/study")
    };
    let folder = Folder::new();
    let script = TRAINING.replace("step=0\n", "step=0\nsetsid sleep 1000 & sleep 1000 &\n");
    written(&folder, SCHEDULED, &script);
    let mut study = command(&folder, &["tune", "study.toml", "-q"]).stdout(Stdio::null()).spawn().unwrap();
    // Some stand suspended on their first rung, others run.
    let journal = folder.path().join("runs/study/journal.tfj");
    until("something is journalled", || {
        read(&journal, false).is_ok_and(|(frames, _)| frames.iter().any(|frame| matches!(frame, Frame::Rung(_))))
    });
    assert!(!survivors(&folder).is_empty() || !cfg!(target_os = "linux"), "there are programs to be killed");
    study.kill().unwrap();
    study.wait().unwrap();
    until("nothing of it lives", || survivors(&folder).is_empty());
    folder.write("run.sh", TRAINING);
    done(&folder, &["resume", "runs/study", "-q"]);
    let mut resumed = program::result(&folder, "runs/study");
    let mut whole = whole;
    for result in [&mut resumed, &mut whole] {
        result["command"].take();
    }
    assert_eq!(resumed, whole);
    // Who had kept something went on from there: of those who were promoted, one at least.
    let starts = |trial: u64| {
        let log = lines(&folder.path().join(format!("log.{trial}")));
        log.into_iter().filter(|line| line.starts_with("start")).collect::<Vec<_>>()
    };
    let again: Vec<Vec<String>> = (0..9).map(starts).filter(|starts| starts.len() > 1).collect();
    assert!(again.iter().any(|starts| starts[1] != "start 0"), "{again:?}");
}

#[test]
fn an_interrupt_ends_what_runs_at_once() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh']\nworkers = 3\n[space]\nx = { float = [0, 1] }\n[search]\ncandidates = 9\n";
    written(&folder, study, "trap '' INT TERM\necho $$ >>pids\nsleep 1000\n");
    let child = command(&folder, &["tune", "study.toml", "-q"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap();
    until("three run", || lines(&folder.path().join("pids")).len() == 3);
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(survivors(&folder), [0; 0]);
}

#[test]
fn the_end_of_the_time_ends_what_runs() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh']\nworkers = 3\n[space]\nx = { float = [0, 1] }\n[search]\ncandidates = 9\n[stop]\ntime = '2s'\n";
    // The first is done in time, the others never.
    let script = "[ \"$THOUSANDFOLD_TRIAL\" = 0 ] && { echo 1; exit; }\ntrap '' TERM\nsleep 1000 &\nsleep 1000\n";
    let result = ended(&folder, study, script);
    assert_eq!((result.counts.complete, result.counts.failed), (1, 0));
    assert_eq!(result.stopped_because, thousandfold::study::stopping::StopReason::Time);
    assert_eq!(survivors(&folder), [0; 0]);
}

#[test]
fn where_every_candidate_fails_the_usual_reason_is_the_error() {
    let folder = Folder::new();
    written(&folder, SQUARES, "echo 'ModuleNotFoundError: no module' >&2; exit 1\n");
    let told = program::run(&folder, &["tune", "study.toml", "-q"]);
    assert_eq!(told.code, Some(3), "{}", told.err);
    let reason = "every one of the 30 candidates failed: exit code 1: ModuleNotFoundError: no module";
    assert!(told.err.contains(reason), "{}", told.err);
    assert!(told.err.contains("by hand"), "{}", told.err);
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
fn what_the_best_one_of_a_race_has_kept_of_each_fold_stays() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\nrepeats = 6\n[space]\nx = { float = [1, 2] }\n[search]\nstrategy = 'random'\nscheduler = 'racing'\ncandidates = 12\n";
    let script = "echo x >\"$THOUSANDFOLD_CHECKPOINT/state\"\nawk -v x=\"$1\" -v r=\"$THOUSANDFOLD_REPEAT\" 'BEGIN { print x + 0.01 * r }'\n";
    let result = ended(&folder, study, script);
    assert!(result.counts.pruned > 0 && result.counts.complete > 0, "{:?}", result.counts);
    let checkpoints = folder.path().join("run/checkpoints");
    let name = |repeat: usize| match repeat {
        0 => result.best.candidate.to_string(),
        repeat => format!("{}-{repeat}", result.best.candidate),
    };
    for repeat in 0..6 {
        assert!(checkpoints.join(name(repeat)).join("state").exists(), "repeat {repeat}");
    }
    assert_eq!(std::fs::read_dir(checkpoints).unwrap().count(), 6, "of the others nothing is kept");
}

/// Four steps at a time, with a checkpoint behind them before the first of their lines.
const RACING_AHEAD: &str = r#"
step=0
[ -f "$THOUSANDFOLD_CHECKPOINT/step" ] && step=$(cat "$THOUSANDFOLD_CHECKPOINT/step")
from=$((step - 1))
[ "$step" -eq 0 ] && from=0
while :; do
  awk -v x="$1" -v f="$from" -v s="$step" 'BEGIN { for (i = f + 1; i <= s; i++) printf "{\"step\": %d, \"value\": %.17g}\n", i, x / i }'
  [ "$step" -ge 9 ] && break
  sleep 0.05
  from=$step; step=$((step + 4)); [ "$step" -gt 9 ] && step=9
  echo "$step" >"$THOUSANDFOLD_CHECKPOINT/new" && mv "$THOUSANDFOLD_CHECKPOINT/new" "$THOUSANDFOLD_CHECKPOINT/step"
done
"#;

#[test]
fn whoever_was_not_kept_has_on_each_rung_the_value_that_he_would_have_had() {
    let of = |suspended: &str| {
        let folder = Folder::new();
        let result = run(loaded(&folder, SCHEDULED, RACING_AHEAD, &[suspended]), Existing::Refuse);
        assert_eq!((result.counts.complete, result.counts.failed), (2, 0), "{:?}", result.failures);
        let (frames, _) = read(&folder.path().join("run/journal.tfj"), false).unwrap();
        let mut reached = BTreeMap::new();
        for frame in &frames {
            let Frame::Rung(rung) = frame else { continue };
            let runs = &rung.outcomes.candidates;
            let ids = runs.iter().flat_map(|(first, count)| *first..first + count);
            reached.extend(ids.zip(&rung.outcomes.scores).map(|(id, score)| ((rung.budget, id), score.to_bits())));
        }
        reached
    };
    let kept = of("objective.suspended=9");
    assert_eq!(kept.len(), 18 + 6, "rungs of 1 and of 3 steps");
    assert_eq!(of("objective.suspended=0"), kept);
}

#[test]
fn where_there_is_no_room_for_a_process_whoever_is_suspended_makes_some() {
    let (few, many) = (Folder::new(), Folder::new());
    for folder in [&few, &many] {
        written(folder, &SCHEDULED.replace("workers = 6", "workers = 6\nsuspended = 9"), TRAINING);
    }
    done(&many, &["tune", "study.toml", "-q"]);
    // Each program takes three handles, and nine of them are to stand suspended.
    let mut limited = std::process::Command::new("sh");
    let program = command(&few, &[]);
    let limit = ["-c", "ulimit -n 28; exec \"$0\" tune study.toml -q"];
    let told = program::ended(limited.args(limit).arg(program.get_program()).current_dir(few.path()));
    assert_eq!(told.code, Some(0), "{}", told.err);
    let [few, many] = [&few, &many].map(|folder| program::result(folder, "runs/study"));
    assert_eq!((&few["best"], &few["counts"]), (&many["best"], &many["counts"]));
}

#[test]
fn where_the_system_does_not_say_how_programs_end_they_have_failed() {
    let ignoring = || {
        let mut command = std::process::Command::new("env");
        command.arg("--ignore-signal=CHLD");
        command
    };
    if !ignoring().arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: env cannot have a signal ignored here");
        return;
    }
    let folder = Folder::new();
    written(&folder, SQUARES, "echo \"$1\"\n");
    let program = command(&folder, &["tune", "study.toml", "-q"]);
    let mut ignoring = ignoring();
    ignoring.arg(program.get_program()).args(program.get_args()).current_dir(folder.path());
    let told = program::ended(&mut ignoring);
    assert_eq!(told.code, Some(3), "{}", told.err);
    assert!(told.err.contains("how it ended is not known") && told.err.contains("SIGCHLD"), "{}", told.err);
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
