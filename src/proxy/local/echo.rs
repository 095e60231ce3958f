//! The `echo` service: answers with the request as JSON, as an upstream would have got it,
//! credentials left out.

use http::header::{self, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::{Map, Value, json};

use super::body::{self, Body};
use super::respond;
use crate::proxy::forward::headers;
use crate::proxy::forward::stripped_credentials::forwarded_query;
use crate::proxy::request::context::Context;

/// Largest body that is shown; a larger one is only counted.
const SHOWN_BYTES: usize = 64 * 1024;

const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
];

/// Answers a request that passed its pipeline's steps.
pub(crate) async fn answer(session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
    let mut request = session.req_header().as_owned_parts();
    headers::rewrite(&mut request, ctx, None);
    for credential in &CREDENTIALS {
        request.headers.remove(credential);
    }
    let mut fields = Map::new();
    for name in request.headers.keys() {
        // What a rule sets from a reference is a credential, too.
        let mut values = request.headers.get_all(name).iter();
        if values.any(HeaderValue::is_sensitive) {
            continue;
        }
        let values: Vec<_> = request
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        fields.insert(name.as_str().to_owned(), Value::String(values.join(", ")));
    }
    let Body { start: body, total } = match body::read(session, ctx, SHOWN_BYTES).await? {
        Ok(body) => body,
        Err(rejection) => return respond::reject(session, ctx, rejection).await,
    };
    let query = forwarded_query(ctx);
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
