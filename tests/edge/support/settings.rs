//! The configuration of an edge, put together from what a test cares about.

use super::issuer::Issuer;
use super::token::{AUDIENCE, ISSUER};
use super::upstream::Upstream;

/// The text of a configuration to be. `{port}`, `{mport}` and `{dir}` in it are filled in at the
/// start.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    proxy: Vec<String>,
    endpoint: Vec<String>,
    step: Option<Vec<String>>,
    step_flags: Vec<String>,
    backend: Option<Vec<String>>,
    rest: String,
    watching: bool,
    whole: Option<String>,
}

impl Settings {
    /// No pipeline at all: `[proxy]`, the network `public` and the management network.
    pub fn bare() -> Self {
        Self::default()
    }

    /// A text that is whole already.
    pub fn of_text(text: &str) -> Self {
        Self { whole: Some(text.into()), ..Self::default() }
    }

    /// The pipeline `api`: `/api` with one `jwt-auth` step whose keys come from `issuer`, in front
    /// of `upstream`.
    pub fn with_jwt(issuer: &Issuer, upstream: &Upstream) -> Self {
        Self::with_keys(&format!("jwks_url = \"{}\"", issuer.url()), upstream)
    }

    /// The same, with another source of keys (and, where it is not RS256, another algorithm).
    pub fn with_keys(source: &str, upstream: &Upstream) -> Self {
        Self::with_keys_to(source, upstream.port())
    }

    pub fn with_keys_to(source: &str, port: u16) -> Self {
        let step = vec![
            source.to_owned(),
            format!("issuer = \"{ISSUER}\""),
            format!("audience = \"{AUDIENCE}\""),
        ];
        Self { step: Some(step), ..Self::open_to(port) }
    }

    /// The pipeline `api` without any step.
    pub fn open(upstream: &Upstream) -> Self {
        Self::open_to(upstream.port())
    }

    pub fn open_to(port: u16) -> Self {
        Self {
            backend: Some(vec![format!("base_url = \"http://127.0.0.1:{port}\"")]),
            ..Self::default()
        }
    }

    /// Lines in `[proxy]`.
    pub fn proxy(mut self, lines: &str) -> Self {
        self.proxy.push(lines.into());
        self
    }

    /// Files are watched, as they are by default. Elsewhere a test says itself when to reload.
    pub fn watching(mut self) -> Self {
        self.watching = true;
        self
    }

    /// Lines in the options of the endpoint `api`.
    pub fn endpoint(mut self, lines: &str) -> Self {
        self.endpoint.push(lines.into());
        self
    }

    /// Lines in the config of the step `jwt`.
    pub fn jwt(mut self, lines: &str) -> Self {
        self.step.as_mut().expect("a configuration with a jwt step").push(lines.into());
        self
    }

    /// Lines in `[middleware.jwt]` itself: `optional`, `fallback_on`.
    pub fn jwt_flags(mut self, lines: &str) -> Self {
        self.step_flags.push(lines.into());
        self
    }

    /// Lines in the options of the backend `app`.
    pub fn backend(mut self, lines: &str) -> Self {
        self.backend.as_mut().expect("a configuration with a backend").push(lines.into());
        self
    }

    /// Further tables, after everything else.
    pub fn and(mut self, tables: &str) -> Self {
        self.rest += tables;
        self.rest += "\n";
        self
    }

    pub fn text(&self) -> String {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let watch = if self.watching { "" } else { "watch_files = false\n" };
        let mut text =
            format!("[proxy]\nid = \"edge-1\"\n{watch}{}\n{NETWORKS}", self.proxy.join("\n"));
        if let Some(backend) = &self.backend {
            let middleware = if self.step.is_some() { "[\"jwt\"]" } else { "[]" };
            text += &format!(
                "\n[pipelines.api]\nnetworks = [\"public\"]\nendpoints = [\"api\"]\n\
                 backends = [\"app\"]\nmiddleware = {middleware}\n"
            );
            text += &format!(
                "\n[endpoints.api]\nservice = \"http\"\n[endpoints.api.options]\n\
                 path_prefix = \"/api\"\n{}\n",
                self.endpoint.join("\n")
            );
            text += &format!(
                "\n[backends.app]\nservice = \"http\"\n[backends.app.options]\n{}\n",
                backend.join("\n")
            );
        }
        if let Some(step) = &self.step {
            text += &format!(
                "\n[middleware.jwt]\ntype = \"jwt-auth\"\n{}\n[middleware.jwt.config]\n{}\n",
                self.step_flags.join("\n"),
                step.join("\n")
            );
        }
        text + "\n" + &self.rest
    }
}

const NETWORKS: &str = r#"
[network.public.http]
bind_address = "127.0.0.1"
bind_port = {port}

[network.management.http]
bind_address = "127.0.0.1"
bind_port = {mport}

[management]
enabled = true
base_path = "admin"
network = "management"
"#;

/// A pipeline with one endpoint and one backend, all three of the same name: for configurations
/// with several.
#[derive(Debug, Clone)]
pub struct Route {
    name: String,
    networks: Vec<String>,
    steps: Vec<String>,
    pipeline: Vec<String>,
    endpoint: Vec<String>,
    backend: Vec<String>,
}

impl Route {
    pub fn to(name: &str, upstream: &Upstream) -> Self {
        Self::to_url(name, &format!("http://127.0.0.1:{}", upstream.port()))
    }

    pub fn to_url(name: &str, url: &str) -> Self {
        Self {
            name: name.into(),
            networks: vec!["public".into()],
            steps: Vec::new(),
            pipeline: Vec::new(),
            endpoint: Vec::new(),
            backend: vec![format!("base_url = \"{url}\"")],
        }
    }

    pub fn prefix(self, prefix: &str) -> Self {
        self.endpoint(&format!("path_prefix = \"{prefix}\""))
    }

    pub fn networks(mut self, names: &[&str]) -> Self {
        self.networks = names.iter().map(|&name| name.into()).collect();
        self
    }

    pub fn steps(mut self, names: &[&str]) -> Self {
        self.steps = names.iter().map(|&name| name.into()).collect();
        self
    }

    /// Lines in the backend's options.
    pub fn backend(mut self, lines: &str) -> Self {
        self.backend.push(lines.into());
        self
    }

    /// Lines in the pipeline's table.
    pub fn pipeline(mut self, lines: &str) -> Self {
        self.pipeline.push(lines.into());
        self
    }

    /// Lines in the endpoint's options.
    pub fn endpoint(mut self, lines: &str) -> Self {
        self.endpoint.push(lines.into());
        self
    }

    pub fn text(&self) -> String {
        let Self { name, networks, steps, pipeline, endpoint, backend } = self;
        // A list of strings reads the same in Rust and in TOML.
        format!(
            "[pipelines.{name}]\nnetworks = {networks:?}\nendpoints = [\"{name}\"]\n\
             middleware = {steps:?}\nbackends = [\"{name}\"]\n{}\n\
             [endpoints.{name}]\nservice = \"http\"\n[endpoints.{name}.options]\n{}\n\
             [backends.{name}]\nservice = \"http\"\n[backends.{name}.options]\n{}\n",
            pipeline.join("\n"),
            endpoint.join("\n"),
            backend.join("\n")
        )
    }
}
