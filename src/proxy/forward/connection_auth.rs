//! Connections to upstreams that authenticate themselves: with NTLM, and with Negotiate as many
//! servers take it, who has once authenticated on a connection is who sends every later request on
//! it (RFC 4559 section 6). Nobody but that client may ever use it. The same holds for one whose
//! PROXY header has named its client.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use http::header::HeaderName;

use super::pool::{ConnectionGroup, PooledConnection};
use crate::listener::Connection;

/// Whether a request, in its `Authorization`, or a response, in its `WWW-Authenticate`, has to do
/// with an authentication of the connection.
pub(super) fn authenticates(headers: &HeaderMap, name: HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        let value = value.as_bytes();
        // A token is long and has no comma: it is not looked at byte by byte.
        let commas = memchr::memchr_iter(b',', value).map(|comma| comma + 1);
        std::iter::once(0)
            .chain(commas)
            .any(|start| begins_with_scheme(value[start..].trim_ascii_start()))
    })
}

/// Whether a challenge or a credential is of a scheme that authenticates the connection.
fn begins_with_scheme(text: &[u8]) -> bool {
    [&b"ntlm"[..], b"negotiate"].iter().any(|scheme| {
        let (start, rest) = text.split_at(scheme.len().min(text.len()));
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        start.eq_ignore_ascii_case(scheme) && rest.first().is_none_or(ends)
    })
}

/// The connection to an upstream that belongs to one client's connection, and is closed with it.
#[derive(Default)]
pub(crate) struct BoundConnection(Mutex<Option<Binding>>);

struct Binding {
    connection: PooledConnection,
    group: Arc<ConnectionGroup>,
    /// Whether another one would not do.
    authenticated: bool,
}

impl BoundConnection {
    /// What is bound to a client's connection; `None`: nothing was yet.
    pub(crate) fn of(client: &Connection) -> Option<&Self> {
        client.extension()
    }

    /// Binds a connection to an upstream to a client's, until it is taken or the client's ends.
    pub(super) fn bind(
        client: &Connection,
        mut connection: PooledConnection,
        group: Arc<ConnectionGroup>,
        authenticated: bool,
    ) {
        let Some(bound) = client.extension_or_default::<Self>() else {
            return;
        };
        connection.lease.deadline.rest();
        connection.lease.reused |= !authenticated;
        let before = bound.binding().replace(Binding {
            connection,
            group,
            authenticated,
        });
        // Closing takes its time.
        drop(before);
    }

    /// Whether there is one to the upstream of this group.
    pub(super) fn is_to(&self, group: &Arc<ConnectionGroup>) -> bool {
        let binding = self.binding();
        let binding = binding.as_ref();
        binding.is_some_and(|binding| Arc::ptr_eq(&binding.group, group))
    }

    /// Whether there is one that was authenticated: requests have to go where it leads.
    pub(super) fn is_authenticated(&self) -> bool {
        let binding = self.binding();
        binding
            .as_ref()
            .is_some_and(|binding| binding.authenticated)
    }

    /// Takes the one to the upstream of this group; `None`: there is none, or it is of no more use.
    pub(super) fn take(&self, group: &Arc<ConnectionGroup>) -> Option<PooledConnection> {
        let is_to = |binding: &mut Binding| Arc::ptr_eq(&binding.group, group);
        let binding = self.binding().take_if(is_to);
        let mut connection = binding?.connection;
        connection.wakes_quiet().then_some(connection)
    }

    /// Closes the one that has waited for too long, if there is one.
    pub(crate) fn close_overdue(&self) {
        let is_over = |binding: &mut Binding| binding.connection.lease.deadline.passed();
        let over = self.binding().take_if(is_over);
        // Closing takes its time.
        drop(over);
    }

    fn binding(&self) -> MutexGuard<'_, Option<Binding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BoundConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BoundConnection")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

    use super::*;

    #[test]
    fn the_schemes_that_authenticate_a_connection_are_known_in_every_spelling() {
        let has = |name: HeaderName, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_static(value));
            }
            authenticates(&headers, name)
        };
        for values in [
            &["NTLM"][..],
            &["ntlm TlRMTVNTUAAB"],
            &["Negotiate"],
            &["  negotiate YII="],
            &["Basic realm=\"x\"", "NTLM"],
            &["Basic realm=\"x\", Negotiate"],
            &["Basic realm=\"x\",NTLM"],
            &["Negotiate\tx"],
        ] {
            assert!(has(WWW_AUTHENTICATE, values), "{values:?}");
            assert!(has(AUTHORIZATION, values), "{values:?}");
        }
        for values in [
            &["Basic realm=\"NTLM\""][..],
            &["Bearer Negotiate"],
            &["NTLM2"],
            &[""],
            &[","],
        ] {
            assert!(!has(WWW_AUTHENTICATE, values), "{values:?}");
        }
    }
}
