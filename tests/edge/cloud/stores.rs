//! The token outlives the process, in every store that promises so, and is never readable on the
//! disk.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use runbeam_sdk::{MachineToken, StoreKind, StoreSettings, TokenStore};
use serde_json::json;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{SOON, authorize, await_state, edge, info, post};
use crate::support::{Cloud, Edge, Upstream, eventually, secrets};

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

fn token_file(edge: &Edge) -> Option<PathBuf> {
    files(edge.directory()).into_iter().find(|path| path.ends_with("auth.json"))
}

/// The store of an edge, for another process.
fn settings(edge: &Edge, key: &str) -> StoreSettings {
    StoreSettings {
        instance: "edge-1".to_owned(),
        directory: Some(edge.directory().join("home/.runbeam/edge-1")),
        kind: StoreKind::File,
        encryption_key: Some(Zeroizing::new(key.to_owned())),
    }
}

#[test]
fn the_encrypted_file() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let key = runbeam_sdk::EncryptionKeys::generate().first();
    secrets::remember(&key);
    for (what, kind, key) in [
        ("of its own", "auto", None),
        ("of its own, asked for", "file", None),
        ("given", "auto", Some(&key)),
    ] {
        let mut builder = edge(&cloud, &upstream).and(&format!("token_store = \"{kind}\""));
        if let Some(key) = key {
            builder = builder.env("RUNBEAM_ENCRYPTION_KEY", key);
        }
        let mut edge = builder.start();
        assert_eq!(authorize(&edge, &cloud).status, 201, "{what}");
        let file = token_file(&edge).unwrap_or_else(|| panic!("{what}: a token file"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{what}");
        assert!(fs::read(&file).unwrap().starts_with(b"age-encryption.org/v1"), "{what}");
        let token = cloud.issued_tokens().pop().unwrap();
        for file in files(edge.directory()) {
            let content = fs::read(&file).unwrap();
            assert!(
                !content.windows(token.len()).any(|window| window == token.as_bytes()),
                "{what}: {}",
                file.display()
            );
        }
        edge.restart();
        let told = await_state(&edge, "authorized");
        assert_eq!(told["token_source"], "store", "{what}: {told}");
        assert!(
            told["token_store"].as_str().is_some_and(|store| store.contains("auth.json")),
            "{told}"
        );
        assert_eq!(edge.steer("POST", "/admin/deauthorize").send().status, 200);
        assert!(token_file(&edge).is_none(), "{what}: forgotten");
    }
}

/// A session bus with gnome-keyring on it, unlocked; both end with it.
struct Desktop {
    bus: Child,
    keyring: Child,
    address: String,
    _home: TempDir,
}

impl Desktop {
    /// `None`, after saying so, on a machine without them.
    fn start() -> Option<Self> {
        for program in ["dbus-daemon", "dbus-send", "gnome-keyring-daemon"] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("skipped: {program} is not installed");
                return None;
            }
        }
        let home = tempfile::tempdir().unwrap();
        let quiet = |program: &str| {
            let mut command = Command::new(program);
            command
                .env("HOME", home.path())
                .env("XDG_RUNTIME_DIR", home.path())
                .env("XDG_DATA_HOME", home.path())
                .stderr(Stdio::null());
            command
        };
        let mut bus = quiet("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let mut keyring = quiet("gnome-keyring-daemon");
        keyring
            .args(["--unlock", "--foreground", "--components=secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", &address);
        let mut keyring = keyring.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        keyring.stdin.take().unwrap().write_all(b"pw").unwrap();
        eventually("an unlocked keyring", SOON, || {
            let mut asked = quiet("dbus-send");
            asked.env("DBUS_SESSION_BUS_ADDRESS", &address).args([
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.secrets",
            ]);
            let asked = asked
                .args([
                    "/org/freedesktop/secrets",
                    "org.freedesktop.Secret.Service.ReadAlias",
                    "string:default",
                ])
                .output()
                .unwrap();
            String::from_utf8_lossy(&asked.stdout).contains("object path \"/org").then_some(())
        });
        Some(Self { bus, keyring, address, _home: home })
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for process in [&mut self.keyring, &mut self.bus] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn the_keyring() {
    let Some(desktop) = Desktop::start() else {
        return;
    };
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    for kind in ["auto", "keyring"] {
        let mut edge = edge(&cloud, &upstream)
            .and(&format!("token_store = \"{kind}\""))
            .env("DBUS_SESSION_BUS_ADDRESS", &desktop.address)
            .start();
        assert_eq!(authorize(&edge, &cloud).status, 201, "{kind}");
        assert!(token_file(&edge).is_none(), "{kind}: nowhere else");
        edge.restart();
        let told = await_state(&edge, "authorized");
        assert_eq!(
            (&told["token_source"], &told["token_store"]),
            (&"store".into(), &"keyring".into()),
            "{kind}: {told}"
        );
        assert_eq!(edge.steer("POST", "/admin/deauthorize").send().status, 200);
        edge.restart();
        assert_eq!(info(&edge)["state"], "unauthorized", "{kind}: forgotten");
    }
}

#[test]
fn memory_forgets() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let mut edge = edge(&cloud, &upstream).and("token_store = \"memory\"").start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_state(&edge, "authorized");
    assert!(token_file(&edge).is_none());
    edge.restart();
    assert_eq!(info(&edge)["state"], "unauthorized");
}

#[test]
fn where_the_token_cannot_be_stored_the_old_one_stays() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).and("token_store = \"file\"").start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    let before = await_state(&edge, "authorized")["token_expires_at"].clone();
    let file = token_file(&edge).unwrap();
    let kept = fs::read(&file).unwrap();
    // A directory in the place of the key: neither the old key can be read nor a new one made.
    let key = file.with_file_name("encryption.key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    let body = json!({ "machine_token": "mt_second", "expires_at": "2099-01-01T00:00:00Z",
        "gateway_id": "g", "gateway_code": "c" });
    let answer = post(&edge, "/admin/token", &body).send();
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(!answer.text().contains("encryption.key"), "{}", answer.text());
    assert_eq!(fs::read(&file).unwrap(), kept);
    assert_eq!(info(&edge)["token_expires_at"], before);
}

