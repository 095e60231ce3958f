//! HTTP Basic authentication (RFC 7617): a user name and a password, checked against bcrypt hashes.
//!
//! In reading order: [`user_pass`] takes the header apart; `users` holds the users of a step, some
//! of them from [`htpasswd`] files; [`passwords`] decides, with what it remembers for the life of
//! the process, whether and when something is hashed; `super::failures` counts those that went
//! wrong; `pool` hashes, off the workers; [`stored`] is what it compares with.
//!
//! Nobody learns from the time of an answer whether a user exists: every wrong password of a step
//! takes the time of its costliest hash.

mod htpasswd;
mod passwords;
mod pool;
mod stored;
mod user_pass;
mod users;

use std::sync::Arc;

use http::HeaderMap;

use self::user_pass::UserPass;
use self::users::Users;
use super::bearer::{self, BearerToken};
use super::error::BuildCause;
use super::failures::FailureLimit;
use super::identity::Identity;
use super::outcome::{Outcome, Reason, Refusal};
use super::request::AuthRequest;
use crate::config::{Basic, Owner};

pub(crate) use passwords::Passwords;

const SCHEME: &[u8] = b"basic";

/// A `basic-auth` step, ready to check passwords.
#[derive(Debug)]
pub(crate) struct Verifier {
    name: Arc<str>,
    users: Users,
    max_failures: u32,
    owner: Owner,
    passwords: Passwords,
}

impl Verifier {
    /// Reads the htpasswd file. `name` is the step's: failures are counted under it.
    pub(crate) fn build(
        name: &Arc<str>,
        settings: &Basic,
        passwords: &Passwords,
    ) -> Result<Self, BuildCause> {
        let users = Users::build(settings, passwords)?;
        if let Some(cost) = users.max_cost() {
            passwords.prepare_for_cost(cost, settings.owner);
        }
        Ok(Self {
            name: name.clone(),
            users,
            max_failures: settings.max_failures,
            owner: settings.owner,
            passwords: passwords.clone(),
        })
    }

    /// Whether the request presents something that this step may have to hash, and wait for.
    pub(crate) fn may_wait(headers: &HeaderMap) -> bool {
        bearer::find_of(SCHEME, headers) != BearerToken::Absent
    }

    /// Whether a user still has the password behind an identity.
    pub(crate) fn knows(&self, identity: &Identity) -> bool {
        let name = identity.subject().and_then(|name| name.to_str().ok());
        let user = name.and_then(|name| self.users.find(name).identity.as_ref());
        user.is_some_and(|user| user.credential() == identity.credential())
    }

    /// Examines the request's user name and password.
    pub(crate) async fn authenticate(&self, request: &AuthRequest<'_>) -> Outcome {
        let verdict = match bearer::find_of(SCHEME, request.headers) {
            BearerToken::Absent => return Outcome::NotPresented,
            BearerToken::Malformed => Err(Reason::Malformed.into()),
            BearerToken::Token(token) => match UserPass::decode(token) {
                Ok(presented) => self.verify(presented, request).await,
                Err(reason) => Err(reason.into()),
            },
        };
        verdict.into()
    }

    async fn verify(
        &self,
        presented: UserPass,
        request: &AuthRequest<'_>,
    ) -> Result<Identity, Refusal> {
        let user = self.users.find(&presented.user);
        let limit = FailureLimit::new(&self.name, self.max_failures, request.source.client);
        let passed = self
            .passwords
            .verify(
                self.owner,
                &user.stored,
                self.users.max_cost(),
                presented,
                limit,
            )
            .await?;
        match &user.identity {
            Some(identity) if passed => Ok(identity.clone()),
            Some(_) => Err(Reason::WrongPassword.into()),
            None => Err(Reason::UnknownUser.into()),
        }
    }
}

/// A credential taken apart, for `fuzz/`.
#[cfg(fuzzing)]
pub(crate) fn user_and_password(token: &[u8]) -> Option<(String, String)> {
    let found = UserPass::decode(token).ok()?;
    Some((found.user.to_string(), found.password.to_string()))
}

/// The names of an htpasswd file, for `fuzz/`.
#[cfg(fuzzing)]
pub(crate) fn htpasswd_names(
    text: &str,
) -> Result<Vec<String>, (usize, super::error::HtpasswdError)> {
    let users = htpasswd::parse(text)?;
    Ok(users.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests;
