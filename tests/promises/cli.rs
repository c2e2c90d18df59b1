//! A user's whole path through the program, from a table to predictions.

use crate::support::program::{command, done, ended, result, run};
use crate::support::{Folder, studies};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use thousandfold::base::registry::Named;
use thousandfold::data::metrics::METRICS;
use thousandfold::models::MODELS;
use thousandfold::strategies::STRATEGIES;

/// A folder with a table in it.
fn flowers() -> Folder {
    let folder = Folder::new();
    studies::flowers(&folder);
    folder
}

/// A search of the table that takes no time, with more arguments.
fn tune<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let study = ["tune", "flowers.csv", "--target", "kind", "--backend", "cpu", "--set=model.budget=2"];
    let narrow = ["--set=space.hidden=[4, 8, 16]", "--set=search.batch=4", "--set=search.strategy=random"];
    [&study[..], &narrow, more].concat()
}

fn resolved(folder: &Folder, run: &str) -> toml::Table {
    toml::from_str(&std::fs::read_to_string(folder.path().join(run).join("study.toml")).unwrap()).unwrap()
}

#[test]
fn a_table_and_its_target_are_all_that_tune_needs() {
    let folder = flowers();
    let told = done(&folder, &["tune", "flowers.csv", "--target", "kind", "--candidates", "1"]);
    for said in ["flowers: 1 candidate of mlp", "log_loss", "locked test", "runs/flowers/model.safetensors"] {
        assert!(told.out.contains(said), "{said}: {}", told.out);
    }
    for file in ["study.toml", "journal.tfj", "result.json", "model.safetensors"] {
        assert!(folder.path().join("runs/flowers").join(file).exists(), "{file}");
    }
}

