//! The table: every kind of exchange, what both ends do in it, and what each of them must see.

use super::message::{At, Framing, How, Message, Version};

/// What a case is about. Every one of them is there for every pair of protocols, or its absence has
/// a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    NoBody,
    Length,
    Chunked,
    CloseDelimited,
    Trailers,
    EarlyAnswer,
    Truncated,
    Reset,
    Head,
    NoContent,
    NotModified,
    Interim,
    Upgrade,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::NoBody,
        Self::Length,
        Self::Chunked,
        Self::CloseDelimited,
        Self::Trailers,
        Self::EarlyAnswer,
        Self::Truncated,
        Self::Reset,
        Self::Head,
        Self::NoContent,
        Self::NotModified,
        Self::Interim,
        Self::Upgrade,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub client: Version,
    pub upstream: Version,
}

impl Pair {
    pub const ALL: [Self; 4] = [
        Self { client: Version::Http1, upstream: Version::Http1 },
        Self { client: Version::Http1, upstream: Version::Http2 },
        Self { client: Version::Http2, upstream: Version::Http1 },
        Self { client: Version::Http2, upstream: Version::Http2 },
    ];
}

/// When an upstream answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    RequestRead,
    /// As soon as it has the head; then it reads on, and a rest of the answer follows the request.
    HeadRead,
    /// As soon as it has the head, all of it; then it reads on.
    Early,
    /// The same, and the stream is reset with `NO_ERROR`.
    EarlyReset,
}

/// What the client must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The upstream's answer, whole.
    Answer,
    /// Its head, a beginning of its body, and no end.
    Cut,
    /// An answer of the edge's own, whole.
    Own(u16),
    /// Anything: it has left.
    Left,
}

/// What the upstream must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Whole,
    /// Its head, a beginning of its body, and no end.
    Cut,
    /// The same, or nothing at all.
    CutOrNever,
    /// Whole, and then that nobody waits for the answer.
    Left,
    Never,
}

#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub client: Client,
    pub request: Request,
    /// Whether the client's connection serves another request.
    pub client_stays: bool,
    /// Whether the upstream's connection does; `None`: it may.
    pub reused: Option<bool>,
}

const WELL: Expected = Expected {
    client: Client::Answer,
    request: Request::Whole,
    client_stays: true,
    reused: Some(true),
};

/// What is expected of a pair, or why there is no such cell.
type Judge = fn(Pair) -> Result<Expected, &'static str>;

pub struct Case {
    pub kind: Kind,
    pub name: String,
    pub method: &'static str,
    pub request: Message,
    pub when: When,
    /// Interim statuses before the answer.
    pub interim: Vec<u16>,
    /// How many of them a client of HTTP/1.1 gets.
    pub interim_seen: usize,
    pub status: u16,
    pub response: Message,
    /// What is written behind an answer that has no body.
    pub forbidden_body: bool,
    pub expected: Judge,
}

pub const SIZES: [usize; 5] = [0, 1, 65_535, 65_536, 1024 * 1024];

fn case(kind: Kind, name: impl Into<String>) -> Case {
    Case {
        kind,
        name: name.into(),
        method: "GET",
        request: Message::new(Framing::NoBody, 0),
        when: When::RequestRead,
        interim: Vec::new(),
        interim_seen: 0,
        status: 200,
        response: Message::new(Framing::Length, 3),
        forbidden_body: false,
        expected: |_| Ok(WELL),
    }
}

