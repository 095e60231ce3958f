//! The `backchannel-logout` and `security-events` services: the HTTP around a token that tells of a
//! revocation.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::json;

use super::{body, respond};
use crate::auth::{Invalid, ReceiveError, Received, Receiver, Trace};
use crate::proxy::request::context::Context;
use crate::proxy::request::rejection::Rejection;
use crate::telemetry::audit;

/// As much as such an endpoint accepts.
const MAX_BODY: usize = 64 * 1024;

/// Answers a request that passed its pipeline's steps. One that is only explained has no body, and
/// revokes nothing.
pub(crate) async fn answer(
    session: &mut Session,
    ctx: &mut Context,
    receiver: &Receiver,
    trace: &mut Trace,
) -> pingora::Result<()> {
    let events = receiver.takes_security_events();
    let accepted = if events {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    if trace.is_explain() {
        trace.detail(|| {
            "the token in the body is not looked at: this is the answer to a good one".to_owned()
        });
        return respond::empty(session, ctx, ResponseHeader::build(accepted, Some(4))?).await;
    }
    let body = match body::read(session, ctx, MAX_BODY).await? {
        Ok(body) => body.start,
        Err(rejection) => return respond::reject(session, ctx, rejection).await,
    };
    let headers = &session.req_header().headers;
    let token = match events {
        true => event_token(headers, &body),
        false => logout_token(headers, &body),
    };
    let token = token.as_deref().map_err(|why| *why);
    let received = receiver
        .receive(token, headers, ctx.client, ctx.request_id())
        .await;
    match received {
        Ok(received) => {
            note(session, ctx, receiver, &received);
            let response = ResponseHeader::build(accepted, Some(4))?;
            respond::empty(session, ctx, response).await
        }
        Err(ReceiveError::Invalid(Invalid { code, .. })) if events => {
            ctx.reason = Some("invalid_security_event");
            let mut response = ResponseHeader::build(StatusCode::BAD_REQUEST, Some(8))?;
            let english = HeaderValue::from_static("en");
            response.insert_header(header::CONTENT_LANGUAGE, english)?;
            let body = json!({ "err": code, "description": description(code) });
            respond::json(session, ctx, response, format!("{body}\n").into()).await
        }
        Err(error) => respond::reject(session, ctx, rejection(&error)).await,
    }
}

/// Writes to the audit log what was revoked. A post that is refused is there like any request.
fn note(session: &Session, ctx: &Context, receiver: &Receiver, received: &Received) {
    if received.revoked.is_empty() || !audit::enabled() {
        return;
    }
    let client = ctx.client.map(|client| client.to_string());
    audit::write(&audit::Event {
        event: "revocation",
        action: Some(receiver.service()),
        from: client.as_deref(),
        who: Some(&received.issuer),
        outcome: Some(&format!("revoked {}", received.revoked.join(", "))),
        pipeline: ctx.route.as_ref().map(|route| &*route.pipeline.name),
        method: Some(session.req_header().method.as_str()),
        path: ctx.path.as_deref(),
        id: Some(ctx.request_id()),
        ..audit::Event::default()
    });
}

fn rejection(error: &ReceiveError) -> Rejection {
    match error {
        ReceiveError::Invalid(_) => Rejection::invalid_logout_token(),
        ReceiveError::TooManyFailures(seconds) => Rejection::too_many_failures(*seconds),
        ReceiveError::Unavailable { retry_after, .. } => Rejection::cannot_revoke(*retry_after),
    }
}

/// What the error codes of RFC 8935 section 2.4 mean here.
fn description(code: &str) -> &'static str {
    match code {
        "invalid_key" => "the token is not signed with a key of its issuer's",
        "invalid_issuer" => "the issuer is not expected here",
        "invalid_audience" => "the audience is not expected here",
        "authentication_failed" => "the transmitter did not authenticate",
        _ => "the request or the security event token is not valid",
    }
}

/// The whole body, of the media type of RFC 8417 section 7.2.
fn event_token<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<Cow<'b, [u8]>, &'static str> {
    match is_of_type(headers, "application/secevent+jwt") {
        true => Ok(body.trim_ascii().into()),
        false => Err("the Content-Type is not application/secevent+jwt"),
    }
}

/// The one field `logout_token` of a form (OpenID Connect Back-Channel Logout 1.0 section 2.5).
fn logout_token<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<Cow<'b, [u8]>, &'static str> {
    if !is_of_type(headers, "application/x-www-form-urlencoded") {
        return Err("the Content-Type is not application/x-www-form-urlencoded");
    }
    let mut tokens = body.split(|byte| *byte == b'&').filter_map(|pair| {
        let name_end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (name, value) = pair.split_at(name_end);
        let is_token = *Cow::from(percent_decode(name)) == b"logout_token"[..];
        is_token.then(|| percent_decode(value.strip_prefix(b"=").unwrap_or_default()).into())
    });
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err("logout_token is missing"),
        (Some(_), Some(_)) => Err("logout_token is there more than once"),
    }
}

/// Whether the one `Content-Type` is this media type, with whatever parameters.
fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let media_type = value
        .to_str()
        .ok()
        .and_then(|value| value.split(';').next());
    media_type.is_some_and(|found| found.trim().eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(media_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))])
    }

    #[test]
    fn the_token_of_a_form() {
        let form = headers("Application/x-www-form-urlencoded; charset=utf-8");
        for (body, expected) in [
            ("logout_token=a.b.c", Ok("a.b.c")),
            ("x=1&logout_token=a%2Eb%2ec&y", Ok("a.b.c")),
            ("logout%5Ftoken=a", Ok("a")),
            ("logout_token", Ok("")),
            ("", Err("logout_token is missing")),
            ("xlogout_token=a", Err("logout_token is missing")),
            (
                "logout_token=a&logout_token=a",
                Err("logout_token is there more than once"),
            ),
        ] {
            let found = logout_token(&form, body.as_bytes());
            assert_eq!(
                found,
                expected.map(|token| Cow::from(token.as_bytes())),
                "{body}"
            );
        }
        for other in ["text/plain", "multipart/form-data", ""] {
            assert!(
                logout_token(&headers(other), b"logout_token=a").is_err(),
                "{other}"
            );
        }
        assert!(logout_token(&HeaderMap::new(), b"logout_token=a").is_err());
    }

    #[test]
    fn a_security_event_token_says_what_it_is() {
        let events = headers("application/secevent+jwt");
        assert_eq!(
            event_token(&events, b"a.b.c\n").as_deref(),
            Ok(&b"a.b.c"[..])
        );
        assert!(event_token(&headers("application/jwt"), b"a.b.c").is_err());
        let mut twice = events.clone();
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(event_token(&twice, b"a.b.c").is_err());
    }
}