#[test]
fn every_flag_is_a_key_of_the_study() {
    let folder = flowers();
    let flags = [
        "tune",
        "flowers.csv",
        "--target",
        "kind",
        "--candidates",
        "3",
        "--seed",
        "7",
        "--model",
        "logistic",
        "--metric",
        "accuracy",
        "--folds",
        "3",
        "--time",
        "10m",
        "--threads",
        "1",
        "--backend",
        "cpu",
        "--strategy",
        "grid",
        "--run-dir",
        "here",
    ];
    done(&folder, &flags);
    let study = resolved(&folder, "here");
    let expected: toml::Table = toml::from_str(
        "search = { candidates = 3, seed = 7, strategy = 'grid' }\nmodel = { name = 'logistic' }\n\
         validate = { metric = 'accuracy', folds = 3 }\nstop = { time = '10m' }\nrun = { threads = 1, backend = 'cpu' }",
    )
    .unwrap();
    for (section, keys) in &expected {
        for (key, value) in keys.as_table().unwrap() {
            assert_eq!(study[section].get(key), Some(value), "{section}.{key}");
        }
    }
    let result = result(&folder, "here");
    assert_eq!((&result["metric"], &result["counts"]["proposed"]), (&"accuracy".into(), &3.into()));
    assert_eq!(result["best"]["folds"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_set_outranks_a_flag_and_a_flag_the_file() {
    let folder = flowers();
    let study = "[data]\nfile = 'flowers.csv'\ntarget = 'kind'\n[model]\nname = 'logistic'\n[search]\ncandidates = 3\n[run]\nbackend = 'cpu'\n";
    folder.write("study.toml", study);
    let cases: [(&[&str], u64); 4] = [
        (&[], 3),
        (&["--candidates", "2"], 2),
        (&["--set", "search.candidates=4", "--candidates", "2"], 4),
        (&["--set", "search.candidates=5", "--set", "search.candidates=1"], 1),
    ];
    for (more, candidates) in cases {
        done(&folder, &[&["tune", "study.toml", "--fresh", "-q"][..], more].concat());
        assert_eq!(result(&folder, "runs/study")["counts"]["proposed"], candidates, "{more:?}");
    }
}

/// A search that would take days, on its way.
struct Long {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Long {
    fn start(folder: &Folder) -> Long {
        let study = tune(&["--candidates", "1000000", "--run-dir", "run"]);
        let mut child = command(folder, &study).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut long = Long { said: BufReader::new(child.stderr.take().unwrap()), child };
        long.wait_for("1,000,000 candidates on");
        // Some of it is to be in the journal: its header alone takes less than this.
        let journal = folder.path().join("run/journal.tfj");
        while std::fs::metadata(&journal).unwrap().len() < 500 {
            std::thread::yield_now();
        }
        long
    }

    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended without saying \"{text}\"");
        }
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its exit code and what else it said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// A search is as long as its study says, and may be told to be shorter: `resume` then comes to its end.
fn resumed_with(folder: &Folder, candidates: u64) -> serde_json::Value {
    let path = folder.path().join("run/study.toml");
    let study = std::fs::read_to_string(&path).unwrap();
    let shorter = study.replace("candidates = 1000000", &format!("candidates = {candidates}"));
    assert_ne!(study, shorter);
    std::fs::write(path, shorter).unwrap();
    done(folder, &["resume", "run", "-q"]);
    result(folder, "run")
}

#[test]
#[cfg(unix)]
fn a_run_that_is_stopped_in_any_way_goes_on_to_the_same_result() {
    let folder = flowers();
    done(&folder, &tune(&["--candidates", "24", "--run-dir", "whole", "-q"]));
    let whole = result(&folder, "whole");
    type Stop = fn(&mut Long);
    let ways: [(&str, Option<i32>, Stop); 3] = [
        ("Ctrl-C", Some(130), |long| long.signal("INT")),
        ("Ctrl-C twice", Some(130), |long| {
            long.signal("INT");
            long.wait_for("Stopping");
            long.signal("INT");
        }),
        ("kill -9", None, |long| long.signal("KILL")),
    ];
    for (way, code, stop) in ways {
        let folder = flowers();
        let mut long = Long::start(&folder);
        stop(&mut long);
        let (ended, said) = long.end();
        assert_eq!(ended, code, "{way}: {said}");
        assert_eq!(said.contains("thousandfold resume run\n"), code.is_some(), "{way}: {said}");
        assert_eq!(resumed_with(&folder, 24), whole, "{way}");
    }
}

#[test]
fn show_tells_the_summary_again_and_json_holds_every_field() {
    let folder = flowers();
    let first = done(&folder, &tune(&["--candidates", "5", "--run-dir", "run"]));
    assert_eq!(done(&folder, &["show", "run"]).out, first.out);
    let json: serde_json::Value = serde_json::from_str(&done(&folder, &["show", "run", "--json"]).out).unwrap();
    let has = |object: &serde_json::Value, keys: &[&str]| {
        keys.iter().for_each(|key| assert!(!object[*key].is_null(), "{key} in {object}"));
    };
    let fields = [
        "best",
        "one_se",
        "bias_corrected",
        "test",
        "top",
        "counts",
        "stopped_because",
        "seconds",
        "lanes_per_second",
        "backend",
        "device",
        "seed",
        "study",
        "data_fingerprint",
        "versions",
    ];
    has(&json, &fields);
    for chosen in ["best", "one_se", "bias_corrected"] {
        has(&json[chosen], &["candidate", "params", "value", "std_error", "folds", "train_value", "seconds_per_lane"]);
    }
    has(&json["test"], &["value", "metric", "rows"]);
    has(&json["counts"], &["proposed", "complete", "pruned", "failed"]);
    has(&json["seconds"], &["loading", "preparing", "searching", "refitting", "total"]);
    assert_eq!(json["top"].as_array().map(Vec::len), Some(5));
}

#[test]
fn predictions_go_to_a_file_or_a_pipe_which_may_close() {
    let folder = flowers();
    done(&folder, &tune(&["--candidates", "2", "--run-dir", "run"]));
    let told = done(&folder, &["predict", "run", "flowers.csv"]);
    let header = "prediction,probability of k0,probability of k1,probability of k2";
    assert_eq!((told.out.lines().next(), told.out.lines().count()), (Some(header), 121));
    let to_file = done(&folder, &["predict", "run/model.safetensors", "flowers.csv", "-o", "out.csv"]);
    assert_eq!(to_file.out, "");
    assert_eq!(std::fs::read_to_string(folder.path().join("out.csv")).unwrap(), told.out);
    let mut command = command(&folder, &["predict", "run", "flowers.csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nobody reads what it writes.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn export_writes_the_same_model_from_a_run_and_from_its_file() {
    let folder = flowers();
    done(&folder, &tune(&["--candidates", "2", "--run-dir", "run"]));
    folder.write("old.onnx", "an older one");
    let told = done(&folder, &["export", "run", "--format", "onnx", "--output", "old.onnx"]);
    let said = "written to old.onnx: mlp of kind; in: 5 columns of [rows, 1]; out: label, probabilities\n";
    assert_eq!(told.out, said);
    done(&folder, &["export", "run/model.safetensors", "-o", "new.onnx"]);
    let bytes = ["old.onnx", "new.onnx"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert!(bytes[0] == bytes[1] && bytes[0].len() > 1000);
}

#[test]
fn a_study_that_init_wrote_runs_as_it_is() {
    let folder = flowers();
    let told = done(&folder, &["init", "flowers.csv", "--target", "kind", "--model", "logistic"]);
    assert!(told.out.contains("thousandfold tune study.toml"), "{}", told.out);
    done(&folder, &["tune", "study.toml", "--candidates", "2", "--backend", "cpu"]);
    assert_eq!(result(&folder, "runs/study")["model"], "logistic");
}

#[test]
fn lists_hold_every_entry_of_the_registries() {
    fn check<T: Named + ?Sized>(kind: &str, entries: &[&T]) {
        let listed = done(&Folder::new(), &["list", kind]).out;
        for entry in entries {
            let line = listed.lines().find(|line| line.split_whitespace().next() == Some(entry.name()));
            assert!(line.is_some_and(|line| line.contains(entry.summary())), "{kind}: {}", entry.name());
        }
    }
    check("models", MODELS);
    check("strategies", STRATEGIES);
    check("metrics", METRICS);
}

#[test]
fn the_help_of_each_subcommand_shows_an_example() {
    let folder = Folder::new();
    let help = done(&folder, &["--help"]).out;
    let listed = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let named = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let subcommands: Vec<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    for known in ["tune", "resume", "predict", "init", "devices", "list", "show"] {
        assert!(subcommands.contains(&known), "{known} is not in {subcommands:?}");
    }
    for subcommand in subcommands {
        let help = done(&folder, &[subcommand, "--help"]).out;
        let example = help.split("Example").nth(1).unwrap_or_else(|| panic!("{subcommand}: no example in {help}"));
        assert!(example.contains(&format!("thousandfold {subcommand}")), "{subcommand}: {example}");
    }
}

#[test]
fn what_goes_into_a_pipe_is_plain() {
    let folder = flowers();
    let told = done(&folder, &tune(&["--candidates", "3", "--run-dir", "run"]));
    for text in [&told.out, &told.err] {
        assert!(!text.is_empty() && !text.contains(['\u{1b}', '\r']), "{text:?}");
    }
    let error = run(&folder, &["resume", "nothing"]).err;
    assert!(!error.contains('\u{1b}'), "{error:?}");
    // What is asked for is given, so that the test above can fail.
    let coloured = done(&folder, &["show", "run", "--color", "always"]).out;
    assert!(coloured.contains('\u{1b}'));
    let mut no_color = command(&folder, &["show", "run"]);
    assert_eq!(ended(no_color.env("NO_COLOR", "1")).out, told.out);
}

/// Runs a command line of a shell in a terminal of so many columns; `None` where there is no `script` to make one.
#[cfg(target_os = "linux")]
fn in_a_terminal(folder: &Folder, columns: usize, line: &str) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_thousandfold");
    let line = format!("stty rows 24 cols {columns} < /dev/tty; {}", line.replace("thousandfold", program));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(folder.path()).stdin(Stdio::null()).env("TERM", "xterm");
    script.env_remove("NO_COLOR");
    let output = script.output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_of_40_columns_is_enough() {
    let folder = flowers();
    done(&folder, &tune(&["--candidates", "6", "--run-dir", "r"]));
    let Some(shown) = in_a_terminal(&folder, 40, "thousandfold show r") else {
        println!("SKIPPED: no script(1) to make a terminal with");
        return;
    };
    assert!(shown.contains('\u{1b}'), "a terminal has colours");
    let plain = anstream::adapter::strip_str(&shown).to_string();
    assert!(plain.contains("best") && plain.contains("locked test"), "{plain}");
    for line in plain.lines() {
        assert!(line.trim_end().chars().count() <= 40, "{line:?}");
    }
    let no_color = in_a_terminal(&folder, 40, "NO_COLOR=1 thousandfold show r").unwrap();
    assert!(!no_color.contains('\u{1b}'), "{no_color:?}");
}
