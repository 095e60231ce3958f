//! What a pipeline publishes of itself (RFC 9728 section 3).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    HeaderValue,
};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::respond;
use crate::proxy::request::context::Context;

/// Answers with the document, or a preflight for it: it is for scripts of any site, too.
pub(crate) async fn answer(
    session: &mut Session,
    ctx: &mut Context,
    document: Bytes,
) -> pingora::Result<()> {
    let any = HeaderValue::from_static("*");
    let mut response = ResponseHeader::build(StatusCode::OK, Some(8))?;
    response.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, any.clone())?;
    if session.req_header().method != Method::OPTIONS {
        return respond::json(session, ctx, response, document).await;
    }
    response.set_status(StatusCode::NO_CONTENT)?;
    let methods = HeaderValue::from_static("GET, HEAD");
    response.insert_header(ACCESS_CONTROL_ALLOW_METHODS, methods)?;
    response.insert_header(ACCESS_CONTROL_ALLOW_HEADERS, any)?;
    respond::empty(session, ctx, response).await
}
