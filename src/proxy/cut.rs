//! The reasons for which a connection is ended by somebody else than who serves it.

/// Why a connection was ended from outside of its own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    /// The head did not arrive whole in time.
    HeadTimeout = 1,
    /// It was kept, and nothing came any more.
    Idle,
    /// The listener was full, and it had not sent a whole head.
    Crowded,
    /// The listener was full of connections that had; it was the one that had been idle for
    /// longest.
    CrowdedIdle,
    /// It reset streams as fast as it opened them.
    Resets,
    /// The client left in the middle of a head.
    Gone,
    /// It took nothing of what was written to it.
    WriteTimeout,
    /// The listener was full, and it was slow with the body of its request.
    CrowdedBody,
}

impl Cut {
    /// Stable label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::HeadTimeout => "head_timeout",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::CrowdedIdle => "crowded_idle",
            Self::Resets => "resets",
            Self::Gone => "gone",
            Self::WriteTimeout => "write_timeout",
            Self::CrowdedBody => "crowded_body",
        }
    }

    pub(super) fn of(value: u8) -> Option<Self> {
        [
            Self::HeadTimeout,
            Self::Idle,
            Self::Crowded,
            Self::CrowdedIdle,
            Self::Resets,
            Self::Gone,
            Self::WriteTimeout,
            Self::CrowdedBody,
        ]
        .into_iter()
        .find(|cut| *cut as u8 == value)
    }
}
