//! Who kills what a study has started when the study itself is killed: a shell that reads which process groups there are, and
//! whose input ends with the study, however that ends. A signal at the parent's death (Linux's PR_SET_PDEATHSIG) would reach
//! neither a program's children nor, without unsafe code between fork and exec, the program.

use super::leftovers;
use rustix::process::Pid;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

const SCRIPT: &str = include_str!("keeper.sh");

/// The shell, shared by all processes of a study. It ends with the last of them.
#[derive(Debug, Clone)]
pub(super) struct Keeper(Arc<Shell>);

#[derive(Debug)]
struct Shell {
    child: Child,
    input: Mutex<ChildStdin>,
    /// Programs that were killed and have not ended.
    lingering: Mutex<Vec<(Pid, Child)>>,
}

impl Keeper {
    /// Starts it. `mark` is what the environment of every process of the study begins a variable with.
    pub(super) fn start(mark: &str) -> io::Result<Keeper> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "thousandfold-keeper", mark]).stdin(Stdio::piped());
        // In a group of its own, and without the mark of a study that this one is a program of: what ends this study is not to
        // end it.
        command.env_remove(leftovers::VARIABLE);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (input, lingering) = (Mutex::new(input), Mutex::default());
        Ok(Keeper(Arc::new(Shell { child, input, lingering })))
    }

    /// A group has begun.
    pub(super) fn watch(&self, group: Pid) {
        self.0.say(&format!("+ {}\n", group.as_raw_nonzero()));
    }

    /// A group is over. It is said before its number can be another's.
    pub(super) fn forget(&self, group: Pid) {
        self.0.say(&format!("- {}\n", group.as_raw_nonzero()));
    }

    /// A program of this group was killed and has not ended yet.
    pub(super) fn linger(&self, group: Pid, child: Option<Child>) {
        tracing::warn!("process {} was killed, and has not ended", group.as_raw_nonzero());
        let mut lingering = self.0.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        lingering.extend(child.map(|child| (group, child)));
    }

    /// Forgets those of them that have ended since.
    pub(super) fn look(&self) {
        let mut lingering = self.0.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        lingering.retain_mut(|(group, child)| {
            let lives = matches!(child.try_wait(), Ok(None));
            if !lives {
                self.forget(*group);
            }
            lives
        });
    }
}

impl Shell {
    fn say(&self, line: &str) {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = input.write_all(line.as_bytes()) {
            tracing::debug!("nobody kills the programs of this study should it be killed itself: {error}");
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.say(".\n");
        if let Err(error) = self.child.wait() {
            tracing::debug!("{error}");
        }
    }
}