impl Case {
    fn post(mut self, framing: Framing, size: usize) -> Self {
        self.method = "POST";
        self.request = Message::new(framing, size);
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn request_fields(mut self, fields: &[(&'static str, &'static str)]) -> Self {
        self.request.fields = fields.to_vec();
        self
    }

    fn request_trailers(mut self, trailers: &[(&'static str, &'static str)]) -> Self {
        self.request.trailers = trailers.to_vec();
        self
    }

    fn client_stops(mut self, at: At, how: How) -> Self {
        self.request.breaks_off = Some((at, how));
        self
    }

    fn answer(mut self, status: u16, framing: Framing, size: usize) -> Self {
        self.status = status;
        self.response = Message::new(framing, size);
        self
    }

    fn response_fields(mut self, fields: &[(&'static str, &'static str)]) -> Self {
        self.response.fields = fields.to_vec();
        self
    }

    fn response_trailers(mut self, trailers: &[(&'static str, &'static str)]) -> Self {
        self.response.trailers = trailers.to_vec();
        self
    }

    fn upstream_stops(mut self, at: At, how: How) -> Self {
        self.response.breaks_off = Some((at, how));
        self
    }

    fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    fn interim(mut self, statuses: Vec<u16>, seen: usize) -> Self {
        self.interim = statuses;
        self.interim_seen = seen;
        self
    }

    fn forbidden_body(mut self) -> Self {
        self.forbidden_body = true;
        self
    }

    fn expect(mut self, judge: Judge) -> Self {
        self.expected = judge;
        self
    }

    pub fn has_no_body(&self) -> bool {
        self.method == "HEAD" || matches!(self.status, 204 | 304)
    }
}

const ONLY_HTTP1_ENDS_WITH_ITS_CONNECTION: &str = "a body of HTTP/2 ends with END_STREAM";
const NO_CHUNKS: &str = "HTTP/2 has no chunks";
const NO_END_STREAM: &str = "HTTP/1.1 has no END_STREAM";
const NO_RESET_OF_STREAMS: &str = "HTTP/1.1 has no NO_ERROR";
const NOT_YET: &str = "not yet: trailers of requests over HTTP/2 are not read";
const NO_UPGRADE: &str = "HTTP/2 has no Upgrade (RFC 9113 section 8.6)";

/// A client that has left: nothing is known of it.
fn left(request: Request, pair: Pair) -> Expected {
    let reused = match (request, pair.upstream) {
        // Of a connection of HTTP/2, only the stream ends.
        (_, Version::Http2) => Some(true),
        (Request::Never, Version::Http1) => None,
        (_, Version::Http1) => Some(false),
    };
    Expected { client: Client::Left, request, client_stays: false, reused }
}

/// An upstream that has closed its connection in the middle.
fn failed(client: Client, pair: Pair) -> Expected {
    let client_stays = pair.client == Version::Http2 || client != Client::Cut;
    Expected { client, client_stays, reused: Some(false), ..WELL }
}

/// An upstream that has ended its stream, or over HTTP/1.1 its connection.
fn reset(client: Client, pair: Pair) -> Expected {
    Expected { reused: Some(pair.upstream == Version::Http2), ..failed(client, pair) }
}

/// An answer that has ended before the request.
fn early(pair: Pair) -> Expected {
    Expected {
        request: Request::Cut,
        client_stays: pair.client == Version::Http2,
        reused: Some(pair.upstream == Version::Http2),
        ..WELL
    }
}

/// A body behind an answer that has none: the connection of HTTP/1.1 is not kept, the stream of
/// HTTP/2 is over.
fn behind(pair: Pair) -> Expected {
    Expected { reused: Some(pair.upstream == Version::Http2), ..WELL }
}

pub fn all() -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(trailers());
    cases.extend(early_answers());
    cases.extend(truncated());
    cases.extend(resets());
    cases.extend(without_body());
    cases.extend(interim());
    cases.extend(upgrades());
    cases
}

fn bodies() -> Vec<Case> {
    let mut cases = vec![
        case(Kind::NoBody, "neither way").answer(200, Framing::Length, 0),
        case(Kind::NoBody, "neither way, said by no field").method("DELETE").answer(
            200,
            Framing::Chunked,
            0,
        ),
        case(Kind::NoBody, "OPTIONS").method("OPTIONS"),
        case(Kind::NoBody, "a POST with a length of 0").post(Framing::Length, 0),
    ];
    for size in SIZES {
        cases.push(case(Kind::Length, format!("{size} up")).post(Framing::Length, size));
        cases.push(case(Kind::Length, format!("{size} down")).answer(200, Framing::Length, size));
        cases.push(
            case(Kind::Length, format!("{size} both ways")).post(Framing::Length, size).answer(
                201,
                Framing::Length,
                size,
            ),
        );
        cases.push(case(Kind::Chunked, format!("{size} up")).post(Framing::Chunked, size));
        cases.push(case(Kind::Chunked, format!("{size} down")).answer(200, Framing::Chunked, size));
        cases.push(
            case(Kind::Chunked, format!("{size} both ways")).post(Framing::Chunked, size).answer(
                404,
                Framing::Chunked,
                size,
            ),
        );
        cases.push(
            case(Kind::Chunked, format!("{size} both ways, with lengths down"))
                .post(Framing::Chunked, size)
                .answer(200, Framing::Length, size),
        );
        cases.push(
            case(Kind::CloseDelimited, format!("{size} down"))
                .answer(200, Framing::Close, size)
                .expect(|pair| match pair.upstream {
                    Version::Http1 => Ok(Expected { reused: Some(false), ..WELL }),
                    Version::Http2 => Err(ONLY_HTTP1_ENDS_WITH_ITS_CONNECTION),
                }),
        );
    }
    cases
}

