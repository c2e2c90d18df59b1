//! A running program: a process group of its own, with pipes from its two outputs. What of it depends on the system is here and
//! in the files beside it, and nowhere else.

use super::course::End;
use super::keeper::Keeper;
use super::protocol::Tail;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Bytes that are read at a time.
pub(super) const CHUNK: usize = 64 << 10;
/// Of what lies in a pipe when its program has ended, so many pieces are read: more than a pipe holds, and an end where something
/// that has left the group goes on writing.
const LAST_CHUNKS: usize = 32;

/// A program that was killed is waited for so long at most: one that hangs in the system would hold up all others.
const KILLED_ENDS_WITHIN: Duration = Duration::from_secs(1);
/// One that must not be killed may be about to end by itself.
const REFUSED_ENDS_WITHIN: Duration = Duration::from_millis(50);

/// A program that was started. It is killed with all of its group when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    /// `None` once somebody else waits for it.
    child: Option<Child>,
    group: Pid,
    keeper: Keeper,
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    tail: Tail,
    /// Readable when the program has ended, where the system has such a thing.
    ending: Option<OwnedFd>,
    /// How it ended, or why that is not known.
    status: Option<Result<ExitStatus, String>>,
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
        Ok(Process { child: Some(child), group, keeper: keeper.clone(), output, errors, tail, ending, status: None })
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
    pub(super) fn has_ended(&mut self, buffer: &mut [u8], take: impl FnMut(&[u8])) -> bool {
        if self.status.is_some() {
            return true;
        }
        // Its number is nobody else's until it is waited for: the group is killed before.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.group), options) {
            Ok(None) | Err(Errno::INTR) => return false,
            Ok(Some(_)) => {}
            // Nobody is left to be waited for, and the number may be another's by now.
            Err(error) => self.is_lost(&error.into()),
        }
        self.end_now(buffer, take);
        true
    }

    /// Ends it, and hands over the last of what it printed.
    pub(super) fn end_now(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
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
    }

    /// How it ended.
    pub(super) fn end(&self) -> End {
        let status = match &self.status {
            Some(Ok(status)) => status,
            Some(Err(reason)) => return End::Bad(reason.clone()),
            None => return End::Bad("it has not ended".to_owned()),
        };
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
        // A group that is gone already needs no signal.
        let _gone = self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        let _gone = self.signal(Signal::CONT);
    }

    /// Kills it with its children. No signal that it could ignore comes before. Why it does not let itself be killed, if so.
    pub(super) fn kill(&mut self) -> Option<String> {
        if self.status.is_some() {
            return None;
        }
        let is_refused = self.signal(Signal::KILL) == Err(Errno::PERM);
        match self.wait_for(if is_refused { REFUSED_ENDS_WITHIN } else { KILLED_ENDS_WITHIN }) {
            Ok(Some(status)) => {
                self.keeper.forget(self.group);
                self.ending = None;
                self.status = Some(Ok(status));
            }
            Ok(None) => {
                // Others are not to wait for it: it hangs in the system, or belongs to somebody else.
                self.keeper.linger(self.group, self.child.take());
                self.ending = None;
                self.status = Some(Err("it was killed, and did not end".to_owned()));
                return is_refused.then(|| "it cannot be killed, as it runs for another user".to_owned());
            }
            Err(error) => self.is_lost(&error),
        }
        None
    }

    /// Waits until it has ended, for so long at most.
    fn wait_for(&mut self, most: Duration) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            let left = most.saturating_sub(began.elapsed());
            match &self.ending {
                _ if left.is_zero() => return Ok(None),
                Some(ending) => {
                    let mut sources = [PollFd::new(ending, PollFlags::IN)];
                    // A signal in between only makes the wait shorter.
                    let _woken = poll(&mut sources, Some(&timespec(left)));
                }
                None => std::thread::sleep(left.min(Duration::from_millis(1))),
            }
        }
    }

    /// It is gone, and the system does not say how it ended.
    fn is_lost(&mut self, error: &io::Error) {
        if error.raw_os_error() != Some(Errno::CHILD.raw_os_error()) {
            tracing::warn!("a program cannot be waited for: {error}");
        }
        self.keeper.forget(self.group);
        self.ending = None;
        let why = "the study was perhaps started with SIGCHLD ignored";
        self.status = Some(Err(format!("how it ended is not known: {error}; {why}")));
    }

    fn signal(&self, signal: Signal) -> Result<(), Errno> {
        match self.status {
            None => kill_process_group(self.group, signal),
            Some(_) => Ok(()),
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
    // A signal in between only makes the wait shorter.
    let _woken = poll(&mut sources, Some(&timespec(most)));
    for (source, place) in sources.iter().zip(places) {
        is_ready[place] |= !source.revents().is_empty();
    }
    is_ready
}

fn timespec(span: Duration) -> Timespec {
    Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos().into() }
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
