//! Programs under schedulers: who stands on a rung is suspended, who goes on does so from where it stands or from its checkpoint.

use super::*;

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
