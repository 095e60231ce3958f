//! The token outlives the process, in every store that promises so, and is never readable on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use harmony::runbeam::{MachineToken, StoreKind, StoreSettings, TokenStore};
use zeroize::Zeroizing;

use super::{authorize, await_state, edge, info, post};
use crate::support::{Cloud, Edge, Upstream, secrets};

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

#[test]
fn the_encrypted_file() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let key = harmony::runbeam::EncryptionKeys::generate().first();
    secrets::remember(&key);
    for (what, kind, key) in [("of its own", "auto", None), ("of its own, asked for", "file", None), ("given", "auto", Some(&key))] {
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
            assert!(!content.windows(token.len()).any(|window| window == token.as_bytes()), "{what}: {}", file.display());
        }
        edge.restart();
        let told = await_state(&edge, "authorized");
        assert_eq!(told["token_source"], "store", "{what}: {told}");
        assert!(told["token_store"].as_str().is_some_and(|store| store.contains("auth.json")), "{told}");
        assert_eq!(edge.steer("POST", "/admin/deauthorize").send().status, 200);
        assert!(token_file(&edge).is_none(), "{what}: forgotten");
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
    let body = serde_json::json!({ "machine_token": "mt_second", "expires_at": "2099-01-01T00:00:00Z", "gateway_id": "g", "gateway_code": "c" });
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
    let key = harmony::runbeam::EncryptionKeys::generate().first();
    secrets::remember(&key);
    let body = serde_json::json!({ "gateway_code": "edge-1", "encryption_key": key.as_str() });
    assert_eq!(post(&edge, "/admin/authorize", &body).bearer(&cloud.user_token().sign()).send().status, 201);
    edge.restart();
    assert_eq!(await_state(&edge, "authorized")["token_source"], "store");
}

#[test]
fn a_token_that_another_process_stores_is_picked_up() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let key = harmony::runbeam::EncryptionKeys::generate().first();
    secrets::remember(&key);
    let edge = edge(&cloud, &upstream).env("RUNBEAM_ENCRYPTION_KEY", &key).start();
    assert_eq!(info(&edge)["state"], "unauthorized");
    let settings = StoreSettings {
        instance: "edge-1".to_owned(),
        directory: Some(edge.directory().join("home/.runbeam/edge-1")),
        kind: StoreKind::File,
        encryption_key: Some(Zeroizing::new(key.to_string())),
    };
    let token = MachineToken::new("mt_elsewhere", "2099-01-01T00:00:00Z", "gateway-9", "edge-1", Vec::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { TokenStore::open(settings).await.unwrap().save(&token, None).await.unwrap() });
    assert_eq!(await_state(&edge, "authorized")["gateway_id"], "gateway-9");
}
