//! The `echo` service: answers with the request as JSON, as an upstream would have got it,
//! credentials left out.

use http::header;
use http::{HeaderName, Version};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::{Map, Value, json};

use super::PATIENCE;
use super::context::Context;
use super::headers;
use super::respond::{self, Refusal};

/// Largest body that is shown; a larger one is only counted.
const SHOWN_BYTES: usize = 64 * 1024;

const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
];

/// Answers a request that passed its pipeline's steps.
pub(super) async fn answer(session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
    let mut request = session.req_header().as_owned_parts();
    headers::prepare(&mut request, ctx, None);
    for credential in &CREDENTIALS {
        request.headers.remove(credential);
    }
    let mut fields = Map::new();
    for name in request.headers.keys() {
        let values: Vec<_> = request
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        fields.insert(name.as_str().to_owned(), Value::String(values.join(", ")));
    }
    let limit = ctx
        .route
        .as_ref()
        .map_or(0, |route| route.endpoint.max_body_size);
    if waits_to_send(session) {
        session.write_continue_response().await?;
    }
    let mut body = Vec::new();
    let mut total = 0;
    loop {
        // Over HTTP/2, Pingora would wait for ever.
        let Ok(read) = tokio::time::timeout(PATIENCE, session.read_request_body()).await else {
            return respond::refuse(session, ctx, Refusal::body_incomplete()).await;
        };
        let Some(bytes) = read? else {
            break;
        };
        total += bytes.len() as u64;
        if total > limit {
            return respond::refuse(session, ctx, Refusal::body_too_large()).await;
        }
        let room = SHOWN_BYTES.saturating_sub(body.len());
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let query = ctx.forwarded_query();
    let mut answer = json!({
        "method": request.method.as_str(),
        "path": ctx.path,
        "query": query.as_deref().map(String::from_utf8_lossy),
        "headers": fields,
        "body_bytes": total,
    });
    if total > 0 && total <= SHOWN_BYTES as u64 {
        answer["body"] = json!(String::from_utf8_lossy(&body));
    }
    let mut text = serde_json::to_vec_pretty(&answer).unwrap_or_default();
    text.push(b'\n');
    let response = ResponseHeader::build(200, Some(8))?;
    respond::json(session, ctx, response, text.into()).await
}

/// Whether the client sends its body only when it is told to (RFC 9110 section 10.1.1).
fn waits_to_send(session: &mut Session) -> bool {
    let expected = session.get_header(header::EXPECT);
    expected.is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        && session.req_header().version >= Version::HTTP_11
        && !session.is_body_empty()
}