#[test]
fn a_key_that_comes_with_the_token_is_kept_for_the_restart() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let mut edge = edge(&cloud, &upstream).start();
    let key = runbeam_sdk::EncryptionKeys::generate().first();
    secrets::remember(&key);
    let body = json!({ "gateway_code": "edge-1", "encryption_key": key.as_str() });
    assert_eq!(
        post(&edge, "/admin/authorize", &body).bearer(&cloud.user_token().sign()).send().status,
        201
    );
    edge.restart();
    assert_eq!(await_state(&edge, "authorized")["token_source"], "store");
}

/// The old key can go once the gateway has started with both.
#[test]
fn a_token_that_only_the_second_key_opens_is_encrypted_with_the_first() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let [old, new] = [(); 2].map(|()| runbeam_sdk::EncryptionKeys::generate().first());
    secrets::remember(&old);
    secrets::remember(&new);
    let both = format!("{},{}", new.as_str(), old.as_str());
    let edge = edge(&cloud, &upstream).env("RUNBEAM_ENCRYPTION_KEY", &both).start();
    let with = |key: &str| settings(&edge, key);
    let token =
        MachineToken::new("mt_rotated", "2099-01-01T00:00:00Z", "gateway-7", "edge-1", Vec::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        TokenStore::open(with(&old)).await.unwrap().save(&token, None).await.unwrap()
    });
    assert_eq!(await_state(&edge, "authorized")["gateway_id"], "gateway-7");
    let found = runtime.block_on(async {
        TokenStore::open(with(&new)).await.unwrap().load().await.unwrap().unwrap()
    });
    assert_eq!(found.machine_token, "mt_rotated");
    let refused =
        runtime.block_on(async { TokenStore::open(with(&old)).await.unwrap().load().await });
    assert!(refused.is_err(), "the old key opens nothing any more");
}

#[test]
fn a_token_that_another_process_stores_is_picked_up() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let key = runbeam_sdk::EncryptionKeys::generate().first();
    secrets::remember(&key);
    let edge = edge(&cloud, &upstream).env("RUNBEAM_ENCRYPTION_KEY", &key).start();
    assert_eq!(info(&edge)["state"], "unauthorized");
    let token = MachineToken::new(
        "mt_elsewhere",
        "2099-01-01T00:00:00Z",
        "gateway-9",
        "edge-1",
        Vec::new(),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        TokenStore::open(settings(&edge, &key)).await.unwrap().save(&token, None).await.unwrap()
    });
    assert_eq!(await_state(&edge, "authorized")["gateway_id"], "gateway-9");
}
