//! TOML as written, each value with the file and line that it came from; and the main file merged
//! with its pipelines directory.
//!
//! Not here: what the values mean (the readers), or filling in references (`fill`).

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::{Loading, syntax};
use crate::config::model::{ErrorKind, Owner};

/// Where something stands.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, as it was named.
    pub(crate) file: Rc<Path>,
    /// The line, from 1; `None` for a file as a whole.
    pub(crate) line: Option<usize>,
    /// Whether the text came from the cloud: nothing there may name a file or refer to a secret.
    pub(crate) cloud: bool,
}

/// A value and where it stands: for one with a key, where the key stands.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value as written: references in strings are not filled in yet.
#[derive(Clone)]
pub(crate) enum Value {
    String(Zeroizing<String>),
    /// What does not fit is held as the nearest number that does.
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// As RFC 3339 writes it.
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys and values, in the order of the file.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<(String, Node)>,
}

/// The main file with its pipelines directory merged in.
pub(crate) struct Document {
    /// The tables.
    pub(crate) root: Table,
    /// `[[middleware]]` of the main file.
    pub(crate) chain: Option<Node>,
}

/// Tables at the top that are read and have no effect.
pub(crate) const IGNORED_TABLES: &[&str] = &["storage", "services", "middleware_types", "peers"];
/// Tables of which there is one, in the main file.
const MAIN_FILE_ONLY: &[&str] = &["proxy", "management", "runbeam", "logging"];

impl Value {
    /// The type's name, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Table {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }
}

impl Document {
    /// Parses the main file's text. `None` (and errors) if it is not TOML.
    pub(crate) fn parse(path: &Path, text: &str, loading: &Loading<'_>) -> Option<Self> {
        let mut root = parse_text(path, text, false, loading)?;
        let chain = root
            .entries
            .iter()
            .position(|(key, node)| key == "middleware" && matches!(node.value, Value::Array(_)));
        let chain = chain.map(|index| root.entries.remove(index).1);
        Some(Self { root, chain })
    }

    /// Merges every `*.toml` of a directory, sorted by name.
    pub(crate) fn merge_directory(
        &mut self,
        directory: &Path,
        loading: &Loading<'_>,
    ) -> io::Result<()> {
        for path in loading.list(directory)? {
            self.merge_file(path, loading);
        }
        Ok(())
    }

    fn merge_file(&mut self, path: PathBuf, loading: &Loading<'_>) {
        loading.file(path.clone());
        let parsed = match loading.read(&path) {
            Ok(text) => parse_text(&path, &text, false, loading),
            Err(error) => {
                let place = Place {
                    file: path.into(),
                    line: None,
                    cloud: false,
                };
                loading.error(
                    &place,
                    "",
                    ErrorKind::Unreadable {
                        what: "the file".into(),
                        why: error.to_string(),
                    },
                );
                None
            }
        };
        let Some(table) = parsed else {
            loading.incomplete();
            return;
        };
        for (key, node) in table.entries {
            self.merge_group(key, node, loading);
        }
    }

    /// Adds one top-level entry of another file: the names in it join those of the same group.
    fn merge_group(&mut self, key: String, node: Node, loading: &Loading<'_>) {
        if MAIN_FILE_ONLY.contains(&key.as_str()) {
            return loading.error(&node.place, &key, "stands in the main file only");
        }
        if key == "middleware" && matches!(node.value, Value::Array(_)) {
            return loading.error_help(
                &node.place,
                &key,
                "[[middleware]] stands in the main file only",
                "name the steps, as [middleware.NAME], and list them in `middleware` of the \
                 pipeline",
            );
        }
        let Some(present) = self.root.get_mut(&key) else {
            self.root.entries.push((key, node));
            return;
        };
        let (Value::Table(into), Value::Table(from)) = (&mut present.value, node.value) else {
            let what = format!("`{key}`");
            return loading.error(
                &node.place,
                &key,
                ErrorKind::DefinedTwice {
                    what,
                    other: present.place.to_string(),
                },
            );
        };
        for (name, node) in from.entries {
            match into.get(&name) {
                Some(_) if IGNORED_TABLES.contains(&key.as_str()) => {}
                Some(first) => {
                    let what = format!("{key}.{name}");
                    loading.error(
                        &node.place,
                        &what,
                        ErrorKind::DefinedTwice {
                            what: what.clone(),
                            other: first.place.to_string(),
                        },
                    );
                }
                None => into.entries.push((name, node)),
            }
        }
    }
}

impl Place {
    /// Who wrote what stands there.
    pub(crate) fn owner(&self) -> Owner {
        match self.cloud {
            true => Owner::Cloud,
            false => Owner::Local,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Parses one text; reports every syntax error.
pub(crate) fn parse_text(
    path: &Path,
    text: &str,
    cloud: bool,
    loading: &Loading<'_>,
) -> Option<Table> {
    let lines = Lines::new(path, text, cloud);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(lines.table(table.into_inner()));
    }
    let place = |at| lines.place(at).to_string();
    for complaint in syntax::complaints(text, table.get_ref(), &errors, &place) {
        let place = lines.place(complaint.at);
        match complaint.help {
            help if help.is_empty() => loading.error(&place, &complaint.key, complaint.kind),
            help => loading.error_help(&place, &complaint.key, complaint.kind, help),
        }
    }
    None
}

/// A file and where its lines begin.
struct Lines {
    file: Rc<Path>,
    starts: Vec<usize>,
    cloud: bool,
}

impl Lines {
    fn new(path: &Path, text: &str, cloud: bool) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self {
            file: path.into(),
            starts,
            cloud,
        }
    }

    fn place(&self, offset: usize) -> Place {
        Place {
            file: Rc::clone(&self.file),
            line: Some(1 + self.starts.partition_point(|start| *start <= offset)),
            cloud: self.cloud,
        }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            let place = self.place(key.span().start);
            (
                key.into_inner().into_owned(),
                Node {
                    place,
                    value: self.value(value.into_inner()),
                },
            )
        });
        Table {
            entries: entries.collect(),
        }
    }

    fn value(&self, value: DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::String(Zeroizing::new(text.into_owned())),
            DeValue::Integer(integer) => {
                let nearest = if integer.as_str().starts_with('-') {
                    i64::MIN
                } else {
                    i64::MAX
                };
                Value::Integer(
                    i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(nearest),
                )
            }
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
            DeValue::Array(array) => {
                Value::Array(array.into_iter().map(|item| self.item(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }

    fn item(&self, item: Spanned<DeValue<'_>>) -> Node {
        Node {
            place: self.place(item.span().start),
            value: self.value(item.into_inner()),
        }
    }
}
