//! What is put in the way of a process that reads its state.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;

/// A state directory with one file and one directory of files.
struct State {
    home: tempfile::TempDir,
}

impl State {
    fn append(&self, text: &str) -> Result<(), StateError> {
        use std::io::Write;
        let state = StateDir::open(&self.path("state")).unwrap().unwrap();
        let mut file = state.append("log")?;
        file.write_all(text.as_bytes()).unwrap();
        Ok(())
    }

    fn new() -> Self {
        let state = Self {
            home: tempfile::tempdir().unwrap(),
        };
        crate::replace(&state.path("state/cloud.json"), b"cloud").unwrap();
        crate::replace(&state.path("state/jwks/a.json"), b"keys").unwrap();
        state
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// What is believed: the file, and the one in the directory.
    fn read(&self) -> [Result<Option<String>, StateError>; 2] {
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
        let below = |directory: StateDir| match directory.subdirectory("jwks")? {
            Some(directory) => directory.read("a.json", 10),
            None => Ok(None),
        };
        let state = || StateDir::open(&self.path("state"));
        let file = state()
            .and_then(|found| found.map_or(Ok(None), |directory| directory.read("cloud.json", 10)));
        let other = state().and_then(|found| found.map_or(Ok(None), below));
        [file.map(text), other.map(text)]
    }

    #[track_caller]
    fn assert_believed(&self, believed: [bool; 2], row: &str) {
        let found = self
            .read()
            .map(|found| found.map(|content| content.is_some()));
        let found = found.map(|found| found.unwrap_or(false));
        assert_eq!(found, believed, "{row}");
    }
}

#[test]
fn who_may_have_written_it() {
    for (ours, roots, in_our_group, mode, want) in [
        (true, false, true, 0o700, true),
        (true, false, false, 0o755, true),
        (true, false, true, 0o775, true),
        (true, false, false, 0o775, false),
        (true, false, true, 0o702, false),
        (true, true, true, 0o700, true),
        (false, true, true, 0o2775, true),
        (false, true, true, 0o755, true),
        (false, true, true, 0o2777, false),
        (false, true, false, 0o700, false),
        (false, true, false, 0o755, false),
        (false, false, true, 0o700, false),
        (false, false, true, 0o770, false),
        (false, false, false, 0o700, false),
    ] {
        let ownership = Ownership {
            ours,
            roots,
            in_our_group,
            owner: 12345,
            mode,
            links: 1,
        };
        assert_eq!(is_ours_alone(ownership), want, "{ownership:?} {mode:o}");
    }
}

#[test]
fn our_own_is_believed() {
    let state = State::new();
    state.assert_believed([true; 2], "as we write it");
    for (mode, file) in [(0o755, 0o644), (0o750, 0o640), (0o500, 0o400)] {
        state.set_mode("state", mode);
        state.set_mode("state/cloud.json", file);
        state.assert_believed([true; 2], "others may read");
    }
    // A volume with an fsGroup: the group is ours.
    state.set_mode("state", 0o2775);
    state.set_mode("state/cloud.json", 0o660);
    state.assert_believed([true; 2], "our group may write");
    let nothing = State::new();
    fs::remove_dir_all(nothing.path("state")).unwrap();
    assert!(matches!(nothing.read(), [Ok(None), Ok(None)]));
    fs::create_dir(nothing.path("state")).unwrap();
    assert!(matches!(nothing.read(), [Ok(None), Ok(None)]));
}

#[test]
fn what_others_may_write_is_not() {
    for (name, mode, believed) in [
        ("state", 0o777, [false; 2]),
        ("state", 0o1777, [false; 2]),
        ("state", 0o702, [false; 2]),
        ("state/jwks", 0o777, [true, false]),
        ("state/jwks/a.json", 0o666, [true, false]),
        ("state/cloud.json", 0o602, [false, true]),
    ] {
        let state = State::new();
        state.set_mode(name, mode);
        state.assert_believed(believed, &format!("{name} {mode:o}"));
        let found = fs::metadata(state.path(name)).unwrap().mode() & 0o7777;
        assert_eq!(found, mode, "whoever looks later sees what it was");
    }
}

#[test]
fn what_belongs_to_another_is_not() {
    for (name, believed) in [
        ("state", [false; 2]),
        ("state/jwks", [true, false]),
        ("state/jwks/a.json", [true, false]),
        ("state/cloud.json", [false, true]),
    ] {
        let state = State::new();
        // Only root can give a file away.
        if chown(state.path(name), Some(12345), None).is_err() {
            println!("skipped: giving a file to another user takes root");
            return;
        }
        state.assert_believed(believed, name);
        let said = state
            .read()
            .map(|found| found.err().map(|error| error.to_string()));
        let said = said.into_iter().flatten().next().unwrap();
        assert!(said.contains("user 12345"), "{said}");
        // A group of which we are none.
        let state = State::new();
        chown(state.path(name), None, Some(12345)).unwrap();
        state.assert_believed([true; 2], name);
        state.set_mode(name, 0o770);
        state.assert_believed(believed, name);
    }
}

/// Puts something where a name leads.
type Plant<'a> = &'a dyn Fn(&Path);

#[test]
fn what_is_no_file_neither_blocks_nor_leads_elsewhere() {
    let elsewhere = State::new();
    for (name, believed) in [
        ("state/cloud.json", [false, true]),
        ("state/jwks/a.json", [true, false]),
        ("state/jwks", [true, false]),
    ] {
        let plant: [(&str, Plant<'_>); 6] = [
            ("pipe", &|path| {
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            }),
            ("link", &|path| symlink(elsewhere.path(name), path).unwrap()),
            ("link to a device", &|path| {
                symlink("/dev/zero", path).unwrap()
            }),
            ("link to itself", &|path| symlink(path, path).unwrap()),
            ("directory", &|path| fs::create_dir(path).unwrap()),
            ("socket", &|path| drop(UnixListener::bind(path).unwrap())),
        ];
        for (row, plant) in plant {
            let state = State::new();
            let path = state.path(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            plant(&path);
            state.assert_believed(believed, &format!("{name}: {row}"));
        }
    }
    let pipe = State::new();
    fs::remove_dir_all(pipe.path("state")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(pipe.path("state"))
            .status()
            .unwrap()
            .success()
    );
    pipe.assert_believed([false; 2], "a pipe for a directory");
}

#[test]
fn a_file_with_another_name_or_without_end_is_not_believed() {
    let state = State::new();
    fs::hard_link(state.path("state/cloud.json"), state.path("other")).unwrap();
    assert!(matches!(
        state.read(),
        [Err(StateError::Links { links: 2, .. }), Ok(Some(_))]
    ));
    let state = State::new();
    fs::write(state.path("state/cloud.json"), "0123456789").unwrap();
    fs::write(state.path("state/jwks/a.json"), "0123456789a").unwrap();
    state.assert_believed([true, false], "one byte too many");
}

#[test]
fn the_state_directory_may_be_a_link_of_ours() {
    let state = State::new();
    fs::rename(state.path("state"), state.path("private")).unwrap();
    symlink("private", state.path("state")).unwrap();
    state.assert_believed([true; 2], "our own link");
    if std::os::unix::fs::lchown(state.path("state"), Some(12345), None).is_ok() {
        state.assert_believed([false; 2], "the link of another user");
    }
    let state = State::new();
    fs::rename(state.path("state"), state.path("private")).unwrap();
    symlink("private", state.path("state")).unwrap();
    state.set_mode("private", 0o777);
    state.assert_believed([false; 2], "to where others may write");
}

#[test]
fn what_is_written_at_the_end_of_is_ours_alone_too() {
    let state = State::new();
    state.append("one,").unwrap();
    state.append("two").unwrap();
    assert_eq!(
        fs::read_to_string(state.path("state/log")).unwrap(),
        "one,two"
    );
    assert_eq!(
        fs::metadata(state.path("state/log")).unwrap().mode() & 0o777,
        0o600
    );
    state.set_mode("state/log", 0o666);
    assert!(matches!(
        state.append("x"),
        Err(StateError::Writable { mode: 0o666, .. })
    ));
    state.set_mode("state/log", 0o600);
    fs::hard_link(state.path("state/log"), state.path("other")).unwrap();
    assert!(matches!(
        state.append("x"),
        Err(StateError::Links { links: 2, .. })
    ));
    fs::remove_file(state.path("state/log")).unwrap();
    symlink(state.path("other"), state.path("state/log")).unwrap();
    assert!(state.append("x").is_err());
    assert_eq!(fs::read_to_string(state.path("other")).unwrap(), "one,two");
}
