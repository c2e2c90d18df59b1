//! What a study of a user's own shader promises: its values are what it says, whatever is wrong with it is said at its line
//! before anything runs, and no candidate hurts another, however its loops go. On whatever adapter there is: a software one is
//! enough.

use crate::gpu;
use crate::study::run;
use crate::support::program;
use crate::support::{Folder, quiet, studies};
use std::path::Path;
use thousandfold::backend::StopFlag;
use thousandfold::backend::gpu::adapters;
use thousandfold::base::random::{Key, inverse_normal_cdf, stream, uniform};
use thousandfold::data::metrics::Direction;
use thousandfold::space::Value;
use thousandfold::study::events::{Event, Observer};
use thousandfold::study::result::{Chosen, RunResult, WgslFacts};
use thousandfold::study::run_dir::Existing;
use thousandfold::study::{LoadedConfig, Start, StudyConfig, load_run, tune};

/// A study file beside its shader, on the first adapter.
fn loaded(folder: &Folder, study: &str, shader: &str, sets: &[&str]) -> LoadedConfig {
    folder.write("objective.wgsl", shader);
    let path = folder.write("study.toml", study);
    let own = ["run.device=\"0\""];
    let sets: Vec<String> = own.iter().chain(sets).map(|set| (*set).to_owned()).chain([folder.run_set()]).collect();
    StudyConfig::load(&path, &sets).unwrap()
}

/// The result of a study in a folder of its own; `None` without an adapter.
fn ended(study: &str, shader: &str, sets: &[&str]) -> Option<RunResult> {
    gpu::shared()?;
    let folder = Folder::new();
    Some(run(loaded(&folder, study, shader, sets), Existing::Refuse))
}

/// What stands in the way of a study.
fn refusal(loaded: LoadedConfig, existing: Existing) -> String {
    let start = Start { existing, salvage: false };
    tune(loaded, start, &mut quiet(), &StopFlag::default()).unwrap_err().to_string()
}

fn float(chosen: &Chosen, name: &str) -> f64 {
    match chosen.params.get(name) {
        Some(Value::Float(value)) => *value,
        Some(Value::Int(value)) => *value as f64,
        other => panic!("{name}: {other:?}"),
    }
}

fn text(chosen: &Chosen, name: &str) -> String {
    chosen.params.get(name).map(Value::to_string).unwrap_or_default()
}

/// Ids and bits of candidates.
fn bits(result: &RunResult) -> Vec<(u64, u64)> {
    result.top.iter().map(|one| (one.candidate, one.value.to_bits())).collect()
}

/// Asks for the stop when so many candidates are in the journal.
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

const LINE: &str = "[objective]\nwgsl = 'objective.wgsl'\n[space]\nx = { float = [0, 1] }\n[search]\nstrategy = 'random'\ncandidates = 20\n";

#[test]
fn values_are_what_the_shader_says_of_every_kind_of_parameter() {
    let study = "[objective]\nwgsl = 'objective.wgsl'\n[space]\nrate = { log = [1e-3, 10] }\nn = { int = [-3, 9] }\nkind = ['ada m', 'sgd']\nsize = [16, 64, 32]\nshare = [0.5, 1.25]\nis_on = [false, true]\nmomentum = { float = [0.5, 0.9], default = 0.75, when = { kind = 'sgd' } }\nheld = 3\n[search]\nstrategy = 'random'\ncandidates = 20\n";
    let shader = "
fn objective(p: Params) -> f32 {
    var sum = 0.0;
    for (var i = 0; i < p.n; i++) { sum += p.rate * f32(i); }
    if (p.kind == KIND_SGD) { sum += 100.0; }
    if (p.is_on) { sum += 1000.0; }
    if (p.has_momentum != (p.kind == KIND_SGD) || (!p.has_momentum && p.momentum != 0.75)) { return 1e9; }
    return sum + p.momentum + f32(p.size + p.held) * p.share;
}";
    let Some(result) = ended(study, shader, &[]) else { return };
    assert_eq!((result.counts.complete, result.top.len()), (20, 20));
    for one in &result.top {
        let mut expected = (0..float(one, "n") as i64).map(|i| float(one, "rate") * i as f64).sum::<f64>();
        let is_sgd = text(one, "kind") == "sgd";
        expected += if is_sgd { 100.0 + float(one, "momentum") } else { 0.75 };
        expected += if text(one, "is_on") == "true" { 1000.0 } else { 0.0 };
        expected += (float(one, "size") + 3.0) * float(one, "share");
        // Ten sums in f32, of numbers up to 2000.
        assert!((one.value - expected).abs() < 2e-6 * expected.abs().max(100.0), "{one:?}: {expected}");
    }
    let facts = result.wgsl.unwrap();
    assert_eq!((facts.values, facts.repeats, facts.steps), (1, 1, 50_000));
    assert!(facts.file.ends_with("objective.wgsl") && result.data_fingerprint.is_some());
    assert_eq!((result.backend.as_str(), result.model.is_none()), ("gpu", true));
    let kinds: std::collections::BTreeSet<String> = result.top.iter().map(|one| text(one, "kind")).collect();
    assert_eq!(kinds.len(), 2, "both were seen");
}

