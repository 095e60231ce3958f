//! `[tracing]`: where spans of requests go.

use super::values::address::HttpUrl;
use crate::config::model::Tracing;
use crate::config::reader::{Entry, Reader};

/// Reads `[tracing]`.
pub(crate) fn read(root: &Reader<'_>) -> Option<Tracing> {
    root.optional_table("tracing", read_table)
}

fn read_table(reader: Reader<'_>) -> Option<Tracing> {
    let endpoint = reader.get("endpoint");
    if endpoint.is_none() {
        reader.missing(
            "endpoint",
            "name the receiver of OTLP over HTTP: endpoint = \"http://127.0.0.1:4318\"",
        );
    }
    let url = endpoint.and_then(|entry| url(&entry));
    let sample_ratio = reader.get("sample_ratio").and_then(|entry| entry.share());
    let service_name = reader.get("service_name");
    let service_name = service_name.and_then(|entry| {
        let name = entry.text()?;
        if name.is_empty() {
            entry.error("is empty");
        }
        Some(name.to_string())
    });
    let include_subject = reader.flag("include_subject", false);
    reader.finish();
    Some(Tracing {
        url: url?,
        sample_ratio: sample_ratio.unwrap_or(1.0),
        service_name: service_name.unwrap_or_else(|| "harmony-edge".to_owned()),
        include_subject,
    })
}

/// What comes behind the base of the receiver's URLs.
const PATH: &str = "/v1/traces";

/// Where receivers take OTLP over gRPC, as a rule.
const GRPC_PORT: &str = ":4317";

/// The base of the receiver's URLs, with the path of traces.
fn url(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let parsed = HttpUrl::parse(&text).and_then(|url| match url.query {
        true => Err("must not have a query"),
        false => Ok(()),
    });
    if let Err(why) = parsed {
        entry.error(why);
        return None;
    }
    if text
        .split('/')
        .nth(2)
        .is_some_and(|it| it.ends_with(GRPC_PORT))
    {
        entry.warning(
            "4317 is the usual port of OTLP over gRPC, and spans are sent over HTTP: its usual \
             port is 4318",
        );
    }
    let base = text.trim_end_matches('/');
    if base.ends_with(PATH) {
        entry.error_help(
            format!("must not end in {PATH}, which is added"),
            "write the rest of it alone",
        );
        return None;
    }
    Some(format!("{base}{PATH}"))
}
