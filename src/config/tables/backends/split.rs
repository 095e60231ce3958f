//! Which requests of a pipeline a backend gets: `weight` and `when`.

use crate::config::model::{When, WhenLocation};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::header;

/// `weight`.
pub(super) fn weight(reader: &Reader<'_>) -> Option<u32> {
    let entry = reader.get("weight")?;
    let weight = u32::try_from(entry.integer(0..=1000)?).ok()?;
    match (reader.has("when"), weight) {
        (true, 1..) => entry.warning(
            "has no effect beside `when`: only backends without it share the other requests",
        ),
        (false, 0) => entry.warning("this backend gets no requests"),
        _ => {}
    }
    Some(weight)
}

/// `when`, if it is there; the inner `None` follows an error.
pub(super) fn when(reader: &Reader<'_>) -> Option<Option<When>> {
    let entry = reader.get("when")?;
    Some(read(&entry))
}

fn read(entry: &Entry<'_>) -> Option<When> {
    let reader = entry.table()?;
    let header = reader.get("header").map(|entry| condition_header(&entry));
    let cookie = reader.get("cookie").map(|entry| condition_cookie(&entry));
    let value = reader.required_text("value", "add value = \"1\"");
    let location = match (header, cookie) {
        (Some(location), None) | (None, Some(location)) => location,
        _ => {
            reader.error(
                "needs either `header` or `cookie`",
                "write { header = \"X-Canary\", value = \"1\" }",
            );
            None
        }
    };
    reader.finish();
    Some(When {
        location: location?,
        value: value?.to_string(),
    })
}

fn condition_header(entry: &Entry<'_>) -> Option<WhenLocation> {
    let name = header::name(entry, "X-Canary")?;
    if let Some(why) = header::untouchable(&name) {
        entry.error_help(
            format!("{:?} {why}, and decides nothing here", name.as_str()),
            "choose a header of the application, like \"X-Canary\", or a cookie",
        );
        return None;
    }
    Some(WhenLocation::Header(name))
}

fn condition_cookie(entry: &Entry<'_>) -> Option<WhenLocation> {
    let name = entry.text()?;
    let sound = |byte: u8| byte.is_ascii_graphic() && !b"=;,\"\\".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(sound);
    if !is_name {
        entry.error_help("is not the name of a cookie", "write it like \"canary\"");
    }
    is_name.then(|| WhenLocation::Cookie(name.to_string()))
}
