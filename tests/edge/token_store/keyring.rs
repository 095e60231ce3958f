//! The keyring: gnome-keyring as the Secret Service of a session of its own, restarted in between;
//! a locked one; a bus that is not there, and one that says nothing.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use super::child::{command, isolate, run, said, script};

/// The keyring answers or is given up within 2 s; a busy machine may take as long again, and more.
const PATIENCE_MS: u64 = 8_000;

/// Starts gnome-keyring, unlocked, on the bus of this session, and waits until it has its default
/// collection.
const UNLOCKED: &str = r#"
    printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
    n=0; until is_ready || [ $n -ge 300 ]; do n=$((n+1)); sleep 0.1; done
"#;

/// Asks for the collection behind the alias `default`, once somebody has the name: a question to a
/// name without owner makes the bus start another daemon, which races with ours for it.
const READY: &str = r#"
    is_owned() {
        dbus-send --session --print-reply --dest=org.freedesktop.DBus / \
            org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q 'boolean true'
    }
    is_ready() {
        is_owned || return 1
        dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
            org.freedesktop.Secret.Service.ReadAlias string:default 2>/dev/null | grep -q 'object path "/org'
    }
"#;

struct Desktop {
    home: tempfile::TempDir,
}

impl Desktop {
    /// `None`, after saying so, on a machine without a Secret Service.
    fn new() -> Option<Self> {
        for program in ["dbus-run-session", "dbus-send", "gnome-keyring-daemon"] {
            if Command::new(program).arg("--version").output().is_err() {
                eprintln!("skipped: {program} is not installed");
                return None;
            }
        }
        let home = tempfile::tempdir().unwrap();
        for directory in ["run", "data", "config", "cache"] {
            fs::create_dir(home.path().join(directory)).unwrap();
        }
        Some(Self { home })
    }

    /// Runs a script in a session with a bus, and gives what the last act said.
    #[track_caller]
    fn session(&self, steps: &str) -> Output {
        let inner = self.home.path().join("session.sh");
        fs::write(&inner, format!("set -eu\n{READY}\n{steps}\n")).unwrap();
        script(self.home.path(), &format!("exec dbus-run-session -- sh {}", inner.display()))
            .output()
            .unwrap()
    }

    fn has_file(&self) -> bool {
        self.home.path().join(".runbeam/edge/auth.json").exists()
    }
}

fn act(what: &str) -> String {
    format!("TOKEN_STORE_ACT='{what}' $act\n")
}

#[test]
fn a_token_in_the_secret_service_outlives_a_restart_of_it() {
    let Some(desktop) = Desktop::new() else {
        return;
    };
    let saved = said(&desktop.session(&format!("{UNLOCKED}{}", act("save one"))));
    assert_eq!(saved.outcome, "saved, keyring", "{}", saved.log);
    assert!(!desktop.has_file(), "nowhere else");
    // As another session would find it.
    let loaded = said(&desktop.session(&format!("{UNLOCKED}{}", act("load"))));
    assert_eq!(loaded.outcome, "id-one", "{}", loaded.log);
    assert_eq!(
        loaded.log.matches("the machine token is kept in").count(),
        1,
        "said once: {}",
        loaded.log
    );
    assert!(!loaded.log.contains("mt_secret"));
    let replaced = said(&desktop.session(&format!("{UNLOCKED}{}{}", act("save two"), act("load"))));
    assert_eq!(replaced.outcome, "saved, keyring");
    let loaded = said(&desktop.session(&format!("{UNLOCKED}{}", act("load"))));
    assert_eq!(loaded.outcome, "id-two", "one entry, replaced");
    // Service `runbeam`, account `<instance>/auth`: other programs find it.
    if Command::new("secret-tool").arg("--version").output().is_ok() {
        let found = desktop
            .session(&format!("{UNLOCKED}secret-tool lookup service runbeam username edge/auth"));
        assert!(
            String::from_utf8_lossy(&found.stdout).contains("\"machine_token\":\"mt_secret_two\""),
            "{found:?}"
        );
    }
    let cleared = said(&desktop.session(&format!("{UNLOCKED}{}", act("clear"))));
    assert_eq!(cleared.outcome, "cleared");
    assert_eq!(said(&desktop.session(&format!("{UNLOCKED}{}", act("load")))).outcome, "none");
}

