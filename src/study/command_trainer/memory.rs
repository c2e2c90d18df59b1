//! What process groups hold in memory: the sum of their processes' resident sizes.

use rustix::process::Pid;
use std::collections::HashMap;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Looks at the processes of this machine.
#[derive(Debug)]
pub(super) struct Memory(Option<System>);

impl Memory {
    /// Before it has looked. Where the system does not show its processes, nothing is known of them.
    pub(super) fn new() -> Memory {
        Memory(System::new().ok())
    }

    /// Bytes that each of these groups holds. Pages that processes share count in each of them.
    pub(super) fn of(&mut self, groups: &[Pid]) -> HashMap<Pid, u64> {
        let mut held: HashMap<Pid, u64> = groups.iter().map(|group| (*group, 0)).collect();
        let Some(system) = &mut self.0 else { return held };
        let members = members(system, &held);
        let numbers: Vec<sysinfo::Pid> = members.iter().map(|(number, _)| *number).collect();
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&numbers), true, kind);
        for (number, group) in members {
            let bytes = system.process(number).map_or(0, sysinfo::Process::memory);
            if let Some(held) = held.get_mut(&group) {
                *held = held.saturating_add(bytes);
            }
        }
        held
    }
}

/// The processes of these groups, each with its group.
#[cfg(target_os = "linux")]
fn members(_system: &mut System, groups: &HashMap<Pid, u64>) -> Vec<(sysinfo::Pid, Pid)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let member = |entry: std::fs::DirEntry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("stat")).ok()?;
        let group = Pid::from_raw(group_of(&line)?).filter(|group| groups.contains_key(group))?;
        Some((sysinfo::Pid::from_u32(number), group))
    };
    entries.filter_map(member).collect()
}

/// The fifth field of a line of proc(5)'s stat: -1 of a process that is just ending. The second is a name in brackets that may
/// hold anything.
#[cfg(target_os = "linux")]
fn group_of(line: &[u8]) -> Option<i32> {
    let behind_name = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(behind_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok().filter(|group| *group > 0)
}

/// The same by descent, where groups are not shown: whoever descends from the program that a group began with.
#[cfg(not(target_os = "linux"))]
fn members(system: &mut System, groups: &HashMap<Pid, u64>) -> Vec<(sysinfo::Pid, Pid)> {
    let kind = ProcessRefreshKind::nothing().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    let group_of = |number: sysinfo::Pid| {
        i32::try_from(number.as_u32()).ok().and_then(Pid::from_raw).filter(|group| groups.contains_key(group))
    };
    let member = |number: &sysinfo::Pid| {
        let parent = |number: &sysinfo::Pid| system.process(*number)?.parent();
        let group = std::iter::successors(Some(*number), parent).take(64).find_map(group_of)?;
        Some((*number, group))
    };
    system.processes().keys().filter_map(member).collect()
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
        let mut memory = Memory::new();
        let grown = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let held = memory.of(&groups);
            held[&groups[1]] > 100_000 && held[&groups[0]] > 2 * held[&groups[1]]
        });
        groups.iter().for_each(|group| kill_process_group(*group, Signal::KILL).unwrap());
        for child in &mut children {
            child.wait().unwrap();
        }
        assert!(grown);
        assert_eq!(memory.of(&groups), HashMap::from(groups.map(|group| (group, 0))), "they are gone");
    }
}
