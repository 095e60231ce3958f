//! Spans of requests, for a receiver of OTLP over HTTP (`[tracing]`).
//!
//! A request hands its span to a queue, and waits for nothing: where the receiver is slower than
//! requests come, or gone, spans are dropped and counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

use super::access::Record;

/// Spans that wait to be sent, a few MiB at most.
const QUEUE: usize = 4096;
/// Most spans of one request to the receiver.
const BATCH: usize = 512;
/// Longest text in a span, in bytes: what a client sends may be as long as a head.
const MAX_TEXT: usize = 1024;
/// The first span of a batch waits no longer.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the receiver may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for what is in the queue.
const LAST_BATCH: Duration = Duration::from_secs(1);

/// Where spans go, once there is a receiver.
static TRACER: OnceLock<Tracer> = OnceLock::new();

/// What makes spans.
#[derive(Debug)]
pub struct Tracer {
    queue: mpsc::Sender<SpanData>,
    sample_ratio: f64,
    include_subject: bool,
    scope: InstrumentationScope,
    /// In the queue or on their way.
    pending: AtomicUsize,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// Where spans go, and which.
#[derive(Debug)]
pub struct SpanSettings<'a> {
    /// The whole URL.
    pub url: &'a str,
    /// The service that they are of.
    pub service_name: &'a str,
    /// Which one of its instances.
    pub instance: &'a str,
    /// The share of requests that get one, 0 to 1.
    pub sample_ratio: f64,
    /// Whether they say who authenticated.
    pub include_subject: bool,
}

/// Where a span belongs, and what is not in its [`Record`].
#[derive(Debug)]
pub struct SpanPlace<'a> {
    /// Its trace.
    pub trace: u128,
    /// Its own number.
    pub span: u64,
    /// That of the span around it.
    pub parent: Option<u64>,
    /// What the route is for: the prefix of its paths.
    pub route: Option<&'a str>,
    /// The port that was asked for.
    pub port: Option<u16>,
    /// The peer, if that is not the client.
    pub peer: Option<std::net::IpAddr>,
}

