//! `[rules.*]`, and rules written in their policy: one type each, and its options.

pub(crate) mod comparison;
mod limits;
pub(crate) mod time_window;

use http::HeaderName;

use super::values::{address, header, method, pattern};
use crate::config::model::{Check, ClaimMatch, Effect, ErrorKind, Expression, Rule};
use crate::config::reader::{Entry, Reader, near};

/// Every type, in its first spelling.
const TYPES: &[&str] = &[
    "allow_all",
    "deny_all",
    "ip_allow",
    "ip_deny",
    "rate_limit",
    "concurrency_limit",
    "path",
    "method",
    "header",
    "user_agent",
    "content_type",
    "query_parameter",
    "claims",
    "cel",
    "time_based",
    "geo",
];

/// A rule, and whether it counts.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) rule: Rule,
    pub(crate) enabled: bool,
}

/// What elsewhere in the configuration rules depend on.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings {
    /// Whether any peer is in `trusted_proxies`.
    pub(crate) trusts: bool,
    /// Whether there is a `[shared]`.
    pub(crate) shares: bool,
}

/// Reads one rule.
pub(crate) fn read_one(
    name: &str,
    entry: &Entry<'_>,
    surroundings: Surroundings,
) -> Option<Written> {
    let mut reader = entry.table()?;
    reader.know(&["name", "description", "id"]);
    reader.ignore(&["tags"]);
    let enabled = reader.flag("enabled", true);
    let enforce = reader.flag("enforce", true);
    let weight = reader
        .get("weight")
        .map_or(Some(100), |entry| entry.integer(-1000..=1000));
    let Some(kind) = reader.get("type") else {
        reader.missing("type", &format!("name one of {}", TYPES.join(", ")));
        return None;
    };
    let kind = rule_type(&kind)?;
    reader.flatten("options");
    let check = check(kind, &reader);
    if let Some(Check::Geo { .. }) = check
        && enabled
        && !surroundings.trusts
    {
        reader.error(
            "no proxy is trusted, so that nobody can say which country a request comes from",
            "name the proxy that sets the header in proxy.trusted_proxies",
        );
    }
    if let Some(Check::RateLimit(limit)) = &check
        && limit.shared
        && enabled
        && !surroundings.shares
    {
        reader.error(
            "is shared, and there is no [shared]",
            "add [shared] with the url of a store, or leave `scope` out",
        );
    }
    reader.finish();
    let rule = Rule {
        name: name.into(),
        weight: weight?,
        enforce,
        check: check?,
    };
    Some(Written { rule, enabled })
}

