//! Whom a verified user's token names.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::responses::UserInfo;

/// The claims of a user's token that has verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JwtClaims {
    /// `iss`: an address, often a long one, on the host of the API.
    pub iss: String,
    /// `sub`: the user's or the team's id. Empty if the token has none.
    pub sub: String,
    /// `aud`: often none.
    pub aud: Vec<String>,
    /// `exp`, in seconds since 1970.
    pub exp: f64,
    /// `iat`, in seconds since 1970.
    pub iat: Option<f64>,
    /// Who the user is.
    pub user: Option<UserInfo>,
    /// Which team they act for.
    pub team: Option<TeamInfo>,
    #[serde(skip)]
    origin: String,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamInfo {
    /// The team's id.
    pub id: String,
    /// The team's name; empty if it is not known.
    #[serde(default)]
    pub name: String,
}

impl JwtClaims {
    pub(super) fn new(claims: Map<String, Value>, origin: String) -> Self {
        let mut claims = Fields::from(claims);
        let user = claims.take("user").and_then(UserInfo::read);
        let team = claims.take("team").and_then(|team| {
            let mut team = Fields::of(team)?;
            Some(TeamInfo {
                id: team.text("id")?,
                name: team.text("name").unwrap_or_default(),
            })
        });
        let aud = match claims.peek("aud") {
            Some(one) => vec![one],
            None => claims.strings("aud"),
        };
        Self {
            iss: claims.text("iss").unwrap_or_default(),
            sub: claims.text("sub").unwrap_or_default(),
            aud,
            exp: claims.number("exp").unwrap_or_default(),
            iat: claims.number("iat"),
            user,
            team,
            origin,
        }
    }

    /// Where the API is that the token is for: the scheme, host and port of `iss`, which are those
    /// of a trusted issuer.
    pub fn api_base_url(&self) -> String {
        self.origin.clone()
    }

    /// Whether the token has expired since it was verified.
    pub fn is_expired(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.exp <= now.as_secs_f64()
    }
}
