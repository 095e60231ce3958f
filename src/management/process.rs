//! The process as the system sees it. What the system does not tell is left out.

use std::fs;
use std::time::Duration;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What it uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    /// CPU time of all its threads.
    pub(super) cpu: Duration,
    /// Memory that is resident, in bytes.
    pub(super) resident: Option<u64>,
    /// File descriptors in use.
    pub(super) open_files: Option<u64>,
    /// How many it may have; `None`: any number.
    pub(super) max_files: Option<u64>,
}

impl Process {
    pub(super) fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            cpu: cpu.try_into().unwrap_or_default(),
            resident: resident_pages().map(|pages| pages.saturating_mul(page_size() as u64)),
            // The listing has one open itself.
            open_files: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| files.count().saturating_sub(1) as u64),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}

fn resident_pages() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn it_sees_itself() {
        let kept: Vec<_> = (0..100)
            .map(|_| fs::File::open("/proc/self/statm").unwrap())
            .collect();
        let before = Process::now();
        assert!(
            before
                .resident
                .is_some_and(|bytes| (1 << 20..1 << 40).contains(&bytes)),
            "{before:?}"
        );
        assert!(
            before.open_files.is_some_and(|files| files > 100),
            "{before:?}"
        );
        assert!(before.open_files <= before.max_files, "{before:?}");
        drop(kept);
        while Process::now().cpu == before.cpu {}
    }
}
