//! A running program: a process group of its own, with pipes from its two outputs. What of it depends on the system is here and
//! in the files beside it, and nowhere else.

use super::course::End;
use super::keeper::Keeper;
use super::protocol::Tail;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Bytes that are read at a time.
pub(super) const CHUNK: usize = 64 << 10;
/// Of what lies in a pipe when its program has ended, so many pieces are read: more than a pipe holds, and an end where something
/// that has left the group goes on writing.
const LAST_CHUNKS: usize = 32;

/// A program that was started. It is killed with all of its group when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    keeper: Keeper,
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    tail: Tail,
    /// Readable when the program has ended, where the system has such a thing.
    ending: Option<OwnedFd>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a program in a group of its own.
    pub(super) fn start(command: &mut Command, keeper: &Keeper) -> io::Result<Process> {
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.process_group(0).spawn()?;
        let group = Pid::from_child(&child);
        keeper.watch(group);
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (tail, ending) = (Tail::default(), ending(group));
        Ok(Process { child, group, keeper: keeper.clone(), output, errors, tail, ending, status: None })
    }

    /// The number of its process group.
    pub(super) fn group(&self) -> Pid {
        self.group
    }

    /// What can be waited for: its output, what it says on standard error, its end.
    fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        let errors = self.errors.as_ref().map(AsFd::as_fd);
        [output, errors, self.ending.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    }

    /// Whether the system says by itself when it has ended.
    pub(super) fn tells_its_end(&self) -> bool {
        self.ending.is_some()
    }

    /// Reads once from each output that has something to read, and hands over what the program printed.
    pub(super) fn read(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        read_once(&mut self.output, buffer, &mut take);
        let Process { errors, tail, .. } = self;
        read_once(errors, buffer, |bytes| tail.push(bytes));
    }

    /// Whether it has ended by itself. What it has left behind in its group is killed then, and the last of what it printed
    /// handed over.
    pub(super) fn has_ended(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
        if self.status.is_some() {
            return true;
        }
        // Its number is nobody else's until it is waited for: the group is killed before.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(self.group), options), Ok(Some(_))) {
            return false;
        }
        self.kill();
        for _ in 0..LAST_CHUNKS {
            let mut count = 0;
            read_once(&mut self.output, buffer, |bytes| {
                count += bytes.len();
                take(bytes);
            });
            let Process { errors, tail, .. } = self;
            read_once(errors, buffer, |bytes| {
                count += bytes.len();
                tail.push(bytes);
            });
            if count == 0 {
                break;
            }
        }
        (self.output, self.errors) = (None, None);
        true
    }

    /// How it ended.
    pub(super) fn end(&self) -> End {
        let Some(status) = self.status else { return End::Bad("it has not ended".to_owned()) };
        if status.success() {
            return End::Good;
        }
        let what = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => match name_of(signal) {
                Some(name) => format!("killed by signal {signal} ({name})"),
                None => format!("killed by signal {signal}"),
            },
            (None, None) => status.to_string(),
        };
        End::Bad(match self.tail.last_lines() {
            Some(lines) => format!("{what}: {lines}"),
            None => what,
        })
    }

    /// Stops it and its children where they are.
    pub(super) fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it with its children. No signal that it could ignore comes before.
    pub(super) fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.signal(Signal::KILL);
        self.keeper.forget(self.group);
        self.ending = None;
        // A killed process ends; that waiting for it can fail only means that somebody else has done it.
        self.status = Some(self.child.wait().unwrap_or_default());
    }

    fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // A group that is gone already needs no signal.
            let _gone = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn ending(group: Pid) -> Option<OwnedFd> {
    // Kernels before 5.3 have none: then it is looked at now and again.
    rustix::process::pidfd_open(group, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ending(_group: Pid) -> Option<OwnedFd> {
    None
}

/// Reads once, if there is something to read; a pipe at its end is closed.
fn read_once<T: Read + AsFd>(source: &mut Option<T>, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
    let Some(pipe) = source else { return };
    if !is_ready(pipe.as_fd()) {
        return;
    }
    match pipe.read(buffer) {
        Ok(0) => *source = None,
        Ok(count) => take(&buffer[..count]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(_) => *source = None,
    }
}

fn is_ready(source: BorrowedFd<'_>) -> bool {
    let mut sources = [PollFd::from_borrowed_fd(source, PollFlags::IN)];
    poll(&mut sources, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Waits until one of these has something to read, or has ended, for so long at most. Which of them may have.
pub(super) fn wait<'a>(processes: impl Iterator<Item = &'a Process>, most: Duration) -> Vec<bool> {
    let (mut sources, mut places) = (Vec::new(), Vec::new());
    let mut is_ready = Vec::new();
    for (place, process) in processes.enumerate() {
        // Where the system does not say that one has ended, it is looked at each time.
        is_ready.push(!process.tells_its_end());
        for source in process.sources() {
            sources.push(PollFd::from_borrowed_fd(source, PollFlags::IN));
            places.push(place);
        }
    }
    let most = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
    // A signal in between only makes the wait shorter.
    let _woken = poll(&mut sources, Some(&most));
    for (source, place) in sources.iter().zip(places) {
        is_ready[place] |= !source.revents().is_empty();
    }
    is_ready
}

/// The usual ones of those that end programs.
fn name_of(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}
