//! What the `headers` steps of a pipeline, and then its `cors` step, make of the fields of a
//! request and of its answer.

use http::header::{self, HeaderName};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response};
use pingora::http::ResponseHeader;

use super::context::Context;
use super::field_removal::remove_fields;
use crate::auth::{DPOP_NONCE, claim_text};
use crate::gateway::{HeaderChanges, HeaderRules, HeaderTemplate, TemplatePart};
use crate::policy::{Cors, reads_as};
use crate::telemetry::access;

/// What `security_headers` adds where an answer has none of its own (OWASP, "HTTP Security Response
/// Headers"). Browsers heed the first one over https only.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=31536000; includeSubDomains",
    ),
    (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'self'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
];

/// What tells a client how to authenticate.
const CHALLENGE: [HeaderName; 2] = [header::WWW_AUTHENTICATE, DPOP_NONCE];

/// Changes a request as the upstream gets it.
pub(crate) fn change_request(headers: &mut HeaderMap, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    for rules in route.pipeline.header_rules() {
        clear(headers, &rules.request);
        fill(headers, &rules.request, ctx);
    }
}

/// Removes the names that a client may not set, because a rule does, in every spelling that a
/// server could take for them.
pub(crate) fn clear(headers: &mut HeaderMap, changes: &HeaderChanges) {
    if changes.is_empty() {
        return;
    }
    remove_fields(headers, |name| {
        let is_it = |of: &HeaderName| reads_as(name.as_str().as_bytes(), of.as_str().as_bytes());
        changes.cleared().any(is_it)
    });
}

/// Changes an answer as the client gets it. `request`: the fields that the client sent.
pub(crate) fn change_answer(headers: &mut HeaderMap, request: &HeaderMap, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    for rules in route.pipeline.header_rules() {
        let changes = &rules.response;
        if !changes.is_empty() {
            remove_fields(headers, |name| changes.cleared().any(|it| it == name));
            fill(headers, changes, ctx);
        }
        if rules.security_headers {
            let missing = |(name, _): &&(HeaderName, _)| {
                !headers.contains_key(name) && !changes.remove.contains(name)
            };
            let missing: Vec<_> = SECURITY_HEADERS.iter().filter(missing).collect();
            for (name, value) in missing {
                headers.insert(name.clone(), HeaderValue::from_static(value));
            }
        }
    }
    match route.pipeline.cors() {
        Some(cors) if ctx.preflight => cors.apply_to_preflight(request, headers),
        Some(cors) => cors.apply(request, headers),
        None => {}
    }
}

/// Removes from an interim response or from trailers what the rules remove or set in the answer.
pub(crate) fn clear_part_of_answer(headers: &mut HeaderMap, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    for rules in route.pipeline.header_rules() {
        let changes = &rules.response;
        remove_fields(headers, |name| changes.cleared().any(|it| it == name));
    }
    if route.pipeline.cors().is_some() {
        Cors::remove_fields(headers);
    }
}

/// The same for the head of an answer of our own, whose challenge stays (RFC 9110 section 11.6.1).
pub(crate) fn change_own_answer(head: &mut ResponseHeader, request: &HeaderMap, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    if route.pipeline.header_rules().is_empty() && route.pipeline.cors().is_none() {
        return;
    }
    let empty = Response::new(()).into_parts().0;
    let mut parts: Parts = std::mem::replace(head, empty.into()).into();
    let challenge = CHALLENGE.map(|name| {
        let values: Vec<HeaderValue> = parts.headers.get_all(&name).iter().cloned().collect();
        (name, values)
    });
    change_answer(&mut parts.headers, request, ctx);
    for (name, values) in challenge.into_iter().filter(|(_, own)| !own.is_empty()) {
        parts.headers.remove(&name);
        for value in values {
            parts.headers.append(name.clone(), value);
        }
    }
    *head = parts.into();
}

/// Sets and adds what has a value in this request.
fn fill(headers: &mut HeaderMap, changes: &HeaderChanges, ctx: &Context) {
    for (name, template) in &changes.set {
        if let Some(value) = value(template, ctx) {
            headers.insert(name.clone(), value);
        }
    }
    for (name, template) in &changes.add {
        if let Some(value) = value(template, ctx) {
            headers.append(name.clone(), value);
        }
    }
}

/// `None`: this request does not have what a part stands for.
fn value(template: &HeaderTemplate, ctx: &Context) -> Option<HeaderValue> {
    let (parts, sensitive) = match template {
        HeaderTemplate::Fixed(value) => return Some(value.clone()),
        HeaderTemplate::Filled { parts, sensitive } => (parts, *sensitive),
    };
    let mut text = String::new();
    for part in parts {
        match part {
            TemplatePart::Text(written) => text.push_str(written),
            TemplatePart::ClientIp => access::push_address(&mut text, ctx.client?),
            TemplatePart::Host => text.push_str(&ctx.head.as_ref()?.host()),
            TemplatePart::RequestId => text.push_str(ctx.request_id.as_ref()?.to_str().ok()?),
            TemplatePart::Subject => text.push_str(ctx.identity()?.subject()?.to_str().ok()?),
            TemplatePart::Claim(name) => {
                text.push_str(&claim_text(ctx.identity()?.claims()?.at(name)?)?);
            }
        }
    }
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(sensitive);
    Some(value)
}

/// What rules do, in words, for `explain`.
pub(super) fn describe(rules: &HeaderRules) -> String {
    let mut sentences = Vec::new();
    for (of, changes) in [("request", &rules.request), ("response", &rules.response)] {
        let filled = |pairs: &[(HeaderName, HeaderTemplate)]| {
            let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            names.join(", ")
        };
        let removed: Vec<&str> = changes.remove.iter().map(HeaderName::as_str).collect();
        for (verb, names) in [
            ("removes", removed.join(", ")),
            ("sets", filled(&changes.set)),
            ("adds", filled(&changes.add)),
        ] {
            if !names.is_empty() {
                sentences.push(format!("{verb} {names} of the {of}"));
            }
        }
    }
    if rules.security_headers {
        sentences.push("adds security headers to the response".to_owned());
    }
    sentences.join("; ")
}