#[test]
fn a_process_outlives_a_restart_of_the_keyring() {
    let Some(desktop) = Desktop::new() else {
        return;
    };
    let start = "printf pw | gnome-keyring-daemon --unlock --foreground --components=secrets \
                 >/dev/null 2>&1 & echo $! > $HOME/keyring.pid\n";
    let wait = "n=0; until is_ready || [ $n -ge 300 ]; do n=$((n+1)); sleep 0.1; done\n";
    let gone = "n=0; while is_owned && [ $n -lt 300 ]; do n=$((n+1)); sleep 0.1; done\n";
    let restart = desktop.home.path().join("restart.sh");
    fs::write(&restart, format!("{READY}\nkill $(cat $HOME/keyring.pid)\n{gone}{start}{wait}"))
        .unwrap();
    let outlived = said(
        &desktop
            .session(&format!("{start}{wait}{}", act(&format!("outlive {}", restart.display())))),
    );
    assert_eq!(outlived.outcome, "id-one then id-two, keyring", "{}", outlived.log);
}

#[test]
fn a_variable_that_is_set_later_moves_the_token_to_the_file() {
    let Some(desktop) = Desktop::new() else {
        return;
    };
    let key = runbeam_sdk::EncryptionKeys::generate().first();
    let with_key = format!("export RUNBEAM_ENCRYPTION_KEY={}\n", *key);
    said(&desktop.session(&format!("{UNLOCKED}{}", act("save one"))));
    let loaded = said(&desktop.session(&format!("{UNLOCKED}{with_key}{}", act("load"))));
    assert_eq!(loaded.outcome, "id-one", "read from the keyring: {}", loaded.log);
    let saved = said(&desktop.session(&format!("{UNLOCKED}{with_key}{}", act("save two"))));
    assert!(saved.outcome.starts_with("saved, encrypted file") && desktop.has_file(), "{saved:?}");
    let keyring_is_empty =
        said(&desktop.session(&format!("mv $HOME/.runbeam $HOME/away\n{UNLOCKED}{}", act("load"))));
    assert_eq!(keyring_is_empty.outcome, "none");
}

#[test]
fn a_locked_keyring_asks_nobody() {
    let Some(desktop) = Desktop::new() else {
        return;
    };
    said(&desktop.session(&format!("{UNLOCKED}{}", act("save one"))));
    let locked = "gnome-keyring-daemon --start --foreground --components=secrets >/dev/null 2>&1 \
                  &\n n=0; until is_ready || [ $n -ge 300 ]; do n=$((n+1)); sleep 0.1; done\n";
    let saved = said(&desktop.session(&format!("{locked}{}", act("save two"))));
    assert!(saved.outcome.starts_with("saved, encrypted file"), "{saved:?}");
    assert!(saved.milliseconds < PATIENCE_MS && saved.log.contains("it is locked"), "{saved:?}");
    // Unlocked again, both hold a token, and both forget it.
    let cleared = said(&desktop.session(&format!("{UNLOCKED}{}", act("clear"))));
    assert_eq!(cleared.outcome, "cleared");
    assert_eq!(said(&desktop.session(&format!("{UNLOCKED}{}", act("load")))).outcome, "none");
}

#[test]
fn without_a_bus_the_file_is_used_at_once() {
    let home = tempfile::tempdir().unwrap();
    assert_fallback(home.path(), None);
}

#[test]
fn a_bus_that_says_nothing_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("silent");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_fallback(home.path(), Some(&socket));
}

#[track_caller]
fn assert_fallback(home: &Path, socket: Option<&Path>) {
    let with_bus = |act: &str| {
        let mut command = command(home, act);
        if let Some(socket) = socket {
            command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", socket.display()));
        }
        run(&mut command)
    };
    let saved = with_bus("save one");
    assert!(saved.outcome.starts_with("saved, encrypted file"), "{saved:?}");
    assert!(saved.milliseconds < PATIENCE_MS, "{saved:?}");
    assert_eq!(
        saved.log.matches("the keyring cannot be used").count(),
        1,
        "said once: {}",
        saved.log
    );
    if socket.is_some() {
        assert!(
            saved.milliseconds >= 1_900 && saved.log.contains("no answer within 2 s"),
            "{saved:?}"
        );
    }
    let loaded = with_bus("load");
    assert_eq!(loaded.outcome, "id-one");
    assert!(
        !loaded.log.contains("mt_secret") && !loaded.log.contains("AGE-SECRET"),
        "{}",
        loaded.log
    );
}

#[test]
fn the_isolation_is_one() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("env");
    isolate(&mut command, home.path());
    let seen = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for line in seen.lines().filter(|line| !line.starts_with("PATH=")) {
        assert!(line.contains(home.path().to_str().unwrap()), "{line}");
    }
}
