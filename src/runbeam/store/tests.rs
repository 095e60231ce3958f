//! The choice of a store, and what becomes of the others. The keyring is a fake here; the real one is in `tests/edge`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::testing::FakeKeyring;
use super::*;

/// A machine with a home, a state directory and a keyring.
struct Machine {
    home: TempDir,
    keyring: Arc<FakeKeyring>,
}

impl Machine {
    fn with_keyring() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            keyring: Arc::default(),
        }
    }

    fn without_keyring() -> Self {
        let machine = Self::with_keyring();
        machine
            .keyring
            .fails_with(Some(KeyringError::Unavailable("there is none".into())));
        machine
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn settings(&self, kind: StoreKind, key: Option<&str>) -> StoreSettings {
        let encryption_key = key.map(|key| Zeroizing::new(key.to_owned()));
        StoreSettings {
            instance: "edge".into(),
            directory: Some(self.state()),
            kind,
            encryption_key,
        }
    }

    async fn try_open(&self, settings: StoreSettings) -> Result<TokenStore, StoreError> {
        let keyring = Keyring::Fake(self.keyring.clone());
        TokenStore::open_with(settings, keyring, Some(self.home.path().to_owned())).await
    }

    async fn open(&self, kind: StoreKind, key: Option<&str>) -> TokenStore {
        self.try_open(self.settings(kind, key)).await.unwrap()
    }

    async fn auto(&self) -> TokenStore {
        self.open(StoreKind::Auto, None).await
    }

    fn has_file(&self) -> bool {
        self.state().join("auth.json").exists()
    }

    /// What the published library would have left.
    fn leave(&self, json: &str, keys: &EncryptionKeys) -> PathBuf {
        let path = self.home.path().join(".runbeam/edge/runbeam/auth.json");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, keys.encrypt(json.as_bytes()).unwrap()).unwrap();
        path
    }
}

fn token(name: &str) -> MachineToken {
    MachineToken::new(
        name,
        "2099-01-01T00:00:00Z",
        "id",
        "code",
        vec!["a:b".into()],
    )
}

fn issued(name: &str, at: &str) -> MachineToken {
    let mut token = token(name);
    token.issued_at = Some(at.into());
    token
}

fn new_key() -> String {
    EncryptionKeys::generate().first().to_string()
}

async fn name(store: &TokenStore) -> Option<String> {
    store.load().await.unwrap().map(|token| token.machine_token)
}

#[tokio::test]
async fn the_choice() {
    let key = new_key();
    let file = |machine: &Machine| {
        format!(
            "encrypted file {}",
            machine.state().join("auth.json").display()
        )
    };
    for (kind, key, keyring, want) in [
        (StoreKind::Auto, Some(key.as_str()), true, "file"),
        (StoreKind::Auto, Some(" \n"), true, "keyring"),
        (StoreKind::Auto, None, true, "keyring"),
        (StoreKind::Auto, None, false, "file"),
        (StoreKind::File, None, true, "file"),
        (StoreKind::Keyring, Some(key.as_str()), true, "keyring"),
        (StoreKind::Memory, Some(key.as_str()), true, "memory"),
    ] {
        let machine = if keyring {
            Machine::with_keyring()
        } else {
            Machine::without_keyring()
        };
        let store = machine.open(kind, key).await;
        let want = if want == "file" {
            file(&machine)
        } else {
            want.to_owned()
        };
        let row = format!("{kind:?} {keyring} {}", key.is_some());
        assert_eq!(store.description(), want, "{row}");
        assert_eq!(store.persists(), want != "memory", "{row}");
        assert_eq!(
            store.uses_variable(),
            key.is_some() && want.contains("file"),
            "{row}"
        );
        assert_eq!(name(&store).await, None, "{row}");
        store.save(&token("one"), None).await.unwrap();
        assert_eq!(
            store.load().await.unwrap(),
            Some(token_as(&store, "one").await),
            "{row}"
        );
        assert_eq!(
            (machine.has_file(), machine.keyring.holds().is_some()),
            (want.contains("file"), want == "keyring"),
            "{row}"
        );
        let restarted = machine.open(kind, key).await;
        assert_eq!(name(&restarted).await.is_some(), want != "memory", "{row}");
        store.clear().await.unwrap();
        assert_eq!(
            (
                name(&store).await,
                machine.has_file(),
                machine.keyring.holds()
            ),
            (None, false, None),
            "{row}"
        );
    }
}