#[test]
fn more_may_be_better_and_several_values_have_a_direction_each() {
    let Some(one) = ended(
        &LINE.replace("[space]", "direction = 'maximize'\n[space]"),
        "fn objective(p: Params) -> f32 { return p.x; }",
        &[],
    ) else {
        return;
    };
    assert!(one.top.windows(2).all(|pair| pair[0].value >= pair[1].value));
    let two = "alias Both = vec2f;\nfn objective(p: Params) -> Both { return vec2f(p.x, p.x * p.x); }";
    let both = ended(&LINE.replace("[space]", "directions = ['minimize', 'maximize']\n[space]"), two, &[]).unwrap();
    assert_eq!(both.objectives, ["value", "value 2"]);
    assert_eq!(both.front.len(), 20, "less of one is less of the other");
    for one in &both.front {
        assert!((one.others[0] - one.value * one.value).abs() < 1e-6);
    }
    // Where both are to be small, one candidate is the best in both.
    assert_eq!(ended(LINE, two, &[]).unwrap().front.len(), 1);
    let five = "fn objective(p: Params) -> array<f32, 5> { return array<f32, 5>(p.x, 1.0, 2.0, 3.0, p.x + 4.0); }";
    let five = ended(LINE, five, &[]).unwrap();
    assert_eq!(five.best.others[..3], [1.0, 2.0, 3.0]);
    assert!((five.best.others[3] - five.best.value - 4.0).abs() < 1e-6);
}

/// Loops whose turns a candidate's x says: from 0.5 on they never end. Others take up to 40,000 turns, half of them in another
/// loop, which a driver may count together with their neighbours'.
const LOOPS: &str = "
fn objective(p: Params) -> f32 {
    var n = 0u;
    if (p.x < 0.25) {
        while (n < u32(p.x * 160000.0)) { n += 1u; }
    } else if (p.x < 0.5) {
        for (var i = 0u; i < u32(p.x * 80000.0); i += 1u) { n += 1u; }
    } else {
        // ENDLESS
    }
    return f32(n) + p.x;
}";

#[test]
fn an_endless_loop_fails_its_own_candidate_and_changes_no_bit_of_another() {
    let study =
        LINE.replace("candidates = 20", "candidates = 200").replace("[space]", "direction = 'maximize'\n[space]");
    let ends = LOOPS.replace("// ENDLESS", "return -1.0;");
    let Some(without) = ended(&study, &ends, &[]) else { return };
    let endless =
        ["loop { n = n * 3u; }", "for (;;) { continue; }", "while (true) { loop { if (p.x > 2.0) { break; } } }"];
    for endless in endless {
        let with = ended(&study, &LOOPS.replace("// ENDLESS", endless), &[]).unwrap();
        assert_eq!(bits(&with), bits(&without), "{endless}");
        assert!(with.counts.failed > 50 && with.counts.failed + with.counts.complete == 200, "{:?}", with.counts);
        let reasons: Vec<&str> = with.failures.iter().map(|one| one.reason.as_str()).collect();
        assert_eq!(reasons, ["its loops take more than 50000 turns: objective.steps"]);
    }
    assert!(
        without.top.iter().any(|one| float(one, "x") < 0.25) && without.top.iter().any(|one| float(one, "x") > 0.25)
    );
    for one in &without.top {
        let x = float(one, "x") as f32;
        let turns = (if x < 0.25 { x * 160_000.0 } else { x * 80_000.0 }) as u32;
        assert_eq!(one.value, f64::from(turns as f32 + x));
    }
    // A lower limit ends those that take more, and nothing else.
    let few = ended(&study, &ends, &["objective.steps=10000"]).unwrap();
    let kept = few.top.iter().filter(|one| one.value >= 0.0);
    assert!(kept.clone().count() > 2 && kept.clone().all(|one| one.value < 10_001.0));
    assert!(few.counts.failed > 30, "{:?}", few.counts);
}

