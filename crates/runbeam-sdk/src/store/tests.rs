//! The choice of a store, and what becomes of the others. The keyring is a fake here; the real one
//! is in `tests/edge`.

mod copies;
mod given_keys;

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

    async fn try_open(&self, settings: StoreSettings) -> Result<TokenStore, StorageError> {
        let home = Some(self.home.path().to_owned());
        TokenStore::open_with(settings, self.keyring.clone(), home).await
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
            store.uses_environment_key(),
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
        Err(StorageError::NoDirectory)
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
        assert!(is_name(good), "{good}");
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
                Err(StorageError::Instance(_))
            ),
            "{bad:?}"
        );
        assert!(
            matches!(load_token(bad).await, Err(RunbeamError::Storage(_))),
            "{bad:?}"
        );
    }
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

/// A backend that a program brings.
#[derive(Debug, Default)]
struct Vault(MemoryStorage);

#[async_trait::async_trait]
impl StorageBackend for Vault {
    fn description(&self) -> String {
        "vault".to_owned()
    }

    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        self.0.get(name).await
    }

    async fn set(&self, name: &str, secret: &[u8]) -> Result<(), StorageError> {
        if secret.windows(7).any(|part| part == b"refused") {
            return Err(StorageError::Backend("sealed".into()));
        }
        self.0.set(name, secret).await
    }

    async fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.0.delete(name).await
    }
}

#[tokio::test]
async fn a_program_brings_a_backend_of_its_own() {
    let vault = Arc::new(Vault::default());
    let store = TokenStore::with_backend("edge", vault.clone()).unwrap();
    assert_eq!(
        (store.description().as_str(), store.persists()),
        ("vault", true)
    );
    assert_eq!(name(&store).await, None);
    store.save(&token("one"), None).await.unwrap();
    let error = store.save(&token("refused"), None).await.unwrap_err();
    assert_eq!(error.to_string(), "sealed");
    assert_eq!(
        name(&store).await.as_deref(),
        Some("one"),
        "the old one is as it was"
    );
    let other = TokenStore::with_backend("edge", vault.clone()).unwrap();
    assert_eq!(name(&other).await.as_deref(), Some("one"));
    // What else the program keeps there is not touched.
    vault.set("other", b"secret").await.unwrap();
    store.clear().await.unwrap();
    assert_eq!(
        (name(&other).await, other.location()),
        (None, Some("vault".to_owned()))
    );
    assert!(vault.get("other").await.unwrap().is_some());
    assert!(!format!("{vault:?}").contains("secret"));
    assert!(matches!(
        TokenStore::with_backend("a/b", vault),
        Err(StorageError::Instance(_))
    ));
}

#[tokio::test]
async fn encrypted_files_hold_more_than_one_secret() {
    let home = tempfile::tempdir().unwrap();
    let files = EncryptedFileStorage::new(home.path().join("state"), None);
    files.set("auth", b"first secret").await.unwrap();
    files.set("user", b"second secret").await.unwrap();
    for (file, name, secret) in [
        ("auth.json", "auth", b"first secret".as_slice()),
        ("user.token.json", "user", b"second secret"),
    ] {
        let stored = fs::read(home.path().join("state").join(file)).unwrap();
        assert!(!stored.windows(6).any(|part| part == b"secret"), "{file}");
        assert_eq!(&**files.get(name).await.unwrap().unwrap(), secret);
    }
    files.delete("auth").await.unwrap();
    files.delete("auth").await.unwrap();
    assert!(files.get("auth").await.unwrap().is_none());
    assert!(files.get("user").await.unwrap().is_some());
    for bad in ["", "..", "a/b"] {
        assert!(
            matches!(files.get(bad).await, Err(StorageError::TokenType(_))),
            "{bad:?}"
        );
    }
}