fn trailers_up(pair: Pair) -> Result<Expected, &'static str> {
    match (pair.client, pair.upstream) {
        (Version::Http2, Version::Http2) => Err(NOT_YET),
        _ => Ok(WELL),
    }
}

/// The field that asks for trailers.
pub const ASKS: (&str, &str) = ("TE", "trailers");

fn trailers() -> Vec<Case> {
    let some = [("X-Sum", "abc"), ("X-More", "1"), ("X-More", "2")];
    vec![
        case(Kind::Trailers, "down, asked for")
            .request_fields(&[ASKS])
            .answer(200, Framing::Chunked, 1000)
            .response_trailers(&some),
        case(Kind::Trailers, "down, not asked for")
            .answer(200, Framing::Chunked, 1000)
            .response_trailers(&some),
        case(Kind::Trailers, "down, without a body")
            .request_fields(&[ASKS])
            .answer(200, Framing::Chunked, 0)
            .response_trailers(&some),
        case(Kind::Trailers, "down, with fields that may not be there")
            .request_fields(&[ASKS])
            .answer(200, Framing::Chunked, 10)
            .response_trailers(&[
                ("X-Sum", "abc"),
                ("Content-Length", "3"),
                ("Authorization", "Bearer x"),
                ("Set-Cookie", "a=b"),
                ("Host", "h"),
            ]),
        case(Kind::Trailers, "up")
            .post(Framing::Chunked, 1000)
            .request_trailers(&some)
            .expect(trailers_up),
        case(Kind::Trailers, "up, without a body")
            .post(Framing::Chunked, 0)
            .request_trailers(&some)
            .expect(trailers_up),
        case(Kind::Trailers, "both ways")
            .post(Framing::Chunked, 70_000)
            .request_fields(&[ASKS])
            .request_trailers(&some)
            .answer(200, Framing::Chunked, 70_000)
            .response_trailers(&some)
            .expect(trailers_up),
    ]
}

fn early_answers() -> Vec<Case> {
    let large = SIZES[4];
    let mut cases = Vec::new();
    for framing in [Framing::Length, Framing::Chunked] {
        for (status, name) in
            [(413, "a refusal"), (401, "a challenge"), (200, "a success that has ended")]
        {
            cases.push(
                case(Kind::EarlyAnswer, format!("{name}, {framing:?}"))
                    .post(framing, large)
                    .when(When::Early)
                    .answer(status, framing, 1000)
                    .expect(|pair| Ok(early(pair))),
            );
        }
        cases.push(
            case(Kind::EarlyAnswer, format!("a success that goes on, {framing:?}"))
                .post(framing, large)
                .when(When::HeadRead)
                .answer(200, framing, large),
        );
    }
    cases.push(
        case(Kind::EarlyAnswer, "a refusal, and NO_ERROR")
            .post(Framing::Length, large)
            .when(When::EarlyReset)
            .answer(413, Framing::Length, 1000)
            .expect(|pair| match pair.upstream {
                Version::Http1 => Err(NO_RESET_OF_STREAMS),
                Version::Http2 => Ok(early(pair)),
            }),
    );
    cases
}

