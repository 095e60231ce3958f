//! What is wrong with what an end saw.

use super::cases::{ASKS, Case, Client, Expected, Pair, Request, WEBSOCKET};
use super::clients::{HOST, TUNNELED};
use super::message::{End, Framing, Seen, Version, body_bytes, received_order, trailer_fields};
use crate::support::hpack::Field;

/// Fields that concern one connection; `connection` itself is looked at apart.
const OF_A_CONNECTION: [&str; 5] =
    ["keep-alive", "proxy-connection", "trailer", "x-hop", "upgrade"];
/// Fields that trailers may not set.
const NOT_IN_TRAILERS: [&str; 4] = ["content-length", "authorization", "set-cookie", "host"];

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, good: bool, problem: impl FnOnce() -> String) {
        if !good {
            self.0.push(problem());
        }
    }
}

/// What is wrong with what the client saw.
pub fn client(case: &Case, expected: Expected, pair: Pair, seen: &Seen) -> Vec<String> {
    let mut problems = Problems::default();
    match expected.client {
        Client::Left => return Vec::new(),
        Client::Own(status) => {
            problems.unless(seen.status() == status && seen.end == End::Whole, || {
                format!("the client got {} {:?} instead of {status}", seen.status(), seen.end)
            });
            return problems.0;
        }
        Client::Answer | Client::Cut => {}
    }
    problems.unless(seen.status() == case.status, || {
        format!("the client got {} instead of {}", seen.status(), case.status)
    });
    common(&mut problems, "client", seen, pair.client, case.status == 101);
    let interim = if pair.client == Version::Http1 { case.interim_seen } else { 0 };
    problems.unless(seen.interim.len() == interim, || {
        format!("the client got {} interim heads instead of {interim}", seen.interim.len())
    });
    for head in &seen.interim {
        problems.unless(
            head.iter().all(|(name, _)| name == b":status" || name == b"link" || name == b"http"),
            || format!("an interim head with {}", text(head)),
        );
    }
    let whole = case.response.body();
    if expected.client == Client::Cut {
        problems.unless(case.response.sent_body().starts_with(&seen.body), || {
            "the client's body is another".into()
        });
        problems.unless(
            match (pair.client, seen.end) {
                (Version::Http1, End::Cut) => true,
                (Version::Http2, End::Reset(code)) => code != 0,
                _ => false,
            },
            || format!("a cut answer ended for the client as {:?}", seen.end),
        );
        return problems.0;
    }
    problems.unless(seen.end == End::Whole, || format!("the answer ended as {:?}", seen.end));
    let body = if case.has_no_body() { &[][..] } else { &whole[..] };
    problems.unless(seen.body == body, || difference("the client's body", &seen.body, body));
    let length = seen.field("content-length");
    match case.response.framing {
        Framing::Length if !case.has_no_body() => {
            let expected = whole.len().to_string();
            problems.unless(length == Some(expected.as_bytes()), || {
                format!("content-length of the answer: {length:?}")
            });
        }
        Framing::Chunked | Framing::Close if !whole.is_empty() => {
            problems.unless(length.is_none(), || "the answer got a length".into());
        }
        _ => {}
    }
    if case.status == 204 {
        problems.unless(length.is_none(), || "204 with a length".into());
    }
    let announced = case.response.fields.iter().find(|(name, _)| *name == "Content-Length");
    if let (Some((_, announced)), "HEAD") = (announced, case.method) {
        problems.unless(length == Some(announced.as_bytes()), || {
            format!("content-length of a HEAD: {length:?}")
        });
    }
    let asked = pair.client == Version::Http2 || case.request.fields.contains(&ASKS);
    let trailers = if asked { allowed(trailer_fields(&case.response)) } else { Vec::new() };
    problems.unless(seen.trailers == trailers, || {
        format!("trailers of the answer: {} instead of {}", text(&seen.trailers), text(&trailers))
    });
    if case.status == 101 {
        problems
            .unless(seen.behind == (0..TUNNELED).map(|at| at as u8).collect::<Vec<_>>(), || {
                format!("{} bytes came back through the tunnel", seen.behind.len())
            });
    }
    problems.0
}

