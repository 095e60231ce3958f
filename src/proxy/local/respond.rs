//! Writes the responses that the edge gives itself. Every rejection becomes one in [`reject`], and
//! nowhere else.

use std::future::poll_fn;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;
use serde::Serialize;

use crate::auth::DPOP_NONCE;
use crate::proxy::request::context::Context;
use crate::proxy::request::id::X_REQUEST_ID_TITLE_CASE;
use crate::proxy::request::rejection::Rejection;
use crate::proxy::request::{grpc, header_rules};

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

/// Responds to a rejected request and leaves its connection in a defined state. Nothing of the
/// request is echoed.
pub(crate) async fn reject(
    session: &mut Session,
    ctx: &mut Context,
    rejection: Rejection,
) -> pingora::Result<()> {
    ctx.reason = Some(rejection.reason);
    ctx.dpop_nonce = rejection.dpop_nonce.or(ctx.dpop_nonce.take());
    let status =
        StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = ResponseHeader::build(status, Some(8))?;
    for (name, value) in rejection.fields {
        // Where to go and by which method concern HTTP, not the call.
        if ctx.grpc.is_none() || name == header::WWW_AUTHENTICATE {
            response.append_header(name, value)?;
        }
    }
    if let Some(seconds) = rejection.retry_after {
        response.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds))?;
    }
    let unread = !session.is_body_empty();
    if rejection.close || unread {
        session.set_keepalive(None);
    }
    if let Some(call) = &mut ctx.grpc {
        call.rejected_with = Some(status.as_u16());
        let fields = call.end(status, rejection.message, rejection.retry_after);
        reject_call(session, ctx, response, &fields).await?;
    } else {
        if rejection.message.is_empty() {
            write(session, ctx, response, Bytes::new()).await?;
        } else {
            let body = ErrorBody {
                error: status.canonical_reason().unwrap_or("Error"),
                message: rejection.message,
            };
            let body = serde_json::to_vec(&body).unwrap_or_default();
            json(session, ctx, response, body.into()).await?;
        }
    }
    ctx.body.drain |= unread;
    Ok(())
}

/// Writes the status of a rejected call in a head that ends the stream ("Trailers-Only").
async fn reject_call(
    session: &mut Session,
    ctx: &Context,
    mut response: ResponseHeader,
    fields: &HeaderMap,
) -> pingora::Result<()> {
    response.set_status(StatusCode::OK)?;
    response.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    )?;
    for (name, value) in fields {
        response.insert_header(name.clone(), value.clone())?;
    }
    add_common_fields(&mut response, ctx)?;
    header_rules::change_own_answer(&mut response, &session.req_header().headers, ctx);
    let head = HttpTask::Header(Box::new(response), true);
    let written = session.downstream_session.response_duplex_vec(vec![head]);
    written.await.map(drop)
}

/// Ends a call whose answer was broken off: its trailers have the status. That of another
/// protocol, or that has its status already, has no room for one.
pub(crate) async fn end_call(
    session: &mut Session,
    ctx: &mut Context,
    rejection: &Rejection,
) -> pingora::Result<()> {
    let answers_call = |head: &ResponseHeader| grpc::is_grpc(&head.headers);
    let Some(call) = &mut ctx.grpc else {
        return Ok(());
    };
    if call.status.is_some() || !session.response_written().is_some_and(answers_call) {
        return Ok(());
    }
    let status = StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let fields = call.end(status, rejection.message, rejection.retry_after);
    let Some(client) = &mut ctx.client_stream else {
        return Ok(());
    };
    client.send_trailers(fields)?;
    poll_fn(|context| client.poll_flush(context))
        .await
        .map(drop)
}

/// Writes a response without a body, whatever body the request has.
pub(crate) async fn empty(
    session: &mut Session,
    ctx: &mut Context,
    response: ResponseHeader,
) -> pingora::Result<()> {
    let unread = !session.is_body_empty();
    if unread {
        session.set_keepalive(None);
    }
    write(session, ctx, response, Bytes::new()).await?;
    ctx.body.drain |= unread;
    Ok(())
}

/// Completes a response with a JSON body and writes it.
pub(crate) async fn json(
    session: &mut Session,
    ctx: &Context,
    mut response: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    response.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )?;
    write(session, ctx, response, body).await
}

async fn write(
    session: &mut Session,
    ctx: &Context,
    mut response: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    add_common_fields(&mut response, ctx)?;
    if response.status != StatusCode::NO_CONTENT {
        response.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    header_rules::change_own_answer(&mut response, &session.req_header().headers, ctx);
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    session
        .write_response_header(Box::new(response), bodiless)
        .await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Adds what every response has that the edge gives itself.
fn add_common_fields(response: &mut ResponseHeader, ctx: &Context) -> pingora::Result<()> {
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    if let Some(id) = &ctx.request_id {
        response.insert_header(X_REQUEST_ID_TITLE_CASE, id.clone())?;
    }
    for (name, value) in ctx
        .rate_limit_fields
        .iter()
        .flat_map(|fields| fields.iter())
    {
        response.insert_header(name, value.clone())?;
    }
    if let Some(nonce) = &ctx.dpop_nonce {
        response.insert_header(DPOP_NONCE, nonce.clone())?;
    }
    Ok(())
}
