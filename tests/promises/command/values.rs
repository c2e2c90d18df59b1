//! Programs that say more than one value: trade-offs between several, and limits that candidates keep.

use super::{ended, float, loaded};
use crate::study::run;
use crate::support::{Folder, program, studies};
use std::collections::BTreeSet;
use std::path::Path;
use thousandfold::study::result::RunResult;
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{StudyConfig, load_run};

/// Schaffer's problem: of x^2 and (x - 2)^2 no one beats another where x is from 0 to 2, and there their roots sum to 2. The second
/// is said as what is better the more there is of it.
const SCHAFFER: &str = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\nothers = { nearness = 'maximize' }\nworkers = 2\n[space]\nx = { float = [-6, 6] }\n[search]\nstrategy = 'nsga2'\npopulation = 20\ncandidates = 240\n";
const NEAR_TWO: &str = r#"
echo "$1" >"$THOUSANDFOLD_CHECKPOINT/x"
awk -v x="$1" 'BEGIN { printf "{\"nearness\": %.17g, \"value\": %.17g}\n", -(x - 2)^2, x * x }'
"#;

/// What a run goes on to from the first half of its journal.
fn resumed(folder: &Folder) -> RunResult {
    let journal = folder.path().join("run/journal.tfj");
    let bytes = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
    run(load_run(&folder.path().join("run"), &[]).unwrap(), Existing::Resume)
}

#[test]
fn of_several_values_the_trade_offs_are_found_and_a_run_goes_on_to_the_same_bits() {
    for (strategy, least) in [("nsga2", 30), ("tpe", 15)] {
        let folder = Folder::new();
        let sets = [format!("search.strategy={strategy}"), format!("search.candidates={}", 8 * least)];
        let study = loaded(&folder, SCHAFFER, NEAR_TWO, &[&sets[0], &sets[1]]);
        let result = run(study, Existing::Refuse);
        assert_eq!(result.objectives, ["value", "nearness"]);
        assert_eq!(result.counts.failed, 0, "{:?}", result.failures);
        let front: Vec<(f64, f64)> = result.front.iter().map(|one| (one.value, one.others[0])).collect();
        assert!(front.len() >= least, "{strategy}: {}", front.len());
        for (square, nearness) in &front {
            let sum = square.sqrt() + (-nearness).sqrt();
            assert!((sum - 2.0).abs() < 0.1, "{strategy}: {square} and {nearness} are off the front by {}", sum - 2.0);
        }
        let ends = front.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), one| (a.min(one.0), b.max(one.1)));
        assert!(ends.0 < 0.1 && ends.1 > -0.1, "{strategy}: {ends:?}");
        // What each of the front has kept stays, and nothing of the others.
        let kept = std::fs::read_dir(folder.path().join("run/checkpoints")).unwrap();
        let kept: BTreeSet<u64> =
            kept.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        assert_eq!(kept, result.front.iter().map(|one| one.candidate).collect());
        assert_eq!(studies::comparable(&resumed(&folder)), studies::comparable(&result), "{strategy}");
    }
}

/// The nearer x is to 0 the better, and the larger it is.
const LARGE: &str = "[objective]\ncommand = ['sh', 'run.sh', '{x}']\nrepeats = 2\n[space]\nx = { float = [-2, 2] }\n[search]\nstrategy = 'random'\ncandidates = 60\n";
/// Its size is x with 0.1 more or less, by the repeat: on the average x.
const SIZED: &str = r#"
echo "$1" >"$THOUSANDFOLD_CHECKPOINT/x"
awk -v x="$1" -v r="$THOUSANDFOLD_REPEAT" 'BEGIN { printf "{\"value\": %.17g, \"size\": %.17g, \"left\": %.17g}\n", x * x, x + r / 5 - 0.1, 1 - x }'
"#;