fn rule_type(entry: &Entry<'_>) -> Option<&'static str> {
    let text = entry.text()?;
    let spelt = text.replace('-', "_");
    if let Some(known) = TYPES.iter().find(|known| **known == spelt) {
        return Some(known);
    }
    let known = format!("an edge decides by {}", TYPES.join(", "));
    match near(&spelt, TYPES) {
        Some(_) => entry.unknown("rule type", &text, TYPES),
        None => entry.error_help(
            ErrorKind::Foreign(format!("the rule type {}", text.shown())),
            known,
        ),
    }
    None
}

fn check(kind: &str, reader: &Reader<'_>) -> Option<Check> {
    Some(match kind {
        "allow_all" => Check::All(Effect::Allow),
        "deny_all" => Check::All(Effect::Deny),
        "ip_allow" | "ip_deny" => Check::Ip {
            effect: if kind == "ip_allow" {
                Effect::Allow
            } else {
                Effect::Deny
            },
            ranges: address::ranges(&several(reader, "ip_addresses", "[\"10.0.0.0/8\"]")?),
        },
        "rate_limit" => Check::RateLimit(limits::rate_limit(reader)?.into()),
        "concurrency_limit" => Check::ConcurrencyLimit(limits::concurrency_limit(reader)?.into()),
        "time_based" => Check::Time(Box::new(time_window::read(reader)?)),
        _ => by_mode(kind, reader)?,
    })
}

/// The types whose `mode` says what a match means.
fn by_mode(kind: &str, reader: &Reader<'_>) -> Option<Check> {
    let effect = mode(reader);
    let check = match kind {
        "path" => Check::Path {
            patterns: all(
                &several(reader, "paths", "[\"/admin/{*path}\"]")?,
                pattern::path,
            ),
            effect: effect?,
        },
        "method" => Check::Method {
            methods: method::all(&several(reader, "methods", "[\"GET\"]")?),
            effect: effect?,
        },
        "header" => Check::Header {
            headers: all(
                &several(reader, "headers", "[{ name, match_type, value }]")?,
                comparison::header,
            ),
            effect: effect?,
        },
        "user_agent" => Check::UserAgent {
            patterns: all(
                &several(reader, "patterns", "[{ pattern = \"/bot/i\" }]")?,
                comparison::user_agent,
            ),
            effect: effect?,
        },
        "content_type" => Check::ContentType {
            types: all(
                &several(reader, "content_types", "[\"application/json\"]")?,
                comparison::media_range,
            ),
            effect: effect?,
        },
        "query_parameter" => Check::QueryParameter {
            parameters: all(
                &several(reader, "parameters", "[{ name, match_type, value }]")?,
                comparison::parameter,
            ),
            effect: effect?,
        },
        "claims" => Check::Claims {
            claims: claims(reader)?,
            effect: effect?,
        },
        "cel" => Check::Cel {
            expression: expression(reader)?,
            effect: effect?,
        },
        _ => Check::Geo {
            countries: all(&several(reader, "country_codes", "[\"DE\"]")?, country),
            header: country_header(reader)?,
            effect: effect?,
        },
    };
    Some(check)
}

/// `mode`.
fn mode(reader: &Reader<'_>) -> Option<Effect> {
    let help = "write mode = \"allow\" or mode = \"deny\"";
    let Some(entry) = reader.get("mode") else {
        reader.missing("mode", help);
        return None;
    };
    let text = entry.text()?;
    match &*text {
        "allow" => Some(Effect::Allow),
        "deny" => Some(Effect::Deny),
        _ => {
            entry.unknown("mode", &text, &["allow", "deny"]);
            None
        }
    }
}

/// An array that has to be there and hold something.
fn several<'a>(reader: &Reader<'a>, key: &'static str, example: &str) -> Option<Entry<'a>> {
    let entry = reader.get(key);
    if entry.is_none() {
        reader.missing(key, &format!("add {key} = {example}"));
    }
    entry.filter(Entry::is_not_empty)
}

fn all<T>(entry: &Entry<'_>, read: impl Fn(&Entry<'_>) -> Option<T>) -> Vec<T> {
    entry.items().iter().filter_map(read).collect()
}

/// A table claim = value or list of values.
fn claims(reader: &Reader<'_>) -> Option<Vec<ClaimMatch>> {
    let Some(entry) = reader.get("claims") else {
        reader.missing("claims", "add claims = { role = [\"admin\"] }");
        return None;
    };
    let claims = entry.table()?.entries();
    if claims.is_empty() {
        entry.error_help("is empty", "name at least one");
    }
    let claims = claims.into_iter().map(|(path, entry)| {
        if path.split('.').any(str::is_empty) {
            entry.error_help("names no claim", "write it like \"realm_access.roles\"");
        }
        ClaimMatch {
            path: path.to_owned(),
            values: entry.json_scalars(),
        }
    });
    Some(claims.collect())
}

fn expression(reader: &Reader<'_>) -> Option<Expression> {
    let Some(entry) = reader.get("expression") else {
        reader.missing("expression", "add expression = \"claims.role == 'admin'\"");
        return None;
    };
    let text = entry.text()?;
    let parsed = Expression::parse(&text);
    let refused = parsed.inspect_err(|mistake| match text.filled {
        // It may quote what was filled in.
        true => entry.error("is no expression, once its references are filled in"),
        false => entry.error(mistake.to_string()),
    });
    refused.ok()
}

fn country(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !fits {
        entry.error_help(
            format!("{} is not a country code", text.shown()),
            "write the two letters of ISO 3166-1, like \"DE\"",
        );
    }
    fits.then(|| text.to_ascii_uppercase())
}

fn country_header(reader: &Reader<'_>) -> Option<HeaderName> {
    let Some(entry) = reader.get("header") else {
        return Some(HeaderName::from_static("x-geo-country"));
    };
    header::name(&entry, "X-Geo-Country")
}
