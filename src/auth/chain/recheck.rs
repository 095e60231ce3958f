//! What an open stream asks of the steps of its pipeline: whether its credential would still pass,
//! and, where the issuer decides that, what it says now.

use std::time::Instant;

use jose::clock::{self, UnixTime};
use zeroize::Zeroizing;

use super::group::Member;
use crate::auth::authenticator::Authenticator;
use crate::auth::certificate::PresentedCertificate;
use crate::auth::identity::Identity;
use crate::auth::introspection::Introspector;
use crate::auth::outcome::Class;
use crate::auth::request::AuthRequest;
use crate::auth::request_source::RequestSource;
use crate::auth::token_extractor;
use crate::auth::token_step::TokenStep;

/// What the issuer of a token says of it, once more.
#[derive(Debug)]
pub enum RecheckOutcome {
    /// It is active.
    Active {
        /// Whose it is, and until when.
        identity: Identity,
        /// When its issuer is to be asked next.
        next_check: UnixTime,
    },
    /// It does not pass any more.
    Refused,
    /// The step asks nobody about its tokens.
    NotIntrospected,
    /// There is no answer.
    Failed {
        /// When its issuer is to be asked next.
        next_check: UnixTime,
    },
}

impl Member {
    /// The identity, as this step has it now, of a credential that some step of an earlier
    /// configuration took; `None`: this one does not take it. `certificate` is the one of the
    /// connection.
    ///
    /// Of a token, only the issuer is looked at: what else a step asks of tokens counts for
    /// requests that begin later.
    pub(crate) fn still_accepts(
        &self,
        identity: &Identity,
        certificate: Option<PresentedCertificate<'_>>,
        now: UnixTime,
    ) -> Option<Identity> {
        match &self.authenticator {
            Authenticator::Token(step) => step.trusts(identity).then(|| identity.clone()),
            Authenticator::Basic(verifier) => verifier.knows(identity).then(|| identity.clone()),
            Authenticator::ApiKey(verifier) => verifier.current(identity, now),
            Authenticator::MutualTls(verifier) => verifier.current(identity, certificate?, now),
        }
    }

    /// Whether both look for credentials in the same location.
    pub(crate) fn reads_same_location(&self, other: &Self) -> bool {
        self.authenticator.location() == other.authenticator.location()
    }

    /// The token of a request, if its issuer is asked about it.
    pub(crate) fn token_to_recheck(&self, request: &AuthRequest<'_>) -> Option<Zeroizing<Vec<u8>>> {
        self.introspector()?;
        // Its proof was judged when it let the request in.
        let found = token_extractor::find(request, self.authenticator.location()?, true);
        let (token, _) = found.ok().flatten()?;
        Some(Zeroizing::new(token.into_owned()))
    }

    /// When the issuer of a token that has passed is to be asked about it next; `None`: never.
    pub(crate) fn next_check_of(&self, token: &[u8]) -> Option<UnixTime> {
        let (step, introspector) = self.introspector()?;
        let due = step.known(token).and_then(|known| known.next_check);
        Some(unix(due.unwrap_or_else(|| introspector.next_due())))
    }

    /// Asks the issuer of a token that has passed about it again, unless it was asked a moment ago.
    pub(crate) async fn reintrospect(
        &self,
        token: &[u8],
        source: RequestSource<'_>,
    ) -> RecheckOutcome {
        let Some((step, introspector)) = self.introspector() else {
            return RecheckOutcome::NotIntrospected;
        };
        // Half of the questions that may be under way are left to requests.
        let _turn = introspector.stream_permit().await;
        match step.reintrospect(token, source).await {
            Ok(verified) => RecheckOutcome::Active {
                next_check: unix(
                    verified
                        .next_check
                        .unwrap_or_else(|| introspector.next_due()),
                ),
                identity: verified.identity,
            },
            Err(refusal) if refusal.reason.class() == Class::Unavailable => {
                RecheckOutcome::Failed {
                    next_check: unix(introspector.next_due()),
                }
            }
            Err(_) => RecheckOutcome::Refused,
        }
    }

    /// The step, and who is asked about its tokens; `None`: nobody.
    fn introspector(&self) -> Option<(&TokenStep, &Introspector)> {
        match &self.authenticator {
            Authenticator::Token(step) => Some((step, step.introspector()?)),
            _ => None,
        }
    }
}

fn unix(at: Instant) -> UnixTime {
    clock::now() + at.saturating_duration_since(Instant::now()).as_secs_f64()
}
