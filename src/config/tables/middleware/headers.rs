//! The settings of a `headers` step.

use http::{HeaderName, HeaderValue};

use crate::config::model::{HeaderChanges, HeaderRules, HeaderTemplate, TemplatePart};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::header;

const PLACEHOLDERS: &str = "there are {client_ip}, {host}, {request_id}, {subject} and \
                            {claim:NAME}; write {{ and }} for braces";

pub(super) fn read(reader: &Reader<'_>) -> Option<HeaderRules> {
    let request = changes(reader, "request");
    let response = changes(reader, "response");
    let security_headers = reader.flag("security_headers", false);
    let rules = HeaderRules {
        request: request?,
        response: response?,
        security_headers,
    };
    if rules.request.is_empty() && rules.response.is_empty() && !security_headers {
        reader.error(
            "changes nothing",
            "add request or response, like response = { remove = [\"Server\"] }",
        );
    }
    Some(rules)
}

fn changes(reader: &Reader<'_>, key: &'static str) -> Option<HeaderChanges> {
    let Some(entry) = reader.get(key) else {
        return Some(HeaderChanges::default());
    };
    let table = entry.table()?;
    let set = values(&table, "set");
    let add = values(&table, "add");
    let remove = table.get("remove").map_or(Some(Vec::new()), |entry| {
        let items = entry.items();
        let names: Vec<HeaderName> = items
            .iter()
            .filter_map(|item| touchable(item, header::name(item, "X-Debug")?))
            .collect();
        (names.len() == items.len()).then_some(names)
    });
    table.finish();
    Some(HeaderChanges {
        remove: remove?,
        set: set?,
        add: add?,
    })
}

fn values(reader: &Reader<'_>, key: &'static str) -> Option<Vec<(HeaderName, HeaderTemplate)>> {
    let Some(entry) = reader.get(key) else {
        return Some(Vec::new());
    };
    let entries = entry.table()?.entries();
    let mut read: Vec<(HeaderName, HeaderTemplate)> = Vec::new();
    for (name, entry) in &entries {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            entry.error_help("its key is not a header name", "write it like \"X-Client\"");
            continue;
        };
        if read.iter().any(|(known, _)| *known == parsed) {
            entry.error(format!("{name:?} is there twice"));
            continue;
        }
        if let (Some(name), Some(value)) = (touchable(entry, parsed), template(entry)) {
            read.push((name, value));
        }
    }
    (read.len() == entries.len()).then_some(read)
}

/// The same name, if a rule may change it.
fn touchable(entry: &Entry<'_>, name: HeaderName) -> Option<HeaderName> {
    let Some(why) = header::untouchable(&name) else {
        return Some(name);
    };
    entry.error_help(
        format!("{:?} {why}: no rule may change it", name.as_str()),
        "choose a name of your own, like \"X-Client\", or remove it",
    );
    None
}

fn template(entry: &Entry<'_>) -> Option<HeaderTemplate> {
    let text = entry.text()?;
    let Some(mut parts) = parts(&text) else {
        entry.error_help("holds a placeholder that is not known", PLACEHOLDERS);
        return None;
    };
    let sound = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !sound || text.trim() != &*text {
        entry.error_help(
            "is not the value of a header",
            "keep to visible ASCII, with spaces inside only",
        );
        return None;
    }
    let sensitive = entry.is_filled();
    if parts
        .iter()
        .any(|part| !matches!(part, TemplatePart::Text(_)))
    {
        return Some(HeaderTemplate::Filled { parts, sensitive });
    }
    let fixed = match parts.pop() {
        Some(TemplatePart::Text(text)) => text,
        _ => String::new(),
    };
    let mut value = HeaderValue::try_from(fixed).ok()?;
    value.set_sensitive(sensitive);
    Some(HeaderTemplate::Fixed(value))
}

/// `None`: a brace that belongs to no known placeholder. Text is one part as far as it goes.
fn parts(mut text: &str) -> Option<Vec<TemplatePart>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    while let Some(brace) = text.find(['{', '}']) {
        let (before, rest) = text.split_at(brace);
        plain.push_str(before);
        if rest.starts_with("{{") || rest.starts_with("}}") {
            plain.push_str(&rest[..1]);
            text = &rest[2..];
            continue;
        }
        let (name, rest) = rest.strip_prefix('{')?.split_once('}')?;
        let part = match name {
            "client_ip" => TemplatePart::ClientIp,
            "host" => TemplatePart::Host,
            "request_id" => TemplatePart::RequestId,
            "subject" => TemplatePart::Subject,
            name => TemplatePart::Claim(
                name.strip_prefix("claim:")
                    .filter(|claim| !claim.is_empty() && !claim.contains('{'))?
                    .to_owned(),
            ),
        };
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
        }
        parts.push(part);
        text = rest;
    }
    plain.push_str(text);
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_braces() {
        use TemplatePart::{Claim, ClientIp, Subject, Text};
        let text = |text: &str| Text(text.to_owned());
        for (value, expected) in [
            ("", vec![]),
            ("a b", vec![text("a b")]),
            ("{client_ip}", vec![ClientIp]),
            ("a{subject}b", vec![text("a"), Subject, text("b")]),
            ("{claim:https://x/y}", vec![Claim("https://x/y".to_owned())]),
            ("{{\"a\":{{}}}}", vec![text("{\"a\":{}}")]),
            ("{{{subject}}}", vec![text("{"), Subject, text("}")]),
        ] {
            assert_eq!(parts(value), Some(expected), "{value}");
        }
        for wrong in [
            "{",
            "}",
            "{x}",
            "{claim:}",
            "{claim}",
            "{ subject}",
            "a}b",
            "{claim:{x}",
            "{}",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
