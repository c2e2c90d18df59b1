//! Everything that a user can do wrong, through the program: what it says, with which exit code, and that nothing is lost.

use crate::gpu;
use crate::support::program::{Told, command, done, ended, result, run};
use crate::support::{Folder, studies, without_models};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use thousandfold::backend::gpu::{GpuOptions, GpuPlan, GpuTrainer, Kernel, LanePlan, Phase, Provoked};
use thousandfold::backend::{BackendError, Lane, LaneStatus, StopFlag, Weights};
use thousandfold::data::Task;
use thousandfold::models::{DataShape, MODELS};
use thousandfold::space::Points;
use thousandfold::study::run_dir::{Existing, RunDir};

/// A small study of `data.csv`, quick and on the processor.
const TUNE: [&str; 10] = [
    "tune",
    "data.csv",
    "--target",
    "y",
    "--backend",
    "cpu",
    "--candidates",
    "2",
    "--set=model.budget=1",
    "--set=space.hidden=8",
];

/// What was said in several cases, one after another, without what differs between machines.
struct Account<'a> {
    folder: &'a Folder,
    text: String,
}

impl<'a> Account<'a> {
    fn new(folder: &'a Folder) -> Account<'a> {
        Account { folder, text: String::new() }
    }

    fn add(&mut self, case: &str, told: &Told) {
        let path = self.folder.path();
        let real = path.canonicalize().unwrap();
        let mut said = without_models(&told.err);
        for path in [path, &real] {
            said = said.replace(&format!("{}/", path.display()), "");
        }
        let lines = said.lines().map(|line| match line.split_once(" on cpu, ") {
            Some((before, after)) => format!("{before} on cpu, DEVICE, {}", after.rsplit(", ").next().unwrap()),
            None if line.trim_start().starts_with("adapters: ") => "  adapters: ADAPTERS".to_owned(),
            None => line.to_owned(),
        });
        let lines: Vec<String> = lines.collect();
        let code = told.code.map_or("killed".to_owned(), |code| format!("exit code {code}"));
        writeln!(self.text, "# {case}: {code}\n{}\n", lines.join("\n").trim_end()).unwrap();
    }

    /// Runs the program and adds what it said.
    fn run(&mut self, case: &str, arguments: &[&str]) -> Told {
        let told = run(self.folder, arguments);
        assert!(!told.err.contains("panicked"), "{case}: {}", told.err);
        self.add(case, &told);
        told
    }
}

/// The small study with more arguments.
fn tune<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TUNE[..], more].concat()
}

#[test]
fn weights_of_zero_alone_are_refused_before_anything_is_trained() {
    let folder = Folder::new();
    let rows: String = (0..40).map(|i| format!("{i},0,{}\n", i % 2)).collect();
    std::fs::write(folder.path().join("data.csv"), format!("x,w,y\n{rows}")).unwrap();
    let told = run(&folder, &tune(&["--set", "data.weight=w"]));
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.err.contains("\"w\" is 0 in every row"), "{}", told.err);
}

/// Two numbers that tell two classes apart, more or less.
fn good_table() -> String {
    (0..40).fold("x,z,y\n".to_owned(), |text, i| text + &format!("{},{},{}\n", i % 7, (i * 5) % 11, ["a", "b"][i % 2]))
}

