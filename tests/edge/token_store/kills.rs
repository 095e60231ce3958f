//! SIGKILL while a token is being saved: the old one or the new one is there, whole, and nothing of
//! either in plain text.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use runbeam_sdk::{MachineToken, StoreKind, StoreSettings, TokenStore};

use super::child::{INSTANCE, command, token};

const KILLS: usize = 200;
/// Where the key comes from, in as many homes at a time.
const LANE_KEYS: [Key; 4] =
    [Key::Variable, Key::MadeAtFirstUse, Key::GivenEachTime, Key::GivenEachTime];
/// A save takes a few of these.
const LATEST: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Variable,
    MadeAtFirstUse,
    GivenEachTime,
}

#[test]
fn two_hundred_kills_leave_the_old_token_or_the_new_one() {
    let outcomes = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANE_KEYS.len())
            .map(|lane| scope.spawn(move || run_lane(LANE_KEYS[lane], KILLS / LANE_KEYS.len())))
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect::<Vec<_>>()
    });
    let (saves, interrupted) = outcomes
        .iter()
        .fold((0, 0), |(saves, interrupted), one| (saves + one.0, interrupted + one.1));
    println!("{KILLS} kills among {saves} saves; {interrupted} left a temporary file");
    assert!(saves > KILLS, "the children did save");
    assert!(interrupted > 0, "no kill came in the middle of a save: the test shows nothing");
}

/// How many saves there were, and how many kills came in the middle of one.
fn run_lane(from: Key, kills: usize) -> (usize, usize) {
    let home = tempfile::tempdir().unwrap();
    let key = (from == Key::Variable)
        .then(|| runbeam_sdk::EncryptionKeys::generate().first().to_string());
    let (mut newest, mut saves, mut interrupted) = (0, 0, 0);
    for _ in 0..kills {
        let act = if from == Key::GivenEachTime { "fill-with-keys" } else { "fill" };
        let mut start = command(home.path(), &format!("{act} {}", newest + 1));
        start.envs(key.iter().map(|key| ("RUNBEAM_ENCRYPTION_KEY", key)));
        let child = start.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let acknowledged = kill_at_random(child);
        let directory = home.path().join(".runbeam").join(INSTANCE);
        interrupted += usize::from(assert_no_plain_text(&directory));
        let found = load(&directory, key.as_deref());
        let number: usize = found.gateway_id.strip_prefix("id-").unwrap().parse().unwrap();
        assert_eq!(found, token(&number.to_string()), "half of one, half of another");
        assert!(
            number >= acknowledged.unwrap_or(newest),
            "{number} was replaced by {acknowledged:?} before"
        );
        saves += number - newest;
        newest = number;
    }
    (saves, interrupted)
}

/// The number of the last save that the child said was done. The first is waited for, as there is
/// no old token before it.
fn kill_at_random(mut child: Child) -> Option<usize> {
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("stored ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the child ended by itself");
    }
    thread::sleep(Duration::from_micros(fastrand::u64(
        ..=u64::try_from(LATEST.as_micros()).unwrap(),
    )));
    child.kill().unwrap();
    child.wait().unwrap();
    said.read_to_string(&mut line).unwrap();
    // The last line may have been cut.
    let whole = &line[..line.rfind('\n')? + 1];
    whole.lines().filter_map(|line| line.strip_prefix("stored ")?.parse().ok()).next_back()
}

fn load(directory: &Path, key: Option<&str>) -> MachineToken {
    let settings = StoreSettings {
        instance: INSTANCE.into(),
        directory: Some(directory.to_owned()),
        kind: StoreKind::File,
        encryption_key: key.map(|key| key.to_owned().into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token =
        runtime.block_on(async { TokenStore::open(settings).await.unwrap().load().await.unwrap() });
    token.expect("a token is there")
}

/// Looks at every file, what is half written included; tells whether there was such a one.
fn assert_no_plain_text(directory: &Path) -> bool {
    let mut half_written = false;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        for plain in [&b"mt_secret"[..], b"machine_token", b"gateway"] {
            assert!(
                !content.windows(plain.len()).any(|part| part == plain),
                "{} in {}",
                String::from_utf8_lossy(plain),
                path.display()
            );
        }
        half_written |= path.extension().is_some_and(|extension| extension == "tmp");
    }
    half_written
}
