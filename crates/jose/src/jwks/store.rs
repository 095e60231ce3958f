//! Last good key sets and discovery documents on the disk, for a start at which their issuer cannot
//! be reached. Public keys only, re-written from what was accepted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use private_files::{StateDir, StateError};
use serde_json::{Map, Value};

use crate::{clock, strict_json};

/// In the state directory.
const DIRECTORY: &str = "jwks";
/// No larger file is read.
const FILE_LIMIT: u64 = 1024 * 1024;

/// A directory with one file per name: a key set's URL, or what else tells it from all others.
pub(super) struct Store {
    state_dir: PathBuf,
    /// Whether the last write failed; a change of it is logged.
    failing: AtomicBool,
    /// Whether it was said that what is there is not believed.
    warned: AtomicBool,
}

impl Store {
    /// Keeps its files under `<state_dir>/jwks`, which the first write makes.
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            failing: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        }
    }

    /// The file that was kept under a name, and how old it is. `None`: none, or none that can be
    /// trusted.
    pub(super) fn load(&self, name: &str) -> Option<(Vec<u8>, Duration)> {
        let begun = Instant::now();
        let read = self.read(name);
        let (path, after) = (self.path(name), begun.elapsed());
        match &read {
            Ok(Some(_)) => log::debug!("read {} after {after:?}", path.display()),
            Ok(None) => log::debug!("nothing in {}, after {after:?}", path.display()),
            Err(error) => log::debug!("{}: {error}, after {after:?}", path.display()),
        }
        let text = match read {
            Ok(text) => text?,
            Err(error) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    log::warn!("the saved state of an issuer is not used: {error}");
                }
                return None;
            }
        };
        let kept = strict_json::object(&text)?;
        let fetched_at = kept.get("fetched_at")?.as_f64()?;
        let age = Duration::try_from_secs_f64(clock::now() - fetched_at).ok()?;
        (kept.get("url")?.as_str()? == name).then_some(())?;
        Some((text, age))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        match self.directory()? {
            Some(directory) => directory.read(&file_name(name), FILE_LIMIT),
            None => Ok(None),
        }
    }

    /// `None`: nothing was kept yet.
    fn directory(&self) -> Result<Option<StateDir>, StateError> {
        match StateDir::open(&self.state_dir)? {
            Some(state) => state.subdirectory(DIRECTORY),
            None => Ok(None),
        }
    }

    /// Keeps what was fetched this long ago. Failing to is a warning, once.
    pub(super) fn save(&self, name: &str, mut content: Map<String, Value>, age: Duration) {
        let fetched_at = (clock::now() - age.as_secs_f64()).floor();
        content.insert("url".to_owned(), name.into());
        content.insert("fetched_at".to_owned(), fetched_at.into());
        // Where others could write, what we keep would not be believed at the next start.
        let result = match self.directory() {
            Err(error) => Err(error.to_string()),
            Ok(_) => private_files::replace(
                &self.path(name),
                Value::from(content).to_string().as_bytes(),
            )
            .map_err(|error| error.to_string()),
        };
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !failed_before => log::warn!(
                "cannot keep key sets in {}: {error}; a start without their issuer will have no \
                 keys",
                self.dir().display()
            ),
            Ok(()) if failed_before => {
                log::info!("key sets are kept in {} again", self.dir().display())
            }
            _ => {}
        }
    }

    fn dir(&self) -> PathBuf {
        self.state_dir.join(DIRECTORY)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(file_name(name))
    }
}

fn file_name(name: &str) -> String {
    let digest = digest(&SHA256, name.as_bytes());
    let name: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    name + ".json"
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::testing::Signer;

    const URL: &str = "https://issuer.example/keys?x=1";

    fn keys() -> Map<String, Value> {
        let keys = json!([Signer::generate().jwk("a")]);
        Map::from_iter([("keys".to_owned(), keys)])
    }

    #[test]
    fn a_set_comes_back_as_old_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().join("deep/state"));
        let keys = keys();
        assert!(store.load(URL).is_none());
        store.save(URL, keys.clone(), Duration::from_secs(100));
        let (found, age) = store.load(URL).unwrap();
        let found = strict_json::object(&found).unwrap();
        assert_eq!(found["keys"], keys["keys"]);
        assert!((100..103).contains(&age.as_secs()), "{age:?}");
        assert!(store.load("https://issuer.example/keys").is_none());

        assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 1);
        assert!(store.path(URL).file_name().unwrap().to_str().unwrap().len() == 64 + ".json".len());
    }

    #[test]
    fn a_file_that_does_not_fit_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().to_owned());
        store.save(URL, keys(), Duration::ZERO);
        let text = fs::read_to_string(store.path(URL)).unwrap();
        let future = format!("\"fetched_at\":{}", clock::now() + 9_999.0);
        let at = text.find("\"fetched_at\":").unwrap();
        let end = at + text[at..].find([',', '}']).unwrap();
        let bad = [
            String::new(),
            text[..text.len() / 2].to_owned(),
            text.replace("issuer.example", "other.example"),
            text.replace(&text[at..end], &future),
            text.replace("\"keys\"", "\"url\""),
        ];
        for text in bad {
            fs::write(store.path(URL), &text).unwrap();
            assert!(store.load(URL).is_none(), "{text}");
        }
    }

    #[test]
    fn failing_to_keep_is_no_error() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let store = Store::new(file);
        store.save(URL, keys(), Duration::ZERO);
        assert!(store.failing.load(Ordering::Relaxed));
    }
}