#[test]
fn a_table_that_cannot_be_learned_from_is_an_input_error_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let mut account = Account::new(&folder);
    let class_of_two: String = (0..40).map(|i| format!("{i}.5,{}\n", if i < 2 { "rare" } else { "usual" })).collect();
    let numbers: String = (0..40).map(|i| format!("{i},{}\n", i % 2)).collect();
    let escapes = format!("x,y\n{numbers}\u{1b}[31m{},1\n", "red".repeat(40));
    let many: String = (0..=100_000).map(|i| format!("w{i},{}\n", i % 2)).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty file", b"".to_vec()),
        ("no row", b"x,y\n".to_vec()),
        ("one row", b"x,y\n1,a\n".to_vec()),
        ("text with commands to the terminal", escapes.into_bytes()),
        ("ragged row", b"x,y\n1,a\n2,b,c\n".to_vec()),
        ("not UTF-8", b"x,y\n1,caf\xe9\n".to_vec()),
        ("an executable", b"\x7fELF\x02\0\0\xd0\0".to_vec()),
        ("target absent", b"x,Y\n1,a\n2,b\n".to_vec()),
        ("target missing in a row", b"x,y\n1,a\n2,\n3,b\n".to_vec()),
        ("target constant", b"x,y\n1,a\n2,a\n".to_vec()),
        ("fewer rows in a class than folds", format!("x,y\n{class_of_two}").into_bytes()),
        ("infinite value", b"x,y\n1,a\ninf,b\n".to_vec()),
        ("more than 10^5 categories", format!("x,y\n{many}").into_bytes()),
        ("no feature left", b"x,z,y\n1,,a\n1,,b\n".to_vec()),
        ("cut gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03K".to_vec()),
        ("cut Parquet", b"PAR1 and no more".to_vec()),
    ];
    for (case, bytes) in cases {
        std::fs::write(folder.path().join("data.csv"), bytes).unwrap();
        let told = account.run(case, &tune(&[]));
        assert_eq!(told.code, Some(1), "{case}");
        assert!(!folder.path().join("runs").exists(), "{case} leaves a run directory");
    }
    account.run("nearly the name", &["tune", "date.csv", "--target", "y"]);
    account.run("missing file, in a folder with others", &["tune", "other.csv", "--target", "y"]);
    std::fs::create_dir(folder.path().join("tables")).unwrap();
    account.run("a directory", &["tune", "tables", "--target", "y"]);
    folder.write("data.csv", &good_table());
    account.run("no target named", &["tune", "data.csv"]);
    assert!(!folder.path().join("runs").exists());
    insta::assert_snapshot!(account.text);
}

#[test]
fn a_table_that_does_not_fit_into_memory_prepared_is_an_input_error() {
    let folder = Folder::new();
    // 10,000 features: 0.8 GB a fold. No machine holds 1,500 of those.
    let rows: String = (0..20_000).map(|i| format!("{},w{},{}\n", i % 7, i / 2, i % 3)).collect();
    folder.write("data.csv", &format!("x,word,y\n{rows}"));
    let sets = ["--set=prepare.rare=1", "--set=validate.repeats=300", "--set=data.test=0"];
    let told = run(&folder, &tune(&sets));
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.err.contains("10,001 features on 1,500 folds take 1200.1 GB, and this machine has "), "{}", told.err);
    assert!(told.err.contains("\"word\" becomes 10,000 of them: leave it out: [data] drop"), "{}", told.err);
    assert!(told.err.contains("[prepare] rare"), "{}", told.err);
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_column_without_a_cell_is_left_out_with_a_note() {
    let folder = Folder::new();
    let mut account = Account::new(&folder);
    folder.write("data.csv", &good_table().replace(",a\n", ",,a\n").replace(",b\n", ",,b\n").replace("z,y", "z,w,y"));
    assert_eq!(account.run("all cells of a column missing", &tune(&[])).code, Some(0));
    insta::assert_snapshot!(account.text);
}

#[test]
fn a_study_that_says_something_impossible_is_an_input_error_with_its_line() {
    let folder = Folder::new();
    folder.write("data.csv", &good_table());
    let mut account = Account::new(&folder);
    let cases = [
        ("unknown key", "[search]\ncandidate = 3"),
        ("unknown value", "[prepare]\nscale = 'standart'"),
        ("low above high", "[space]\nlearning_rate = { log = [0.1, 0.001] }"),
        ("log of a range with 0", "[space]\nlearning_rate = { log = [0.0, 0.1] }"),
        ("condition on nothing", "[space]\nmomentum = { float = [0.5, 0.9], when = { optimiser = 'sgd' } }"),
        (
            "a cycle of conditions",
            "[space]\nactivation = { categorical = ['relu', 'tanh'], when = { schedule = 'cosine' } }\nschedule = { categorical = ['cosine', 'constant'], when = { activation = 'relu' } }",
        ),
        ("a key twice", "[search]\nseed = 1\nseed = 2"),
        ("a section twice", "[data]\ntest = 0.3"),
        ("no time", "[validate]\nfolds = 3\n[stop]\ntime = '0s'"),
        ("not TOML", "[search"),
    ];
    for (case, lines) in cases {
        folder.write("study.toml", &format!("[data]\nfile = 'data.csv'\ntarget = 'y'\n{lines}\n"));
        assert_eq!(account.run(case, &["tune", "study.toml"]).code, Some(1), "{case}");
    }
    folder.write("study.toml", &good_table());
    account.run("a table", &["tune", "study.toml"]);
    std::fs::write(folder.path().join("study.toml"), b"# caf\xe9\n").unwrap();
    account.run("not UTF-8", &["tune", "study.toml"]);
    account.run("nearly the name", &["tune", "studi.toml"]);
    std::fs::create_dir(folder.path().join("folder.toml")).unwrap();
    account.run("a directory", &["tune", "folder.toml"]);
    assert!(!folder.path().join("runs").exists());
    insta::assert_snapshot!(account.text);
}

