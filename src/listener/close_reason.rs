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
    /// The TLS handshake was not over in time.
    HandshakeTimeout,
    /// What it sent as HTTP/2 ended the connection: an error that h2 reports for all of its
    /// streams, or too many malformed ones.
    Http2Error,
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
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Http2Error => "http2_error",
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
            Self::HandshakeTimeout,
            Self::Http2Error,
        ]
        .into_iter()
        .find(|cut| *cut as u8 == value)
    }
}
