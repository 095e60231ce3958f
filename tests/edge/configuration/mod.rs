//! The file: what loads, what does not, and what is said about it.

mod command_line;
mod errors;
mod forms;
mod messages;
mod safety;
mod shipped;

/// A configuration that loads; every test of this room changes one thing in it.
pub const GOOD: &str = r#"[proxy]
id = "edge-1"

[network.public.http]
bind_address = "127.0.0.1"
bind_port = 18080

[network.management.http]
bind_address = "127.0.0.1"
bind_port = 19090

[management]
enabled = true
base_path = "admin"
network = "management"

[pipelines.api]
networks = ["public"]
endpoints = ["api"]
middleware = ["jwt"]
backends = ["app"]

[endpoints.api]
service = "http"
options = { path_prefix = "/api" }

[middleware.jwt]
type = "jwt-auth"
config = {
  algorithm = "RS256",
  jwks_url = "http://127.0.0.1:1/jwks.json", # nobody is there
  issuer = "https://auth.example.com",
  audience = "harmony-api",
}

[backends.app]
service = "http"
options = { base_url = "http://127.0.0.1:3000", timeout_secs = 30 }
"#;

/// [`GOOD`] with one piece of it replaced.
#[track_caller]
pub fn with(piece: &str, other: &str) -> String {
    assert!(GOOD.contains(piece), "{piece} stands in the configuration");
    GOOD.replacen(piece, other, 1)
}

/// The number of the line that holds this piece, from 1.
#[track_caller]
fn line_of(text: &str, piece: &str) -> usize {
    1 + text
        .lines()
        .position(|line| line.contains(piece))
        .unwrap_or_else(|| panic!("{piece} stands in the text"))
}
