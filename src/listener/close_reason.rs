//! Why a connection was closed by somebody else than whoever serves it.

/// All connections of its address are busy, when it is accepted or once its address is known.
pub(super) const REFUSED_ADDRESS: &str = "refused_address";

/// Why a connection was closed before its client or its requests ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// The head did not arrive whole in time.
    HeadTimeout = 1,
    /// It was kept alive, and no further request came.
    IdleTimeout,
    /// The listener was full, and it had not sent a whole head.
    Evicted,
    /// The listener was full of connections that had sent one; it had been idle for longest.
    EvictedIdle,
    /// It reset streams as fast as it opened them.
    ResetFlood,
    /// The client left in the middle of a head.
    ClientGone,
    /// It took nothing of what was written to it.
    WriteTimeout,
    /// The listener was full, and it was slow with the body of its request.
    EvictedSlowBody,
    /// The TLS handshake was not over in time.
    HandshakeTimeout,
    /// An HTTP/2 error that ends all streams, or too many malformed streams.
    Http2Error,
    /// Its PROXY header could not be read.
    ProxyHeader,
    /// The client that its PROXY header names has as many connections as it may.
    RefusedAddress,
}

impl CloseReason {
    /// By their discriminants, from 1.
    const ALL: [Self; 12] = [
        Self::HeadTimeout,
        Self::IdleTimeout,
        Self::Evicted,
        Self::EvictedIdle,
        Self::ResetFlood,
        Self::ClientGone,
        Self::WriteTimeout,
        Self::EvictedSlowBody,
        Self::HandshakeTimeout,
        Self::Http2Error,
        Self::ProxyHeader,
        Self::RefusedAddress,
    ];

    /// Stable label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::HeadTimeout => "head_timeout",
            Self::IdleTimeout => "idle",
            Self::Evicted => "crowded",
            Self::EvictedIdle => "crowded_idle",
            Self::ResetFlood => "resets",
            Self::ClientGone => "gone",
            Self::WriteTimeout => "write_timeout",
            Self::EvictedSlowBody => "crowded_body",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Http2Error => "http2_error",
            Self::ProxyHeader => "proxy_header",
            Self::RefusedAddress => REFUSED_ADDRESS,
        }
    }

    /// The reason with this discriminant; `None` for 0.
    pub(super) fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_found_by_its_discriminant() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::from_u8(reason as u8), Some(reason));
        }
        assert_eq!(
            (CloseReason::from_u8(0), CloseReason::from_u8(13)),
            (None, None)
        );
    }
}