/// Mesa's software driver counts loops that have no turn.
#[test]
fn loops_that_a_driver_cut_fail_their_own_candidate() {
    let shader = "
fn objective(p: Params) -> f32 {
    if (p.x < 0.5) { return p.x; }
    var n = 0u;
    for (var i = 0u; i < 40000u; i += 1u) {
        for (var j = 0u; j < u32(p.x * 0.5); j += 1u) { n += 7u; }
        n += 1u;
    }
    return f32(n);
}";
    let Some(result) = ended(&LINE.replace("= 20", "= 40"), shader, &[]) else { return };
    assert_eq!(result.counts.failed + result.counts.complete, 40);
    let ends = result.top.iter().filter(|one| float(one, "x") < 0.5);
    assert!(ends.clone().count() > 10 && ends.clone().all(|one| one.value == f64::from(float(one, "x") as f32)));
    assert!(result.top.iter().filter(|one| float(one, "x") >= 0.5).all(|one| one.value == 40_000.0));
    let is_cut = |reason: &str| reason.starts_with("the device's driver ends its loops before their time");
    assert!(result.failures.iter().all(|one| is_cut(&one.reason)), "{:?}", result.failures);
}

#[test]
fn a_value_that_is_no_number_fails_its_own_candidate() {
    let shader = "
fn objective(p: Params) -> vec2f {
    if (p.x < 0.3) { return vec2f(sqrt(p.x - 1.0), 0.0); }
    if (p.x < 0.6) { return vec2f(1.0, 3e38 * (p.x * 100.0)); }
    return vec2f(p.x);
}";
    let Some(result) = ended(&LINE.replace("= 20", "= 60"), shader, &[]) else { return };
    let reasons: Vec<&str> = result.failures.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.contains(&"its value 1 is NaN") && reasons.contains(&"its value 2 is inf"), "{reasons:?}");
    assert!(result.top.iter().all(|one| one.value == f64::from(float(one, "x") as f32) && one.value >= 0.6));
    assert_eq!(result.counts.failed + result.counts.complete, 60);
}

#[test]
fn tables_are_read_and_a_read_beyond_them_fails_its_own_candidate() {
    let folder = Folder::new();
    let rows: String = (0..5).map(|row| format!("{row},{}\n", f64::from(row) * 0.5 - 1.0)).collect();
    folder.write("first.csv", &format!("a,b\n{rows}"));
    folder.write("second.csv", "c\n7.5\n-2\n");
    let study = "[objective]\nwgsl = 'objective.wgsl'\ntables = { first = 'first.csv', other = 'second.csv' }\n[space]\nrow = { int = [0, 6] }\n[search]\nstrategy = 'grid'\nresolution = 7\n";
    let shader = "
fn objective(p: Params) -> f32 {
    if (FIRST_ROWS != 5u || FIRST_COLUMNS != 2u || OTHER_ROWS != 2u || OTHER_COLUMNS != 1u) { return 1e9; }
    return first_at(u32(p.row), 1u) + other_at(1u, 0u);
}";
    if gpu::shared().is_none() {
        return;
    }
    let result = run(loaded(&folder, study, shader, &[]), Existing::Refuse);
    assert_eq!((result.counts.complete, result.counts.failed), (5, 2));
    assert!(result.top.iter().all(|one| one.value == float(one, "row") * 0.5 - 3.0), "{:?}", result.top);
    assert_eq!(result.failures[0].reason, "it reads beyond the rows or columns of the table first");
    // Another table is no such run: the shader would have other values.
    folder.write("second.csv", "c\n7.5\n-3\n");
    let error = refusal(loaded(&folder, study, shader, &[]), Existing::Resume);
    assert!(error.contains("was made with another shader, or other tables"), "{error}");
}