/// What is wrong with what the upstream saw.
pub fn upstream(
    case: &Case,
    expected: Expected,
    pair: Pair,
    target: &str,
    requests: &[Seen],
) -> Vec<String> {
    let mut problems = Problems::default();
    let [seen] = requests else {
        let may_be_none = matches!(expected.request, Request::Never | Request::CutOrNever);
        let right = may_be_none && requests.is_empty();
        // One that the upstream fails may be sent again on a new connection.
        problems.unless(right, || format!("{} requests at the upstream", requests.len()));
        return problems.0;
    };
    let expected_field = |problems: &mut Problems, name: &str, value: Option<&str>| {
        let got = seen.field(name);
        problems.unless(got == value.map(str::as_bytes), || {
            format!("{name} at the upstream: {:?}", got.map(String::from_utf8_lossy))
        });
    };
    expected_field(&mut problems, ":method", Some(case.method));
    expected_field(&mut problems, ":path", Some(target));
    match pair.upstream {
        Version::Http1 => expected_field(&mut problems, "host", Some(HOST)),
        Version::Http2 => {
            expected_field(&mut problems, ":authority", Some(HOST));
            expected_field(&mut problems, ":scheme", Some("http"));
            expected_field(&mut problems, "host", None);
        }
    }
    let asks = case.request.fields.contains(&ASKS).then_some("trailers");
    expected_field(&mut problems, "te", asks);
    let switches = pair.upstream == Version::Http1 && case.request.fields.contains(&WEBSOCKET[0]);
    common(&mut problems, "upstream", seen, pair.upstream, switches);
    let whole = case.request.body();
    let length = seen.field("content-length");
    match case.request.framing {
        Framing::Length => {
            let expected = whole.len().to_string();
            problems.unless(length == Some(expected.as_bytes()), || {
                format!("content-length of the request: {length:?}")
            });
        }
        _ if !whole.is_empty() => {
            problems.unless(length.is_none(), || "the request got a length".into());
        }
        _ => {}
    }
    if matches!(expected.request, Request::Cut | Request::CutOrNever) {
        problems.unless(seen.end != End::Whole && seen.end != End::Open, || {
            format!("a cut request ended for the upstream as {:?}", seen.end)
        });
        let sent = case.request.sent_body();
        problems.unless(sent.starts_with(&seen.body), || "the upstream's body is another".into());
        let raw = match (case.request.framing, pair.client) {
            (Framing::Length, _) => whole.starts_with(&seen.behind),
            // The pieces need not be those of the client.
            _ => seen.behind.len() < body_bytes(&case.request).len() + 100_000,
        };
        problems.unless(raw, || "what the upstream read on is not of the body".into());
        return problems.0;
    }
    problems.unless(seen.end == End::Whole, || format!("the request ended as {:?}", seen.end));
    problems.unless(seen.body == whole, || difference("the upstream's body", &seen.body, &whole));
    let trailers = match pair.upstream {
        Version::Http1 => Vec::new(),
        Version::Http2 => allowed(trailer_fields(&case.request)),
    };
    problems.unless(seen.trailers == trailers, || {
        format!("trailers of the request: {} instead of {}", text(&seen.trailers), text(&trailers))
    });
    if expected.request == Request::Left {
        problems.unless(seen.left, || "the upstream was not told that the client has left".into());
    }
    problems.unless(expected.request != Request::Never, || "a request at the upstream".into());
    problems.0
}

/// What holds for every head.
fn common(problems: &mut Problems, end: &str, seen: &Seen, version: Version, switches: bool) {
    problems.unless(seen.end_to_end() == received_order(), || {
        format!("fields at the {end}: {}", text(&seen.head))
    });
    for name in OF_A_CONNECTION {
        problems.unless(seen.field(name).is_none() || name == "upgrade" && switches, || {
            format!("{name} at the {end}")
        });
    }
    let fields = |name: &str| {
        let same = |field: &&Field| field.0.eq_ignore_ascii_case(name.as_bytes());
        seen.head.iter().filter(same).map(|(_, value)| value.to_ascii_lowercase()).collect()
    };
    let connection: Vec<Vec<u8>> = fields("connection");
    let allowed: &[&[u8]] = match version {
        Version::Http1 if switches => &[b"upgrade"],
        Version::Http1 => &[b"close", b"keep-alive", b"te"],
        Version::Http2 => &[],
    };
    problems.unless(connection.iter().all(|value| allowed.contains(&&value[..])), || {
        format!("connection at the {end}: {}", text(&seen.head))
    });
    let framings: Vec<Vec<u8>> = [fields("content-length"), fields("transfer-encoding")].concat();
    problems
        .unless(framings.len() <= 1, || format!("two framings at the {end}: {}", text(&seen.head)));
    problems.unless(version == Version::Http1 || fields("transfer-encoding").is_empty(), || {
        format!("transfer-encoding at the {end}")
    });
}

/// Those trailers that pass.
fn allowed(mut trailers: Vec<Field>) -> Vec<Field> {
    trailers.retain(|(name, _)| !NOT_IN_TRAILERS.iter().any(|other| name == other.as_bytes()));
    trailers
}

fn difference(what: &str, got: &[u8], expected: &[u8]) -> String {
    let at = got.iter().zip(expected).take_while(|(one, other)| one == other).count();
    format!("{what}: {} bytes instead of {}, the same up to {at}", got.len(), expected.len())
}

fn text(fields: &[Field]) -> String {
    let field = |(name, value): &Field| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}
