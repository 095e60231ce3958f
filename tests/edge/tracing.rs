//! Trace context on its way through the edge, and the spans that a receiver of OTLP gets.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::support::poll::eventually;
use crate::support::ports::Port;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRUSTING: &str = "trusted_proxies = [\"127.0.0.1/32\"]";

fn tracing(port: u16, lines: &str) -> String {
    format!("[tracing]\nendpoint = \"http://127.0.0.1:{port}\"\n{lines}\n")
}

/// What a receiver has got: each span with the service that it is of.
fn spans(receiver: &Upstream) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for request in receiver.requests() {
        assert_eq!((request.method(), request.target()), ("POST", "/v1/traces"));
        assert_eq!(request.head.field("content-type"), Some("application/x-protobuf"));
        let sent = ExportTraceServiceRequest::decode(&request.body[..]).expect("protobuf");
        for resource in sent.resource_spans {
            let attributes = &resource.resource.as_ref().expect("a resource").attributes;
            let name = attributes.iter().find(|it| it.key == "service.name");
            let name = text(name.and_then(|it| it.value.as_ref()?.value.as_ref()));
            let of_scope = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(of_scope.map(|span| (name.clone(), span)));
        }
    }
    spans
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|it| it.key == key)?;
    Some(text(found.value.as_ref()?.value.as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sample(edge: &Edge, result: &str) -> f64 {
    let name = format!("harmony_spans_total{{result=\"{result}\"}}");
    let text = edge.manage("/metrics").send().text();
    let value = text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
    value.unwrap_or(0.0)
}

/// `traceparent` as the upstream got it last: trace, span, flags.
fn passed_on(upstream: &Upstream) -> (String, String, String) {
    let request = upstream.last();
    let value = request.head.field("traceparent").expect("traceparent").to_owned();
    let parts: Vec<&str> = value.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[1].len(), parts[2].len()), (4, "00", 32, 16));
    (parts[1].into(), parts[2].into(), parts[3].into())
}

#[test]
fn trace_context_goes_on_without_an_exporter() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).proxy(TRUSTING).start();
    for http2 in [false, true] {
        let send = |fields: &[(&str, &str)]| {
            let mut request = edge.get("/api/x");
            for (name, value) in fields {
                request = request.header(name, *value);
            }
            let request = if http2 { request.http2() } else { request };
            assert_eq!(request.send().status, 200);
            let state = upstream.last().head.field("tracestate").map(str::to_owned);
            (passed_on(&upstream), state)
        };
        let ((trace, span, flags), state) = send(&[("traceparent", PARENT), ("tracestate", "a=b")]);
        assert_eq!((trace.as_str(), flags.as_str(), state.as_deref()), (TRACE, "01", Some("a=b")));
        assert_ne!(span, "b7ad6b7169203331");
        let (other, state) = send(&[("tracestate", "a=b")]);
        assert!(other.0 != TRACE && state.is_none() && other.2 == "00", "{other:?}");
        let malformed = PARENT.replace("b7ad", "B7AD");
        let (other, state) = send(&[("traceparent", &malformed), ("tracestate", "a=b")]);
        assert!(other.0 != TRACE && state.is_none(), "{other:?}");
    }
    let trace = passed_on(&upstream).0;
    let found = format!("trace_id={trace}");
    eventually("the trace in the access log", SOON, || edge.log().contains(&found).then_some(()));
}

#[test]
fn without_an_exporter_only_a_trusted_peer_has_a_trace_sampled() {
    let upstream = Upstream::start();
    for (proxy, parent, flags) in [
        (TRUSTING, PARENT.to_owned(), "01"),
        (TRUSTING, PARENT.replace("-01", "-00"), "00"),
        ("", PARENT.to_owned(), "00"),
        ("", PARENT.replace("-01", "-ff"), "00"),
        ("", PARENT.replace("-01", "-00"), "00"),
    ] {
        let edge = Edge::open(&upstream).proxy(proxy).quiet().start();
        let request = edge.get("/api/x").header("traceparent", &*parent);
        assert_eq!(request.header("tracestate", "a=b").send().status, 200);
        let (trace, _, found) = passed_on(&upstream);
        assert_eq!((trace.as_str(), found.as_str()), (TRACE, flags), "{proxy} {parent}");
        assert_eq!(upstream.last().head.field("tracestate"), Some("a=b"));
    }
}