#[test]
fn an_index_beyond_an_array_of_the_shaders_own_hurts_nobody() {
    let shader = "
var<private> squares: array<f32, 4>;
fn objective(p: Params) -> f32 {
    let at = i32(p.x * 1e9) - 500000000;
    squares[at] = 1.0;
    var own = array<f32, 3>(1.0, 2.0, 3.0);
    own[at] = 9.0;
    return p.x + 0.0 * (own[at + 1] + squares[at - 1]);
}";
    let Some(result) = ended(LINE, shader, &[]) else { return };
    assert_eq!(result.counts.complete, 20);
    assert!(result.top.iter().all(|one| one.value == f64::from(float(one, "x") as f32)));
}

#[test]
fn random_numbers_are_the_same_for_all_candidates_of_a_repeat_and_others_in_the_next() {
    let study = LINE.replace("[space]", "repeats = 4\n[space]").replace("= 20", "= 5\nseed = 9");
    let uniforms = "fn objective(p: Params) -> f32 { random_word(); random_uniform(); return random_uniform(); }";
    let Some(result) = ended(&study, uniforms, &[]) else { return };
    let key = |repeat: u32| Key::from_seed(9).child(stream::SHADER).child(repeat);
    let expected: Vec<f64> = (0..4).map(|repeat| f64::from(uniform(key(repeat).words(1)[0]))).collect();
    assert_eq!((result.top.len(), result.lanes), (5, 20));
    assert!(result.top.iter().all(|one| one.folds == expected), "{:?} {expected:?}", result.top[0].folds);
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]));
    let normals = "fn objective(p: Params) -> f32 { return random_normal() + 0.0 * p.x; }";
    let result = ended(&study.replace("repeats = 4", "repeats = 100"), normals, &[]).unwrap();
    for (repeat, found) in (0..).zip(&result.best.folds) {
        let word = key(repeat).words(0)[0];
        let expected = inverse_normal_cdf((f64::from(word >> 9) * 2.0 + 1.0) / 16_777_216.0);
        // Giles' polynomial is good to 2e-7 of an f32's own digits; a device's log and sqrt to a few of their last ones.
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{repeat}: {found} {expected}");
    }
    let again = ended(&study.replace("repeats = 4", "repeats = 100").replace("seed = 9", "seed = 10"), normals, &[]);
    assert_ne!(again.unwrap().best.folds, result.best.folds);
}

#[test]
fn a_run_goes_on_to_the_same_bits_and_not_with_another_shader() {
    if gpu::shared().is_none() {
        return;
    }
    let shader = "fn objective(p: Params) -> f32 { return sin(9.0 * p.x) + random_normal() * 0.1; }\n";
    let study = LINE.replace("'random'", "'tpe'\nbatch = 10").replace("= 20", "= 60");
    let study = study.replace("[space]", "repeats = 2\n[space]");
    let whole = Folder::new();
    let whole = run(loaded(&whole, &study, shader, &[]), Existing::Refuse);
    let folder = Folder::new();
    // Interrupted when its first outcomes are in the journal.
    let stop = StopFlag::default();
    let mut observers = quiet();
    observers.push(Box::new(StopAfter(stop.clone(), 20)));
    let ended = tune(loaded(&folder, &study, shader, &[]), Start::default(), &mut observers, &stop).unwrap();
    assert!(matches!(ended, thousandfold::study::Ended::Interrupted { .. }));
    let run_dir = folder.path().join("run");
    folder.write("objective.wgsl", &shader.replace("9.0", "8.0"));
    let error = refusal(load_run(&run_dir, &[]).unwrap(), Existing::Resume);
    assert!(error.contains("was made with another shader"), "{error}");
    // Where it lies does not matter.
    folder.write("moved.wgsl", shader);
    let moved = format!("objective.wgsl={}", folder.path().join("moved.wgsl").display());
    let resumed = run(load_run(&run_dir, &[moved]).unwrap(), Existing::Resume);
    let comparable = |result: &RunResult| {
        let facts = result.wgsl.clone().map(|facts| WgslFacts { file: String::new(), ..facts });
        studies::comparable(&RunResult { wgsl: facts, ..result.clone() })
    };
    assert_eq!(comparable(&resumed), comparable(&whole));
}

