//! From a text to values: TOML, with the line that each value came from.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::{Loading, Node, Span, Table, Value, syntax};

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
    let place = |at| lines.span(at).to_string();
    for complaint in syntax::complaints(text, table.get_ref(), &errors, &place) {
        let span = lines.span(complaint.at);
        match complaint.help {
            help if help.is_empty() => loading.error(&span, &complaint.key, complaint.kind),
            help => loading.error_help(&span, &complaint.key, complaint.kind, help),
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

    fn span(&self, offset: usize) -> Span {
        Span {
            file: Rc::clone(&self.file),
            line: Some(1 + self.starts.partition_point(|start| *start <= offset)),
            cloud: self.cloud,
        }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            let span = self.span(key.span().start);
            (
                key.into_inner().into_owned(),
                Node {
                    span,
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
            span: self.span(item.span().start),
            value: self.value(item.into_inner()),
        }
    }
}