/// Why nothing can be exported.
#[derive(Debug, Error)]
pub enum SpanError {
    /// No client for HTTP.
    #[error("no client for the receiver of spans: {0}")]
    Client(#[from] reqwest::Error),
    /// Its settings are none.
    #[error("spans cannot be exported: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// How many spans became what.
#[derive(Debug, Clone, Copy)]
pub struct SpanCounts {
    /// The receiver has them.
    pub exported: u64,
    /// The queue was full.
    pub dropped: u64,
    /// The receiver did not take them.
    pub failed: u64,
}

/// What sends spans.
#[derive(Debug)]
pub struct SpanExport {
    queue: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
}

/// Makes spans from now on; [`SpanExport::run`] sends them. Call once.
///
/// # Errors
///
/// Settings that no exporter can be made of.
pub fn start(settings: &SpanSettings<'_>) -> Result<SpanExport, SpanError> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .with_endpoint(settings.url)
        .build()?;
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource::builder_empty()
        .with_service_name(settings.service_name.to_owned())
        .with_attributes([
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", settings.instance.to_owned()),
        ]);
    exporter.set_resource(&resource.build());
    let (sender, queue) = mpsc::channel(QUEUE);
    let scope = InstrumentationScope::builder("harmony-edge");
    // There is one.
    let _ = TRACER.set(Tracer {
        queue: sender,
        sample_ratio: settings.sample_ratio,
        include_subject: settings.include_subject,
        scope: scope.with_version(version).build(),
        pending: AtomicUsize::new(0),
        exported: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    Ok(SpanExport { queue, exporter })
}

/// What makes spans; `None`: nothing does.
pub fn tracer() -> Option<&'static Tracer> {
    TRACER.get()
}

impl Tracer {
    /// Whether a request is one of those that get a span. Whoever sends it cannot choose: not even
    /// by the number of its trace.
    pub fn samples(&self) -> bool {
        self.sample_ratio >= 1.0 || fastrand::f64() < self.sample_ratio
    }

    /// Hands over the span of a request that is over.
    pub fn end(&self, place: &SpanPlace<'_>, record: &Record<'_>) {
        let Ok(permit) = self.queue.try_reserve() else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.pending.fetch_add(1, Ordering::Relaxed);
        permit.send(self.span(place, record));
    }

    fn span(&self, place: &SpanPlace<'_>, record: &Record<'_>) -> SpanData {
        let context = SpanContext::new(
            TraceId::from_bytes(place.trace.to_be_bytes()),
            SpanId::from_bytes(place.span.to_be_bytes()),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let end_time = SystemTime::now();
        let failed = record.status.is_none_or(|status| status >= 500);
        SpanData {
            span_context: context,
            parent_span_id: place.parent.map_or(SpanId::INVALID, |parent| {
                SpanId::from_bytes(parent.to_be_bytes())
            }),
            parent_span_is_remote: place.parent.is_some(),
            span_kind: SpanKind::Server,
            name: match place.route {
                Some(route) => format!("{} {route}", known_method(record.method)).into(),
                None => known_method(record.method).to_owned().into(),
            },
            start_time: end_time.checked_sub(record.duration).unwrap_or(end_time),
            end_time,
            attributes: self.attributes(place, record),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match failed {
                true => Status::error(record.reason.unwrap_or_default().to_owned()),
                false => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// By the semantic conventions for HTTP servers; those of our own begin with `harmony.`.
    fn attributes(&self, place: &SpanPlace<'_>, record: &Record<'_>) -> Vec<KeyValue> {
        let mut all = Vec::with_capacity(20);
        let mut text = |key: &'static str, value: Option<&str>| {
            all.extend(value.map(|value| KeyValue::new(key, cut(value).to_owned())));
        };
        let method = known_method(record.method);
        text("http.request.method", Some(method));
        if method != record.method {
            text("http.request.method_original", Some(record.method));
        }
        text(
            "url.scheme",
            Some(if record.tls.is_some() {
                "https"
            } else {
                "http"
            }),
        );
        text("url.path", record.path);
        text("http.route", place.route);
        text("server.address", record.host);
        text("network.protocol.version", Some(version(record.version)));
        text(
            "tls.protocol.version",
            record.tls.map(|tls| tls.trim_start_matches("TLSv")),
        );
        let client = record.client.map(|client| client.to_string());
        text("client.address", client.as_deref());
        let peer = place.peer.map(|peer| peer.to_string());
        text("network.peer.address", peer.as_deref());
        let agent = record.user_agent.map(String::from_utf8_lossy);
        let agent = agent.as_deref().map(|agent| {
            let end = agent.char_indices().nth(256).map(|(at, _)| at);
            &agent[..end.unwrap_or(agent.len())]
        });
        text("user_agent.original", agent);
        text("harmony.request_id", record.request_id);
        text("harmony.pipeline", record.pipeline);
        text("harmony.backend", record.backend);
        let upstream = record.upstream.map(ToString::to_string);
        text("harmony.upstream", upstream.as_deref());
        text("harmony.auth.method", record.auth);
        text("harmony.reason", record.reason);
        if self.include_subject {
            text("user.id", record.subject);
        }
        let status = record.status.map(|status| status.to_string());
        if record.status.is_none_or(|status| status >= 500) {
            text("error.type", record.reason.or(status.as_deref()));
        }
        let mut number = |key: &'static str, value: Option<u32>| {
            all.extend(value.map(|value| KeyValue::new(key, i64::from(value))));
        };
        number("server.port", place.port.map(u32::from));
        number("http.response.status_code", record.status.map(u32::from));
        number("rpc.grpc.status_code", record.grpc_status);
        number("harmony.attempts", Some(record.attempts));
        all
    }

    /// How many spans became what so far.
    pub fn counts(&self) -> SpanCounts {
        SpanCounts {
            exported: self.exported.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Waits a moment for what has not been sent yet.
    pub async fn flush(&self) {
        let sent = async {
            while self.pending.load(Ordering::Relaxed) > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(LAST_BATCH, sent).await;
    }
}

impl SpanExport {
    /// Sends what comes until the process ends. Once that is near, `stopping`, at once.
    pub async fn run(mut self, stopping: impl Fn() -> bool) {
        let Some(tracer) = tracer() else { return };
        let mut failing = false;
        while let Some(first) = self.queue.recv().await {
            let mut batch = vec![first];
            let due = tokio::time::Instant::now() + INTERVAL;
            while batch.len() < BATCH && !stopping() {
                let room = BATCH - batch.len();
                tokio::select! {
                    biased;
                    read = self.queue.recv_many(&mut batch, room) => if read == 0 { break },
                    () = sleep_until(due) => break,
                }
            }
            let count = batch.len();
            let outcome = self.exporter.export(batch).await;
            tracer.pending.fetch_sub(count, Ordering::Relaxed);
            let counter = match &outcome {
                Ok(()) => &tracer.exported,
                Err(_) => &tracer.failed,
            };
            counter.fetch_add(count as u64, Ordering::Relaxed);
            match &outcome {
                Err(error) if !failing => {
                    log::warn!("tracing: the collector does not take spans, they are lost: {error}")
                }
                Ok(()) if failing => log::info!("tracing: spans are exported again"),
                _ => {}
            }
            failing = outcome.is_err();
        }
    }
}

/// The beginning of a text, as far as there is room for it.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// A method that a client made up makes no name of its own.
fn known_method(method: &str) -> &str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "CONNECT",
    ];
    if KNOWN.contains(&method) {
        method
    } else {
        "_OTHER"
    }
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
