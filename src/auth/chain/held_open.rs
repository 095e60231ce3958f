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
use crate::auth::presenter::Presenter;
use crate::auth::request::AuthRequest;
use crate::auth::token_extractor;
use crate::auth::token_step::TokenStep;

/// What the issuer of a token says of it, once more.
#[derive(Debug)]
pub enum Answer {
    /// It is active.
    Active {
        /// Whose it is, and until when.
        identity: Identity,
        /// When its issuer is to be asked next.
        ask_at: UnixTime,
    },
    /// It does not pass any more.
    Refused,
    /// The step asks nobody about its tokens.
    NotAsked,
    /// There is no answer.
    None {
        /// When its issuer is to be asked next.
        ask_at: UnixTime,
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
    pub(crate) fn looks_where(&self, other: &Self) -> bool {
        self.authenticator.location() == other.authenticator.location()
    }

    /// The token of a request, if its issuer is asked about it.
    pub(crate) fn token_to_ask_about(
        &self,
        request: &AuthRequest<'_>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.introspecting()?;
        // Its proof was judged when it let the request in.
        let found = token_extractor::find(request, self.authenticator.location()?, true);
        let (token, _) = found.ok().flatten()?;
        Some(Zeroizing::new(token.into_owned()))
    }

    /// When the issuer of a token that has passed is to be asked about it next; `None`: never.
    pub(crate) fn ask_again_at(&self, token: &[u8]) -> Option<UnixTime> {
        let (step, introspector) = self.introspecting()?;
        let due = step.known(token).and_then(|known| known.ask_again);
        Some(unix(due.unwrap_or_else(|| introspector.next_due())))
    }

    /// Asks the issuer of a token that has passed about it again, unless it was asked a moment ago.
    pub(crate) async fn ask_again(&self, token: &[u8], presenter: Presenter<'_>) -> Answer {
        let Some((step, introspector)) = self.introspecting() else {
            return Answer::NotAsked;
        };
        // Half of the questions that may be under way are left to requests.
        let _turn = introspector.stream_permit().await;
        match step.ask_again(token, presenter).await {
            Ok(verified) => Answer::Active {
                ask_at: unix(
                    verified
                        .ask_again
                        .unwrap_or_else(|| introspector.next_due()),
                ),
                identity: verified.identity,
            },
            Err(refusal) if refusal.reason.class() == Class::Unavailable => Answer::None {
                ask_at: unix(introspector.next_due()),
            },
            Err(_) => Answer::Refused,
        }
    }

    /// The step, and who is asked about its tokens; `None`: nobody.
    fn introspecting(&self) -> Option<(&TokenStep, &Introspector)> {
        match &self.authenticator {
            Authenticator::Token(step) => Some((step, step.introspector()?)),
            _ => None,
        }
    }
}

fn unix(at: Instant) -> UnixTime {
    clock::now() + at.saturating_duration_since(Instant::now()).as_secs_f64()
}
