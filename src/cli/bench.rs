//! `bench`: the CPU and the GPU on the same lanes.

use super::failure::Failure;
use super::flags::{Said, in_flags, load, sets};
use super::terminal::{TerminalArguments, print};
use super::tune::MachineArguments;
use super::{interrupt, names};
use crate::monitor::bench::{BenchView, markdown, plot, text};
use crate::study::bench::{BenchOptions, BenchReport, Shapes, bench};
use crate::study::error::RunDirError;
use crate::study::run_dir::write_whole;
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// Measure GPU against CPU on the same lanes, and check that they agree
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thousandfold bench configs/digits_mlp.toml -o bench
  thousandfold bench configs/digits_mlp.toml --shapes random --lanes 100,1000
  thousandfold bench data.csv --target species --backend cpu")]
pub(super) struct BenchArguments {
    /// A study (.toml), or a table: CSV, gzip CSV, Parquet
    #[arg(value_name = "STUDY.toml|DATA")]
    input: PathBuf,
    /// The column to predict; a table needs it
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Numbers of lanes to measure
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "10,100,1000,10000,100000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    lanes: Vec<u32>,
    /// What the lanes look like
    #[arg(long, value_name = "SHAPES", value_enum, default_value = "default")]
    shapes: ShapesArgument,
    /// Leave out numbers of lanes that would take a backend longer
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    seconds: f64,
    /// What is trained
    #[arg(long, value_name = "NAME", value_parser = names::models())]
    model: Option<String>,
    /// How lanes are scored
    #[arg(long, value_name = "NAME", value_parser = names::metrics(), hide_possible_values = true)]
    metric: Option<String>,
    /// Set any key of the study: --set model.budget=5; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Write bench.md, bench.svg and bench.json there
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShapesArgument {
    /// All lanes have the defaults' shape, with rates and penalties of their own
    Default,
    /// Mixed widths, depths and minibatches, as random search draws them
    Random,
}

impl BenchArguments {
    pub(super) fn run(&self, terminal: &TerminalArguments) -> Result<(), Failure> {
        let said = self.said();
        let loaded = load(&self.input, self.target.as_deref(), &sets(&said, &self.sets));
        let stop = interrupt::stop_flag(None);
        let mut view = self.view(terminal);
        let measured =
            loaded.and_then(|loaded| Ok(bench(loaded, &self.options(), &mut |event| view.show(event), &stop)?));
        drop(view);
        let report = measured.map_err(|failure| in_flags(failure, &said))?;
        print(&text(&report))?;
        if report.is_interrupted {
            return Err(Failure::Interrupted("Stopped; nothing was written.".to_owned()));
        }
        if let Some(dir) = &self.output {
            write(&report, dir)?;
            print(&format!("written to {}: bench.md, bench.svg, bench.json\n", dir.display()))?;
        }
        let failed = report.backends.iter().find_map(|backend| backend.failure.clone());
        match (failed, report.is_good()) {
            (Some(reason), _) => Err(Failure::Run(reason)),
            (None, false) => Err(Failure::Run(
                "CPU and GPU do not give the same scores\n  The figures above compare different work; please report them with bench.json"
                    .to_owned(),
            )),
            (None, true) => Ok(()),
        }
    }

    fn options(&self) -> BenchOptions {
        let mut lanes: Vec<usize> = self.lanes.iter().map(|lanes| *lanes as usize).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let shapes = match self.shapes {
            ShapesArgument::Default => Shapes::Default,
            ShapesArgument::Random => Shapes::Random,
        };
        BenchOptions { lanes, shapes, seconds: self.seconds }
    }

    fn said(&self) -> Vec<Said> {
        let texts = [
            ("target", "data.target", &self.target),
            ("model", "model.name", &self.model),
            ("metric", "validate.metric", &self.metric),
        ];
        let texts = texts.into_iter().filter_map(|(flag, key, text)| Some(Said::text(flag, key, text.as_deref()?)));
        texts.chain(self.machine.said()).collect()
    }

    fn view(&self, terminal: &TerminalArguments) -> BenchView {
        match (terminal.quiet, io::stderr().is_terminal()) {
            (true, _) => BenchView::Quiet,
            (_, true) => BenchView::terminal(),
            _ => BenchView::Lines(Box::new(io::stderr())),
        }
    }
}

fn write(report: &BenchReport, dir: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| Failure::Run(format!("the figures cannot be written: {error}")))?;
    std::fs::create_dir_all(dir).map_err(|error| unwritable(dir, &error))?;
    let files = [("bench.md", markdown(report, "bench.svg")), ("bench.svg", plot(report)), ("bench.json", json + "\n")];
    files.iter().try_for_each(|(name, content)| {
        write_whole(&dir.join(name), content.as_bytes()).map_err(|error| match error {
            RunDirError::Io { path, source } => unwritable(&path, &source),
            error => error.into(),
        })
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Run(format!("{path}: {error}\n  The figures are printed above. Choose another directory: -o DIR"))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("a number of seconds above 0 is needed".to_owned()),
    }
}
