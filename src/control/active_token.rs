//! The machine token that is in use, what is known about it, and which one to take where there are
//! two.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::status::State;
use runbeam_sdk::{AuthorizeResponse, MachineToken};

/// Where a token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `RUNBEAM_MACHINE_TOKEN`.
    Environment,
    /// The token store.
    Store,
    /// The Management API, or a renewal.
    Api,
}

impl Source {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Store => "store",
            Self::Api => "api",
        }
    }
}

/// A token in use.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ActiveToken {
    /// The token. Its gateway is empty while nobody has said whose it is: a bare token.
    pub(super) token: MachineToken,
    pub(super) source: Source,
    /// Whether it may be written to the store.
    pub(super) stored: bool,
    /// The cloud said 401 or 403 to it.
    pub(super) rejected: bool,
    /// The last renewal did not come about.
    pub(super) not_renewed: bool,
    /// It belongs into the store and is not there: the store failed.
    pub(super) save_pending: bool,
}

impl ActiveToken {
    pub(super) fn new(token: MachineToken, source: Source, stored: bool) -> Self {
        Self {
            token,
            source,
            stored,
            rejected: false,
            not_renewed: false,
            save_pending: false,
        }
    }

    /// Whether the gateway that it is for is known.
    pub(super) fn has_gateway(&self) -> bool {
        !self.token.gateway_id.is_empty()
    }

    /// Whether the store has it too, so that it outlives the process.
    pub(super) fn is_in_store(&self) -> bool {
        self.stored && self.has_gateway() && !self.save_pending
    }

    /// Where the connection is with it.
    pub(super) fn state(&self, renew_before: Duration) -> State {
        if self.token.is_expired() {
            State::Expired
        } else if self.rejected {
            State::Rejected
        } else if self.not_renewed && self.renewal_due(renew_before) {
            State::Expiring
        } else {
            State::Authorized
        }
    }

    /// How long it is still good for; `None`: unknown.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.token.expires()?.duration_since(SystemTime::now());
        Some(left.unwrap_or_default())
    }

    /// Whether it is time to renew it.
    pub(super) fn renewal_due(&self, renew_before: Duration) -> bool {
        let Some(expires) = self.token.expires() else {
            return false;
        };
        match SystemTime::now().checked_add(renew_before) {
            Some(soon) => expires <= soon,
            None => true,
        }
    }
}

/// Leaves the token out.
impl fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken")
            .field("gateway_id", &self.token.gateway_id)
            .field("expires_at", &self.token.expires_at)
            .field("source", &self.source)
            .field("rejected", &self.rejected)
            .finish_non_exhaustive()
    }
}

/// The token that the cloud has just issued.
pub(super) fn issued(answer: AuthorizeResponse) -> MachineToken {
    MachineToken::new(
        answer.machine_token,
        answer.expires_at,
        answer.gateway.id,
        answer.gateway.code,
        answer.abilities,
    )
}

