//! Reload when a file changes that the configuration was read from or names.
//!
//! Directories are watched, not files: an editor or an orchestrator puts another file, or another directory, in the place of the old one. The content decides
//! whether anything changed. Where the system gives no notice (no more watches to be had, no permission), the content is looked at every two seconds.

mod interest;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::gateway::{Fingerprint, Live, Watched};
use interest::Interest;

/// How long nothing more may change before the files are read.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// How long that may be put off by what goes on changing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the content is looked at where the system gives no notice.
const POLL: Duration = Duration::from_secs(2);

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
                log::error!("file watcher: {error}; it begins anew");
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

/// What was seen last, and what gives notice.
struct Look {
    seen: Option<(Watched, Fingerprint)>,
    noticed: Arc<Notify>,
    interest: Arc<ArcSwap<Interest>>,
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
            interest: Arc::default(),
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
            // Others are watched since the last reload; were the files that were watched then changed, too?
            Some((before, content)) => *content != before.fingerprint(),
            None => true,
        };
        self.seen = Some((watched.clone(), now));
        if !changed {
            return;
        }
        // The outcome is logged where it is decided.
        let _ = live.reload();
        let after = live.watched();
        if after != watched {
            self.watch(&after);
            let now = after.fingerprint();
            self.seen = Some((after, now));
        }
    }

    /// Watches the directories of these files.
    fn watch(&mut self, watched: &Watched) {
        let interest = Interest::of(watched);
        let directories = interest.directories.clone();
        self.interest.store(Arc::new(interest));
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

    fn open(&mut self) -> ::notify::Result<()> {
        if self.watcher.is_some() {
            return Ok(());
        }
        let (interest, noticed) = (self.interest.clone(), self.noticed.clone());
        self.watcher = Some(::notify::recommended_watcher(
            move |event: ::notify::Result<Event>| {
                if event.map_or(true, |event| interest.load().concerns(&event)) {
                    noticed.notify_one();
                }
            },
        )?);
        Ok(())
    }

    fn warn(&mut self, deaf: Option<String>) {
        if let Some(why) = &deaf
            && self.deaf.is_none()
        {
            log::warn!(
                "file watcher: no notice of changes, so the files are looked at every {} s: {why}",
                POLL.as_secs()
            );
        }
        self.deaf = deaf;
    }
}
