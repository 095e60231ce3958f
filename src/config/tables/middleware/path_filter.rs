//! The settings of a `path-filter` step.

use crate::config::model::{Effect, PathFilter, PathPattern};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::pattern;

/// `path-filter`: `rules`, each a pattern that is allowed, or `{ allow = PATTERN }`, or `{ deny =
/// PATTERN }`.
pub(super) fn read(reader: &Reader<'_>) -> Option<PathFilter> {
    let Some(entry) = reader.get("rules") else {
        reader.missing("rules", "add rules = [\"/status\", \"/users/{id}\"]");
        return None;
    };
    if !entry.is_not_empty() {
        return None;
    }
    let items = entry.items();
    let rules: Vec<_> = items.iter().filter_map(path_rule).collect();
    if rules.len() != items.len() {
        return None;
    }
    if rules.iter().all(|(effect, _)| *effect == Effect::Deny) {
        entry.warning(match reader.flag("enforce", true) {
            true => "no rule allows anything: every request is answered 404",
            false => "no rule allows anything: it would refuse every request",
        });
    }
    Some(PathFilter { rules })
}

fn path_rule(item: &Entry<'_>) -> Option<(Effect, PathPattern)> {
    if !item.is_table() {
        return Some((Effect::Allow, pattern::path(item)?));
    }
    let reader = item.table()?;
    let (allow, deny) = (reader.get("allow"), reader.get("deny"));
    let rule = match (allow, deny) {
        (Some(allow), None) => pattern::path(&allow).map(|pattern| (Effect::Allow, pattern)),
        (None, Some(deny)) => pattern::path(&deny).map(|pattern| (Effect::Deny, pattern)),
        _ => {
            reader.error(
                "needs either `allow` or `deny`",
                "write { allow = \"/users/{id}\" } or { deny = \"/{*rest}\" }",
            );
            None
        }
    };
    reader.finish();
    rule
}