#[test]
fn repeats_can_race() {
    let study = LINE.replace("[space]", "repeats = 12\n[space]") + "scheduler = 'racing'\n";
    let shader = "fn objective(p: Params) -> f32 { return p.x + 0.01 * random_normal(); }";
    let Some(result) = ended(&study, shader, &["search.candidates=30"]) else { return };
    assert!(result.counts.pruned > 5 && result.counts.complete > 0, "{:?}", result.counts);
    assert_eq!(result.direction, Direction::Minimize);
}

#[test]
fn the_program_shows_a_shaders_run_and_has_no_model_of_it() {
    if gpu::shared().is_none() {
        return;
    }
    let folder = Folder::new();
    folder.write("objective.wgsl", "fn objective(p: Params) -> f32 { return p.x; }");
    folder.write("study.toml", LINE);
    let told = program::done(&folder, &["tune", "study.toml", "--device", "0"]);
    assert!(format!("{}{}", told.out, told.err).contains("objective.wgsl"), "{told:?}");
    let shown = program::done(&folder, &["show", "runs/study"]).out;
    assert!(shown.contains("objective.wgsl") && shown.contains("value"), "{shown}");
    let predicted = program::run(&folder, &["predict", "runs/study", "study.toml"]);
    assert!(predicted.code == Some(1) && predicted.err.contains("runs/study has no model"), "{}", predicted.err);
    let exported = program::run(&folder, &["export", "runs/study", "-o", "model.onnx"]);
    assert!(exported.code == Some(1) && exported.err.contains("runs/study has no model"), "{}", exported.err);
}

