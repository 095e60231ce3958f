//! A real issuer, npm's `oidc-provider`: what it publishes, issues and answers.

mod bound;
mod discovery;
mod introspection;
mod logout;
mod server;

pub use server::packages;

use std::time::Duration;

use crate::support::edge::EdgeBuilder;
use crate::support::settings::Route;
use crate::support::token::AUDIENCE;
use crate::support::{Edge, Settings, Upstream};

const SOON: Duration = Duration::from_secs(15);

/// What a step that asks about tokens has to know; the variable `SECRET` has the secret.
const CLIENT: &str = "client_id = \"edge\"\nclient_secret = \"${SECRET}\"\n";

/// A step of this kind for tokens of `issuer`.
fn step(kind: &str, issuer: &str, lines: &str) -> String {
    format!(
        "[middleware.step]\ntype = \"{kind}\"\n[middleware.step.config]\n\
         audience = \"{AUDIENCE}\"\nissuer = \"{issuer}\"\n{lines}\n"
    )
}

/// The pipeline `api` behind such a step.
fn edge(kind: &str, issuer: &str, lines: &str, upstream: &Upstream) -> EdgeBuilder {
    let route = Route::to("api", upstream).prefix("/api").steps(&["step"]).text();
    Edge::configured(Settings::bare().and(&route).and(&step(kind, issuer, lines)))
}

fn status(edge: &Edge, token: &str) -> u16 {
    edge.get("/api/x").bearer(token).send().status
}