#[test]
fn a_wrong_flag_is_named_as_it_was_typed() {
    let folder = Folder::new();
    folder.write("data.csv", &good_table());
    let mut account = Account::new(&folder);
    let input: [&[&str]; 15] = [
        &["--folds", "1"],
        &["--folds", "10000"],
        &["--time", "0s"],
        &["--threads", "100000"],
        &["--metric", "rmse"],
        &["--set", "search.candidats=3"],
        &["--set", "serach.candidates=3"],
        &["--set", "search.candidates"],
        &["--set", "search.seed=18446744073709551615"],
        &["--set", "space.hidden={ int = [8, 4 ]"],
        &["--set", "space.hidden={ int = [8, 4] }"],
        &["--set", "prepare.scale=standart"],
        &["--set", "data.test=1.0"],
        &["--set", "data.test=0.99"],
        &["--set", "run.memory=-1"],
    ];
    for flags in input {
        assert_eq!(account.run(&flags.join(" "), &tune(flags)).code, Some(1), "{flags:?}");
    }
    let usage: [&[&str]; 9] = [
        &["tun"],
        &["tune"],
        &["tune", "data.csv", "--candidate", "3"],
        &["tune", "data.csv", "--folds", "-1"],
        &["tune", "data.csv", "--seed", "18446744073709551615"],
        &["tune", "data.csv", "--model", "mpl"],
        &["tune", "data.csv", "--metric", "acuracy"],
        &["tune", "data.csv", "--time", "soon"],
        &["tune", "data.csv", "--resume", "--fresh"],
    ];
    for arguments in usage {
        assert_eq!(account.run(&arguments.join(" "), arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!folder.path().join("runs").exists());
    insta::assert_snapshot!(account.text);
}

#[test]
fn a_device_that_is_not_there_or_too_small_names_the_way_out() {
    let folder = Folder::new();
    folder.write("data.csv", &good_table());
    let mut account = Account::new(&folder);
    let on = ["tune", "data.csv", "--target", "y", "--candidates", "1", "-q"];
    let told = account.run("no such device", &[&on[..], &["--backend", "gpu", "--device", "no such device"]].concat());
    assert_eq!(told.code, Some(1));
    let told = account.run("a device for the processor", &tune(&["--device", "0"]));
    assert_eq!(told.code, Some(1));
    assert!(!folder.path().join("runs").exists());
    let told = run(&folder, &tune(&["-q", "--set=run.memory=1", "--set=space.hidden=300", "--set=space.layers=3"]));
    assert_eq!(told.code, Some(1));
    let need = told.err.split(" MiB").next().and_then(|text| text.rsplit(' ').next()).unwrap().to_owned();
    account.add("too little memory", &Told { err: told.err.replace(&need, "NEED"), ..told });
    // What is advised does help.
    done(
        &folder,
        &tune(&["--resume", "--set=space.hidden=300", "--set=space.layers=3", &format!("--set=run.memory={need}")]),
    );
    insta::assert_snapshot!(account.text);
}

#[test]
fn a_strategy_that_cannot_search_the_space_says_so_and_names_those_that_can() {
    let folder = Folder::new();
    folder.write("data.csv", &good_table());
    let on = ["tune", "data.csv", "--target", "y", "--backend", "cpu", "--model", "knn", "--set=space.k=3"];
    let told = run(&folder, &[&on[..], &["--strategy", "cmaes", "-q"]].concat());
    assert_eq!(told.code, Some(1), "{}", told.err);
    let said =
        ["cmaes learns along numbers, and every parameter searched is a choice", "These can: random, grid, ", "tpe"];
    assert!(said.iter().all(|part| told.err.contains(part)), "{}", told.err);
    assert!(!folder.path().join("runs").exists());
    done(&folder, &[&on[..], &["--strategy", "tpe", "--candidates", "4", "-q"]].concat());
}

/// A plan whose only kernel is none.
struct Broken(Vec<Kernel>);

impl GpuPlan for Broken {
    fn kernels(&self, _: Phase) -> &[Kernel] {
        &self.0
    }
    fn shared(&self) -> Vec<Vec<u32>> {
        Vec::new()
    }
    fn lane(&self, _: &[f64], _: usize) -> LanePlan {
        LanePlan { descriptor: vec![0; 2], state_words: 1, result_words: 1, cost: 1.0 }
    }
    fn score_units(&self) -> u64 {
        1
    }
    fn status_at_budget(&self) -> LaneStatus {
        LaneStatus::Trained
    }
    fn can_converge(&self) -> bool {
        false
    }
    fn scores(&self, _: usize, _: &[u32]) -> (f64, Vec<f64>) {
        (f64::NAN, Vec::new())
    }
    fn weights(&self, _: &[u32], _: &[u32]) -> Weights {
        Weights::of(Vec::new())
    }
}

#[test]
fn a_shader_that_is_rejected_is_named_with_the_compilers_words() {
    let Some(gpu) = gpu::open(GpuOptions::default()) else { return };
    let kernel = Kernel::new("broken", "main", &["@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }"]);
    let error = GpuTrainer::open(&gpu, Broken(vec![kernel])).err().unwrap();
    assert!(matches!(error, BackendError::ShaderRejected { .. }), "{error:?}");
    let said = error.to_string().replace(gpu.name(), "DEVICE");
    assert!(said.starts_with("DEVICE rejected the shader broken: "), "{said}");
    assert!(said.contains("let x: u32 = 1.5") && said.ends_with("--backend cpu"), "{said}");
}

#[test]
fn an_adapter_that_is_too_small_for_one_lane_says_what_is_needed() {
    for model in MODELS {
        let task = model.tasks()[0];
        let outputs = if task == Task::Classification { 3 } else { 1 };
        let space = model.space(DataShape { task, rows: 60, features: 40, outputs });
        // Less than the rows take (12 of 40 numbers), or what some models make of them (distances of 6 rows from each
        // other): their lanes are smaller still.
        let full = Provoked { largest_buffer: 100, ..Provoked::default() };
        let options = [
            GpuOptions { memory: 20, ..GpuOptions::default() },
            GpuOptions { provoked: full, ..GpuOptions::default() },
        ];
        for options in options {
            let is_limit = options.memory > 0;
            let Some(gpu) = gpu::open(options) else { return };
            let problem = crate::support::problem(1, 6, 40, outputs, 1);
            let advance = || -> Result<(), BackendError> {
                let mut trainer = model.open_gpu(&space, problem, &gpu)?;
                let mut points = Points::new(space.parameters.len());
                points.push(&space.defaults());
                let slots = trainer.start(&points, &[Lane { point: 0, fold: 0 }])?;
                trainer.advance(&slots, 1, false, &StopFlag::default(), &mut |_| ControlFlow::Continue(()))
            };
            let said = advance().expect_err(model.name()).to_string().replace(gpu.name(), "DEVICE");
            let expected = if is_limit { "--set run.memory=" } else { "DEVICE is too small for this study" };
            assert!(said.contains(expected), "{}: {said}", model.name());
        }
    }
}

#[test]
fn what_stands_in_the_way_of_a_run_is_left_as_it_is() {
    let folder = Folder::new();
    folder.write("data.csv", &good_table());
    let mut account = Account::new(&folder);
    let journal = folder.path().join("runs/data/journal.tfj");
    account.run("nothing to resume", &["resume", "runs/data"]);
    done(&folder, &tune(&[]));
    let bytes = std::fs::read(&journal).unwrap();
    account.run("it exists", &tune(&[]));
    std::fs::create_dir(folder.path().join("my run")).unwrap();
    std::fs::write(folder.path().join("my run/journal.tfj"), &bytes).unwrap();
    account.run("a name that a shell would take apart", &["show", "my run"]);
    account.run("nearly the name", &["resume", "runs/dta"]);
    account.run("a run is no table", &["tune", "runs/data", "--target", "y"]);
    account.run("another seed", &tune(&["--resume", "--seed", "9"]));
    account.run("a file is in the way", &tune(&["--run-dir", "data.csv"]));
    account.run("it cannot be made", &tune(&["--run-dir", "data.csv/run"]));
    let held = RunDir::open(&folder.path().join("runs/data"), Existing::Resume).unwrap();
    account.run("another process writes", &["resume", "runs/data"]);
    account.run("even to start again", &tune(&["--fresh"]));
    drop(held);
    assert_eq!(std::fs::read(&journal).unwrap(), bytes, "nothing was lost");

    std::fs::write(&journal, [&bytes[..8], &99u32.to_le_bytes(), &bytes[12..]].concat()).unwrap();
    account.run("a newer version", &["resume", "runs/data"]);
    std::fs::write(&journal, "something else").unwrap();
    account.run("no journal", &["resume", "runs/data"]);
    std::fs::write(&journal, &bytes).unwrap();
    folder.write("runs/data/result.json", "{ \"study\"");
    account.run("a result that was cut off", &["show", "runs/data"]);
    std::fs::remove_file(folder.path().join("runs/data/result.json")).unwrap();
    account.run("no result yet", &["show", "runs/data"]);
    std::fs::remove_file(folder.path().join("runs/data/model.safetensors")).unwrap();
    account.run("no model yet", &["predict", "runs/data", "data.csv"]);
    account.run("nothing to export yet", &["export", "runs/data", "-o", "model.onnx"]);
    folder.write("data.csv", &good_table().replace("0,0,a", "1,0,a"));
    account.run("other data", &["resume", "runs/data"]);
    insta::assert_snapshot!(account.text);
}

/// The program where no file may grow beyond some kilobytes, which is how a full disk looks to it.
fn on_a_small_disk(folder: &Folder, arguments: &[&str]) -> Command {
    on_a_disk_of(4, folder, arguments)
}

/// The same in units of 512 or 1024 bytes, depending on the shell.
pub fn on_a_disk_of(units: u32, folder: &Folder, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    // The signal that comes with the error would end the program.
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {units}; exec \"$@\""), "sh"]);
    let program = command(folder, arguments);
    shell.arg(program.get_program()).args(program.get_args()).current_dir(folder.path());
    shell
}

