//! One `cors` step: which pages of other origins may use a pipeline, and how they are told (Fetch
//! standard, "CORS protocol").

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::auth::DPOP_NONCE;
use crate::config::{AllowedOrigins, Cors as Settings};

const FIELDS: &str = "access-control-";
/// What an answer of the edge asks of the page: to authenticate, with this nonce, or to wait.
static OWN_FIELDS: [HeaderName; 5] = [
    WWW_AUTHENTICATE,
    DPOP_NONCE,
    RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

/// `cors`, with the fields of its answers made ready.
#[derive(Debug)]
pub struct Cors {
    step: Arc<str>,
    settings: Arc<Settings>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
}

/// The origin of a request, as a `cors` step sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOrigin {
    /// It names none: no page of another origin has sent it.
    Absent,
    /// It is one that may use the pipeline.
    Allowed,
    /// It is another one, or names several.
    NotAllowed,
}

impl Cors {
    /// The rules of the step of this name.
    pub fn new(step: &Arc<str>, settings: &Arc<Settings>) -> Self {
        let methods: Vec<&str> = settings.methods.iter().map(Method::as_str).collect();
        let names = |names: &[HeaderName]| {
            let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
            list(&names)
        };
        Self {
            step: step.clone(),
            methods: list(&methods),
            headers: names(&settings.headers),
            exposed: names(&settings.exposed),
            settings: settings.clone(),
        }
    }

    /// The step's name.
    pub fn step(&self) -> &Arc<str> {
        &self.step
    }

    /// Whether the origin that a request names may use the pipeline.
    pub fn classify_origin(&self, request: &HeaderMap) -> RequestOrigin {
        match single(request, &ORIGIN) {
            Some(origin) if self.settings.origins.allow(origin.as_bytes()) => {
                RequestOrigin::Allowed
            }
            None if !request.contains_key(ORIGIN) => RequestOrigin::Absent,
            _ => RequestOrigin::NotAllowed,
        }
    }

    /// Makes the fields of an answer those of this step: whatever it says to pages of other origins
    /// goes, and an allowed one may read it.
    pub fn apply(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        Self::remove_fields(answer);
        if self.settings.origins != AllowedOrigins::Any {
            vary_by_origin(answer);
        }
        if self.allow_origin(request, answer)
            && let Some(exposed) = self.exposed(answer)
        {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Removes the fields of an upstream's own CORS.
    pub fn remove_fields(headers: &mut HeaderMap) {
        let names = headers
            .keys()
            .filter(|name| name.as_str().starts_with(FIELDS));
        for name in names.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }

    /// What a page may read: the fields that are listed, and those of [`OWN_FIELDS`] that are
    /// there.
    fn exposed(&self, answer: &HeaderMap) -> Option<HeaderValue> {
        let listed = &self.settings.exposed;
        let is_open = |name: &HeaderName| listed.iter().any(|it| it == "*" || it == name);
        let own = OWN_FIELDS.iter();
        let own = own.filter(|&name| answer.contains_key(name) && !is_open(name));
        let own: Vec<&str> = own.map(HeaderName::as_str).collect();
        if own.is_empty() {
            return self.exposed.clone();
        }
        let listed = listed.iter().map(HeaderName::as_str);
        list(&listed.chain(own).collect::<Vec<_>>())
    }

    /// The same for the answer to a preflight.
    pub fn apply_to_preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        self.apply(request, answer);
        if self.classify_origin(request) != RequestOrigin::Allowed {
            return;
        }
        answer.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
        let max_age = self
            .settings
            .max_age
            .map(|age| HeaderValue::from(age.as_secs()));
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone()),
            (ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone()),
            (ACCESS_CONTROL_MAX_AGE, max_age),
        ] {
            answer.extend(value.map(|value| (name, value)));
        }
    }

    /// Names the origin, if it is allowed. Where every one is, none is named, so that a cache can
    /// give the answer to all.
    fn allow_origin(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        let origin = match self.settings.origins {
            AllowedOrigins::Any => Some(HeaderValue::from_static("*")),
            AllowedOrigins::Listed(_) => single(request, &ORIGIN)
                .filter(|origin| self.settings.origins.allow(origin.as_bytes()))
                .cloned(),
        };
        let Some(origin) = origin else {
            return false;
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.settings.credentials {
            let allowed = HeaderValue::from_static("true");
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
        true
    }
}

/// The method that a preflight asks for; `None`: the request is no preflight.
pub fn preflighted_method(method: &Method, request: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !request.contains_key(ORIGIN) {
        return None;
    }
    let asked = single(request, &ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// `None`: there is nothing to list.
fn list(items: &[&str]) -> Option<HeaderValue> {
    let joined = (!items.is_empty()).then(|| items.join(", "))?;
    HeaderValue::try_from(joined).ok()
}

/// Adds `Origin` to whatever the answer depends on already, in one field.
fn vary_by_origin(answer: &mut HeaderMap) {
    let tokens = |value: &HeaderValue| {
        let mut tokens = value.as_bytes().split(|&byte| byte == b',');
        tokens.any(|token| {
            let token = token.trim_ascii();
            token == b"*" || token.eq_ignore_ascii_case(b"origin")
        })
    };
    if answer.get_all(VARY).iter().any(tokens) {
        return;
    }
    let mut joined = Vec::new();
    for value in answer.get_all(VARY) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(b"Origin");
    let origin = HeaderValue::from_bytes(&joined);
    answer.insert(VARY, origin.unwrap_or(HeaderValue::from_static("Origin")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_is_added_to() {
        for (before, after) in [
            (&[][..], &["Origin"][..]),
            (&["Accept"], &["Accept, Origin"]),
            (&["Accept", "Cookie, X"], &["Accept, Cookie, X, Origin"]),
            (&["accept, ORIGIN"], &["accept, ORIGIN"]),
            (&["*"], &["*"]),
            (&["Accept", "origin"], &["Accept", "origin"]),
            (&["X-Origin"], &["X-Origin, Origin"]),
        ] {
            let mut answer = HeaderMap::new();
            for value in before {
                answer.append(VARY, HeaderValue::from_static(value));
            }
            vary_by_origin(&mut answer);
            let left: Vec<_> = answer.get_all(VARY).iter().collect();
            assert_eq!(left, after, "{before:?}");
        }
    }

    #[test]
    fn what_is_a_preflight() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let (origin, asked) = (("origin", "o"), ("access-control-request-method", "PUT"));
        let of = |method, fields: &[_]| preflighted_method(&method, &headers(fields));
        assert_eq!(of(Method::OPTIONS, &[origin, asked]), Some(Method::PUT));
        for (method, fields) in [
            (Method::GET, &[origin, asked][..]),
            (Method::OPTIONS, &[asked]),
            (Method::OPTIONS, &[origin]),
            (Method::OPTIONS, &[origin, asked, asked]),
            (
                Method::OPTIONS,
                &[origin, ("access-control-request-method", "a b")],
            ),
            (
                Method::OPTIONS,
                &[origin, ("access-control-request-method", "")],
            ),
        ] {
            assert_eq!(of(method, fields), None, "{fields:?}");
        }
    }
}
