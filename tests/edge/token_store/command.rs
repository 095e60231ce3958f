//! `harmony-edge token`: the stored token is shown, encrypted anew and removed, while nothing runs.

use runbeam_sdk::{EncryptionKeys, StoreKind, StoreSettings, TokenStore};

use super::child::token;
use crate::support::Program;
use crate::support::settings::Settings;

#[test]
fn a_token_is_shown_encrypted_anew_and_removed() {
    let state = tempfile::tempdir().unwrap();
    let open = |key: &str| {
        let settings = StoreSettings {
            instance: "edge-1".into(),
            directory: Some(state.path().to_owned()),
            kind: StoreKind::File,
            encryption_key: Some(key.to_owned().into()),
        };
        TokenStore::open(settings)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [old, new] = [(); 2].map(|()| EncryptionKeys::generate().first().to_string());
    runtime.block_on(async { open(&old).await.unwrap().save(&token("one"), None).await }).unwrap();
    let configuration = format!(
        "{}\n[runbeam]\nenabled = true\ntoken_store = \"file\"\n",
        Settings::open_to(1)
            .proxy(&format!("state_dir = {:?}", state.path()))
            .text()
            .replace("{port}", "18080")
            .replace("{mport}", "19090")
    );
    let run = |command: &str, keys: &str| {
        Program::with(&["token", "-c", "harmony.toml", command])
            .file("harmony.toml", &configuration)
            .env("RUNBEAM_ENCRYPTION_KEY", keys)
            .run()
    };
    let shown = run("show", &old);
    assert_eq!(shown.status, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("gateway id-one (code-one), until 2099-01-01"), "{shown:?}");
    assert!(!shown.stdout.contains("mt_secret"), "{shown:?}");
    assert_ne!(run("show", &new).status, Some(0), "another key does not open it");
    assert_eq!(run("rekey", &format!("{new},{old}")).status, Some(0));
    let load = |key: &str| runtime.block_on(async { open(key).await?.load().await });
    assert_eq!(load(&new).unwrap(), Some(token("one")));
    assert!(load(&old).is_err(), "the old key opens it no more");
    assert_eq!(run("clear", &new).status, Some(0));
    assert_eq!(load(&new).unwrap(), None);
    let behind = Program::with(&["token", "show", "-c", "harmony.toml"]);
    let behind = behind.file("harmony.toml", &configuration).run();
    assert!(behind.stderr.contains("no machine token"), "{behind:?}");
    let none = run("show", &new);
    assert!(none.status == Some(1) && none.stderr.contains("no machine token"), "{none:?}");
}
