//! Reads a table and says what it took: `load_table FILE [TARGET]`, one line of JSON for benches/data_loading.py.
//!
//! With a target the table is also told apart and prepared, as a study would do it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use thousandfold::data::{DataOptions, Dataset, Input, Preparation, PrepareOptions, ReadOptions, read_table};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = PathBuf::from(arguments.next().ok_or("usage: load_table FILE [TARGET]")?);
    let before = peak_bytes();
    let start = Instant::now();
    let table = read_table(&file, &ReadOptions::default())?;
    let read_seconds = start.elapsed().as_secs_f64();
    let mut report = serde_json::json!({
        "rows": table.rows,
        "columns": table.columns.len(),
        "read_seconds": read_seconds,
        "table_bytes": table.size(),
        "peak_bytes": peak_bytes().zip(before).map(|(after, before)| after - before),
    });
    if let Some(target) = arguments.next() {
        let start = Instant::now();
        let dataset = Dataset::new(table, None, &DataOptions::new(file, target))?;
        report["dataset_seconds"] = start.elapsed().as_secs_f64().into();
        let rows: Vec<u32> = (0..dataset.rows() as u32).collect();
        let start = Instant::now();
        let preparation = Preparation::fit(&dataset, &rows, &PrepareOptions::default(), Input::Features);
        report["fit_seconds"] = start.elapsed().as_secs_f64().into();
        let start = Instant::now();
        let x = preparation.transform(&dataset.features, &rows)?;
        report["transform_seconds"] = start.elapsed().as_secs_f64().into();
        report["features"] = x.ncols().into();
    }
    println!("{report}");
    Ok(())
}

/// The most memory that this process has had, in bytes; Linux tells it.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kib.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
