//! What the TOML parser complains about, in words that say what to do.
//!
//! A file in another format is told so once. A key that is there twice is named with its table and
//! with the place of the first. Of each line, the first complaint counts. No value is shown: it may
//! be a secret.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use crate::config::model::{ErrorKind, KeyPath};

mod format;

/// One thing that is wrong with a text.
pub(crate) struct Complaint {
    /// The offset of the place.
    pub(crate) at: usize,
    /// The key path, or empty.
    pub(crate) key: KeyPath,
    /// What is wrong.
    pub(crate) kind: ErrorKind,
    /// What to do, or empty.
    pub(crate) help: String,
}

/// Everything that is wrong. `table` is what the parser made of the text, `place` writes an offset
/// as file and line.
pub(crate) fn complaints(
    text: &str,
    table: &DeTable<'_>,
    errors: &[Error],
    place: &dyn Fn(usize) -> String,
) -> Vec<Complaint> {
    if let Some(other) = format::other_than_toml(text) {
        return vec![Complaint {
            at: 0,
            key: KeyPath::default(),
            kind: ErrorKind::Syntax(format!("is {other}; the configuration is written in TOML")),
            help: "begin with [proxy] and id = \"edge-1\", as conf/harmony.toml does".to_owned(),
        }];
    }
    let mut keys = None;
    let mut told = BTreeSet::new();
    let mut complaints = Vec::new();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let (before, from) = line_at(text, at);
        if !told.insert(at.saturating_sub(before.len())) {
            continue;
        }
        if error.message() == "duplicate key" {
            let keys = keys.get_or_insert_with(|| Keys::of(text, table));
            let name = error
                .span()
                .and_then(|span| text.get(span))
                .unwrap_or_default();
            complaints.extend(keys.twice(at, name.trim_matches(['"', '\'']), place));
            continue;
        }
        complaints.push(Complaint {
            at,
            key: KeyPath::default(),
            kind: ErrorKind::Syntax(error.message().replace('\n', ", ")),
            help: help(error.message(), before, from),
        });
    }
    complaints
}

/// The line that holds an offset, before it and from there on.
fn line_at(text: &str, at: usize) -> (&str, &str) {
    let (before, from) = text.split_at_checked(at).unwrap_or((text, ""));
    let before = before.rsplit('\n').next().unwrap_or_default();
    (before, from.split('\n').next().unwrap_or_default())
}

