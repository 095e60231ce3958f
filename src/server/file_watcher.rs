//! Reload when a file changes that the configuration was read from or names.
//!
//! Directories are watched, not files: an editor or an orchestrator puts another file, or another
//! directory, in the place of the old one. The content decides whether anything changed. Where the
//! system gives no notice (no more watches to be had, no permission), the content is looked at
//! every two seconds.

mod watched_paths;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::gateway::{Fingerprint, Live, WatchedFiles};
use watched_paths::WatchedPaths;

/// How long nothing more may change before the files are read.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// How long that may be put off by what goes on changing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the content is looked at where the system gives no notice.
const POLL: Duration = Duration::from_secs(2);

/// How often one reload after another may name other files.
const ROUNDS: usize = 3;

/// Watches until the process ends.
pub(super) async fn run(live: Arc<Live>) {
    let mut generations = live.changes();
    let noticed = Arc::new(Notify::new());
    let mut look = Look::new(noticed.clone());
    loop {
        if !live.config().watch_files {
            look = Look::new(noticed.clone());
            if generations.changed().await.is_err() {
                return;
            }
            continue;
        }
        generations.borrow_and_update();
        let looking = live.clone();
        let looked = tokio::task::spawn_blocking(move || {
            look.take(&looking);
            look
        });
        look = match looked.await {
            Ok(look) => look,
            Err(error) => {
                log::error!("file watcher: {error}; it starts again");
                tokio::time::sleep(POLL).await;
                Look::new(noticed.clone())
            }
        };
        tokio::select! {
            () = noticed.notified() => settle(&noticed).await,
            changed = generations.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(POLL), if look.polls() => {}
        }
    }
}

/// Waits until nothing changes any more.
async fn settle(noticed: &Notify) {
    let started = Instant::now();
    while timeout(DEBOUNCE, noticed.notified()).await.is_ok() && started.elapsed() < PATIENCE {}
}

type Opener = fn(&Arc<ArcSwap<WatchedPaths>>, &Arc<Notify>) -> notify::Result<RecommendedWatcher>;

/// Asks the system for notice.
fn open(
    paths: &Arc<ArcSwap<WatchedPaths>>,
    noticed: &Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    let (paths, noticed) = (paths.clone(), noticed.clone());
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| paths.load().concerns(&event)) {
            noticed.notify_one();
        }
    })
}

/// What was seen last, and what gives notice.
struct Look {
    seen: Option<(WatchedFiles, Fingerprint)>,
    noticed: Arc<Notify>,
    paths: Arc<ArcSwap<WatchedPaths>>,
    opener: Opener,
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    /// Why some directory gives no notice.
    deaf: Option<String>,
}

impl Look {
    fn new(noticed: Arc<Notify>) -> Self {
        Self {
            seen: None,
            noticed,
            paths: Arc::default(),
            opener: open,
            watcher: None,
            directories: BTreeSet::new(),
            deaf: None,
        }
    }

    fn polls(&self) -> bool {
        self.deaf.is_some()
    }

    /// Looks at everything, and reloads if it is not what was seen last.
    fn take(&mut self, live: &Live) {
        let watched = live.watched();
        // Before the content is read: what changes later is noticed.
        self.watch(&watched);
        let now = watched.fingerprint();
        let changed = match &self.seen {
            Some((before, content)) if *before == watched => *content != now,
            // Others are watched since the last reload; were the files that were watched then
            // changed, too?
            Some((before, content)) => *content != before.fingerprint(),
            None => true,
        };
        let first = self.seen.is_none();
        self.seen = Some((watched.clone(), now));
        if !changed {
            return;
        }
        // The outcome is logged where it is decided.
        let _ = match first {
            true => live.reload_again(),
            false => live.reload(),
        };
        let mut before = watched;
        for _ in 0..ROUNDS {
            let after = live.watched();
            if after == before {
                break;
            }
            // What is named for the first time may have changed before it was watched.
            self.watch(&after);
            self.seen = Some((after.clone(), after.fingerprint()));
            let _ = live.reload_again();
            before = after;
        }
    }

    /// Watches the directories of these files.
    fn watch(&mut self, watched: &WatchedFiles) {
        let paths = WatchedPaths::of(watched);
        let directories = paths.directories.clone();
        self.paths.store(Arc::new(paths));
        let mut deaf = self.open().err().map(|error| error.to_string());
        let Some(watcher) = &mut self.watcher else {
            return self.warn(deaf);
        };
        for gone in self.directories.difference(&directories) {
            // It may have gone by itself.
            let _ = watcher.unwatch(gone);
        }
        for directory in &directories {
            // Again also where it is watched already: another directory may have taken its place.
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                deaf = Some(format!("{}: {error}", directory.display()));
            }
        }
        self.directories = directories;
        self.warn(deaf);
    }

    fn open(&mut self) -> notify::Result<()> {
        if self.watcher.is_none() {
            self.watcher = Some((self.opener)(&self.paths, &self.noticed)?);
        }
        Ok(())
    }

    fn warn(&mut self, deaf: Option<String>) {
        if let Some(why) = &deaf
            && self.deaf.is_none()
        {
            log::warn!(
                "file watcher: changes are not notified, so the files are polled every {} s: {why}",
                POLL.as_secs()
            );
        }
        self.deaf = deaf;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::auth::Shared;
    use crate::config::Source;

    #[test]
    fn without_notice_the_content_is_looked_at() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("h.toml");
        let write = |prefix: &str| {
            let text = format!(
                "[proxy]\nid = \"t\"\n[network.n.http]\nbind_port = 1\n[pipelines.p]\n\
                 networks = [\"n\"]\nendpoints = [\"e\"]\n\
                 [endpoints.e]\nservice = \"echo\"\npath_prefix = \"{prefix}\"\n"
            );
            fs::write(&path, text).unwrap();
        };
        write("/one");
        let nothing = BTreeMap::<String, String>::new();
        let source = Source::file(&path).with_environment(nothing);
        let live = Live::start(source, Shared::new(None).unwrap()).unwrap();
        let mut look = Look {
            opener: |_, _| Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch)),
            ..Look::new(Arc::default())
        };
        for (prefix, generation) in [("/one", 1), ("/two", 2), ("/two", 2), ("/three", 3)] {
            write(prefix);
            look.take(&live);
            assert!(look.polls());
            assert_eq!(live.status().generation, generation, "{prefix}");
        }
    }
}