/// Whether the store's token is to be used rather than the environment's: it is of the same gateway
/// and lives longer (it was renewed, or the operator has authorized anew). Nothing is known of a
/// bare token's end, so a stored one of the same gateway that has not expired is the later one.
pub(super) fn store_wins(environment: &MachineToken, stored: &MachineToken) -> bool {
    if stored.gateway_id != environment.gateway_id || stored.is_expired() {
        return false;
    }
    match (environment.expires(), stored.expires()) {
        (Some(environment), Some(stored)) => stored > environment,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// Which token to begin with. Whose a bare token is the cloud has to say first; then the store is
/// looked at again.
pub(super) fn choose(
    environment: Option<MachineToken>,
    stored: Option<MachineToken>,
    uses_environment_key: bool,
) -> Option<ActiveToken> {
    let of_store = |token| ActiveToken::new(token, Source::Store, true);
    let Some(environment) = environment else {
        return stored.map(of_store);
    };
    match stored {
        // An expired token is of no use, whoever it is for.
        Some(stored)
            if store_wins(&environment, &stored)
                || (environment.is_expired() && !stored.is_expired()) =>
        {
            Some(of_store(stored))
        }
        _ => Some(ActiveToken::new(
            environment,
            Source::Environment,
            uses_environment_key,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn token(gateway: &str, expires_at: &str) -> MachineToken {
        MachineToken::new("mt_x", expires_at, gateway, "code", vec![])
    }

    fn in_days(days: u64) -> String {
        let at = SystemTime::now() + Duration::from_secs(days * DAY);
        jiff::Timestamp::try_from(at).unwrap().to_string()
    }

    #[test]
    fn the_token_of_the_same_gateway_that_lives_longer_wins() {
        let soon = in_days(10);
        let environment = token("g", &soon);
        for (stored, wins) in [
            (token("g", &in_days(20)), true),
            (token("g", &in_days(5)), false),
            (token("g", &soon), false),
            (token("other", &in_days(20)), false),
            (token("g", ""), false),
        ] {
            assert_eq!(store_wins(&environment, &stored), wins, "{stored:?}");
        }
        let expired = token("g", "2020-01-01T00:00:00Z");
        assert!(store_wins(&expired, &token("g", &in_days(1))));
        assert!(!store_wins(&expired, &token("g", "2021-01-01T00:00:00Z")));
        let bare = token("g", "");
        assert!(store_wins(&bare, &token("g", &in_days(1))));
        assert!(!store_wins(&bare, &token("g", "")));
    }

    #[test]
    fn a_token_is_due_before_it_expires_and_only_then_expiring() {
        let before = Duration::from_secs(5 * DAY);
        let mut active = ActiveToken::new(token("g", &in_days(6)), Source::Api, true);
        active.not_renewed = true;
        assert_eq!(
            (active.renewal_due(before), active.state(before)),
            (false, State::Authorized)
        );
        active.token.expires_at = in_days(4);
        assert_eq!(
            (active.renewal_due(before), active.state(before)),
            (true, State::Expiring)
        );
        active.rejected = true;
        assert_eq!(active.state(before), State::Rejected);
        active.token.expires_at = "2020-01-01T00:00:00Z".to_owned();
        assert_eq!(active.state(before), State::Expired);
        active.token.expires_at = String::new();
        assert!(!active.renewal_due(Duration::MAX));
        assert!(!format!("{active:?}").contains("mt_"));
    }

    #[test]
    fn which_token_a_start_begins_with() {
        let token = |name: &str, gateway: &str, year: u32| {
            let end = format!("{year}-01-01T00:00:00Z");
            MachineToken::new(name, end, gateway, "code", vec![])
        };
        let bare = MachineToken::new("bare", "", "", "", vec![]);
        for (environment, stored, uses_environment_key, expected) in [
            (None, None, true, None),
            (None, Some(token("s", "g", 2099)), false, Some(("s", true))),
            (None, Some(token("s", "g", 2000)), false, Some(("s", true))),
            (Some(token("e", "g", 2098)), None, false, Some(("e", false))),
            (Some(token("e", "g", 2098)), None, true, Some(("e", true))),
            (
                Some(token("e", "g", 2098)),
                Some(token("s", "g", 2099)),
                true,
                Some(("s", true)),
            ),
            (
                Some(token("e", "g", 2098)),
                Some(token("s", "h", 2099)),
                true,
                Some(("e", true)),
            ),
            (
                Some(token("e", "g", 2000)),
                Some(token("s", "h", 2099)),
                true,
                Some(("s", true)),
            ),
            (
                Some(token("e", "g", 2000)),
                Some(token("s", "g", 1999)),
                true,
                Some(("e", true)),
            ),
            (
                Some(bare.clone()),
                Some(token("s", "g", 2099)),
                true,
                Some(("bare", true)),
            ),
        ] {
            let active = choose(environment, stored, uses_environment_key);
            let found = active
                .as_ref()
                .map(|active| (&*active.token.machine_token, active.stored));
            assert_eq!(found, expected);
        }
    }
}
