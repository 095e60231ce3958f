//! Asking the chain, and withdrawing the question when nobody waits for the answer any more.

use std::net::IpAddr;

use pingora_proxy::Session;

use super::respond::Refusal;
use crate::auth::{Chain, Identity, Presented};

/// Who the request is from. While a password waits to be hashed, the client is watched: once it is gone, the work is withdrawn. With a body on its way there is no telling
/// whether it is.
pub(super) async fn authenticate(
    session: &mut Session,
    chain: &Chain,
    query: Option<&str>,
    client: Option<IpAddr>,
) -> Result<Option<Identity>, Refusal> {
    let presented = Presented {
        headers: &session.req_header().headers,
        query,
        client,
    };
    if !chain.may_wait(&presented) {
        return Ok(chain.authenticate(&presented).await?);
    }
    let headers = session.req_header().headers.clone();
    let presented = Presented {
        headers: &headers,
        query,
        client,
    };
    let authenticated = chain.authenticate(&presented);
    if !session.is_body_empty() {
        return Ok(authenticated.await?);
    }
    tokio::select! {
        biased;
        identity = authenticated => Ok(identity?),
        _ = session.read_body_or_idle(true) => Err(Refusal::client_gone()),
    }
}
