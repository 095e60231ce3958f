//! What a pipeline publishes of itself (RFC 9728 section 3).

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::respond;
use crate::proxy::request::context::Context;

/// Answers with the document; it is for scripts of any site, too.
pub(crate) async fn answer(
    session: &mut Session,
    ctx: &mut Context,
    document: Bytes,
) -> pingora::Result<()> {
    let mut response = ResponseHeader::build(200, Some(8))?;
    response.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))?;
    respond::json(session, ctx, response, document).await
}
