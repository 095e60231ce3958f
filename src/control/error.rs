//! Why a poll or a renewal failed.

use std::time::Duration;

use runbeam_sdk::RunbeamError;

#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    #[error(transparent)]
    Cloud(#[from] RunbeamError),
    /// The cloud renewed the machine token with one for another gateway, which is not used.
    #[error(
        "the cloud answered with a machine token for gateway {given:?}, not for {expected:?}: it \
         is not used"
    )]
    OtherGateway {
        /// The id of the gateway that the old token is for.
        expected: String,
        /// The id of the gateway that the new one is for.
        given: String,
    },
    /// The gateway of a bare machine token cannot be told.
    #[error(
        "RUNBEAM_MACHINE_TOKEN: the cloud knows {count} gateways and none named {instance}: set \
         proxy.id to the gateway's code, or give the token as JSON with its gateway_id"
    )]
    UnknownGateway {
        /// How many gateways the token may see.
        count: usize,
        /// The name that was looked for, `proxy.id`.
        instance: String,
    },
}

impl AgentError {
    /// Whether the cloud does not accept the machine token.
    pub(super) fn is_rejected(&self) -> bool {
        matches!(self, Self::Cloud(error) if error.is_rejected())
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Cloud(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Whether the cloud refused this very call, and would refuse it again: not for the token, nor for
/// the rate of calls.
pub(super) fn is_refusal(error: &RunbeamError) -> bool {
    let status = error.status();
    !error.is_rejected()
        && status.is_some_and(|status| (400..500).contains(&status) && status != 429)
}