/// `token`, with the time at which the stored one was made.
async fn token_as(store: &TokenStore, name: &str) -> MachineToken {
    let stored = store.load().await.unwrap().unwrap();
    MachineToken {
        issued_at: stored.issued_at,
        ..token(name)
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_an_error() {
    let machine = Machine::without_keyring();
    let error = machine
        .try_open(machine.settings(StoreKind::Keyring, None))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "keyring: there is none");
    let mut settings = machine.settings(StoreKind::File, None);
    settings.directory = None;
    assert!(matches!(
        machine.try_open(settings).await,
        Err(StoreError::NoDirectory)
    ));
    for kind in [StoreKind::Auto, StoreKind::Memory] {
        let error = machine
            .try_open(machine.settings(kind, Some("hunter2 hunter2")))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("RUNBEAM_ENCRYPTION_KEY: key 1 ") && !error.contains("hunter"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn without_a_directory_there_is_memory() {
    let machine = Machine::without_keyring();
    for directory in [None, Some("/dev/null/edge".into())] {
        let settings = StoreSettings {
            directory,
            ..machine.settings(StoreKind::Auto, None)
        };
        let store = machine.try_open(settings).await.unwrap();
        assert_eq!(
            (store.description().as_str(), store.persists()),
            ("memory", false)
        );
        store.save(&token("one"), Some(&new_key())).await.unwrap();
        assert_eq!(name(&store).await.as_deref(), Some("one"));
        store.clear().await.unwrap();
        assert_eq!(name(&store).await, None);
    }
}

#[tokio::test]
async fn names_of_instances() {
    let machine = Machine::without_keyring();
    for good in ["edge", "prod-1", "a.b_C", "9"] {
        assert!(is_instance(good), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../x",
        "a b",
        "a\n",
        "é",
        "a\0",
        &"x".repeat(129),
    ] {
        let settings = StoreSettings {
            instance: bad.into(),
            ..machine.settings(StoreKind::Auto, None)
        };
        assert!(
            matches!(
                machine.try_open(settings).await,
                Err(StoreError::Instance(_))
            ),
            "{bad:?}"
        );
        assert!(
            matches!(load_token(bad).await, Err(RunbeamError::Store(_))),
            "{bad:?}"
        );
    }
}

#[tokio::test]
async fn a_key_that_came_with_the_token() {
    let machine = Machine::with_keyring();
    let store = machine.auto().await;
    store.save(&token("one"), None).await.unwrap();
    let given = new_key();
    store.save(&token("two"), Some(&given)).await.unwrap();
    assert!(machine.has_file() && machine.keyring.holds().is_none());
    assert!(store.description().starts_with("encrypted file"));
    // The restart reads it, and stays there.
    let restarted = machine.auto().await;
    assert_eq!(name(&restarted).await.as_deref(), Some("two"));
    restarted.save(&token("three"), None).await.unwrap();
    let keys = EncryptionKeys::parse(&given).unwrap();
    assert!(
        keys.decrypt(&fs::read(machine.state().join("auth.json")).unwrap())
            .is_ok()
    );
    assert!(machine.keyring.holds().is_none());
}

#[tokio::test]
async fn a_given_key_that_is_none_leaves_the_old_token() {
    let machine = Machine::without_keyring();
    let store = machine.auto().await;
    store.save(&token("one"), None).await.unwrap();
    let error = store
        .save(&token("two"), Some("hunter2 hunter2"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("encryption_key: ") && !error.contains("hunter"),
        "{error}"
    );
    assert_eq!(name(&store).await.as_deref(), Some("one"));
    store.save(&token("two"), Some(" ")).await.unwrap();
    assert_eq!(name(&store).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn the_variable_wins_over_a_given_key() {
    let machine = Machine::without_keyring();
    let (variable, given) = (new_key(), new_key());
    let store = machine.open(StoreKind::Auto, Some(&variable)).await;
    store.save(&token("one"), Some(&given)).await.unwrap();
    assert!(!machine.state().join("encryption.key").exists());
    let sealed = fs::read(machine.state().join("auth.json")).unwrap();
    assert!(
        EncryptionKeys::parse(&variable)
            .unwrap()
            .decrypt(&sealed)
            .is_ok()
    );
    assert!(
        EncryptionKeys::parse(&given)
            .unwrap()
            .decrypt(&sealed)
            .is_err()
    );
}

#[tokio::test]
async fn a_token_that_no_key_opens_is_an_error_until_it_is_replaced() {
    let machine = Machine::without_keyring();
    let (old, new) = (new_key(), new_key());
    machine
        .open(StoreKind::Auto, Some(&old))
        .await
        .save(&token("one"), None)
        .await
        .unwrap();
    let store = machine.open(StoreKind::Auto, Some(&new)).await;
    assert!(matches!(
        store.load().await,
        Err(StoreError::NoMatchingKey { .. })
    ));
    let rotated = machine
        .open(StoreKind::Auto, Some(&format!("{new},{old}")))
        .await;
    assert_eq!(name(&rotated).await.as_deref(), Some("one"));
    store.save(&token("two"), None).await.unwrap();
    assert_eq!(name(&store).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_token_in_another_store_is_found() {
    let machine = Machine::with_keyring();
    machine
        .open(StoreKind::Keyring, None)
        .await
        .save(&token("one"), None)
        .await
        .unwrap();
    // The variable is set now: the file is the choice.
    let store = machine.open(StoreKind::Auto, Some(&new_key())).await;
    assert_eq!(name(&store).await.as_deref(), Some("one"));
    store.save(&token("two"), None).await.unwrap();
    assert!(machine.keyring.holds().is_none() && machine.has_file());

    let machine = Machine::without_keyring();
    machine
        .auto()
        .await
        .save(&token("one"), None)
        .await
        .unwrap();
    machine.keyring.fails_with(None);
    let store = machine.auto().await;
    assert_eq!(
        (store.description().as_str(), name(&store).await.as_deref()),
        ("keyring", Some("one"))
    );
    store.save(&token("two"), None).await.unwrap();
    assert!(machine.keyring.holds().is_some() && !machine.has_file());
}

#[tokio::test]
async fn a_stale_token_does_not_come_back() {
    let machine = Machine::with_keyring();
    let store = machine.auto().await;
    store
        .save(&issued("old", "2026-01-01T00:00:00Z"), None)
        .await
        .unwrap();
    // The keyring is locked when the token is renewed: the file takes it.
    machine.keyring.fails_with(Some(KeyringError::Locked));
    store
        .save(&issued("new", "2026-01-02T00:00:00Z"), None)
        .await
        .unwrap();
    assert!(store.description().starts_with("encrypted file"));
    assert_eq!(name(&store).await.as_deref(), Some("new"));
    // It opens again, with the old token in it.
    machine.keyring.fails_with(None);
    assert!(machine.keyring.holds().is_some());
    let restarted = machine.auto().await;
    assert_eq!(restarted.description(), "keyring");
    assert_eq!(name(&restarted).await.as_deref(), Some("new"));
    restarted.clear().await.unwrap();
    assert_eq!(
        (
            name(&restarted).await,
            machine.has_file(),
            machine.keyring.holds()
        ),
        (None, false, None)
    );
}

#[tokio::test]
async fn a_keyring_that_was_asked_for_is_not_replaced_by_a_file() {
    let machine = Machine::with_keyring();
    let store = machine.open(StoreKind::Keyring, None).await;
    store.save(&token("one"), None).await.unwrap();
    machine.keyring.fails_with(Some(KeyringError::Silent));
    for error in [
        store.save(&token("two"), None).await.unwrap_err(),
        store.load().await.unwrap_err(),
        store.clear().await.unwrap_err(),
    ] {
        assert!(
            matches!(error, StoreError::Keyring(KeyringError::Silent)),
            "{error}"
        );
    }
    assert!(!machine.has_file());
    machine.keyring.fails_with(None);
    assert_eq!(name(&store).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn damage_in_one_store_does_not_hide_the_other() {
    let machine = Machine::with_keyring();
    machine
        .open(StoreKind::File, None)
        .await
        .save(&token("file"), None)
        .await
        .unwrap();
    machine.keyring.put(b"mt_secret, not JSON");
    let store = machine.auto().await;
    assert_eq!(name(&store).await.as_deref(), Some("file"));
    fs::write(machine.state().join("auth.json"), "not age").unwrap();
    let error = store.load().await.unwrap_err().to_string();
    assert!(!error.contains("mt_secret"), "{error}");
    machine
        .keyring
        .put(&token::to_json(&token("keyring")).unwrap());
    assert_eq!(name(&store).await.as_deref(), Some("keyring"));
}

#[tokio::test]
async fn what_the_library_left_is_read_once() {
    let keys = EncryptionKeys::generate();
    let json = r#"{"machine_token":"mt_left","expires_at":"2099-01-01T00:00:00+00:00","gateway_id":"id","abilities":[],"issued_at":"2025-01-01T00:00:00+00:00"}"#;
    for (row, variable) in [("key in the variable", true), ("key beside it", false)] {
        let machine = Machine::without_keyring();
        let left = machine.leave(json, &keys);
        if !variable {
            let text = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                keys.first().as_bytes(),
            );
            fs::write(
                machine.home.path().join(".runbeam/edge/encryption.key"),
                text,
            )
            .unwrap();
        }
        let variable = keys.first();
        let variable = (row == "key in the variable").then_some(variable.as_str());
        let store = machine.open(StoreKind::Auto, variable).await;
        let token = store.load().await.unwrap().unwrap();
        assert_eq!(
            (token.machine_token.as_str(), token.gateway_code.as_str()),
            ("mt_left", "edge"),
            "{row}"
        );
        assert!(machine.has_file(), "{row}: it is ours now");
        fs::write(&left, "no longer looked at").unwrap();
        assert_eq!(
            name(&machine.open(StoreKind::Auto, variable).await)
                .await
                .as_deref(),
            Some("mt_left"),
            "{row}"
        );
        store.clear().await.unwrap();
        assert!(
            !left.exists() && name(&store).await.is_none(),
            "{row}: it does not come back"
        );
    }
    // One that cannot be read is no obstacle.
    let machine = Machine::without_keyring();
    machine.leave(json, &keys);
    assert_eq!(name(&machine.auto().await).await, None);
}

#[tokio::test]
async fn another_processs_token_is_noticed() {
    let machine = Machine::without_keyring();
    let (agent, other) = (machine.auto().await, machine.auto().await);
    assert!(!agent.changed().await);
    assert_eq!(name(&agent).await, None);
    assert!(!agent.changed().await);
    for what in ["one", "two"] {
        other.save(&token(what), None).await.unwrap();
        assert!(
            agent.changed().await && agent.changed().await,
            "until it is loaded"
        );
        assert_eq!(name(&agent).await.as_deref(), Some(what));
        assert!(!agent.changed().await);
    }
    agent.save(&token("own"), None).await.unwrap();
    assert!(!agent.changed().await && other.changed().await);
    fs::write(machine.state().join("auth.json"), "damaged").unwrap();
    assert!(agent.changed().await);
    assert!(
        agent.load().await.is_err() && !agent.changed().await,
        "said once"
    );
    other.clear().await.unwrap();
    assert!(agent.changed().await && !other.changed().await);
    assert_eq!(name(&agent).await, None);
}

#[tokio::test]
async fn a_change_of_the_keyring_is_noticed_at_intervals() {
    let machine = Machine::with_keyring();
    let agent = machine.auto().await;
    assert!(!agent.changed().await);
    machine.keyring.put(&token::to_json(&token("one")).unwrap());
    assert!(!agent.changed().await, "asked a moment ago");
    *locked(&agent.seen) = Seen::default();
    assert!(agent.changed().await);
    assert_eq!(name(&agent).await.as_deref(), Some("one"));
    assert!(!agent.changed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_save_at_once_and_the_last_wins_whole() {
    let machine = Machine::without_keyring();
    let store = Arc::new(machine.auto().await);
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("mt_{number}_{}", "x".repeat(500 * number));
                store.save(&token(&name), None).await.unwrap();
                let read = store.load().await.unwrap().unwrap().machine_token;
                let of: usize = read.split('_').nth(1).unwrap().parse().unwrap();
                assert_eq!(read.len(), format!("mt_{of}_").len() + 500 * of);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.save(&token("last"), None).await.unwrap();
    assert_eq!(name(&store).await.as_deref(), Some("last"));
}

#[tokio::test]
async fn nothing_that_is_shown_is_secret() {
    let machine = Machine::without_keyring();
    let key = new_key();
    let settings = machine.settings(StoreKind::Auto, Some(&key));
    let store = machine.open(StoreKind::Memory, Some(&key)).await;
    store.save(&token("mt_secret"), None).await.unwrap();
    for shown in [format!("{settings:?}"), format!("{store:?}")] {
        assert!(
            !shown.contains("AGE-SECRET") && !shown.contains("mt_secret"),
            "{shown}"
        );
    }
    assert!(
        Path::new(&machine.state()).read_dir().is_err(),
        "memory writes nothing"
    );
}
