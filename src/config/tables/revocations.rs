//! `[revocations]`: the list of what was revoked before its time.

use std::time::Duration;

use crate::config::model::RevocationLimits;
use crate::config::reader::Reader;

/// Ten years, in seconds.
const MAX_KEEP: i64 = 3650 * 86_400;

/// Reads `[revocations]`.
pub(crate) fn read(root: &Reader<'_>) -> RevocationLimits {
    let defaults = RevocationLimits::default();
    let Some(reader) = root.get("revocations").and_then(|entry| entry.table()) else {
        return defaults;
    };
    let max_entries = defaults.max_entries as u64;
    let limits = RevocationLimits {
        keep: Duration::from_secs(reader.number(
            "keep_secs",
            1..=MAX_KEEP,
            defaults.keep.as_secs(),
        )),
        max_entries: reader
            .number("max_revocations", 1..=10_000_000, max_entries)
            .try_into()
            .unwrap_or(defaults.max_entries),
    };
    reader.finish();
    limits
}