#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing_and_the_run_goes_on_to_the_same_result() {
    let folder = Folder::new();
    folder.write("data.csv", &good_table());
    let mut account = Account::new(&folder);
    let study = [
        "tune",
        "data.csv",
        "--target",
        "y",
        "--backend",
        "cpu",
        "--model",
        "logistic",
        "--candidates",
        "200",
        "-q",
        "--set=search.batch=5",
    ];
    let told = ended(&mut on_a_small_disk(&folder, &study));
    account.add("the journal has no room", &told);
    assert_eq!(told.code, Some(3));
    let whole = |run: &str| std::fs::metadata(folder.path().join(run).join("journal.tfj")).unwrap().len();
    assert!(whole("runs/data") > 1000, "what had room was kept");
    done(&folder, &["resume", "runs/data", "-q"]);
    done(&folder, &[&study[..], &["--run-dir", "at-once"]].concat());
    assert_eq!(result(&folder, "runs/data"), result(&folder, "at-once"));
    assert!(whole("at-once") > 4096, "the disk was too small for the whole journal");
    insta::assert_snapshot!(account.text);
}

#[test]
fn candidates_that_turn_to_nan_fail_alone_and_all_of_them_fail_the_run() {
    let folder = Folder::new();
    studies::flowers(&folder);
    let mut account = Account::new(&folder);
    let wild = |rates: &'static str, dir: &'static str| {
        let tune = ["tune", "flowers.csv", "--target", "kind", "--backend", "cpu", "--candidates", "8", "-q"];
        let sets = [
            "--set=model.budget=12",
            "--set=space.hidden=8",
            "--set=space.weight_decay=1.0",
            "--set=space.optimizer=sgd",
            "--set=space.momentum=0.99",
            rates,
        ];
        [&tune[..], &sets, &["--run-dir", dir]].concat()
    };
    let told = account.run("some", &wild("--set=space.learning_rate=[0.001, 900.0]", "some"));
    assert_eq!(told.code, Some(0));
    let counts = result(&folder, "some")["counts"].clone();
    assert!(counts["failed"].as_u64() > Some(0) && counts["complete"].as_u64() > Some(0), "{counts}");
    let told = account.run("all", &wild("--set=space.learning_rate=[800.0, 900.0]", "all"));
    assert_eq!(told.code, Some(3));
    // Ten folds after one another, each of which takes longer than the time that there is.
    let late = ["--candidates", "1", "--folds", "10", "--threads", "1", "--time", "1ms", "--backend", "cpu", "-q"];
    let study = ["tune", "flowers.csv", "--target", "kind", "--set=model.budget=300", "--run-dir", "late"];
    assert_eq!(account.run("no time", &[&study[..], &late].concat()).code, Some(3));
    insta::assert_snapshot!(account.text);
}

