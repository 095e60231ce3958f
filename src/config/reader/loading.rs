//! One run of the loader: what it reads from, and everything that it finds on the way.
//!
//! Readers share it, so it collects through `&self`. Not here: deciding what is wrong.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::local::Local;
use super::{Environment, Span, Text, interpolate, known_names};
use crate::config::model::{Error, ErrorKind, Errors, KeyPath, Note, Reach};

/// One run of the loader.
pub(crate) struct Loading<'a> {
    /// The environment that references and defaults are taken from.
    pub(crate) env: &'a dyn Environment,
    main: &'a Path,
    errors: RefCell<Vec<Error>>,
    /// Tables that were left out, which errors are to explain.
    left_out: RefCell<Vec<(Span, KeyPath)>>,
    notes: RefCell<Vec<Note>>,
    ignored: RefCell<Vec<KeyPath>>,
    files: RefCell<Vec<PathBuf>>,
    pipelines: RefCell<Option<PathBuf>>,
    local: RefCell<Local>,
    incomplete: Cell<bool>,
    reach: RefCell<Arc<Reach>>,
}

impl<'a> Loading<'a> {
    /// A run that begins with `main`. What `local` holds is not read again.
    pub(crate) fn new(main: &'a Path, env: &'a dyn Environment, local: Local) -> Self {
        Self {
            env,
            main,
            errors: RefCell::default(),
            left_out: RefCell::default(),
            notes: RefCell::default(),
            ignored: RefCell::default(),
            files: RefCell::new(vec![main.to_owned()]),
            pipelines: RefCell::default(),
            local: RefCell::new(local),
            incomplete: Cell::new(false),
            reach: RefCell::default(),
        }
    }

    /// The main file as a place.
    pub(crate) fn main_file(&self) -> Span {
        Span::of_file(self.main)
    }

    /// Sets what the cloud may reach, for the readers of its URLs.
    pub(crate) fn set_reach(&self, reach: &Arc<Reach>) {
        self.reach.replace(reach.clone());
    }

    /// What the cloud may reach.
    pub(crate) fn reach(&self) -> Arc<Reach> {
        self.reach.borrow().clone()
    }

    /// Collects an error.
    pub(crate) fn error(&self, span: &Span, key: &KeyPath, kind: impl Into<ErrorKind>) {
        self.errors
            .borrow_mut()
            .push(Error::new(key.clone(), kind).at(&*span.file, span.line));
    }

    /// Collects an error with what to do about it.
    pub(crate) fn error_help(
        &self,
        span: &Span,
        key: &KeyPath,
        kind: impl Into<ErrorKind>,
        help: impl Into<String>,
    ) {
        self.errors.borrow_mut().push(
            Error::new(key.clone(), kind)
                .at(&*span.file, span.line)
                .help(help),
        );
    }

    /// Collects an error for a name that nothing bears, with the nearest one that something does.
    pub(crate) fn unknown_name(
        &self,
        span: &Span,
        key: &KeyPath,
        what: &'static str,
        name: &Text,
        known: &[&str],
    ) {
        if self.incomplete.get() {
            return; // it may stand in the file that could not be read
        }
        let kind = ErrorKind::UnknownName {
            what,
            name: name.shown(),
        };
        match known_names(name, known) {
            Some(help) => self.error_help(span, key, kind, help),
            None => self.error(span, key, kind),
        }
    }

    /// Collects a warning about something insecure; the key may be empty.
    pub(crate) fn warning(&self, span: &Span, key: &KeyPath, sentence: &str) {
        let colon = if key.is_empty() { "" } else { ": " };
        self.notes.borrow_mut().push(Note {
            warning: true,
            text: format!("{span}: {key}{colon}{sentence}"),
        });
    }

    /// Collects information.
    pub(crate) fn info(&self, span: &Span, key: &KeyPath, sentence: &str) {
        self.notes.borrow_mut().push(Note {
            warning: false,
            text: format!("{span}: {key}: {sentence}"),
        });
    }

    /// Remembers a key that was read and has no effect.
    pub(crate) fn ignored(&self, key: KeyPath) {
        self.ignored.borrow_mut().push(key);
    }

