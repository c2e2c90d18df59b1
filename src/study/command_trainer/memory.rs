//! What process groups hold in memory: the sum of their processes' resident sizes.

use rustix::process::Pid;
use std::collections::HashMap;
use std::io;
#[cfg(not(target_os = "linux"))]
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Looks at the processes of this machine.
#[derive(Debug)]
pub(super) struct Memory {
    #[cfg(not(target_os = "linux"))]
    system: System,
}

impl Memory {
    /// Before it has looked: an error where the system does not show what this process holds, and so no other.
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> io::Result<Memory> {
        let status = std::fs::read("/proc/self/status")?;
        resident(&status).map(|_| Memory {}).ok_or_else(hidden)
    }

    /// The same.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> io::Result<Memory> {
        let mut memory = Memory { system: System::new().map_err(io::Error::other)? };
        let own = rustix::process::getpid();
        match memory.of(&[own])?.get(&own) {
            Some(1..) => Ok(memory),
            _ => Err(hidden()),
        }
    }

    /// Bytes that each of these groups holds. Pages that processes share count in each of them.
    #[cfg(target_os = "linux")]
    pub(super) fn of(&mut self, groups: &[Pid]) -> io::Result<HashMap<Pid, u64>> {
        let mut held: HashMap<Pid, u64> = groups.iter().map(|group| (*group, 0)).collect();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
            if !entry.file_name().to_str().is_some_and(is_number) {
                continue;
            }
            // A process may end at any time; then it holds nothing.
            let Ok(line) = std::fs::read(entry.path().join("stat")) else { continue };
            let group = group_of(&line).and_then(Pid::from_raw);
            let Some(held) = group.and_then(|group| held.get_mut(&group)) else { continue };
            let status = std::fs::read(entry.path().join("status")).unwrap_or_default();
            *held = held.saturating_add(resident(&status).unwrap_or(0));
        }
        Ok(held)
    }

    /// The same by descent, where groups are not shown: of whoever descends from the program that a group began with.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(&mut self, groups: &[Pid]) -> io::Result<HashMap<Pid, u64>> {
        let mut held: HashMap<Pid, u64> = groups.iter().map(|group| (*group, 0)).collect();
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let group_of = |number: sysinfo::Pid| i32::try_from(number.as_u32()).ok().and_then(Pid::from_raw);
        for (number, process) in self.system.processes() {
            let parent = |number: &sysinfo::Pid| self.system.process(*number)?.parent();
            let line = std::iter::successors(Some(*number), parent).take(64);
            if let Some(group) = line.filter_map(group_of).find(|group| held.contains_key(group))
                && let Some(held) = held.get_mut(&group)
            {
                *held = held.saturating_add(process.memory());
            }
        }
        Ok(held)
    }
}

fn hidden() -> io::Error {
    io::Error::other("the system does not show what processes hold")
}

/// The fifth field of a line of proc(5)'s stat: -1 of a process that is just ending. The second is a name in brackets that may
/// hold anything.
#[cfg(target_os = "linux")]
fn group_of(line: &[u8]) -> Option<i32> {
    let behind_name = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(behind_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok().filter(|group| *group > 0)
}

/// The resident size in proc(5)'s status, which says it in KiB; of a process that is just ending there is none.
#[cfg(target_os = "linux")]
fn resident(status: &[u8]) -> Option<u64> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"VmRSS:"))?;
    let kib: u64 = std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{Signal, kill_process_group};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn a_group_is_read_behind_whatever_name_its_process_has() {
        assert_eq!(group_of(b"17 (a) b (c)) S 1 12 12 0"), Some(12));
        assert_eq!(group_of(b"17 (a) S 1"), None);
        assert_eq!(group_of(b"17 (a) X 0 -1 -1 0"), None);
        assert_eq!(group_of(b""), None);
        assert_eq!(resident(b"Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t    3504 kB\n"), Some(3504 << 10));
        assert_eq!(resident(b"Name:\tx\nState:\tZ\n"), None);
    }

    #[test]
    fn what_the_children_of_a_program_hold_is_in_the_sum() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & sleep 1000"]).process_group(0);
        let mut alone = Command::new("sleep");
        alone.arg("1000").process_group(0);
        let mut children = [shell.spawn().unwrap(), alone.spawn().unwrap()];
        let groups = [&children[0], &children[1]].map(Pid::from_child);
        // Until the shell has begun its two.
        let mut memory = Memory::new().unwrap();
        let grown = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let held = memory.of(&groups).unwrap();
            held[&groups[1]] > 100_000 && held[&groups[0]] > 2 * held[&groups[1]]
        });
        groups.iter().for_each(|group| kill_process_group(*group, Signal::KILL).unwrap());
        for child in &mut children {
            child.wait().unwrap();
        }
        assert!(grown);
        assert_eq!(memory.of(&groups).unwrap(), HashMap::from(groups.map(|group| (group, 0))), "they are gone");
    }
}
