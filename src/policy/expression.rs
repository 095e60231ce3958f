//! What an expression may look at of a request, as its values.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use serde_json::Value as Json;

use super::facts::Facts;
use crate::auth::{
    AuthMethod, CertificateTrust, ClientCertificate, Identity, PresentedCertificate,
};
use crate::common::Hex;
use crate::config::{
    AlternativeName, CertificateSubject, EvaluationError, Expression, Variable, map_of,
};

/// Whether it holds for a request.
///
/// # Errors
///
/// It cannot be evaluated.
pub(super) fn is_true(expression: &Expression, facts: &Facts<'_>) -> Result<bool, EvaluationError> {
    expression.is_true(|variable| value(expression, variable, facts))
}

/// What it looks at, for `explain`: never the value of a header, which may be a credential.
pub(super) fn looked_at<'f>(
    expression: &'f Expression,
    facts: &'f Facts<'f>,
) -> impl Iterator<Item = String> + 'f {
    expression.paths().iter().map(|(variable, path)| {
        let whole = value(expression, *variable, facts);
        let found = path.iter().try_fold(&whole, |value, name| match value {
            Value::Map(Map { map }) => map.get(&Key::from(name.clone())),
            _ => None,
        });
        let hidden =
            *variable == Variable::Request && path.first().is_none_or(|name| name == "headers");
        let names = std::iter::once(variable.name()).chain(path.iter().map(String::as_str));
        let names: Vec<&str> = names.collect();
        let names = names.join(".");
        match found {
            None => format!("{names} is not there"),
            Some(_) if hidden => format!("{names} is there"),
            Some(found) => format!("{names} is {}", Shown(found)),
        }
    })
}

/// A variable, without those members that cost most and that nothing looks at.
fn value(expression: &Expression, variable: Variable, facts: &Facts<'_>) -> Value {
    let reads = |member| expression.reads_member(variable, member);
    match variable {
        Variable::Claims => {
            let claims = facts.identity.and_then(Identity::claims);
            claims.map_or_else(|| map_of([]), |claims| object(claims.as_map()))
        }
        Variable::Identity => facts
            .identity
            .map_or_else(|| map_of([]), |it| identity(it, reads("scopes"))),
        Variable::Request => map_of(
            [
                ("method", facts.method.as_str().into()),
                ("path", facts.path.into()),
                ("host", facts.host.map_or("".into(), host)),
            ]
            .into_iter()
            .chain(reads("headers").then(|| ("headers", headers(facts))))
            .chain(
                facts
                    .client
                    .map(|client| ("client_address", client.to_canonical().to_string().into())),
            ),
        ),
        Variable::Certificate => {
            let is_verified = |presented: &PresentedCertificate<'_>| {
                presented.trust == CertificateTrust::Verified
            };
            let trusted = facts.certificate.filter(is_verified);
            trusted.map_or_else(
                || map_of([]),
                |presented| certificate(presented.certificate),
            )
        }
    }
}

fn identity(identity: &Identity, with_scopes: bool) -> Value {
    let method = identity.method();
    let subject = identity.subject().and_then(|subject| subject.to_str().ok());
    let scopes = with_scopes.then(|| {
        let scopes = identity.scopes().into_iter().map(Value::from);
        ("scopes", Value::List(Arc::new(scopes.collect())))
    });
    let always = [("method", method.as_str().into())].into_iter();
    let key_id = subject.filter(|_| method == AuthMethod::ApiKey);
    let others = [("subject", subject), ("key_id", key_id)].into_iter();
    let others = others.filter_map(|(name, value)| Some((name, value?.into())));
    map_of(always.chain(scopes).chain(others))
}

/// As routes have it: in lower case, without the root's dot and brackets.
fn host(written: &str) -> Value {
    let host = written.strip_suffix('.').unwrap_or(written);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.to_ascii_lowercase().into()
}

/// Names in lower case; what comes more than once is one list (RFC 9110 section 5.3).
fn headers(facts: &Facts<'_>) -> Value {
    let names = facts.headers.keys().map(|name| {
        let values = facts.headers.get_all(name).into_iter();
        let values: Vec<Cow<'_, str>> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (name.as_str().to_owned().into(), values.join(", ").into())
    });
    Value::Map(Map {
        map: Arc::new(names.collect()),
    })
}

fn certificate(certificate: &ClientCertificate) -> Value {
    let names = certificate.names().iter().map(|name| {
        let name = match name {
            AlternativeName::Dns(name) => format!("DNS:{name}"),
            AlternativeName::Uri(name) => format!("URI:{name}"),
            AlternativeName::Email(name) => format!("email:{name}"),
            AlternativeName::Ip(address) => format!("IP:{address}"),
        };
        Value::from(name)
    });
    let sha256 = Hex(&certificate.sha256()).to_string();
    let always = [
        ("sans", Value::List(Arc::new(names.collect()))),
        ("sha256", sha256.into()),
    ];
    let subject = certificate.subject(CertificateSubject::CommonName);
    let subject = subject.map(|subject| ("subject", subject.into()));
    map_of(always.into_iter().chain(subject))
}

fn object(members: &serde_json::Map<String, Json>) -> Value {
    let members = members.iter();
    let members = members.map(|(name, value)| (name.clone().into(), json(value)));
    Value::Map(Map {
        map: Arc::new(members.collect()),
    })
}

fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => text.as_str().into(),
        Json::Array(elements) => Value::List(Arc::new(elements.iter().map(json).collect())),
        Json::Object(members) => object(members),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
    }
}

/// A value as an operator would write it.
struct Shown<'v>(&'v Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => write!(f, "{text:?}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::UInt(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Null => f.write_str("null"),
            Value::List(elements) => {
                let elements: Vec<String> = elements
                    .iter()
                    .map(|element| Shown(element).to_string())
                    .collect();
                write!(f, "[{}]", elements.join(", "))
            }
            Value::Map(Map { map }) => write!(f, "a map with {} members", map.len()),
            _ => f.write_str("of another type"),
        }
    }
}
