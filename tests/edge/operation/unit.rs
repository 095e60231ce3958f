//! The shipped unit: how much it lets the process do, by systemd's own measure, and whether that is
//! enough for what the process does.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{END, has};
use crate::support::poll::{becomes_true, eventually};
use crate::support::{Edge, Issuer, Settings, Upstream};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/harmony-edge.service");

/// The values of a setting, in the order of the unit.
fn values(setting: &str) -> Vec<String> {
    let unit = fs::read_to_string(UNIT).expect("the unit");
    unit.lines()
        .filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_unit_is_closed_tight() {
    if !has("systemd-analyze") {
        return;
    }
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=15", UNIT])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "over 1.5:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("Overall exposure level"), "{text}");
}

/// The system calls of a set, with those of the sets in it.
fn set(name: &str) -> BTreeSet<String> {
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", "--no-pager", name])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut calls = BTreeSet::new();
    for line in text
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('@') {
            calls.extend(set(line));
        } else {
            calls.insert(line.to_owned());
        }
    }
    assert!(!calls.is_empty(), "{name}: {text}");
    calls
}

/// What `SystemCallFilter=` leaves.
fn allowed() -> BTreeSet<String> {
    let mut allowed = set("@default");
    for value in values("SystemCallFilter") {
        let (taken, names) =
            value.strip_prefix('~').map_or((false, value.as_str()), |rest| (true, rest));
        for name in names.split_whitespace() {
            let calls =
                if name.starts_with('@') { set(name) } else { BTreeSet::from([name.to_owned()]) };
            if taken {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

/// Everything that the process does in its life, under the eyes of `strace`.
#[test]
fn the_unit_allows_what_the_process_does() {
    if !has("systemd-analyze") || !has("strace") {
        return;
    }
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let password = "[middleware.password]\ntype = \"basic-auth\"\n\
                    config = { username = \"a\", password_hash = \
                    \"$2b$10$x47zQBxnDIDtr8CrB.7P0Od7WQZ5pURJa4bPIGzrstXLp1P.YuBeG\" }\n\
        [pipelines.password]\nnetworks = [\"public\"]\nendpoints = [\"password\"]\n\
        middleware = [\"password\"]\nbackends = [\"named\"]\n\
        [endpoints.password]\nservice = \"http\"\noptions = { path_prefix = \"/password\" }\n\
        [backends.named]\nservice = \"http\"\noptions = { base_url = \"http://localhost:1\" }\n\
        [logging]\nlog_to_file = true\nlog_file_path = \"edge.log\"\n";
    let launcher =
        ["strace", "-D", "-f", "-qq", "-s", "0", "-e", "signal=none", "-o", "{dir}/trace"];
    let mut edge = Edge::configured(Settings::with_jwt(&issuer, &upstream).and(password))
        .quiet()
        .under(&launcher)
        .start();
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
    assert_eq!(edge.get("/password").header("Authorization", "Basic YTpi").send().status, 401);
    edge.signal(Signal::SIGUSR1);
    edge.rewrite(|text| text.replace("\"/password\"", "\"/moved\""));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    eventually("the PID file", END, || {
        edge.state().join("harmony-edge.pid").exists().then_some(())
    });
    edge.signal(Signal::SIGUSR2);
    assert_eq!(edge.exit_status(END).code(), Some(0));
    let pid = fs::read_to_string(edge.state().join("harmony-edge.pid"))
        .expect("the PID file of the new process");
    let new = Pid::from_raw(pid.trim().parse().expect("a process id"));
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
    kill(new, Signal::SIGTERM).expect("a signal to the new process");
    assert!(becomes_true(END, || kill(new, None).is_err()), "the new process ends as well");

    let trace = fs::read_to_string(edge.directory().join("trace")).expect("the trace");
    let (allowed, families) = (allowed(), values("RestrictAddressFamilies").join(" "));
    let (mut calls, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for line in trace.lines() {
        let Some((call, arguments)) =
            line.split_once(' ').and_then(|(_, rest)| rest.trim_start().split_once('('))
        else {
            continue;
        };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        calls.insert(call);
        if !allowed.contains(call) {
            refused.insert(call.to_owned());
        }
        let family = arguments.split(',').next().unwrap_or_default();
        if matches!(call, "socket" | "socketpair")
            && !families.split(' ').any(|allowed| allowed == family)
        {
            refused.insert(format!("{call}({family})"));
        }
        if arguments.contains("PROT_WRITE|PROT_EXEC") || arguments.contains("CLONE_NEW") {
            refused.insert(line.to_owned());
        }
    }
    eprintln!("{} system calls: {calls:?}", calls.len());
    assert!(
        calls.len() > 40 && calls.contains("execve") && calls.contains("setpriority"),
        "{calls:?}"
    );
    // The resolver asks the kernel for its addresses to sort what it found; refused, it does
    // without.
    refused.remove("socket(AF_NETLINK)");
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}