#[test]
fn a_software_adapter_is_taken_when_it_is_named_and_otherwise_the_message_says_what_is_missing() {
    let folder = Folder::new();
    folder.write("objective.wgsl", "fn objective(p: Params) -> f32 { return p.x; }");
    folder.write("study.toml", LINE);
    let unknown = program::run(&folder, &["tune", "study.toml", "-q", "--device", "no such adapter"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.err);
    assert!(unknown.err.contains("no adapter's name contains \"no such adapter\""), "{}", unknown.err);
    assert!(!unknown.err.contains("--backend cpu"), "{}", unknown.err);
    let there = adapters();
    if there.iter().any(|adapter| !adapter.is_software) {
        println!("SKIPPED: there is a hardware adapter, which is taken by itself");
        return;
    }
    for arguments in [&["tune", "study.toml", "-q"][..], &["tune", "study.toml", "-q", "--backend", "gpu"]] {
        let told = program::run(&folder, arguments);
        assert_eq!(told.code, Some(1), "{}", told.err);
        assert!(told.err.contains("a shader is evaluated on a GPU, and there is no usable one"), "{}", told.err);
        let remedy = if there.is_empty() { "Install a driver" } else { "--device" };
        assert!(told.err.contains(remedy) && !folder.path().join("runs").exists(), "{}", told.err);
    }
}

#[test]
fn what_cannot_be_evaluated_is_said_before_anything_is() {
    let good = "fn objective(p: Params) -> f32 {\n    return p.rate;\n}\n";
    let base = "[objective]\nwgsl = 'objective.wgsl'\n[space]\nrate = { float = [0, 1] }\nkind = ['a', 'b']\n";
    let of = |from: &str, to: &str| (base.replace(from, to), good.to_owned());
    let shader = |text: &str| (base.to_owned(), text.to_owned());
    let keys = |keys: &str| (base.replace("\n[space]", &format!("\n{keys}\n[space]")), good.to_owned());
    let line = |line: &str| shader(&good.replace("return p.rate;", line));
    let cases = [
        // The text.
        line("return p.rat;"),
        line("return rate;"),
        line("if (p.kind == KIND_C) { return 1.0; }\n    return 0.0;"),
        line("let n: i32 = p.rate;\n    return 0.0;"),
        line("return p.rate"),
        line("return sine(p.rate);"),
        line("return 1;\n    /* and on"),
        line("for (var i = 0; i < 3; i++) { return 1.0;"),
        shader(&format!("{good}fn random_uniform() -> f32 {{ return 0.5; }}\n")),
        shader(&format!("{good}fn objective(p: Params) -> f32 {{ return 0.5; }}\n")),
        shader(&format!("{good}fn odd(n: i32) -> i32 {{ return odd(n - 1); }}\n")),
        shader("fn objectiv(p: Params) -> f32 { return 1.0; }\n"),
        shader(""),
        shader("\n\nfn objective() -> f32 { return 1.0; }\n"),
        shader("fn objective(x: f32, n: i32) -> f32 { return x; }\n"),
        shader("fn objective(p: Params) {}\n"),
        shader("fn objective(p: Params) -> vec2<i32> { return vec2<i32>(1); }\n"),
        shader("fn objective(p: Params) -> array<f32, 17> { return array<f32, 17>(); }\n"),
        shader(
            "@group(0) @binding(0) var<storage> own: array<f32>;\nfn objective(p: Params) -> f32 { return own[0]; }\n",
        ),
        shader("var<workgroup> own: f32;\nfn objective(p: Params) -> f32 { return own; }\n"),
        shader("override own: f32 = 1.0;\nfn objective(p: Params) -> f32 { return own; }\n"),
        shader("fn objective(p: Params) -> f32 {\n    workgroupBarrier();\n    return 1.0;\n}\n"),
        shader(&good.replace("return p.rate;", "var own: array<f32, 2049>;\n    return own[u32(p.rate)];")),
        shader(
            "var<private> a: array<f32, 1024>;\nvar<private> b: array<f32, 1024>;\nfn objective(p: Params) -> f32 { return a[0] + b[0]; }\n",
        ),
        line("return dot(vec2(p.rate), vec3(p.rate));"),
        line("let n = p.rate + 1u;\n    return 0.0;"),
        line("if (p.rate > 0.5) { return 1.0; }"),
        shader(&format!("{good}@compute @workgroup_size(1) fn main() {{}}\n")),
        shader("fn objective(p: Params) -> f32 { return thousandfold_turns(); }\n"),
        shader("enable f16;\nfn objective(p: Params) -> f32 { return f32(1.0h); }\n"),
        // The study.
        of("objective.wgsl", "objectiv.wgsl"),
        of("rate =", "while ="),
        of("rate =", "'a rate' ="),
        of("[0, 1]", "[0, 1e39]"),
        of("['a', 'b']", "['a-b', 'a b']"),
        of("rate = { float = [0, 1] }\nkind = ['a', 'b']\n", ""),
        of("[0, 1]", "[1, 0]"),
        keys("direction = 'up'"),
        keys("directions = ['minimize', 'maximize']"),
        keys("direction = 'minimize'\ndirections = ['minimize']"),
        keys("steps = 0"),
        keys("repeats = 0"),
        keys("noise = 1.0"),
        keys("budget = 3"),
        keys("function = 'sphere'"),
        keys("command = 'true'"),
        keys("tables = { a = 'words.csv' }"),
        keys("tables = { a = 'gaps.csv' }"),
        keys("tables = { a = 'nowhere.csv' }"),
        keys("tables = { a-b = 'numbers.csv' }"),
        keys("tables = { a = 'numbers.csv', A = 'numbers.csv' }"),
        (base.to_owned() + "[model]\nname = 'gbdt'\n", good.to_owned()),
        (base.to_owned() + "[run]\nbackend = 'cpu'\n", good.to_owned()),
        (base.to_owned() + "[run]\nhistory = 'best:10'\n", good.to_owned()),
        (base.to_owned() + "[search]\nscheduler = 'halving'\n", good.to_owned()),
        ("[objective]\nfunction = 'sphere'\nsteps = 3\n".to_owned(), good.to_owned()),
        ("[objective]\ncommand = 'true'\ndirections = ['minimize']\n".to_owned(), good.to_owned()),
    ];
    let mut said = Vec::new();
    for (study, shader) in cases {
        let folder = Folder::new();
        folder.write("objective.wgsl", &shader);
        folder.write("study.toml", &study);
        folder.write("words.csv", "a,b\n1,x\n2,y\n");
        folder.write("gaps.csv", "a,b\n1,2\n2,\n");
        folder.write("numbers.csv", "a\n1\n");
        let told = program::run(&folder, &["tune", "study.toml", "-q"]);
        assert_eq!(told.code, Some(1), "{study}\n{shader}\n{}", told.err);
        assert!(!folder.path().join("runs").exists(), "{study}");
        let place = std::fs::canonicalize(folder.path()).unwrap().display().to_string();
        said.push(told.err.replace(&format!("{place}/"), ""));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn other_names_of_types_are_the_types_themselves_and_calls_are_counted() {
    let texts = [
        "alias Loss = f32;\nfn objective(p: Params) -> Loss { return p.x; }",
        "alias Losses = array<f32, 1>;\nfn objective(p: Params) -> Losses { return Losses(p.x); }",
        "// thousandfold_notes, @compute\nfn my_thousandfold_x(x: f32) -> f32 { return x; }\n\
         fn objective(p: Params) -> f32 { return my_thousandfold_x(p.x); }",
    ];
    for text in texts {
        let Some(result) = ended(LINE, text, &[]) else { break };
        assert!(result.top.iter().all(|one| one.value == f64::from(float(one, "x") as f32)), "{text}");
    }
    let doubled =
        (1..40).map(|n| format!("fn twice{n}(x: f32) -> f32 {{ return twice{0}(x) + twice{0}(x); }}\n", n - 1));
    let calls = format!(
        "fn twice0(x: f32) -> f32 {{ return x; }}\n{}fn objective(p: Params) -> f32 {{ return twice39(p.x); }}",
        doubled.collect::<String>()
    );
    let refused = [
        (&calls[..], "calls come to more than a million statements"),
        (
            "fn log(x: f32) -> f32 { return x; }\nfn objective(p: Params) -> f32 { return log(p.x); }",
            "log is declared twice",
        ),
        ("alias vec2 = vec2f;\nfn objective(p: Params) -> f32 { return p.x; }", "vec2 is declared twice"),
        ("var<private> sqrt: f32;\nfn objective(p: Params) -> f32 { return p.x; }", "sqrt is declared twice"),
    ];
    for (text, said) in refused {
        let folder = Folder::new();
        let error = refusal(loaded(&folder, LINE, text, &[]), Existing::Refuse);
        assert!(error.contains(said) && error.contains("objective.wgsl, line"), "{text}: {error}");
    }
    let folder = Folder::new();
    let shader = "fn objective(p: Params) -> f32 { return p.x; }";
    let error = refusal(loaded(&folder, LINE, shader, &["objective.steps=20000000"]), Existing::Refuse);
    assert!(error.contains("1 to 10000000"), "{error}");
}

#[test]
fn a_text_however_deep_or_odd_is_answered() {
    let folder = Folder::new();
    let deep = |open: &str, close: &str, count: usize| {
        format!("fn objective(p: Params) -> f32 {{ return {}p.x{}; }}", open.repeat(count), close.repeat(count))
    };
    let nested = format!("fn objective(p: Params) -> f32 {{ {} return 1.0; }}", "{".repeat(100_000));
    let blocks = format!(
        "fn objective(p: Params) -> f32 {{ {}{} return p.x; }}",
        "if (p.x > 0.0) { ".repeat(100),
        "}".repeat(100)
    );
    let chain = |terms: usize| {
        let zeros = " + 0.0 * p.x".repeat(terms);
        format!("fn objective(p: Params) -> f32 {{ return p.x{zeros}; }}")
    };
    let else_ifs = |count: usize| {
        let branches = " else if (p.x > 9.0) { return 0.0; }".repeat(count);
        format!("fn objective(p: Params) -> f32 {{ if (p.x > 8.0) {{ return 1.0; }}{branches} return p.x; }}")
    };
    for text in [deep("(", ")", 150), deep("-(", ")", 60), blocks, chain(240), else_ifs(90)] {
        // As deep as they may be, they are evaluated.
        let Some(result) = ended(LINE, &text, &[]) else { break };
        assert!(result.top.iter().all(|one| one.value == f64::from(float(one, "x") as f32)), "{text}");
    }
    let texts = [
        deep("(", ")", 150),
        deep("(", ")", 100_000),
        deep("-", "", 100_000),
        nested,
        "\u{0}".into(),
        "/*".repeat(9000),
        chain(100_000),
        else_ifs(50_000),
    ];
    for text in texts {
        // It is refused, or evaluated: it does not take the program down.
        let path = Path::new("objective.wgsl");
        let loaded = loaded(&folder, LINE, &text, &["run.device=none of them"]);
        let error = refusal(loaded, Existing::Refuse);
        assert!(error.contains("none of them") || error.contains(&path.display().to_string()), "{error}");
    }
}