fn truncated() -> Vec<Case> {
    vec![
        case(Kind::Truncated, "by the client, in its head")
            .client_stops(At::InHead, How::Close)
            .expect(|pair| Ok(left(Request::Never, pair))),
        case(Kind::Truncated, "by the client, in a body with a length")
            .post(Framing::Length, 1000)
            .client_stops(At::InBody, How::Close)
            .expect(|pair| Ok(left(Request::Cut, pair))),
        case(Kind::Truncated, "by the client, in a body without a length")
            .post(Framing::Chunked, 1000)
            .client_stops(At::InBody, How::Close)
            .expect(|pair| Ok(left(Request::Cut, pair))),
        case(Kind::Truncated, "by the client, in a chunk")
            .post(Framing::Chunked, 1000)
            .client_stops(At::InChunk, How::Close)
            .expect(|pair| match pair.client {
                Version::Http1 => Ok(left(Request::Cut, pair)),
                Version::Http2 => Err(NO_CHUNKS),
            }),
        case(Kind::Truncated, "by the client, which says that this was all")
            .post(Framing::Length, 1000)
            .client_stops(At::InBody, How::EndStream)
            .expect(|pair| match pair.client {
                Version::Http1 => Err(NO_END_STREAM),
                Version::Http2 => {
                    Ok(Expected { client_stays: true, ..left(Request::CutOrNever, pair) })
                }
            }),
        case(Kind::Truncated, "by the upstream, before its head")
            .method("POST")
            .upstream_stops(At::BeforeHead, How::Close)
            .expect(|pair| Ok(failed(Client::Own(502), pair))),
        case(Kind::Truncated, "by the upstream, in its head")
            .method("POST")
            .upstream_stops(At::InHead, How::Close)
            .expect(|pair| Ok(failed(Client::Own(502), pair))),
        case(Kind::Truncated, "by the upstream, in a body with a length")
            .answer(200, Framing::Length, 1000)
            .upstream_stops(At::InBody, How::Close)
            .expect(|pair| Ok(failed(Client::Cut, pair))),
        case(Kind::Truncated, "by the upstream, behind its head")
            .answer(200, Framing::Length, 1000)
            .upstream_stops(At::AfterHead, How::Close)
            .expect(|pair| Ok(failed(Client::Cut, pair))),
        case(Kind::Truncated, "by the upstream, in a body without a length")
            .answer(200, Framing::Chunked, 1000)
            .upstream_stops(At::InBody, How::Close)
            .expect(|pair| Ok(failed(Client::Cut, pair))),
        case(Kind::Truncated, "by the upstream, in a chunk")
            .answer(200, Framing::Chunked, 1000)
            .upstream_stops(At::InChunk, How::Close)
            .expect(|pair| match pair.upstream {
                Version::Http1 => Ok(failed(Client::Cut, pair)),
                Version::Http2 => Err(NO_CHUNKS),
            }),
        case(Kind::Truncated, "by the upstream, which says that this was all")
            .answer(200, Framing::Length, 1000)
            .upstream_stops(At::InBody, How::EndStream)
            .expect(|pair| match pair.upstream {
                Version::Http1 => Err(NO_END_STREAM),
                Version::Http2 => Ok(reset(Client::Cut, pair)),
            }),
    ]
}

fn resets() -> Vec<Case> {
    let mut cases = vec![
        case(Kind::Reset, "by the client, before the answer's head")
            .client_stops(At::BeforeHead, How::Reset)
            .upstream_stops(At::BeforeHead, How::Wait)
            .expect(|pair| Ok(left(Request::Left, pair))),
        case(Kind::Reset, "by the client, behind the answer's head")
            .client_stops(At::AfterHead, How::Reset)
            .answer(200, Framing::Chunked, 1000)
            .upstream_stops(At::InBody, How::Wait)
            .expect(|pair| Ok(left(Request::Left, pair))),
        case(Kind::Reset, "by the client, in its body")
            .post(Framing::Length, 1000)
            .client_stops(At::InBody, How::Reset)
            .expect(|pair| Ok(left(Request::Cut, pair))),
        case(Kind::Reset, "by the client, in its body, behind the answer's head")
            .post(Framing::Chunked, 1000)
            .client_stops(At::InBody, How::Reset)
            .when(When::HeadRead)
            .answer(200, Framing::Chunked, 1000)
            .expect(|pair| Ok(left(Request::Cut, pair))),
    ];
    for (framing, method) in [(Framing::NoBody, "POST"), (Framing::Length, "POST")] {
        cases.push(
            case(Kind::Reset, format!("by the upstream, before its head, {framing:?}"))
                .post(framing, if framing == Framing::NoBody { 0 } else { 1000 })
                .method(method)
                .upstream_stops(At::BeforeHead, How::Reset)
                .expect(|pair| Ok(reset(Client::Own(502), pair))),
        );
    }
    for (framing, at) in [
        (Framing::Length, At::AfterHead),
        (Framing::Length, At::InBody),
        (Framing::Chunked, At::InBody),
    ] {
        cases.push(
            case(Kind::Reset, format!("by the upstream, {at:?}, {framing:?}"))
                .answer(200, framing, 1000)
                .upstream_stops(at, How::Reset)
                .expect(|pair| Ok(reset(Client::Cut, pair))),
        );
    }
    cases
}

