//! The file on a real disk: who can read it, which key opens it, what an interruption leaves.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

const TOKEN: &str = "auth.json";
const SECRET: &[u8] = b"{\"machine_token\":\"mt_plain\"}";

struct Home {
    home: TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("state/edge")
    }

    fn file(&self, keys: Option<&EncryptionKeys>) -> EncryptedFile {
        EncryptedFile::new(self.directory(), TOKEN_NAME, keys.cloned())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory().join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn loaded(file: &EncryptedFile) -> Option<Vec<u8>> {
    file.load()
        .unwrap()
        .map(|decrypted| decrypted.plain.to_vec())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_token_is_kept_encrypted_and_its_owners_alone() {
    let home = Home::new();
    let file = home.file(None);
    assert_eq!(loaded(&file), None);
    assert!(!home.directory().exists(), "reading makes nothing");
    let mark = file.save(SECRET, None).unwrap().unwrap();
    assert_eq!(file.load().unwrap().unwrap().mark, mark);
    assert_eq!(loaded(&home.file(None)).unwrap(), SECRET);
    assert_eq!(home.names(), [TOKEN, KEY]);
    for name in home.names() {
        assert_eq!(mode(&home.directory().join(&name)), 0o600, "{name}");
        let bytes = fs::read(home.directory().join(name)).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"mt_plain"));
    }
    assert_eq!(mode(&home.directory()), 0o700);
    assert!(
        fs::read(file.path())
            .unwrap()
            .starts_with(b"age-encryption.org/v1\n")
    );
    assert!(
        home.read(KEY)
            .starts_with("# made by harmony-edge at first use\n# public key: age1")
            && !file.has_given_key()
    );
    file.clear().unwrap();
    file.clear().unwrap();
    assert_eq!((loaded(&file), home.names()), (None, vec![KEY.to_owned()]));
}

#[test]
fn the_variable_needs_no_key_file() {
    let home = Home::new();
    let (old, new) = (EncryptionKeys::generate(), EncryptionKeys::generate());
    home.file(Some(&old)).save(SECRET, None).unwrap();
    assert_eq!(home.names(), [TOKEN]);
    assert!(matches!(
        home.file(Some(&new)).load(),
        Err(StorageError::NoMatchingKey { .. })
    ));
    assert!(matches!(
        home.file(None).load(),
        Err(StorageError::NoKey { .. })
    ));
    assert_eq!(home.names(), [TOKEN], "nothing is deleted");
    // Rotation: NEW,OLD reads the old token, and writes the next one for NEW.
    let both = new.clone().followed_by(&old);
    assert_eq!(loaded(&home.file(Some(&both))).unwrap(), SECRET);
    home.file(Some(&both)).save(SECRET, None).unwrap();
    assert_eq!(loaded(&home.file(Some(&new))).unwrap(), SECRET);
    assert!(home.file(Some(&old)).load().is_err());
    home.file(Some(&old)).save(b"again", None).unwrap();
    assert_eq!(loaded(&home.file(Some(&old))).unwrap(), b"again");
}

#[test]
fn a_variable_set_later_still_opens_what_the_key_file_opened() {
    let home = Home::new();
    home.file(None).save(SECRET, None).unwrap();
    let variable = EncryptionKeys::generate();
    assert_eq!(loaded(&home.file(Some(&variable))).unwrap(), SECRET);
    fs::write(home.directory().join(KEY), "broken").unwrap();
    home.file(Some(&variable)).save(SECRET, None).unwrap();
    assert_eq!(loaded(&home.file(Some(&variable))).unwrap(), SECRET);
}

#[test]
fn a_given_key_becomes_the_instances() {
    let home = Home::new();
    let (first, second) = (EncryptionKeys::generate(), EncryptionKeys::generate());
    home.file(None).save(b"old", None).unwrap();
    for given in [&first, &second] {
        home.file(None).save(SECRET, Some(given)).unwrap();
        assert_eq!(loaded(&home.file(None)).unwrap(), SECRET);
        let key = home.read(KEY);
        assert!(
            key.starts_with("# given with a request\n") && key.contains(given.first().as_str())
        );
        assert_eq!(key.matches("AGE-SECRET-KEY").count(), 1);
        assert!(home.file(None).has_given_key());
    }
    assert!(given_opens(&home, &second) && !given_opens(&home, &first));
    // Without a key, the next token goes by the same one.
    home.file(None).save(b"next", None).unwrap();
    assert!(given_opens(&home, &second));
}