#[test]
fn a_limit_keeps_out_who_would_be_the_best() {
    let of = |strategy: &str, limits: &str| {
        let folder = Folder::new();
        let study = LARGE.replace("\nrepeats", &format!("\n{limits}\nrepeats"));
        let result = run(loaded(&folder, &study, SIZED, &[&format!("search.strategy={strategy}")]), Existing::Refuse);
        (result, folder)
    };
    let x = |result: &RunResult| float(&result.best, "x");
    let (free, _) = of("random", "");
    assert!(x(&free).abs() < 0.2 && free.objectives == ["value"], "{:?}", free.best);
    for strategy in ["random", "tpe"] {
        for limits in
            ["limits = { size = { min = 1 } }", "limits = { left = 0 }", "limits = { left = { max = 0, min = -1 } }"]
        {
            let (result, folder) = of(strategy, limits);
            assert!((1.0..1.2).contains(&x(&result)), "{limits}: {:?}", result.best);
            assert!(result.top.iter().all(|one| float(one, "x") >= 1.0), "{limits}: {:?}", result.top);
            assert!(result.top.len() < 20 || strategy != "random", "{limits}");
            assert!(result.front.is_empty(), "there is one objective");
            assert_eq!(result.counts.failed, 0);
            let kept = std::fs::read_to_string(
                result.command.as_ref().unwrap().checkpoint.as_ref().unwrap().to_owned() + "/x",
            );
            assert_eq!(kept.unwrap().trim().parse::<f64>().unwrap(), x(&result));
            assert_eq!(studies::comparable(&resumed(&folder)), studies::comparable(&result), "{strategy}, {limits}");
        }
    }
    let (random, _) = of("random", "limits = { size = { min = 1 } }");
    let none = x(&random) - random.best.others[0];
    assert!(random.objectives == ["value", "size"] && none.abs() < 1e-12, "the mean of its repeats: {:?}", random.best);
}

#[test]
fn where_nobody_keeps_a_limit_that_is_the_error() {
    let folder = Folder::new();
    super::written(&folder, &LARGE.replace("\nrepeats", "\nlimits = { size = -9 }\nrepeats"), SIZED);
    let told = program::run(&folder, &["tune", "study.toml", "-q"]);
    assert!(
        told.code == Some(1) && told.err.contains("60 candidates with a score are beyond objective.limits"),
        "{}",
        told.err
    );
}

#[test]
fn of_several_values_and_limits_the_front_keeps_the_limits() {
    let folder = Folder::new();
    let study = SCHAFFER.replace("workers", "limits = { nearness = { min = -1 }, x = { max = 1.5 } }\nworkers");
    let script =
        NEAR_TWO.replace("{\\\"nearness", "{\\\"x\\\": %.17g, \\\"nearness").replace("\\n\", -(x", "\\n\", x, -(x");
    let result = ended(&folder, &study, &script);
    assert_eq!(result.objectives, ["value", "nearness", "x"]);
    let x = |one| float(one, "x");
    assert!(result.front.len() > 10, "{}", result.front.len());
    assert!(
        result.front.iter().all(|one| (1.0..=1.5).contains(&x(one)) && one.others[1] == x(one)),
        "{:?}",
        result.front
    );
    assert!((1.0..1.05).contains(&x(&result.best)), "{:?}", result.best);
}

#[test]
fn a_beam_is_as_light_as_it_can_be() {
    // Deb 2001, section 9.6: on the front a beam is as short as it may be, and the lightest, 18.94 mm thick, is at the limit of its
    // stress. So few candidates come near it, and not onto it.
    let folder = Folder::new();
    let study = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/tradeoff_command.toml");
    let sets = [folder.run_set()];
    let result = run(StudyConfig::load(Path::new(study), &sets).unwrap(), Existing::Refuse);
    assert_eq!(result.objectives, ["value", "deflection", "stress"]);
    assert!(result.front.len() > 20, "{}", result.front.len());
    for one in &result.front {
        assert!(one.others[0] <= 5.0 && one.others[1] <= 300.0, "{one:?}");
        // As a function of the weight w of a beam of length l the deflection is 4 P l^5 rho^2 pi / (3 E w^2).
        let least =
            4e6 * 0.2f64.powi(5) * (7800.0f64).powi(2) * std::f64::consts::PI / (3.0 * 207e9 * one.value.powi(2));
        assert!(one.others[0] < 1.25 * least, "{one:?} could bend {least}");
    }
    // 32 P l / (pi d^3) = 300 MPa.
    let thinnest = (32.0 * 1e3 * 0.2 / (std::f64::consts::PI * 300e6)).cbrt();
    let lightest = 7800.0 * std::f64::consts::PI / 4.0 * thinnest.powi(2) * 0.2;
    assert!((lightest..1.05 * lightest).contains(&result.best.value), "{} of {lightest}", result.best.value);
}

