//! The upstream's end of a cell, over both protocols: it does what the case says, and records what
//! it saw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cases::{Case, When};
use super::message::{
    At, End, Framing, HOP_BY_HOP, How, Message, Seen, Version, body_bytes, end_to_end, head_bytes,
    head_fields, parse_head, trailer_fields,
};
use crate::support::frames::{END_HEADERS, HEADERS, block, frame};
use crate::support::http2_peer::{INTERNAL_ERROR, NO_ERROR};
use crate::support::http2_upstream::Call;
use crate::support::upstream::Exchange;
use crate::support::{Http2Upstream, Upstream};

/// An answer that a body behind an answer without one would be to the next client.
const STOLEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";

/// The end of a target whose answer takes a while.
pub const SLOW: &str = "/slow";

/// What the upstream saw: each request by its target.
#[derive(Clone, Default)]
pub struct Records(Arc<Mutex<Vec<(String, Seen)>>>);

impl Records {
    fn begin(&self, target: &str, seen: &Seen) -> usize {
        let mut records = self.0.lock().unwrap();
        records.push((target.to_owned(), seen.clone()));
        records.len() - 1
    }

    fn update(&self, at: usize, seen: &Seen) {
        self.0.lock().unwrap()[at].1 = seen.clone();
    }

    pub fn of(&self, target: &str) -> Vec<Seen> {
        let records = self.0.lock().unwrap();
        records.iter().filter(|(other, _)| other == target).map(|(_, seen)| seen.clone()).collect()
    }
}

pub enum Behind {
    Http1(Upstream),
    Http2(Http2Upstream),
}

impl Behind {
    pub fn start(version: Version, cases: &Arc<Vec<Case>>, records: &Records) -> Self {
        let (cases, records) = (Arc::clone(cases), records.clone());
        match version {
            Version::Http1 => Self::Http1(Upstream::with(move |exchange| {
                let target = exchange.target().to_owned();
                let mut seen = Seen {
                    head: parse_head(&exchange.request().raw),
                    connection: exchange.connection(),
                    ..Seen::default()
                };
                let at = records.begin(&target, &seen);
                match case_of(&cases, &target) {
                    Some(case) => {
                        http1(exchange, case, &mut seen, &|seen| records.update(at, seen))
                    }
                    None => {
                        if target.ends_with(SLOW) {
                            exchange.pause(Duration::from_millis(100));
                        }
                        exchange.echo_target();
                    }
                }
            })),
            Version::Http2 => Self::Http2(Http2Upstream::with(&[], move |call| {
                let target = call.target();
                let mut seen = Seen {
                    head: call.fields.clone(),
                    connection: call.connection,
                    ..Seen::default()
                };
                let at = records.begin(&target, &seen);
                match case_of(&cases, &target) {
                    Some(case) => http2(call, case, &mut seen, &|seen| records.update(at, seen)),
                    None => call.echo_target(),
                }
            })),
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Http1(upstream) => upstream.port(),
            Self::Http2(upstream) => upstream.port(),
        }
    }
}

fn case_of<'a>(cases: &'a [Case], target: &str) -> Option<&'a Case> {
    cases.get(target.strip_prefix("/cell/")?.parse::<usize>().ok()?)
}

type Record<'a> = &'a dyn Fn(&Seen);

fn http1(exchange: &mut Exchange, case: &Case, seen: &mut Seen, record: Record<'_>) {
    for status in &case.interim {
        exchange.write(&interim_head(*status));
    }
    let response = &case.response;
    let first_line = format!("HTTP/1.1 {} X", case.status);
    let hop_by_hop = if case.status == 101 { "" } else { HOP_BY_HOP };
    let head = head_bytes(&first_line, &end_to_end(), hop_by_hop, response);
    let body = body_bytes(response);
    match case.when {
        When::RequestRead => read_http1(exchange, seen),
        When::HeadRead => {
            let (now, then) = body.split_at(body.len() / 2);
            exchange.write(&[&head, now].concat());
            read_http1(exchange, seen);
            record(seen);
            return exchange.write(then);
        }
        When::Early | When::EarlyReset => {
            exchange.write(&[&head[..], &body].concat());
            while let Ok(bytes) = exchange.read_raw() {
                if bytes.is_empty() {
                    break;
                }
                seen.behind.extend(bytes);
            }
            seen.end = End::Cut;
            record(seen);
            return exchange.close();
        }
    }
    record(seen);
    if seen.end != End::Whole {
        return;
    }
    match response.breaks_off {
        Some((At::BeforeHead, _)) => {}
        Some((At::InHead, _)) => exchange.write(&head[..head.len() / 2]),
        Some((At::AfterHead, _)) => exchange.write(&head),
        Some((At::InBody | At::InChunk, _)) | None => exchange.write(&[&head[..], &body].concat()),
    }
    match response.breaks_off {
        Some((_, How::Reset)) => return exchange.reset(),
        Some((_, How::Close | How::EndStream)) => return exchange.close(),
        Some((_, How::Wait)) => {
            seen.left = exchange.read_raw().map_or(true, |bytes| bytes.is_empty());
            record(seen);
            return exchange.close();
        }
        None => {}
    }
    if case.forbidden_body {
        exchange.pause(Duration::from_millis(5));
        exchange.write(STOLEN);
    }
    if case.status == 101 {
        while let Ok(bytes) = exchange.read_raw() {
            if bytes.is_empty() {
                break;
            }
            exchange.write(&bytes);
        }
        exchange.close();
    }
    if response.framing == Framing::Close {
        exchange.close();
    }
}

