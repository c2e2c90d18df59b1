//! However programs end, their trials have a reason, the study goes on, and nothing of them is left.

use super::*;

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
