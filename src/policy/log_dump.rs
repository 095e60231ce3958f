//! `log_dump`: a request in the log, without what must not stand there. Bodies are never shown.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::{Map, Value};

use super::facts::Facts;
use super::field_name::reads_as;
use crate::config::{
    Check, CredentialLocation, Expression, LogDump as Settings, Step, StepKind, Variable,
};

const TARGET: &str = "harmony::log_dump";
const REDACTED: &str = "[redacted]";

/// Parts of names, in lower case and without separators, whose values are never shown, whatever the
/// configuration says.
const SENSITIVE_PARTS: &[&str] = &[
    "authoriz",
    "cookie",
    "token",
    "secret",
    "passw",
    "apikey",
    "credential",
    "session",
    "signature",
    "jwt",
    "assertion",
];
/// Whole names of the same kind. Browsers, which can set no other field of a WebSocket's request,
/// put tokens among the sub-protocols (Kubernetes: `base64url.bearer.authorization.k8s.io.TOKEN`).
const SENSITIVE_NAMES: &[&str] = &[
    "auth",
    "code",
    "dpop",
    "key",
    "pass",
    "pwd",
    "secwebsocketprotocol",
    "sid",
    "sig",
];

/// Headers that hold an address with a query of its own.
const WITH_QUERY: &[&str] = &[
    "referer",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// One `log_dump` step.
#[derive(Debug)]
pub struct LogDump {
    step: Arc<str>,
    settings: Arc<Settings>,
    headers: Vec<HeaderName>,
    parameters: Vec<String>,
    /// A rule compares a header that only the request tells.
    hides_all_headers: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    label: &'a str,
    client: Option<IpAddr>,
    method: &'a str,
    path: &'a str,
    query: Map<String, Value>,
    headers: Map<String, Value>,
}

impl LogDump {
    /// The step of this name among the others of its pipeline: what their rules compare is not
    /// shown.
    pub fn build(step: &Arc<str>, settings: &Arc<Settings>, steps: &[Step]) -> Self {
        let mut dump = Self {
            step: step.clone(),
            settings: settings.clone(),
            headers: Vec::new(),
            parameters: Vec::new(),
            hides_all_headers: false,
        };
        let policies = steps.iter().filter_map(|step| match &step.kind {
            StepKind::Policies(settings) => Some(&settings.policies),
            _ => None,
        });
        for rule in policies.flatten().flat_map(|policy| &policy.rules) {
            match &rule.check {
                Check::Header { headers, .. } => {
                    let names = headers.iter().map(|field| field.name.clone());
                    dump.headers.extend(names);
                }
                Check::QueryParameter { parameters, .. } => {
                    let names = parameters.iter().map(|field| field.name.clone());
                    dump.parameters.extend(names);
                }
                Check::Cel { expression, .. } => dump.hide_compared(expression),
                _ => {}
            }
        }
        dump
    }

    fn hide_compared(&mut self, expression: &Expression) {
        for (variable, path) in expression.paths() {
            match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                _ if *variable != Variable::Request => {}
                ["headers", name, ..] => self.headers.extend(HeaderName::try_from(name)),
                [] | ["headers"] => self.hides_all_headers = true,
                _ => {}
            }
        }
    }

    /// The step's name.
    pub fn step(&self) -> &Arc<str> {
        &self.step
    }

    /// Hides what authentication looks at, too.
    pub fn hide<'a>(&mut self, credentials: impl Iterator<Item = &'a CredentialLocation>) {
        for place in credentials {
            match place {
                CredentialLocation::Header(name) => self.headers.push(name.clone()),
                CredentialLocation::Query(name) => self.parameters.push(name.clone()),
                // never shown anyway
                CredentialLocation::Authorization | CredentialLocation::Cookie(_) => {}
            }
        }
    }

    /// Writes the request to the log, if the log wants it.
    pub fn log(&self, facts: &Facts<'_>) {
        let level = self.settings.level;
        if log::log_enabled!(target: TARGET, level) {
            log::log!(target: TARGET, level, "{}", self.text(facts));
        }
    }

    fn text(&self, facts: &Facts<'_>) -> String {
        let record = Record {
            label: &self.settings.label,
            client: facts.client,
            method: facts.method.as_str(),
            path: facts.path,
            query: self.query(facts),
            headers: self.fields(facts.headers),
        };
        let text = if self.settings.pretty {
            serde_json::to_string_pretty(&record)
        } else {
            serde_json::to_string(&record)
        };
        text.unwrap_or_default()
    }

    fn fields(&self, headers: &HeaderMap) -> Map<String, Value> {
        let mut fields = Map::new();
        for name in headers.keys() {
            let known =
                |known: &HeaderName| reads_as(known.as_str().as_bytes(), name.as_str().as_bytes());
            let hidden = self.hides_all_headers
                || self.headers.iter().any(known)
                || self.hides(name.as_str());
            let values = headers.get_all(name).iter().map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes());
                match value.split_once('?') {
                    Some((before, _)) if WITH_QUERY.contains(&name.as_str()) => {
                        Cow::Owned(format!("{before}?{REDACTED}"))
                    }
                    _ => value,
                }
            });
            for value in values {
                let value = if hidden { REDACTED.into() } else { value };
                add(&mut fields, name.as_str(), &value);
            }
        }
        fields
    }

    fn query(&self, facts: &Facts<'_>) -> Map<String, Value> {
        let mut parameters = Map::new();
        for (name, value) in facts.parameters() {
            let hidden = self.parameters.iter().any(|hidden| *hidden == name) || self.hides(&name);
            let value = if hidden { REDACTED } else { &value };
            add(&mut parameters, &name, value);
        }
        parameters
    }

    fn hides(&self, name: &str) -> bool {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        SENSITIVE_NAMES.contains(&plain.as_str())
            || SENSITIVE_PARTS.iter().any(|part| plain.contains(part))
            || self
                .settings
                .redact
                .iter()
                .any(|known| known.is_match(name))
    }
}

/// A value under a name; the second makes a list of it.
fn add(into: &mut Map<String, Value>, name: &str, value: &str) {
    match into.get_mut(name) {
        None => drop(into.insert(name.to_owned(), Value::from(value))),
        Some(Value::Array(values)) => values.push(Value::from(value)),
        Some(single) => *single = Value::Array(vec![single.take(), Value::from(value)]),
    }
}

#[cfg(test)]
mod tests;