    /// The text of a local file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        self.local.borrow_mut().read(path)
    }

    /// The local files of the pipelines directory, sorted by name.
    pub(crate) fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.local.borrow_mut().list(directory)
    }

    /// Whether the pipelines directory is there.
    pub(crate) fn has_directory(&self, directory: &Path) -> bool {
        self.local.borrow().has_directory(directory)
    }

    /// Remembers the pipelines directory for the watcher, be it there or not.
    pub(crate) fn pipelines(&self, directory: &Path) {
        self.pipelines.replace(Some(directory.to_owned()));
    }

    /// Remembers a file for the watcher.
    pub(crate) fn file(&self, path: PathBuf) {
        self.files.borrow_mut().push(path);
    }

    /// Says that a file could not be read, so that names in it are not called unknown.
    pub(crate) fn incomplete(&self) {
        self.incomplete.set(true);
    }

    /// Fills the references of a string in; `None` after reporting why not.
    pub(crate) fn fill(&self, span: &Span, key: &KeyPath, written: &str) -> Option<Text> {
        if span.cloud && written.contains("${") {
            self.error_help(
                span,
                key,
                "is a reference that the local files do not have here",
                "write the value itself, or put this table into the local files",
            );
            return None;
        }
        let base = span.file.parent().unwrap_or(Path::new(""));
        match interpolate::interpolate(written, self.env, base, &mut |path| self.file(path)) {
            Ok(text) => Some(text),
            Err((kind, help)) => {
                self.error_help(span, key, kind, help);
                None
            }
        }
    }

    /// Takes note of a table that is left out. Without an error that explains it, the configuration
    /// is refused all the same: a pipeline without one of its steps would be open.
    pub(crate) fn left_out(&self, span: &Span, key: &KeyPath) {
        self.left_out.borrow_mut().push((span.clone(), key.clone()));
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.borrow().is_empty() && self.left_out.borrow().is_empty()
    }

    /// The errors in the order of files (the main one first) and lines, each once.
    pub(crate) fn into_errors(self) -> Errors {
        if self.errors.borrow().is_empty() {
            for (span, key) in self.left_out.take() {
                self.error_help(
                    &span,
                    &key,
                    "cannot be used, and the reason is not known",
                    "check its values, and report this message as a bug",
                );
            }
        }
        let mut errors = self.errors.into_inner();
        errors.sort_by_cached_key(|error| {
            (
                error.file() != Some(self.main),
                error.file().map(Path::to_owned),
                error.line(),
            )
        });
        let mut seen = std::collections::BTreeSet::new();
        errors.retain(|error| seen.insert(error.to_string()));
        errors.into_iter().collect()
    }

    /// The notes, each once; the ignored keys make one of them.
    pub(crate) fn take_notes(&self) -> Vec<Note> {
        let mut notes = self.notes.take();
        let ignored = self.ignored.take();
        let mut ignored: Vec<_> = ignored.iter().map(ToString::to_string).collect();
        ignored.sort();
        ignored.dedup();
        if !ignored.is_empty() {
            let text = format!(
                "{}: read and ignored, nothing here uses it: {}",
                self.main.display(),
                ignored.join(", ")
            );
            notes.push(Note {
                warning: false,
                text,
            });
        }
        let mut seen = std::collections::BTreeSet::new();
        notes.retain(|note| seen.insert(note.text.clone()));
        notes
    }

    /// The pipelines directory.
    pub(crate) fn take_pipelines(&self) -> Option<PathBuf> {
        self.pipelines.take()
    }

    /// The local texts, so that another run can begin with them.
    pub(crate) fn take_local(&self) -> Local {
        self.local.take().complete()
    }

    /// The files that were read or named, each once.
    pub(crate) fn take_files(&self) -> Vec<PathBuf> {
        let mut seen = std::collections::BTreeSet::new();
        let mut files = self.files.take();
        files.retain(|file| seen.insert(file.clone()));
        files
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_table_is_not_left_out_in_silence() {
        let env = BTreeMap::<String, String>::new();
        let left_out = |has_error: bool| {
            let loading = Loading::new(Path::new("h.toml"), &env, Local::default());
            assert!(loading.is_clean());
            let key = KeyPath::from(["middleware", "jwt"]);
            loading.left_out(&loading.main_file(), &key);
            assert!(!loading.is_clean());
            if has_error {
                loading.error(&loading.main_file(), &key, "is wrong");
            }
            loading.into_errors().to_string()
        };
        assert_eq!(left_out(true), "h.toml: middleware.jwt: is wrong");
        assert!(left_out(false).contains("middleware.jwt: cannot be used, and the reason is not"));
    }
}