fn read_http1(exchange: &mut Exchange, seen: &mut Seen) {
    exchange.read_body();
    let request = exchange.request();
    seen.body = request.body.clone();
    seen.trailers = parse_head(&[b" \r\n", &request.trailers[..]].concat()).split_off(2);
    seen.end = if request.complete { End::Whole } else { End::Cut };
}

fn interim_head(status: u16) -> Vec<u8> {
    let link =
        if status == 100 { "" } else { "Link: </a.css>\r\nX-Hop: 1\r\nConnection: X-Hop\r\n" };
    format!("HTTP/1.1 {status} I\r\n{link}\r\n").into_bytes()
}

fn http2(call: &Call, case: &Case, seen: &mut Seen, record: Record<'_>) {
    for status in &case.interim {
        let link: &[(&str, &str)] = if *status == 100 { &[] } else { &[("link", "</a.css>")] };
        call.head(*status, link, false);
    }
    let (peer, stream, response) = (&call.peer, call.stream, &case.response);
    let status = case.status.to_string();
    let head = head_fields(&[(":status", &status)], response);
    let body = response.body();
    match case.when {
        When::RequestRead => read_http2(call, seen),
        When::HeadRead => {
            peer.head(stream, &head, false);
            let (now, then) = body.split_at(body.len() / 2);
            let sent = call.data(now, false);
            read_http2(call, seen);
            record(seen);
            if sent.is_ok() {
                let _ = call.data(then, true);
            }
            return;
        }
        When::Early | When::EarlyReset => {
            peer.head(stream, &head, false);
            let _ = call.data(&body, true);
            if case.when == When::EarlyReset {
                peer.reset(stream, NO_ERROR);
                seen.end = End::Cut;
            } else {
                read_http2(call, seen);
            }
            return record(seen);
        }
    }
    record(seen);
    if seen.end != End::Whole {
        return;
    }
    send_http2(call, &head, response, case.forbidden_body);
    match response.breaks_off {
        Some((_, How::Close)) => peer.close(),
        Some((_, How::Reset)) => peer.reset(stream, INTERNAL_ERROR),
        Some((_, How::Wait)) => {
            let left = |closed, reset: Option<u32>| (closed || reset.is_some()).then_some(());
            seen.left = peer.wait(|state| left(state.closed, state.stream(stream).reset)).is_some();
            record(seen);
        }
        Some((_, How::EndStream)) | None => {}
    }
}

fn send_http2(call: &Call, head: &[(Vec<u8>, Vec<u8>)], response: &Message, forbidden_body: bool) {
    let (peer, stream) = (&call.peer, call.stream);
    let body = &response.body()[..response.sent()];
    match response.breaks_off {
        Some((At::BeforeHead, _)) => {}
        Some((At::InHead, _)) => {
            let fields: Vec<(&[u8], &[u8])> =
                head.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let block = block(&fields);
            debug_assert_eq!(END_HEADERS, 4);
            peer.write(&frame(HEADERS, 0, stream, &block[..block.len() / 2]));
        }
        Some((At::AfterHead, _)) => peer.head(stream, head, false),
        Some((At::InBody | At::InChunk, how)) => {
            peer.head(stream, head, false);
            let _ = call.data(body, how == How::EndStream);
        }
        None if forbidden_body => {
            peer.head(stream, head, false);
            let _ = call.data(b"stolen", true);
        }
        None if response.framing == Framing::NoBody => peer.head(stream, head, true),
        None => {
            peer.head(stream, head, false);
            let has_trailers = !response.trailers.is_empty();
            if call.data(body, !has_trailers).is_ok() && has_trailers {
                peer.head(stream, &trailer_fields(response), true);
            }
        }
    }
}

fn read_http2(call: &Call, seen: &mut Seen) {
    let (body, stream) = call.read_body();
    seen.body = body;
    seen.trailers = stream.heads.get(1).cloned().unwrap_or_default();
    seen.end = match (stream.ended, stream.reset) {
        (true, _) => End::Whole,
        (false, Some(code)) => End::Reset(code),
        (false, None) => End::Cut,
    };
}
