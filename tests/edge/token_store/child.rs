//! A process of its own that uses the token store: this test binary, started again with [`ACT`] in
//! its environment.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;
use std::{env, io};

use runbeam_sdk::{
    EncryptionKeys, MachineToken, StoreKind, StoreSettings, TokenStore, clear_token, load_token,
    save_token,
};

/// What to do: the name of an [`Act`] and its arguments.
const ACT: &str = "TOKEN_STORE_ACT";
pub const INSTANCE: &str = "edge";

/// What the process did, as [`run`] saw it.
#[derive(Debug)]
pub struct Said {
    /// What the act came to.
    pub outcome: String,
    /// How long opening the store took.
    pub milliseconds: u64,
    /// Its log.
    pub log: String,
}

/// A token whose fields belong together.
pub fn token(name: &str) -> MachineToken {
    let mut token = MachineToken::new(
        format!("mt_secret_{name}"),
        "2099-01-01T00:00:00Z",
        format!("id-{name}"),
        format!("code-{name}"),
        vec!["a:b".into()],
    );
    token.issued_at = Some("2026-01-01T00:00:00Z".into());
    token
}

/// The process with a home and an environment of its own, not yet started.
pub fn command(home: &Path, act: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args(["--exact", "token_store::child::act", "--nocapture", "--test-threads=1"]);
    isolate(&mut command, home);
    command.env(ACT, act);
    command
}

/// Nothing of the environment of the tests, and no session bus.
pub fn isolate(command: &mut Command, home: &Path) {
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    for (name, directory) in [
        ("XDG_RUNTIME_DIR", "run"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_CACHE_HOME", "cache"),
    ] {
        command.env(name, home.join(directory));
    }
    command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", home.join("no-bus").display()));
}

#[track_caller]
pub fn run(command: &mut Command) -> Said {
    said(&command.output().expect("the child starts"))
}

#[track_caller]
pub fn said(output: &Output) -> Said {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let field = |name: &str| {
        stdout
            .lines()
            .find_map(|line| line.split_once(name))
            .unwrap_or_else(|| panic!("no {name:?}:\n{stdout}\n{stderr}"))
            .1
            .to_owned()
    };
    let milliseconds = field("opened in: ").parse().expect("milliseconds");
    Said { outcome: field("outcome: "), milliseconds, log: stderr.into_owned() }
}

/// A shell script with an isolated environment; `$act` in it is the child, which takes its act from
/// `TOKEN_STORE_ACT`.
pub fn script(home: &Path, script: &str) -> Command {
    let binary = env::current_exe().expect("this binary");
    let act = [
        binary.as_os_str(),
        OsStr::new("--exact token_store::child::act --nocapture --test-threads=1"),
    ]
    .join(OsStr::new(" "));
    let mut command = Command::new("sh");
    isolate(&mut command, home);
    command.env_remove("DBUS_SESSION_BUS_ADDRESS").env("act", act).args(["-euc", script]);
    command
}

/// No test, but what [`command`] starts.
#[test]
fn act() {
    let Ok(act) = env::var(ACT) else { return };
    env_logger::Builder::new().filter_module("runbeam_sdk", log::LevelFilter::Debug).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let words: Vec<&str> = act.split_whitespace().collect();
    let outcome = runtime.block_on(perform(&words));
    println!("\noutcome: {outcome}");
}

#[allow(clippy::print_stdout, reason = "what the parent reads")]
async fn perform(words: &[&str]) -> String {
    let begun = Instant::now();
    let store = TokenStore::open(settings()).await;
    println!("\nopened in: {}", begun.elapsed().as_millis());
    let store = match store {
        Ok(store) => store,
        Err(error) => return error.to_string(),
    };
    match words {
        ["describe"] => store.description(),
        ["save", name] => match save_token(INSTANCE, &token(name)).await {
            Ok(()) => format!("saved, {}", store.description()),
            Err(error) => error.to_string(),
        },
        ["load"] => match load_token(INSTANCE).await {
            Ok(Some(found)) => found.gateway_id,
            Ok(None) => "none".into(),
            Err(error) => error.to_string(),
        },
        ["clear"] => clear_token(INSTANCE)
            .await
            .map_or_else(|error| error.to_string(), |()| "cleared".into()),
        ["seed"] => super::seed::instance_isolation()
            .await
            .map_or_else(|error| error.to_string(), |()| "done".into()),
        ["at-once"] => {
            super::seed::at_once().await.map_or_else(|error| error.to_string(), |()| "done".into())
        }
        ["types"] => super::types::side_by_side()
            .await
            .map_or_else(|error| error.to_string(), |()| "done".into()),
        ["outlive", restart] => outlive(&store, restart).await,
        ["fill", first] => fill(&store, first.parse().unwrap(), false).await,
        ["fill-with-keys", first] => fill(&store, first.parse().unwrap(), true).await,
        other => panic!("{other:?}"),
    }
}

/// Uses the keyring before and after it is restarted by a script.
async fn outlive(store: &TokenStore, restart: &str) -> String {
    store.save(&token("one"), None).await.unwrap();
    assert!(Command::new("sh").arg(restart).status().unwrap().success());
    let found = store.load().await.unwrap().unwrap();
    store.save(&token("two"), None).await.unwrap();
    format!(
        "{} then {}, {}",
        found.gateway_id,
        store.load().await.unwrap().unwrap().gateway_id,
        store.description()
    )
}

/// Saves one token after the other, and says which is on the disk, until it is killed.
async fn fill(store: &TokenStore, first: u64, with_keys: bool) -> ! {
    let mut stdout = io::stdout();
    for number in first.. {
        let key = with_keys.then(|| EncryptionKeys::generate().first());
        store.save(&token(&number.to_string()), key.as_deref().map(String::as_str)).await.unwrap();
        writeln!(stdout, "stored {number}").unwrap();
    }
    unreachable!("numbers do not end")
}

fn settings() -> StoreSettings {
    StoreSettings {
        instance: INSTANCE.into(),
        directory: env::home_dir().map(|home| home.join(".runbeam").join(INSTANCE)),
        kind: StoreKind::Auto,
        encryption_key: env::var("RUNBEAM_ENCRYPTION_KEY").ok().map(Into::into),
    }
}