fn without_body() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, method, status) in
        [(Kind::Head, "HEAD", 200), (Kind::NoContent, "GET", 204), (Kind::NotModified, "GET", 304)]
    {
        let cell = |name: &str| case(kind, name).method(method).answer(status, Framing::NoBody, 0);
        cases.push(cell("without a length"));
        cases.push(cell("with a length").response_fields(&[("Content-Length", "1000")]));
        cases.push(cell("with a length of 0").response_fields(&[("Content-Length", "0")]));
        cases.push(
            cell("with an encoding").response_fields(&[("Transfer-Encoding", "chunked")]).expect(
                |pair| match pair.upstream {
                    Version::Http1 => Ok(WELL),
                    Version::Http2 => Err(NO_CHUNKS),
                },
            ),
        );
        cases.push(
            cell("with a length and a body")
                .response_fields(&[("Content-Length", "39")])
                .forbidden_body()
                .expect(|pair| Ok(behind(pair))),
        );
        cases.push(
            cell("with a body and no length").forbidden_body().expect(|pair| Ok(behind(pair))),
        );
    }
    cases.push(case(Kind::NoContent, "to an upload").post(Framing::Length, 65_536).answer(
        204,
        Framing::NoBody,
        0,
    ));
    cases
}

fn interim() -> Vec<Case> {
    vec![
        case(Kind::Interim, "103").interim(vec![103], 1),
        case(Kind::Interim, "many").interim(vec![103; 20], 16),
        case(Kind::Interim, "102 and 103").interim(vec![102, 103], 2),
        case(Kind::Interim, "100 that nobody asked for").interim(vec![100], 0),
        case(Kind::Interim, "100 that the client asked for")
            .post(Framing::Length, 1000)
            .request_fields(&[("Expect", "100-continue")])
            .interim(vec![100], 1),
        case(Kind::Interim, "103 before a body without a length")
            .interim(vec![103, 103], 2)
            .answer(200, Framing::Chunked, 70_000),
    ]
}

pub const WEBSOCKET: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

fn upgrades() -> Vec<Case> {
    vec![
        case(Kind::Upgrade, "accepted")
            .request_fields(&WEBSOCKET)
            .answer(101, Framing::NoBody, 0)
            .response_fields(&[("Upgrade", "websocket"), ("Connection", "Upgrade")])
            .expect(|pair| match (pair.client, pair.upstream) {
                (Version::Http1, Version::Http1) => {
                    Ok(Expected { client_stays: false, reused: Some(false), ..WELL })
                }
                _ => Err(NO_UPGRADE),
            }),
        case(Kind::Upgrade, "refused")
            .request_fields(&WEBSOCKET)
            .answer(403, Framing::Length, 1000)
            .expect(|pair| match pair.client {
                // An upstream of HTTP/2 gets the request without it.
                Version::Http1 => Ok(Expected { reused: None, ..WELL }),
                Version::Http2 => Err(NO_UPGRADE),
            }),
        case(Kind::Upgrade, "ignored")
            .request_fields(&WEBSOCKET)
            .answer(200, Framing::Chunked, 1000)
            .expect(|pair| match pair.client {
                Version::Http1 => Ok(Expected { reused: None, ..WELL }),
                Version::Http2 => Err(NO_UPGRADE),
            }),
    ]
}