#[test]
fn a_given_key_leaves_other_tokens_readable() {
    let home = Home::new();
    let given = EncryptionKeys::generate();
    let user = EncryptedFile::new(home.directory(), "user", None);
    user.save(b"user's", None).unwrap();
    home.file(None).save(b"old", None).unwrap();
    home.file(None).save(SECRET, Some(&given)).unwrap();
    assert!(given_opens(&home, &given));
    for file in [user, home.file(None)] {
        let own = file.path().ends_with(TOKEN);
        let expected = if own { SECRET } else { b"user's".as_slice() };
        assert_eq!(loaded(&file).unwrap(), expected);
    }
}

fn given_opens(home: &Home, key: &EncryptionKeys) -> bool {
    key.decrypt(&fs::read(home.directory().join(TOKEN)).unwrap())
        .is_ok()
}

#[test]
fn a_given_key_whose_token_cannot_be_written_changes_nothing() {
    let home = Home::new();
    let file = home.file(None);
    file.save(SECRET, None).unwrap();
    let key = home.read(KEY);
    let sealed = fs::read(file.path()).unwrap();
    // A directory in its place: nothing can be renamed over it.
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    let given = EncryptionKeys::generate();
    assert!(matches!(
        file.save(b"new", Some(&given)),
        Err(StorageError::Io { .. })
    ));
    assert_eq!(home.read(KEY), key);
    fs::remove_dir(file.path()).unwrap();
    fs::write(file.path(), sealed).unwrap();
    assert_eq!(loaded(&file).unwrap(), SECRET);

    let home = Home::new();
    fs::create_dir_all(home.directory().join(TOKEN)).unwrap();
    assert!(home.file(None).save(b"new", Some(&given)).is_err());
    assert_eq!(home.names(), [TOKEN]);
}

#[test]
fn an_interrupted_change_of_keys_leaves_a_readable_token() {
    let home = Home::new();
    let file = home.file(None);
    file.save(SECRET, None).unwrap();
    // As it is after the first of the three steps.
    let given = EncryptionKeys::generate();
    let both = given
        .clone()
        .followed_by(&read_key(&home.directory().join(KEY)).unwrap().unwrap());
    file.write_key(&both.to_file(GIVEN)).unwrap();
    assert_eq!(loaded(&file).unwrap(), SECRET);
    // And after the second.
    file.write(&given, b"new").unwrap();
    assert_eq!(loaded(&file).unwrap(), b"new");
}

#[test]
fn a_key_file_that_holds_no_key_is_set_aside_by_the_next_save() {
    let home = Home::new();
    let file = home.file(None);
    file.save(SECRET, None).unwrap();
    for broken in [&b"a passphrase"[..], b"", b"\xff\xfe"] {
        fs::write(home.directory().join(KEY), broken).unwrap();
        assert!(matches!(file.load(), Err(StorageError::KeyFile { .. })));
        file.save(b"new", None).unwrap();
        assert_eq!(loaded(&file).unwrap(), b"new");
        assert_eq!(
            fs::read(home.directory().join(UNREADABLE_KEY)).unwrap(),
            broken
        );
    }
}

#[test]
fn what_is_no_token_file_is_kept_until_it_is_replaced() {
    let home = Home::new();
    let file = home.file(None);
    file.save(SECRET, None).unwrap();
    let whole = fs::read(file.path()).unwrap();
    for broken in [
        &b""[..],
        b"{\"machine_token\":\"mt\"}",
        &whole[..whole.len() - 1],
    ] {
        fs::write(file.path(), broken).unwrap();
        assert!(matches!(file.load(), Err(StorageError::Damaged { .. })));
        assert_eq!(fs::read(file.path()).unwrap(), broken);
    }
    file.save(b"new", None).unwrap();
    assert_eq!(loaded(&file).unwrap(), b"new");
}

