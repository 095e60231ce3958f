//! The `redirect` service: sends the client elsewhere.

use http::HeaderValue;
use http::header::LOCATION;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::respond;
use crate::config::{Redirect, RedirectPart};
use crate::proxy::forward::stripped_credentials::forwarded_query;
use crate::proxy::request::context::Context;

/// What no URL holds as it is (RFC 3986); everything outside of ASCII is encoded anyway.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// Answers a request that passed its pipeline's steps.
pub(crate) async fn answer(
    session: &mut Session,
    ctx: &mut Context,
    redirect: &Redirect,
) -> pingora::Result<()> {
    let mut response = ResponseHeader::build(redirect.status, Some(4))?;
    let location = percent_encode(&location(redirect, ctx), ENCODED).to_string();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.insert_header(LOCATION, location)?;
    }
    respond::empty(session, ctx, response).await
}

/// The path is the canonical one, which was judged; of the query, what an upstream would get.
fn location(redirect: &Redirect, ctx: &Context) -> Vec<u8> {
    let mut url = Vec::new();
    for part in &redirect.to {
        match part {
            RedirectPart::Text(text) => url.extend_from_slice(text.as_bytes()),
            RedirectPart::Host => {
                let host = ctx.head.as_ref().map(|head| head.host());
                let host = host.unwrap_or_default();
                match host.contains(':') {
                    true => url.extend_from_slice(format!("[{host}]").as_bytes()),
                    false => url.extend_from_slice(host.as_bytes()),
                }
            }
            RedirectPart::Path => {
                url.extend_from_slice(ctx.path.as_deref().unwrap_or_default().as_bytes());
                if let Some(query) = forwarded_query(ctx) {
                    url.push(b'?');
                    url.extend_from_slice(&query);
                }
            }
        }
    }
    url
}
