//! Every ready study in configs/ runs as it is; only how long it searches is cut short here.

use crate::support::Folder;
use crate::support::program::done;
use std::path::{Path, PathBuf};

fn studies() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut studies: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    studies.sort();
    studies
}

fn needs_scikit_learn(config: &toml::Table) -> bool {
    let command = config.get("objective").and_then(|objective| objective.get("command"));
    command.is_some_and(|command| command.to_string().contains("python3"))
}

fn has_scikit_learn() -> bool {
    let mut python = std::process::Command::new("python3");
    python.args(["-c", "import sklearn"]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn every_config_runs_to_a_result_and_its_model_predicts_its_own_data() {
    let studies = studies();
    assert!(!studies.is_empty(), "configs/ holds no study");
    for study in studies {
        let folder = Folder::new();
        let config: toml::Table = toml::from_str(&std::fs::read_to_string(&study).unwrap()).unwrap();
        let data = config.get("data").map(|data| study.with_file_name(data["file"].as_str().unwrap()));
        let name = study.file_stem().unwrap().to_str().unwrap();
        if needs_scikit_learn(&config) && !has_scikit_learn() {
            println!("SKIPPED: {name} needs python3 with scikit-learn on the path");
            continue;
        }
        let is_shader = config.get("objective").is_some_and(|objective| objective.get("wgsl").is_some());
        if is_shader && crate::gpu::shared().is_none() {
            continue;
        }
        let study = study.to_str().unwrap();
        let (where_to, what) = if is_shader { ("--device", "0") } else { ("--backend", "cpu") };
        // A result needs one candidate within the limits, and among the first of a search few are.
        let limits = config.get("objective").is_some_and(|objective| objective.get("limits").is_some());
        let candidates = if limits { 40 } else { 3 };
        let cut = ["--candidates", &candidates.to_string(), where_to, what, "-q"];
        // One unit of the budget is no model to be proud of, but passes through all that the whole one does.
        let budget: &[&str] = if data.is_some() { &["--set=model.budget=1"] } else { &[] };
        done(&folder, &[&["tune", study][..], &cut, budget].concat());
        let run = Path::new("runs").join(name);
        let result = crate::support::program::result(&folder, run.to_str().unwrap());
        assert_eq!(result["counts"]["proposed"], candidates, "{name}");
        assert!(result["best"]["value"].as_f64().unwrap().is_finite(), "{name}");
        let Some(data) = data else { continue };
        let data = data.to_str().unwrap();
        let read = std::fs::read(data).unwrap();
        let mut lines = 0;
        if read.starts_with(&[0x1f, 0x8b]) {
            let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(&read[..])).unwrap();
            lines += text.lines().count();
        } else {
            lines += String::from_utf8(read).unwrap().lines().count();
        }
        let predicted = done(&folder, &["predict", run.to_str().unwrap(), data]).out;
        assert_eq!(predicted.lines().count(), lines, "{name}: a row a row, and the header");
        let first = |line: &str| line.split(',').next().unwrap_or("").to_owned();
        assert!(predicted.lines().all(|line| !first(line).is_empty() && first(line) != "NaN"), "{name}");
    }
}
