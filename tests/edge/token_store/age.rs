//! The programs `age` and `age-keygen` against the store: the documented commands make keys that it
//! takes, and each opens the other's files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use runbeam_sdk::{
    EncryptionKeys, MachineToken, StorageError, StoreKind, StoreSettings, TokenStore,
};
use tempfile::TempDir;

use super::child::token;
use crate::support::Program;

/// How the documentation makes a key; `id` holds what `age-keygen` printed.
const COMMANDS: [&str; 10] = [
    "cat id",
    "grep AGE-SECRET-KEY id",
    "cat id | base64 -w 0",
    "cat id | base64",
    r"cat id | base64 | tr -d '\n'",
    "grep AGE-SECRET-KEY id | base64 -w 0",
    "cat id | base64 -w 0 | base64 -w 0",
    "grep AGE-SECRET-KEY id | base64 -w 0 | base64 -w 0",
    // The Kubernetes manifest: base64 wraps at 76 letters.
    r#"KEY=$(cat id | base64 | tr -d '\n'); echo -n "$KEY" | base64"#,
    r#"KEY=$(cat id | base64 -w 0); echo -n "$KEY" | base64 | tr -d '=\n'"#,
];

struct Desk {
    directory: TempDir,
}

impl Desk {
    /// `None`, after saying so, on a machine without age.
    fn with_age() -> Option<Self> {
        if ["age", "age-keygen"]
            .iter()
            .any(|program| Command::new(program).arg("--version").output().is_err())
        {
            eprintln!("skipped: age and age-keygen are not installed");
            return None;
        }
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        desk.sh("age-keygen > id 2>/dev/null");
        Some(desk)
    }

    #[track_caller]
    fn sh(&self, script: &str) -> String {
        let ran = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
        // As the shell does for `$(...)`.
        String::from_utf8(ran.stdout).unwrap().trim_end_matches('\n').to_owned()
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.state().join("auth.json")
    }

    /// The token file as if somebody had made it with age, restricted as it should be.
    fn put(&self, name: &str) {
        fs::create_dir_all(self.state()).unwrap();
        fs::copy(self.directory.path().join(name), self.file()).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn save(&self, key: Option<&str>, token: &MachineToken) {
        block_on(async { open(&self.state(), key).await.unwrap().save(token, None).await })
            .unwrap();
    }

    fn load(&self, key: Option<&str>) -> Result<Option<MachineToken>, StorageError> {
        block_on(async { open(&self.state(), key).await?.load().await })
    }
}

async fn open(directory: &Path, key: Option<&str>) -> Result<TokenStore, StorageError> {
    let encryption_key = key.map(|key| key.to_owned().into());
    TokenStore::open(StoreSettings {
        instance: "edge".into(),
        directory: Some(directory.to_owned()),
        kind: StoreKind::File,
        encryption_key,
    })
    .await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn the_documented_commands_make_keys_that_are_taken() {
    let Some(desk) = Desk::with_age() else { return };
    for command in COMMANDS {
        let key = desk.sh(command);
        desk.save(Some(&key), &token(&command.len().to_string()));
        let opened = desk.sh("age -d -i id state/auth.json");
        assert_eq!(
            serde_json::from_str::<MachineToken>(&opened).unwrap(),
            token(&command.len().to_string()),
            "{command}"
        );
        assert_eq!(
            desk.load(Some(&key)).unwrap(),
            Some(token(&command.len().to_string())),
            "{command}"
        );
    }
    assert!(!desk.state().join("encryption.key").exists());
}

#[test]
fn age_opens_what_is_encrypted_with_a_key_of_its_own() {
    let Some(desk) = Desk::with_age() else { return };
    desk.save(None, &token("one"));
    assert!(fs::read(desk.file()).unwrap().starts_with(b"age-encryption.org/v1\n"));
    let opened = desk.sh("age -d -i state/encryption.key state/auth.json");
    assert_eq!(serde_json::from_str::<MachineToken>(&opened).unwrap(), token("one"));
    let recipient = desk.sh("age-keygen -y state/encryption.key");
    assert!(desk.sh("cat state/encryption.key").contains(&format!("# public key: {recipient}")));
}

#[test]
fn files_made_by_age_open() {
    let Some(desk) = Desk::with_age() else { return };
    fs::write(
        desk.directory.path().join("token.json"),
        serde_json::to_string(&token("one")).unwrap(),
    )
    .unwrap();
    desk.sh("age-keygen > other 2>/dev/null");
    for arguments in [
        "-r $(age-keygen -y id)",
        "-a -r $(age-keygen -y id)",
        "-r $(age-keygen -y other) -r $(age-keygen -y id)",
        "-i id",
    ] {
        desk.sh(&format!("rm -f made; age -e {arguments} -o made token.json"));
        desk.put("made");
        assert_eq!(desk.load(Some(&desk.sh("cat id"))).unwrap(), Some(token("one")), "{arguments}");
    }
    desk.sh("rm -f made; age -e -r $(age-keygen -y other) -o made token.json");
    desk.put("made");
    assert!(matches!(desk.load(Some(&desk.sh("cat id"))), Err(StorageError::NoMatchingKey { .. })));
}

#[test]
fn keys_are_rotated_without_authorizing_again() {
    let Some(desk) = Desk::with_age() else { return };
    let old = desk.sh("cat id | base64 -w 0");
    desk.save(Some(&old), &token("one"));
    desk.sh("age-keygen > new 2>/dev/null");
    let new = desk.sh("cat new | base64 -w 0");
    let both = format!("{new},{old}");
    assert_eq!(desk.load(Some(&both)).unwrap(), Some(token("one")));
    desk.save(Some(&both), &token("two"));
    assert_eq!(desk.load(Some(&new)).unwrap(), Some(token("two")));
    desk.sh("age -d -i new state/auth.json");
    assert!(desk.load(Some(&old)).is_err());
}

#[test]
fn keys_that_are_not_supported_say_so() {
    let Some(desk) = Desk::with_age() else { return };
    let public = desk.sh("age-keygen -y id");
    for (key, word) in [
        (public.as_str(), "public key"),
        ("AGE-SECRET-KEY-PQ-1ABC", "post-quantum"),
        ("correct horse battery staple", "passphrase"),
    ] {
        let error = desk.load(Some(key)).unwrap_err().to_string();
        assert!(
            error.starts_with("RUNBEAM_ENCRYPTION_KEY: ")
                && error.contains(word)
                && !error.contains(key),
            "{error}"
        );
    }
}

#[test]
fn keygen_makes_such_a_key() {
    let ran = Program::with(&["keygen"]).run();
    let key = ran.stdout.trim();
    assert!(!key.contains(char::is_whitespace) && EncryptionKeys::parse(key).is_ok(), "{ran:?}");
}