#[test]
fn what_a_client_sends_is_cut_in_its_span() {
    let (upstream, receiver) = (Upstream::start(), Upstream::start());
    let edge = Edge::open(&upstream).and(&tracing(receiver.port(), "")).quiet().start();
    let path = format!("/nowhere/{}", "p".repeat(20_000));
    let method = "M".repeat(3000);
    edge.request(&method, &path).host(&"h".repeat(3000)).send();
    let (_, span) = eventually("its span", SOON, || spans(&receiver).pop());
    for attribute in &span.attributes {
        let length = text(attribute.value.as_ref().and_then(|it| it.value.as_ref())).len();
        assert!(length <= 1024, "{} has {length} bytes", attribute.key);
    }
    assert!(attribute(&span, "http.request.method_original").is_some());
}

#[test]
fn spans_through_two_edges_join() {
    let (issuer, upstream, receiver) = (Issuer::start(), Upstream::start(), Upstream::start());
    let inner = Edge::with_jwt(&issuer, &upstream)
        .proxy(TRUSTING)
        .and(&tracing(receiver.port(), "service_name = \"inner\"\ninclude_subject = true"))
        .start();
    let outer = Edge::configured(
        Settings::open_to(inner.port())
            .proxy(TRUSTING)
            .endpoint("strip_prefix = false")
            .and(&tracing(receiver.port(), "service_name = \"outer\"")),
    )
    .start();
    let token = issuer.token().sign();
    let answer = outer
        .get("/api/x?secret=1")
        .bearer(&token)
        .header("traceparent", PARENT)
        .header("User-Agent", "a test")
        .send();
    assert_eq!(answer.status, 200, "{}", inner.log());
    let found = eventually("both spans", SOON, || {
        let found = spans(&receiver);
        (found.len() == 2).then_some(found)
    });
    let of = |service: &str| {
        let found = found.iter().find(|(name, _)| name == service);
        found.unwrap_or_else(|| panic!("a span of {service}: {found:?}")).1.clone()
    };
    let (outer_span, inner_span) = (of("outer"), of("inner"));
    let port = outer.port().to_string();
    for span in [&outer_span, &inner_span] {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!((span.kind, span.name.as_str()), (2, "GET /api"));
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("url.path", "/api/x"),
            ("url.scheme", "http"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("http.route", "/api"),
            ("http.response.status_code", "200"),
            ("network.protocol.version", "1.1"),
            ("client.address", "127.0.0.1"),
            ("user_agent.original", "a test"),
            ("harmony.pipeline", "api"),
            ("harmony.attempts", "1"),
        ] {
            assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
        }
    }
    assert_eq!(hex(&outer_span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(inner_span.parent_span_id, outer_span.span_id);
    assert_eq!(passed_on(&upstream).1, hex(&inner_span.span_id));
    assert_eq!(attribute(&inner_span, "harmony.auth.method").as_deref(), Some("jwt"));
    assert_eq!(attribute(&inner_span, "user.id").as_deref(), Some("alice"));
    assert_eq!(
        attribute(&inner_span, "harmony.upstream"),
        Some(format!("127.0.0.1:{}", upstream.port()))
    );
    let everything = format!("{found:?}");
    assert!(!everything.contains("secret=1") && !everything.contains(&token));
    // A refusal says why.
    receiver.clear();
    assert_eq!(inner.get("/api/x").send().status, 401);
    let (_, refused) = eventually("its span", SOON, || spans(&receiver).pop());
    assert_eq!(attribute(&refused, "harmony.reason").as_deref(), Some("missing"));
    assert_eq!(sample(&inner, "exported"), 2.0);
}

#[test]
fn only_a_trusted_peer_decides_what_is_sampled() {
    let (upstream, receiver) = (Upstream::start(), Upstream::start());
    let settings = |proxy: &str, ratio: &str| {
        let lines = format!("sample_ratio = {ratio}");
        Edge::open(&upstream).proxy(proxy).and(&tracing(receiver.port(), &lines)).start()
    };
    let unsampled = PARENT.replace("-01", "-00");
    for (proxy, ratio, parent, flags) in [
        ("", "0.0", PARENT, "00"),
        ("", "1.0", &unsampled, "01"),
        ("", "0", "", "00"),
        (TRUSTING, "0.0", PARENT, "01"),
        (TRUSTING, "1", &unsampled, "00"),
        (TRUSTING, "1.0", "", "01"),
    ] {
        receiver.clear();
        let edge = settings(proxy, ratio);
        let mut request = edge.get("/api/x");
        if !parent.is_empty() {
            request = request.header("traceparent", parent);
        }
        assert_eq!(request.send().status, 200);
        let row = format!("{proxy} {ratio} {parent}");
        assert_eq!(passed_on(&upstream).2, flags, "{row}");
        if flags == "01" {
            let (_, span) = eventually("a span", SOON, || spans(&receiver).pop());
            assert_eq!(attribute(&span, "user.id"), None, "{row}");
        } else {
            std::thread::sleep(Duration::from_millis(1500));
            assert_eq!(receiver.count(), 0, "{row}");
        }
    }
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    let (upstream, receiver) = (Upstream::start(), Upstream::start());
    let mut edge = Edge::open(&upstream).and(&tracing(receiver.port(), "")).start();
    assert_eq!(edge.get("/api/x").send().status, 200);
    edge.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(edge.exit_status(SOON).code(), Some(0));
    assert_eq!(spans(&receiver).len(), 1);
}

/// Requests on one connection; how long each took.
fn requests(edge: &Edge, count: usize) -> Vec<Duration> {
    let mut client = edge.connect();
    let request = edge.get("/nowhere").bytes();
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        client.send(&request);
        assert_eq!(client.response().status, 404);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took
}

#[test]
fn a_receiver_that_is_dead_or_slow_slows_no_request_down() {
    let upstream = Upstream::start();
    let dead = Port::claim();
    let slow = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.pause(Duration::from_secs(60));
    });
    let without = Edge::open(&upstream).quiet().start();
    let median = |took: &[Duration]| took[took.len() / 2];
    let usual = median(&requests(&without, 1000));
    for (port, counted) in [(dead.number(), "failed"), (slow.port(), "dropped")] {
        let edge = Edge::open(&upstream).and(&tracing(port, "")).quiet().start();
        let took = requests(&edge, 6000);
        // Within what a busy machine and an unoptimized build leave to chance.
        assert!(median(&took) < usual * 2, "{counted}: {:?}, usually {usual:?}", median(&took));
        eventually(counted, SOON, || (sample(&edge, counted) > 0.0).then_some(()));
        assert_eq!(edge.get("/api/x").send().status, 200);
    }
}

