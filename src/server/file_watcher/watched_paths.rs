//! Which names in which directories matter: those of the files, of every symbolic link on the way
//! to them, and of what is missing on the way.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind};

use crate::gateway::WatchedFiles;

/// Symbolic links on the way to one file; more are a loop.
const MAX_LINKS: usize = 40;

/// What to listen to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WatchedPaths {
    /// Where the names stand. They exist, or did a moment ago.
    pub(super) directories: BTreeSet<PathBuf>,
    names: BTreeSet<PathBuf>,
    pipelines: BTreeSet<PathBuf>,
}

impl WatchedPaths {
    /// The way to each of these files and directories as it is now.
    pub(super) fn of(watched: &WatchedFiles) -> Self {
        let mut paths = Self::default();
        for file in &watched.files {
            paths.trace(file);
        }
        for directory in &watched.directories {
            if let Some(directory) = paths.trace(directory) {
                paths.directories.insert(directory.clone());
                paths.pipelines.insert(directory);
            }
        }
        paths
    }

    /// Whether an event may mean that the configuration has changed. Reading is none.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        let written = AccessKind::Close(AccessMode::Write);
        if matches!(event.kind, EventKind::Access(kind) if kind != written) {
            return false;
        }
        event.need_rescan() || event.paths.iter().any(|path| self.has(path))
    }

    fn has(&self, path: &Path) -> bool {
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        let parent = path.parent();
        self.names.contains(path)
            || self.directories.contains(path)
            || is_toml && parent.is_some_and(|parent| self.pipelines.contains(parent))
    }

    /// Follows a path to its end; where that is, if all of it is there.
    fn trace(&mut self, path: &Path) -> Option<PathBuf> {
        let mut rest: VecDeque<OsString> = parts(&std::path::absolute(path).ok()?).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let here = at.join(part);
            let metadata = fs::symlink_metadata(&here);
            let link = metadata
                .as_ref()
                .is_ok_and(|metadata| metadata.is_symlink());
            if link || metadata.is_err() || rest.is_empty() {
                self.names.insert(here.clone());
                self.directories.insert(at.clone());
            }
            metadata.ok()?;
            if !link {
                at = here;
                continue;
            }
            links += 1;
            let target = fs::read_link(&here).ok().filter(|_| links <= MAX_LINKS)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).rev() {
                rest.push_front(part);
            }
        }
        Some(at)
    }
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use notify::event::{CreateKind, ModifyKind};

    use super::*;

    fn paths(files: &[PathBuf], directories: &[PathBuf]) -> WatchedPaths {
        WatchedPaths::of(&WatchedFiles {
            files: files.to_vec(),
            directories: directories.to_vec(),
        })
    }

    fn changed(path: &Path) -> Event {
        Event::new(EventKind::Modify(ModifyKind::Any)).add_path(path.to_owned())
    }

    #[test]
    fn every_link_on_the_way_matters_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        fs::create_dir(home.join("..v1")).unwrap();
        fs::write(home.join("..v1/h.toml"), "").unwrap();
        symlink("..v1", home.join("..data")).unwrap();
        symlink("..data/h.toml", home.join("h.toml")).unwrap();
        let paths = paths(&[home.join("h.toml")], &[]);
        for name in ["h.toml", "..data", "..v1/h.toml"] {
            assert!(paths.concerns(&changed(&home.join(name))), "{name}");
        }
        for name in ["other", "h.toml.swp", "..v1/other"] {
            assert!(!paths.concerns(&changed(&home.join(name))), "{name}");
        }
        assert_eq!(
            paths.directories,
            BTreeSet::from([home.clone(), home.join("..v1")])
        );
        let read = Event::new(EventKind::Access(AccessKind::Any)).add_path(home.join("h.toml"));
        assert!(!paths.concerns(&read));
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_will_be() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let paths = paths(&[home.join("a/b/key.pem")], &[home.join("pipelines")]);
        assert_eq!(paths.directories, BTreeSet::from([home.clone()]));
        for name in ["a", "pipelines"] {
            let event = Event::new(EventKind::Create(CreateKind::Folder));
            assert!(paths.concerns(&event.add_path(home.join(name))), "{name}");
        }
        assert!(!paths.concerns(&changed(&home.join("b"))));
    }

    #[test]
    fn a_new_file_of_the_pipelines_directory_matters() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        fs::create_dir(home.join("real")).unwrap();
        symlink("real", home.join("pipelines")).unwrap();
        let paths = paths(&[], &[home.join("pipelines")]);
        for (name, expected) in [
            ("real/new.toml", true),
            ("real", true),
            ("pipelines", true),
            ("real/new.toml~", false),
            ("new.toml", false),
        ] {
            assert_eq!(
                paths.concerns(&changed(&home.join(name))),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let home = tempfile::tempdir().unwrap();
        symlink("b", home.path().join("a")).unwrap();
        symlink("a", home.path().join("b")).unwrap();
        assert!(!paths(&[home.path().join("a")], &[]).directories.is_empty());
    }
}