#[test]
fn who_leaves_out_a_value_or_has_no_number_for_it_has_failed_with_its_reason() {
    let folder = Folder::new();
    let study = "[objective]\ncommand = ['sh', 'run.sh', '{kind}']\nothers = { size = 'minimize' }\nlimits = { time = 3 }\n[space]\nkind = ['good', 'bare', 'short', 'late', 'nan', 'word', 'limited']\n[search]\nstrategy = 'grid'\ncandidates = 7\n";
    let script = r#"
case $1 in
  good) echo '{"value": 1, "size": 5, "time": 2}' ;;
  bare) echo 1 ;;
  short) echo '{"value": 1, "time": 2}' ;;
  late) echo '{"value": 1, "size": 5, "time": 2}'; echo '{"value": 0, "time": 2}' ;;
  nan) echo '{"value": 1, "size": NaN, "time": 2}' ;;
  word) echo '{"value": 1, "size": "small", "time": 2}' ;;
  limited) echo '{"value": 1, "size": 5, "time": -Infinity}' ;;
esac
"#;
    let result = ended(&folder, study, script);
    assert_eq!((result.counts.complete, result.counts.failed), (1, 6));
    let reasons: Vec<(&str, u64)> = result.failures.iter().map(|one| (one.reason.as_str(), one.candidates)).collect();
    let expected =
        [("its last result says no number \"size\"", 4), ("its \"size\" is NaN", 1), ("its \"time\" is NaN", 1)];
    assert_eq!(BTreeSet::from_iter(reasons), BTreeSet::from(expected));
    assert_eq!((result.best.value, &result.best.others[..]), (1.0, &[5.0, 2.0][..]));
}

/// Three steps of which the value is said, with what has a limit on each of them or after the last.
const STEPS: &str = r#"
for step in 1 2 3; do
  awk -v x="$1" -v s="$step" 'BEGIN { printf "{\"step\": %d, \"value\": %.17g, \"size\": %.17g}\n", s, x * x + 9 - 3 * s, x }'
done
"#;
const AT_THE_END: &str = r#"
for step in 1 2 3; do
  awk -v x="$1" -v s="$step" 'BEGIN { printf "{\"step\": %d, \"value\": %.17g}\n", s, x * x + 9 - 3 * s }'
done
awk -v x="$1" 'BEGIN { printf "{\"value\": %.17g, \"size\": %.17g}\n", x * x, x }'
"#;

#[test]
fn a_scheduler_stops_by_the_value_and_a_limit_holds_where_its_result_is_said() {
    // Who is beyond on the first rung is not promoted; where that is not known yet, those near 0 are.
    for (script, limit, range) in [(STEPS, "-1", -1.3..=-1.0), (AT_THE_END, "{ min = 0.1 }", 0.1..=0.5)] {
        let folder = Folder::new();
        let study = LARGE.replace("repeats = 2", &format!("budget = 3\nlimits = {{ size = {limit} }}"));
        let result = ended(&folder, &(study + "scheduler = 'halving'\n"), script);
        assert!(result.counts.pruned > 0 && result.counts.failed == 0, "{limit}: {:?}", result.failures);
        let x = float(&result.best, "x");
        assert!(range.contains(&x) && result.best.others == [x], "{limit}: {:?}", result.best);
        assert_eq!(studies::comparable(&resumed(&folder)), studies::comparable(&result), "{limit}");
    }
    let folder = Folder::new();
    let study = LARGE.replace("repeats = 2", "budget = 3\nothers = { size = 'minimize' }") + "scheduler = 'halving'\n";
    super::written(&folder, &study, STEPS);
    let told = program::run(&folder, &["tune", "study.toml", "-q"]);
    assert!(told.err.contains("of 2 objectives there is no single order"), "{}", told.err);
}
