//! Steps from the text of a configuration, and requests to try them with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::facts::Facts;
use super::limits::Requester;
use crate::auth::Identity;
use crate::auth::testing::identity;
use crate::config::{self, Step, StepKind};

/// The steps of a pipeline, of the names in `middleware`.
pub(super) fn steps(middleware: &str, tables: &str) -> Vec<Step> {
    let text = format!(
        r#"
        [proxy]
        id = "t"
        trusted_proxies = ["10.9.0.0/16"]
        sensitive_field_patterns = ["*_pin", "/^colou?r$/"]
        [shared]
        url = "redis://127.0.0.1"
        [network.public.http]
        bind_address = "127.0.0.1"
        bind_port = 8080
        [pipelines.p]
        networks = ["public"]
        endpoints = ["e"]
        middleware = {middleware}
        [endpoints.e]
        service = "echo"
        {tables}
        "#
    );
    let config = config::parse(
        Path::new("t.toml"),
        &text,
        &BTreeMap::<String, String>::new(),
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    config.pipelines[0].steps.clone()
}

/// The settings of a `policies` step with these rules, behind a `jwt-auth` step: the inside of an
/// array of tables.
pub(super) fn policies(rules: &str) -> std::sync::Arc<config::Policies> {
    let table = format!(
        "[middleware.j]\ntype = \"jwt-auth\"\njwks_url = \"https://a.example/jwks\"\n\
         [middleware.s]\ntype = \"policies\"\nrules = [{rules}]\n"
    );
    match &steps("[\"j\", \"s\"]", &table)[1].kind {
        StepKind::Policies(settings) => settings.clone(),
        other => panic!("{other:?}"),
    }
}

/// A request. Everything has a default.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) other_paths: Vec<String>,
    pub(super) case_sensitive_paths: bool,
    pub(super) prefix: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) client: Option<IpAddr>,
    pub(super) peer_is_trusted: bool,
    pub(super) identity: Option<Identity>,
    pub(super) now: Instant,
}

impl Request {
    pub(super) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            other_paths: Vec::new(),
            case_sensitive_paths: false,
            prefix: "/".to_owned(),
            query: None,
            headers: HeaderMap::new(),
            client: Some(IpAddr::from([192, 0, 2, 1])),
            peer_is_trusted: false,
            identity: None,
            now: Instant::now(),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    pub(super) fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// From somebody whose token says this.
    pub(super) fn claims(self, claims: serde_json::Value) -> Self {
        Self {
            identity: Some(identity(claims)),
            ..self
        }
    }

    pub(super) fn from(mut self, client: &str) -> Self {
        self.client = client.parse().ok();
        self
    }

    pub(super) fn requester(&self) -> Requester<'_> {
        Requester {
            client: self.client,
            ..Requester::default()
        }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            request_id: "-",
            method: &self.method,
            path: &self.path,
            other_paths: &self.other_paths,
            case_sensitive_paths: self.case_sensitive_paths,
            prefix: &self.prefix,
            query: self.query.as_deref().map(str::as_bytes),
            headers: &self.headers,
            ambiguous_names: true,
            client: self.client,
            peer_is_trusted: self.peer_is_trusted,
            host: Some("edge.example"),
            certificate: None,
            identity: self.identity.as_ref(),
        }
    }
}

/// A request that servers may take for one to another path, too.
pub(super) fn read_as(path: &str, others: &[&str]) -> Request {
    Request {
        other_paths: others.iter().map(|&other| other.to_owned()).collect(),
        ..Request::get(path)
    }
}
