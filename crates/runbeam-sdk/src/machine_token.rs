//! A gateway's own token.
//!
//! Not here: where it is kept (the stores).

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

/// The token with which a gateway acts on its own. In JSON with exactly these names; unknown
/// members are ignored. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineToken {
    /// The token itself: a secret. `mt_...`
    pub machine_token: String,
    /// When it expires, in RFC 3339, as the cloud wrote it. Empty: unknown.
    pub expires_at: String,
    /// The gateway's id in the cloud.
    pub gateway_id: String,
    /// The gateway's code in the cloud. Absent in JSON: empty, and whoever reads it takes the
    /// instance's name.
    #[serde(default, deserialize_with = "text_or_null")]
    pub gateway_code: String,
    /// What the token may be used for.
    #[serde(default)]
    pub abilities: Vec<String>,
    /// When it was issued, in RFC 3339; if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<String>,
}

impl MachineToken {
    /// A token as it was just issued.
    pub fn new(
        machine_token: impl Into<String>,
        expires_at: impl Into<String>,
        gateway_id: impl Into<String>,
        gateway_code: impl Into<String>,
        abilities: Vec<String>,
    ) -> Self {
        Self {
            machine_token: machine_token.into(),
            expires_at: expires_at.into(),
            gateway_id: gateway_id.into(),
            gateway_code: gateway_code.into(),
            abilities,
            issued_at: Some(rfc3339(Timestamp::now())),
        }
    }

    /// A token as it was just issued, of a gateway whose code is not known: release 0.11 of the
    /// published SDK has these four arguments for [`Self::new`].
    pub fn without_code(
        machine_token: impl Into<String>,
        expires_at: impl Into<String>,
        gateway_id: impl Into<String>,
        abilities: Vec<String>,
    ) -> Self {
        Self::new(machine_token, expires_at, gateway_id, "", abilities)
    }

    /// The same with a gateway code, that of the instance if it has none.
    pub(super) fn with_code(mut self, instance: &str) -> Self {
        if self.gateway_code.trim().is_empty() {
            instance.clone_into(&mut self.gateway_code);
        }
        self
    }

    /// Whether it is there and has not expired. Whether the cloud has revoked it, only the cloud
    /// knows.
    pub fn is_valid(&self) -> bool {
        !self.machine_token.is_empty() && !self.is_expired()
    }

    /// Whether it has expired. One of unknown expiry has not; one whose `expires_at` is no time
    /// has, since nothing says how long it is valid.
    pub fn is_expired(&self) -> bool {
        has_passed(&self.expires_at)
    }

    /// When it expires. `None`: unknown. A time without an offset is taken as UTC.
    pub fn expires(&self) -> Option<SystemTime> {
        time(&self.expires_at).map(SystemTime::from)
    }
}

/// Whether an `expires_at` has passed. Unknown: no; no time: yes.
pub(super) fn has_passed(expires_at: &str) -> bool {
    match time(expires_at) {
        Some(expires) => SystemTime::from(expires) <= SystemTime::now(),
        None => !expires_at.trim().is_empty(),
    }
}

/// In RFC 3339, to the second.
pub(super) fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Null is nothing.
fn text_or_null<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

/// Shows everything but the token.
impl fmt::Debug for MachineToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineToken")
            .field("machine_token", &"[redacted]")
            .field("expires_at", &self.expires_at)
            .field("gateway_id", &self.gateway_id)
            .field("gateway_code", &self.gateway_code)
            .field("abilities", &self.abilities)
            .field("issued_at", &self.issued_at)
            .finish()
    }
}

fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse::<Timestamp>().ok().or_else(|| {
        let time: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn expiring(expires_at: &str) -> MachineToken {
        MachineToken::new("mt_secret-secret", expires_at, "1", "g", vec![])
    }

    #[test]
    fn expiry() {
        let cases = [
            ("2099-12-31T23:59:59Z", true, true),
            ("2099-12-31T23:59:59+00:00", true, true),
            ("2099-12-31T23:59:59.123456-08:00", true, true),
            ("2099-12-31 23:59:59", true, true),
            ("2020-12-31T23:59:59Z", false, true),
            ("", true, false),
            ("soon", false, false),
        ];
        for (text, valid, known) in cases {
            let token = expiring(text);
            assert_eq!(
                (token.is_valid(), token.is_expired()),
                (valid, !valid),
                "{text}"
            );
            assert_eq!(token.expires().is_some(), known, "{text}");
        }
        let plus_two = expiring("1970-01-01T02:00:10+02:00").expires();
        assert_eq!(
            plus_two,
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(10))
        );
        assert!(!MachineToken::new("", "2099-12-31T23:59:59Z", "1", "g", vec![]).is_valid());
    }

    #[test]
    fn json() {
        let token = expiring("2099-12-31T23:59:59Z");
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<MachineToken>(&text).unwrap(), token);
        let short = r#"{"machine_token":"mt_x","expires_at":"2099-12-31T23:59:59Z",
            "gateway_id":"i","gateway_code":"c","new":1}"#;
        let token: MachineToken = serde_json::from_str(short).unwrap();
        assert!(token.abilities.is_empty() && token.issued_at.is_none() && token.is_valid());
        for code in ["", r#","gateway_code":null"#] {
            let newer = format!(
                r#"{{"machine_token":"mt_x","expires_at":"2099-12-31T23:59:59Z",
                    "gateway_id":"i"{code}}}"#
            );
            let token: MachineToken = serde_json::from_str(&newer).unwrap();
            assert!(token.gateway_code.is_empty());
            assert_eq!(token.with_code("edge-1").gateway_code, "edge-1");
        }
        let missing = r#"{"machine_token":"mt_x","gateway_id":"i","gateway_code":"c"}"#;
        assert!(serde_json::from_str::<MachineToken>(missing).is_err());
    }

    #[test]
    fn a_token_without_a_code_takes_that_of_the_instance() {
        let token = MachineToken::without_code("mt_x", "2099-12-31T23:59:59Z", "1", vec![]);
        assert!(token.is_valid() && token.issued_at.is_some() && token.gateway_code.is_empty());
        assert_eq!(token.with_code("edge-1").gateway_code, "edge-1");
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", expiring(""));
        assert!(
            !shown.contains("secret") && shown.contains("[redacted]"),
            "{shown}"
        );
    }
}
