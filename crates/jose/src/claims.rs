//! The claims of a token (RFC 7519 section 4).

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::{TokenError, strict_json};

/// The first second of the year 10000, which no date of RFC 3339 can tell.
const END_OF_TIME: UnixTime = 253_402_300_800.0;

/// The claims of a token: verified where [`Keys::verify`](crate::Keys::verify) returned them.
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

/// When a token counts, leeway included.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// From `nbf` and `iat` on, whichever is later.
    pub from: UnixTime,
    /// Until just before `exp`.
    pub until: UnixTime,
}

impl Validity {
    /// When both count.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }

    /// Whether the token counts at a moment.
    ///
    /// # Errors
    ///
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`].
    pub fn check(self, now: UnixTime) -> Result<(), TokenError> {
        if now >= self.until {
            Err(TokenError::Expired)
        } else if now < self.from {
            Err(TokenError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

impl Claims {
    /// Reads a JSON object that names no claim twice.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, TokenError> {
        strict_json::object(text)
            .map(Self)
            .ok_or(TokenError::Malformed)
    }

    /// A claim by its name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim by its name, or by the names on the way into it with dots between: `a.b` is the
    /// member `b` of the claim `a`, unless there is a claim of that whole name.
    pub fn at(&self, path: &str) -> Option<&Value> {
        at(&self.0, path)
    }

    /// All of them.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// All of them.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// About how many bytes they take on the heap.
    pub fn bytes(&self) -> usize {
        members(&self.0)
    }

    /// `exp`, which has to be there, `nbf` and `iat` (RFC 7519 sections 4.1.4 to 4.1.6), the leeway
    /// both ways.
    ///
    /// # Errors
    ///
    /// [`TokenError::NoExpiry`], [`TokenError::Malformed`].
    pub fn validity(&self, leeway: Duration) -> Result<Validity, TokenError> {
        let validity = self.validity_if_any(leeway)?;
        match validity.until.is_finite() {
            true => Ok(validity),
            false => Err(TokenError::NoExpiry),
        }
    }

    /// The same for claims that need not say when they expire (RFC 7662 section 2.2).
    ///
    /// # Errors
    ///
    /// [`TokenError::Malformed`].
    pub fn validity_if_any(&self, leeway: Duration) -> Result<Validity, TokenError> {
        let exp = self.number("exp")?;
        let starts = [self.number("nbf")?, self.number("iat")?];
        // Milliseconds, as a rule, or an overflow: a token that would hardly ever expire.
        if exp.is_some_and(|exp| exp >= END_OF_TIME)
            || starts.iter().flatten().any(|start| *start < 0.0)
        {
            return Err(TokenError::Malformed);
        }
        let latest = starts
            .into_iter()
            .flatten()
            .fold(f64::NEG_INFINITY, f64::max);
        let leeway = leeway.as_secs_f64();
        Ok(Validity {
            from: latest - leeway,
            until: exp.unwrap_or(f64::INFINITY) + leeway,
        })
    }

    /// A NumericDate, which is finite: JSON has no other numbers.
    fn number(&self, name: &str) -> Result<Option<f64>, TokenError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(TokenError::Malformed),
        }
    }

    /// `iss`, compared exactly (RFC 7519 section 4.1.1, RFC 8725 section 3.8). Without accepted
    /// values any string passes, and so does a token without `iss`.
    ///
    /// # Errors
    ///
    /// [`TokenError::WrongIssuer`].
    pub fn check_issuer(&self, accepted: &[impl AsRef<str>]) -> Result<(), TokenError> {
        match self.get("iss") {
            None if accepted.is_empty() => Ok(()),
            Some(Value::String(issuer))
                if accepted.is_empty() || accepted.iter().any(|known| known.as_ref() == issuer) =>
            {
                Ok(())
            }
            _ => Err(TokenError::WrongIssuer),
        }
    }

    /// `aud`: a string, or an array of nothing but strings (RFC 7519 section 4.1.3, RFC 8725
    /// section 3.9), of which one has to be accepted. Without accepted values any of them passes,
    /// and so does a token without `aud`.
    ///
    /// # Errors
    ///
    /// [`TokenError::WrongAudience`].
    pub fn check_audience(&self, accepted: &[impl AsRef<str>]) -> Result<(), TokenError> {
        let is_accepted = |audience: &Value| {
            let known = |text: &str| accepted.iter().any(|known| known.as_ref() == text);
            accepted.is_empty() || audience.as_str().is_some_and(known)
        };
        let passes = match self.get("aud") {
            None => accepted.is_empty(),
            Some(audience @ Value::String(_)) => is_accepted(audience),
            Some(Value::Array(audiences)) => {
                audiences.iter().all(Value::is_string)
                    && (accepted.is_empty() || audiences.iter().any(is_accepted))
            }
            Some(_) => false,
        };
        passes.then_some(()).ok_or(TokenError::WrongAudience)
    }

    /// Whether [`at`](Self::at) finds a claim, with an accepted value if there are any: itself, or
    /// one element of an array.
    pub fn has(&self, path: &str, accepted: &[Value]) -> bool {
        let claim = self.at(path);
        claim.is_some_and(|claim| accepted.is_empty() || is_any_of(claim, accepted))
    }

    /// Whether `scope` or `scp` holds a scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// What `scope` (RFC 8693 section 4.2) and `scp` hold: lists with spaces between, or arrays.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let granted = ["scope", "scp"].into_iter();
        granted
            .filter_map(|name| self.get(name))
            .flat_map(|granted| {
                let (list, elements) = (granted.as_str(), granted.as_array());
                let list = list.into_iter().flat_map(|list| list.split(' '));
                list.chain(elements.into_iter().flatten().filter_map(Value::as_str))
            })
    }
}

/// Claims that somebody vouches for who is trusted: what an issuer says when it is asked.
impl From<Map<String, Value>> for Claims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(claims)
    }
}

/// Shows nothing of the token.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// A member of an object has a place in its tree and a name; the sizes are those of 64-bit
/// machines.
fn members(object: &Map<String, Value>) -> usize {
    let sizes = object
        .iter()
        .map(|(name, value)| size_of::<(String, Value)>() + 32 + name.len() + heap(value));
    sizes.sum()
}

fn heap(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(elements) => elements
            .iter()
            .map(|element| size_of::<Value>() + heap(element))
            .sum(),
        Value::Object(object) => members(object),
    }
}

fn at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let inner = |(dot, _)| at(object.get(&path[..dot])?.as_object()?, &path[dot + 1..]);
    object
        .get(path)
        .or_else(|| path.match_indices('.').find_map(inner))
}

fn is_any_of(claim: &Value, accepted: &[Value]) -> bool {
    let is_accepted = |value: &Value| accepted.iter().any(|known| is_equal(known, value));
    let elements = claim.as_array();
    is_accepted(claim) || elements.is_some_and(|elements| elements.iter().any(is_accepted))
}

/// Equality of JSON values; to it, 1 and 1.0 are one number.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}
