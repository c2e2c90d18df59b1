//! Who has left the group of its program: daemons, and whoever calls setsid. On Linux they are known by an environment variable
//! that every process inherits; elsewhere nothing is known of them.

#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};

/// The variable.
pub(super) const VARIABLE: &str = "THOUSANDFOLD_PROCESS";

/// Kills whoever has the mark of this study and belongs to a start of a program that `is_over`. How many there were.
#[cfg(target_os = "linux")]
pub(super) fn kill(mark: &str, is_over: impl Fn(u64) -> bool) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let wanted = format!("{VARIABLE}={mark}.").into_bytes();
    let mut killed = 0;
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // Others' processes cannot be read, and are none of ours.
        let (Some(number), Ok(environment)) = (number, std::fs::read(entry.path().join("environ"))) else { continue };
        let mut variables = environment.split(|byte| *byte == 0);
        let start = variables.find_map(|variable| variable.strip_prefix(&wanted[..]));
        let start = start.and_then(|start| std::str::from_utf8(start).ok()?.parse().ok());
        if start.is_some_and(&is_over) {
            killed += usize::from(kill_process(number, Signal::KILL).is_ok());
        }
    }
    killed
}

#[cfg(not(target_os = "linux"))]
pub(super) fn kill(_mark: &str, _is_over: impl Fn(u64) -> bool) -> usize {
    0
}

/// The same at the end of a study, of all; again while there are any that were being forked.
pub(super) fn kill_all(mark: &str) {
    const TURNS: usize = 20;
    for _ in 0..TURNS {
        if kill(mark, |_| true) == 0 {
            return;
        }
        std::thread::yield_now();
    }
}