/// What to do about a complaint of the parser, as far as its line tells: what stands before the
/// place of the complaint, and what from there on.
fn help(message: &str, before: &str, from: &str) -> String {
    let (key, value) = match before.rsplit_once('=') {
        Some((key, begun)) => (key.trim_end(), begun.trim_start().to_owned() + from),
        None => ("", from.to_owned()),
    };
    let name = match key.rsplit(|c| !is_bare(c)).next() {
        Some(name) if !name.is_empty() => name,
        _ => "KEY",
    };
    let word = value.split(|c| !is_bare(c)).next().unwrap_or_default();
    let boolean = ["true", "false", "yes", "no", "on", "off"];
    let boolean = boolean.iter().any(|one| word.eq_ignore_ascii_case(one));
    let curly = ['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '`'];
    let unquoted = message.starts_with("string values must be quoted");
    if (unquoted || message.starts_with("invalid boolean")) && boolean {
        format!("write {name} = true or {name} = false")
    } else if unquoted && value.starts_with(curly) {
        format!("write it in straight quotes: {name} = \"...\"")
    } else if unquoted {
        format!("write it in quotes: {name} = \"...\"")
    } else if message.starts_with("key with no value") && [before, from].concat().contains(':') {
        let line = [before, from].concat();
        let key = line.split(':').next().unwrap_or_default().trim();
        let key = if key.chars().all(is_bare) { key } else { "KEY" };
        format!("write it with an equals sign: {key} = ...")
    } else if from.trim_end().ends_with([';', ',']) {
        "a line ends without a comma or a semicolon".to_owned()
    } else {
        String::new()
    }
}

/// Of a key without quotes.
fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Every key of a text, and the headers of its tables.
struct Keys<'t> {
    /// Where each key of a name stands and its path, as the parser has them: of a table that is
    /// there twice, the second place.
    by_name: HashMap<&'t str, Vec<(usize, KeyPath)>>,
    /// Where a path is first: as a header, or as a key at the beginning of a line.
    by_path: HashMap<KeyPath, usize>,
    /// The line and the path of each header.
    headers: Vec<(Range<usize>, KeyPath)>,
    /// Headers that are there twice: what follows them was told with them.
    twice: BTreeSet<usize>,
}

impl<'t> Keys<'t> {
    fn of(text: &str, table: &'t DeTable<'_>) -> Self {
        let mut by_name = HashMap::new();
        collect(table, &KeyPath::default(), &mut by_name);
        by_name
            .values_mut()
            .for_each(|places| places.sort_unstable());
        let mut keys = Self {
            by_name,
            by_path: HashMap::new(),
            headers: Vec::new(),
            twice: BTreeSet::new(),
        };
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            keys.read_line(start, line);
            start += line.len();
        }
        keys
    }

    fn read_line(&mut self, start: usize, line: &str) {
        let begun = line.trim_start();
        let at = start + line.len() - begun.len();
        let path = if begun.starts_with('[')
            && let Ok(header) = DeTable::parse(line)
        {
            let path = innermost(header.get_ref());
            self.headers.push((start..start + line.len(), path.clone()));
            path
        } else if let Some((key, _)) = begun.split_once('=')
            && key.trim_end().chars().all(|c| is_bare(c) || c == '.')
        {
            let table = self.headers.last().map(|(_, path)| path.clone());
            let keys = key.trim_end().split('.');
            keys.fold(table.unwrap_or_default(), |path, key| path.key(key))
        } else {
            return;
        };
        self.by_path.entry(path).or_insert(at);
    }

    /// A key is there for the second time; nothing if that was told with its table.
    fn twice(
        &mut self,
        at: usize,
        name: &str,
        place: &dyn Fn(usize) -> String,
    ) -> Option<Complaint> {
        let behind = self.headers.partition_point(|(line, _)| line.start <= at);
        let header = behind
            .checked_sub(1)
            .and_then(|index| self.headers.get(index));
        let (line, table) = header.map_or((0..0, KeyPath::default()), |(line, path)| {
            (line.clone(), path.clone())
        });
        let of_header = line.contains(&at);
        if !of_header && self.twice.contains(&line.start) && !line.is_empty() {
            return None;
        }
        let path = match of_header {
            true => table.clone(),
            false => table.key(name),
        };
        let related = |other: &KeyPath| match of_header {
            true => *other == table || table.is_below(other),
            false => other.is_below(&table),
        };
        let places = self.by_name.get(name).map(Vec::as_slice);
        let mut before = places.unwrap_or_default().iter().rev();
        let parsed = before.find(|(first, other)| *first < at && related(other));
        let written = self.by_path.get_key_value(&path);
        let (path, first) = match (parsed, written) {
            (Some((first, path)), _) => (path.clone(), *first),
            (None, Some((path, first))) if *first < at => (path.clone(), *first),
            (None, _) => (path, at),
        };
        if of_header {
            self.twice.insert(line.start);
        }
        let help = match path == KeyPath::from(["middleware"]) {
            true => "[[middleware]] and [middleware.NAME] cannot stand in one file",
            false => "",
        };
        Some(Complaint {
            at,
            key: path.clone(),
            kind: ErrorKind::DefinedTwice {
                what: path.to_string(),
                other: place(first),
            },
            help: help.to_owned(),
        })
    }
}

fn collect<'t>(
    table: &'t DeTable<'_>,
    path: &KeyPath,
    by_name: &mut HashMap<&'t str, Vec<(usize, KeyPath)>>,
) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let path = path.key(name);
        if let DeValue::Table(table) = value.get_ref() {
            collect(table, &path, by_name);
        }
        by_name
            .entry(name)
            .or_default()
            .push((key.span().start, path));
    }
}

/// The path of the one table that a header makes.
fn innermost(table: &DeTable<'_>) -> KeyPath {
    let mut path = KeyPath::default();
    let mut table = Some(table);
    while let Some((key, value)) = table.and_then(|table| table.iter().next()) {
        path = path.key(key.get_ref());
        table = value.get_ref().as_table();
    }
    path
}
