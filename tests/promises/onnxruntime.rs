//! onnxruntime, in a Python that has it: `THOUSANDFOLD_PYTHON`, or one that was installed from PyPI below `target/`.
//!
//! Tests reach for the network only where `REQUIRE_ONNX=1` asks for it; what that installed serves later runs without it.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use thousandfold::data::table::{Cells, MISSING, Table};

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/requirements.txt");
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/run.py");

/// A model with the rows that it is to predict.
pub struct Case {
    pub model: PathBuf,
    pub table: Table,
}

/// What onnxruntime makes of each case, by the names of the outputs. Every model has passed ONNX's own checker before.
/// `None`, with the reason on the screen, where there is no onnxruntime and none is required.
pub fn run(cases: &[Case]) -> Option<Vec<Value>> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = match PYTHON.get_or_init(python) {
        Ok(python) => python,
        Err(reason) => {
            assert!(!is_required(), "REQUIRE_ONNX is set, and {reason}");
            println!("SKIPPED: {reason}");
            return None;
        }
    };
    let cases: Vec<Value> = cases.iter().map(described).collect();
    let mut child = Command::new(python)
        .arg(RUN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(Value::from(cases).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn described(case: &Case) -> Value {
    let cells = |cells: &Cells| -> Value {
        match cells {
            Cells::Numbers(values) => values.iter().map(|value| json!(Some(value).filter(|v| !v.is_nan()))).collect(),
            Cells::Categories(categories) => {
                let level = |code: &u32| categories.levels.get(*code as usize).map_or("", String::as_str);
                categories
                    .codes
                    .iter()
                    .inspect(|code| assert!(**code == MISSING || !level(code).is_empty()))
                    .map(level)
                    .collect()
            }
        }
    };
    let columns = case.table.columns.iter().map(|column| (column.name.clone(), cells(&column.cells)));
    json!({ "model": case.model, "columns": columns.collect::<serde_json::Map<_, _>>() })
}

fn is_required() -> bool {
    std::env::var_os("REQUIRE_ONNX").is_some_and(|value| value != "0")
}

/// A Python that has what tests/onnx/requirements.txt lists.
fn python() -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os("THOUSANDFOLD_PYTHON") {
        return Ok(python.into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnxruntime");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // Written when all of it is there.
    let (wanted, stamp) = (std::fs::read_to_string(REQUIREMENTS).unwrap(), folder.join("requirements.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    if !is_required() {
        return Err(
            "no onnxruntime; REQUIRE_ONNX=1 installs it from PyPI, THOUSANDFOLD_PYTHON names a Python that has it"
                .to_owned(),
        );
    }
    let base = if cfg!(windows) { "python" } else { "python3" };
    succeeds(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder))?;
    succeeds(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        REQUIREMENTS,
    ]))?;
    std::fs::write(stamp, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn succeeds(command: &mut Command) -> Result<(), String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}