#[test]
fn a_link_in_the_files_place_is_replaced_and_not_followed() {
    let home = Home::new();
    let elsewhere = home.home.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    fs::create_dir_all(home.directory()).unwrap();
    for name in [TOKEN, KEY] {
        symlink(&elsewhere, home.directory().join(name)).unwrap();
    }
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    home.file(None)
        .save(SECRET, Some(&EncryptionKeys::generate()))
        .unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    assert!(!home.directory().join(TOKEN).is_symlink() && !home.directory().join(KEY).is_symlink());
    assert_eq!(loaded(&home.file(None)).unwrap(), SECRET);
}

#[test]
fn writers_that_come_at_once_agree_on_one_key() {
    let home = Home::new();
    thread::scope(|scope| {
        for number in 0..8_u8 {
            let file = home.file(None);
            scope.spawn(move || {
                for _ in 0..5 {
                    file.save(&[number; 2000], None).unwrap();
                    let read = file.load().unwrap().unwrap().plain;
                    assert!(read.len() == 2000 && read.iter().all(|byte| *byte == read[0]));
                }
            });
        }
    });
    assert_eq!(home.names(), [TOKEN, KEY]);
}

#[test]
fn what_a_killed_writer_left_is_swept() {
    let home = Home::new();
    let file = home.file(None);
    file.save(SECRET, None).unwrap();
    for name in ["auth.1-00ff.tmp", "encryption.1-00ff.tmp", "other.tmp"] {
        fs::write(home.directory().join(name), "x").unwrap();
    }
    file.save(SECRET, None).unwrap();
    assert_eq!(home.names(), [TOKEN, KEY, "other.tmp"]);
}

#[test]
fn a_writer_that_does_not_end_is_not_waited_for_for_ever() {
    let home = Home::new();
    let file = home.file(None);
    file.save(SECRET, None).unwrap();
    let _held = file.lock().unwrap();
    assert!(matches!(
        file.save(b"new", None),
        Err(StorageError::Busy { .. })
    ));
    assert_eq!(loaded(&file).unwrap(), SECRET, "readers do not wait");
}

#[test]
fn what_only_an_older_key_opens_is_encrypted_anew_with_the_first() {
    let home = Home::new();
    let (new, old) = (EncryptionKeys::generate(), EncryptionKeys::generate());
    home.file(Some(&old)).save(SECRET, None).unwrap();
    let both = new.clone().followed_by(&old);
    let file = home.file(Some(&both));
    let before = fs::read(file.path()).unwrap();
    let mark = file.load().unwrap().unwrap().mark;
    assert_eq!(
        Mark::of(&file.path()),
        Some(mark),
        "it is no news to who wrote it"
    );
    assert_ne!(fs::read(file.path()).unwrap(), before);
    assert_eq!(mode(&file.path()), 0o600);
    // The old key may go, and opens nothing any more.
    assert_eq!(loaded(&home.file(Some(&new))).unwrap(), SECRET);
    let refused = home.file(Some(&old)).load();
    assert!(matches!(refused, Err(StorageError::NoMatchingKey { .. })));
    // What the first key opens is let be.
    let after = fs::read(file.path()).unwrap();
    assert_eq!(loaded(&file).unwrap(), SECRET);
    assert_eq!(fs::read(file.path()).unwrap(), after);
}

#[test]
fn a_key_file_gives_way_to_the_variable() {
    let home = Home::new();
    home.file(None).save(SECRET, None).unwrap();
    let key = EncryptionKeys::generate();
    assert_eq!(loaded(&home.file(Some(&key))).unwrap(), SECRET);
    fs::remove_file(home.directory().join(KEY)).unwrap();
    assert_eq!(loaded(&home.file(Some(&key))).unwrap(), SECRET);
}

#[test]
fn where_it_cannot_be_written_anew_the_old_key_goes_on() {
    let home = Home::new();
    let (new, old) = (EncryptionKeys::generate(), EncryptionKeys::generate());
    home.file(Some(&old)).save(SECRET, None).unwrap();
    let both = new.followed_by(&old);
    let file = home.file(Some(&both));
    let before = fs::read(file.path()).unwrap();
    // Another writer, which does not end.
    let held = File::open(home.directory()).unwrap();
    held.lock().unwrap();
    assert_eq!(loaded(&file).unwrap(), SECRET);
    assert_eq!(fs::read(file.path()).unwrap(), before);
}
