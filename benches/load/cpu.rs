//! What the kernel says of a process: processor time and memory.

use std::{fs, time::Duration};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Ticks per second in `/proc/PID/stat`: what Linux shows to programs on every machine, whatever the kernel's own.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of a process with all its threads, those that ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cpu {
    /// Seconds in the program.
    pub(crate) user: f64,
    /// Seconds in the kernel on its behalf.
    pub(crate) system: f64,
}

impl Cpu {
    /// Of a process so far.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/stat");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        parse_stat(&text).with_context(|| format!("{path} cannot be read: {text:?}"))
    }

    /// Of the threads of this name that still run.
    pub(crate) fn of_threads(process: u32, name: &str) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let task = entry?.path();
            let is_it =
                fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == truncated(name));
            if let (true, Ok(text)) = (is_it, fs::read_to_string(task.join("stat"))) {
                let cpu = parse_stat(&text).context("a thread's stat cannot be read")?;
                sum = Self { user: sum.user + cpu.user, system: sum.system + cpu.system };
            }
        }
        Ok(sum)
    }

    /// What was spent since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    /// Seconds in all.
    pub(crate) fn seconds(self) -> f64 {
        self.user + self.system
    }
}

/// The kernel keeps fifteen bytes of a thread's name.
fn truncated(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

fn parse_stat(text: &str) -> Option<Cpu> {
    // The name in parentheses may hold anything.
    let (_, behind) = text.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<u64>().ok()? as f64 / TICKS_PER_SECOND as f64);
    Some(Cpu { user: seconds()?, system: seconds()? })
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// All that is resident.
    pub(crate) resident: u64,
    /// Of it, what belongs to no file.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Of a process now.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/status");
        parse_status(&fs::read_to_string(&path)?).with_context(|| format!("{path} cannot be read"))
    }
}

/// Threads of a process and files that it has open, sockets included.
pub(crate) fn threads_and_files(process: u32) -> anyhow::Result<(u64, u64)> {
    let entries = |what| anyhow::Ok(fs::read_dir(format!("/proc/{process}/{what}"))?.count() as u64);
    Ok((entries("task")?, entries("fd")?))
}

/// Bytes that were resident at most since [`forget_peak`].
pub(crate) fn peak(process: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    field(&fs::read_to_string(&path)?, "VmHWM").with_context(|| format!("{path} cannot be read"))
}

/// Begins anew to look for the most memory that a process has.
pub(crate) fn forget_peak(process: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, "5").with_context(|| path.clone())
}

/// Processor time of this process so far, finer than [`Cpu`].
pub(crate) fn this_process() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// Processor time of this thread so far.
pub(crate) fn this_thread() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Time since this machine started: the same for all its processes.
pub(crate) fn since_boot() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(clock: ClockId) -> Duration {
    // Neither runs backwards from zero.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

fn parse_status(text: &str) -> Option<Memory> {
    Some(Memory { resident: field(text, "VmRSS")?, anonymous: field(text, "RssAnon")? })
}

/// A line of kilobytes, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// How busy the machine is: runnable threads over the last minute.
pub(crate) fn machine_load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// What a stretch of time cost a process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// Seconds on the wall.
    pub(crate) wall: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_mislead() {
        let text = "12 (a) b (c) S 1 12 12 0 -1 4194304 109 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(text), Some(Cpu { user: 2.5, system: 0.5 }));
        assert_eq!(parse_stat("12 a"), None);
        assert_eq!(parse_stat("12 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "Name:\tload\nVmRSS:\t    2048 kB\nRssAnon:\t     100 kB\n";
        assert_eq!(parse_status(text), Some(Memory { resident: 2048 * 1024, anonymous: 100 * 1024 }));
        assert_eq!(parse_status("VmRSS: 5\n"), None);
    }

    #[test]
    fn this_process_is_there() {
        assert!(Memory::of(std::process::id()).unwrap().resident > 0);
        assert!(Cpu::of(std::process::id()).unwrap().seconds() >= 0.0);
    }
}