#[test]
fn a_pipeline_says_what_the_access_log_shows() {
    let upstream = Upstream::with(|exchange| {
        let status = if exchange.target().contains("broken") { 500 } else { 200 };
        exchange.answer(status, &[], b"");
    });
    let route = |name: &str, lines: &str| {
        Route::to(name, &upstream).prefix(&format!("/{name}")).pipeline(lines).text()
    };
    let tables = [
        route("all", "access_log = \"all\""),
        route("errors", "access_log = \"errors\""),
        route("off", "access_log = \"off\""),
        route("none", "access_log_sample = 0.0"),
        route("some", "access_log_sample = 0.5"),
    ];
    let edge = Edge::configured(Settings::bare().and(&tables.concat())).start();
    for name in ["all", "errors", "off", "none"] {
        for path in ["fine", "broken"] {
            edge.get(&format!("/{name}/{path}")).send();
        }
    }
    for _ in 0..100 {
        edge.get("/some/fine").send();
    }
    let agent = edge.get("/all/last").header("User-Agent", "t \"x\"");
    agent.header("Referer", "https://a.example/b?token=c").send();
    let last = "user_agent=\"t \\\"x\\\"\" referer=\"https://a.example/b\"";
    eventually("the last record", SOON, || edge.log().contains(last).then_some(()));
    let log = edge.log();
    let count = |path: &str| log.matches(&format!(" path={path} ")).count();
    for (path, expected) in [
        ("/all/fine", 1),
        ("/all/broken", 1),
        ("/errors/fine", 0),
        ("/errors/broken", 1),
        ("/off/fine", 0),
        ("/off/broken", 0),
        ("/none/fine", 0),
        ("/none/broken", 1),
    ] {
        assert_eq!(count(path), expected, "{path}");
    }
    assert!((10..90).contains(&count("/some/fine")), "{}", count("/some/fine"));
    let line = log.lines().find(|line| line.contains(" path=/all/fine ")).unwrap();
    assert!(line.contains(" tls=- ") && line.contains(" attempts=1 "), "{line}");
    let head: u64 =
        line.split(" head_us=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(head > 0, "{line}");
}
