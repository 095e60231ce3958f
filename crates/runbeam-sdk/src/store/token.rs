//! A machine token as the stores hold it, and which of two counts.

use std::cmp::Ordering;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::error::StorageError;
use crate::MachineToken;

pub(super) fn to_json(token: &MachineToken) -> Result<Zeroizing<Vec<u8>>, StorageError> {
    serde_json::to_vec(token)
        .map(Zeroizing::new)
        .map_err(|error| StorageError::Internal(error.to_string()))
}

/// What serde has to say could hold a part of the token.
///
/// Newer releases of the published library leave `gateway_code` out; then the gateway's code is the
/// instance's name.
pub(super) fn from_json(
    json: &[u8],
    place: &str,
    instance: &str,
) -> Result<MachineToken, StorageError> {
    let damaged = |_| StorageError::Damaged {
        place: place.to_owned(),
        what: "what it holds is no machine token",
    };
    let token: MachineToken = serde_json::from_slice(json).map_err(damaged)?;
    Ok(token.with_code(instance))
}

/// Whether the keyring's token is used rather than the file's: the one that was issued later; else
/// the one that expires later; else the one of the chosen store.
pub(super) fn prefer_keyring(
    file: &MachineToken,
    keyring: &MachineToken,
    keyring_is_chosen: bool,
) -> bool {
    match order(file, keyring) {
        Ordering::Greater => false,
        Ordering::Less => true,
        Ordering::Equal => keyring_is_chosen,
    }
}

fn order(one: &MachineToken, other: &MachineToken) -> Ordering {
    let issued = |token: &MachineToken| token.issued_at.as_ref()?.parse::<Timestamp>().ok();
    let by_issue = match (issued(one), issued(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => Ordering::Equal,
    };
    by_issue.then_with(|| one.expires().cmp(&other.expires()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, issued: Option<&str>, expires: &str) -> MachineToken {
        let mut token = MachineToken::new(name, expires, "id", "code", Vec::new());
        token.issued_at = issued.map(Into::into);
        token
    }

    #[test]
    fn which_of_two_counts() {
        let (early, late) = (
            Some("2026-01-01T00:00:00Z"),
            Some("2026-01-01T02:00:00+01:00"),
        );
        let (soon, far) = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z");
        for (file, keyring, keyring_is_chosen, want) in [
            ((late, soon), (early, far), true, "file"),
            ((early, far), (late, soon), true, "keyring"),
            ((early, far), (early, soon), true, "file"),
            ((early, soon), (early, far), false, "keyring"),
            ((early, soon), (early, soon), true, "keyring"),
            ((early, soon), (early, soon), false, "file"),
            ((None, far), (late, soon), true, "file"),
            ((None, soon), (late, far), true, "keyring"),
            ((None, ""), (None, soon), false, "keyring"),
            ((Some("yesterday"), far), (late, soon), true, "file"),
        ] {
            let (file, keyring) = (
                token("file", file.0, file.1),
                token("keyring", keyring.0, keyring.1),
            );
            let row = format!("{file:?} {keyring:?} {keyring_is_chosen}");
            let counts = prefer_keyring(&file, &keyring, keyring_is_chosen);
            assert_eq!(counts, want == "keyring", "{row}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_quoted() {
        for json in [
            "mt_secret",
            "{\"machine_token\": [\"mt_secret\"]}",
            "\"mt_secret\"",
        ] {
            let error = from_json(json.as_bytes(), "here", "edge")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("here") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_code_is_the_instance_where_nothing_else_is_said() {
        for (code, want) in [
            ("", "edge-1"),
            (r#","gateway_code":null"#, "edge-1"),
            (r#","gateway_code":"""#, "edge-1"),
            (r#","gateway_code":" ""#, "edge-1"),
            (r#","gateway_code":"other""#, "other"),
        ] {
            let json = format!(
                r#"{{"machine_token":"mt_x","expires_at":"2099-01-01T00:00:00Z",
                    "gateway_id":"g"{code}}}"#
            );
            let token = from_json(json.as_bytes(), "here", "edge-1").unwrap();
            assert_eq!(token.gateway_code, want, "{json}");
        }
    }
}
