//! What a running edge takes of the machine.

use std::fs;

use super::edge::Edge;

impl Edge {
    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> u64 {
        self.resident_kib() / 1024
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most resident memory since the last [`Self::forget_peak`], in MiB.
    pub fn peak_mib(&self) -> u64 {
        self.memory_kib("VmHWM:") / 1024
    }

    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("a new peak");
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("the descriptors of a running process")
            .count()
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))
            .expect("the status of a running process");
        let line =
            status.lines().find(|line| line.starts_with(name)).expect("the line of that name");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number of kB")
    }
}
