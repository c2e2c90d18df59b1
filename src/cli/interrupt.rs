//! Ctrl-C: once, lanes in flight come to where they can be left (a command's programs are killed) and what is whole is
//! journalled; twice, the program ends at once.

use crate::backend::StopFlag;
use crate::data::error::in_shell;
use crate::study::run_dir::journal_path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised by the first Ctrl-C (or SIGTERM); the second ends the process with 130. The journal is whole at any moment, so
/// nothing that it holds is lost; how to go on with the run in `dir`, if there is one, is said.
pub(super) fn stop_flag(dir: Option<PathBuf>) -> StopFlag {
    let stop = StopFlag::default();
    let (raised, was_asked) = (stop.clone(), Arc::new(AtomicBool::new(false)));
    let handler = move || {
        if was_asked.swap(true, Ordering::SeqCst) {
            if let Some(dir) = dir.as_ref().filter(|dir| journal_path(dir).exists()) {
                let dir = in_shell(dir);
                anstream::eprintln!(
                    "Stopped at once; what was journalled is safe.\n  To go on: thousandfold resume {dir}"
                );
            }
            std::process::exit(130);
        }
        raised.raise();
        anstream::eprintln!("\nStopping: what is finished is journalled. Ctrl-C again to stop at once.");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        // Ctrl-C then ends the process, which the journal survives as well.
        tracing::warn!("Ctrl-C will stop at once: {error}");
    }
    stop
}