/// A model of the small table, and its file's bytes.
fn model(folder: &Folder) -> Vec<u8> {
    folder.write(
        "data.csv",
        &good_table().replace("x,z,y", "x,colour,y").replace(",0,", ",red,").replace(",5,", ",blue,"),
    );
    done(folder, &tune(&["--set=data.categories=['colour']", "--run-dir", "run"]));
    std::fs::read(folder.path().join("run/model.safetensors")).unwrap()
}

#[test]
fn a_model_file_that_is_none_is_refused_with_the_reason() {
    let folder = Folder::new();
    let bytes = model(&folder);
    let mut account = Account::new(&folder);
    let swap = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let huge = r#"{"w":{"dtype":"F32","shape":[4000000000,4000000000],"data_offsets":[0,64]}}"#;
    let cases: [(&str, Vec<u8>); 9] = [
        ("empty", Vec::new()),
        ("a text", good_table().into_bytes()),
        ("cut off in its header", bytes[..100].to_vec()),
        ("cut off in its weights", bytes[..bytes.len() - 10].to_vec()),
        ("another model", swap(r#"\"mlp\""#, r#"\"mpl\""#)),
        ("a newer version", swap(r#"\"format\":1,"#, r#"\"format\":7,"#)),
        ("NaN weights", [&bytes[..bytes.len() - 4], &f32::NAN.to_le_bytes()].concat()),
        ("a huge header", [&u64::MAX.to_le_bytes()[..], huge.as_bytes()].concat()),
        ("huge shapes", [&(huge.len() as u64).to_le_bytes()[..], huge.as_bytes(), &[0; 64]].concat()),
    ];
    for (case, bytes) in cases {
        std::fs::write(folder.path().join("m.safetensors"), bytes).unwrap();
        assert_eq!(account.run(case, &["predict", "m.safetensors", "data.csv"]).code, Some(1), "{case}");
    }
    account.run("no file", &["predict", "n.safetensors", "data.csv"]);
    std::fs::create_dir(folder.path().join("nothing")).unwrap();
    account.run("no run", &["predict", "nothing", "data.csv"]);
    insta::assert_snapshot!(account.text);
}

#[test]
fn rows_that_a_model_cannot_predict_say_why_and_unknown_categories_are_only_noted() {
    let folder = Folder::new();
    model(&folder);
    let mut account = Account::new(&folder);
    folder.write("new.csv", "colour\nred\n");
    account.run("a column is missing", &["predict", "run", "new.csv"]);
    folder.write("new.csv", "colour,x\nred,1\nred,many\n");
    account.run("text for numbers", &["predict", "run", "new.csv"]);
    account.run("no table", &["predict", "run", "nwe.csv"]);
    folder.write("new.csv", "colour,x\nred,1\npurple,2\n,3\n");
    let told = account.run("unknown category", &["predict", "run", "new.csv"]);
    assert_eq!((told.code, told.out.lines().count()), (Some(0), 4));
    account.run("nowhere to write", &["predict", "run", "new.csv", "-o", "nowhere/out.csv"]);
    account.run("a directory to write to", &["predict", "run", "new.csv", "-o", "."]);
    account.run("a study's folder is missing", &["init", "data.csv", "--target", "y", "-o", "nowhere/study.toml"]);
    folder.write("study.toml", "# mine");
    account.run("a study that is there", &["init", "data.csv", "--target", "y"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("study.toml")).unwrap(), "# mine");
    insta::assert_snapshot!(account.text);
}

#[test]
fn what_cannot_be_exported_says_why_and_leaves_files_as_they_are() {
    let folder = Folder::new();
    let bytes = model(&folder);
    let mut account = Account::new(&folder);
    account.run("another format", &["export", "run", "--format", "pickle", "-o", "model.pkl"]);
    account.run("nowhere to go", &["export", "run"]);
    account.run("no model", &["export", "data.csv", "-o", "model.onnx"]);
    account.run("over a table", &["export", "run", "-o", "data.csv"]);
    account.run("over itself", &["export", "run/model.safetensors", "-o", "run/model.safetensors"]);
    account.run("no such folder", &["export", "run", "-o", "nowhere/model.onnx"]);
    account.run("a directory", &["export", "run", "-o", "."]);
    assert_eq!(std::fs::read(folder.path().join("run/model.safetensors")).unwrap(), bytes);
    insta::assert_snapshot!(account.text);
}

#[test]
#[cfg(unix)]
fn predictions_go_into_a_pipe_and_do_not_replace_it() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::new();
    model(&folder);
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    done(&folder, &["predict", "run", "data.csv", "-o", "pipe"]);
    assert!(std::fs::symlink_metadata(Path::new(&pipe)).unwrap().file_type().is_fifo());
    assert_eq!(reader.join().unwrap().lines().count(), 41);
}
