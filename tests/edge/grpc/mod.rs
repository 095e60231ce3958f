//! gRPC: calls between real peers, what their clients are told when the edge rejects a call, and
//! health checks.

mod calls;
mod deadlines;
mod grpcio;
mod health;
pub mod raw;
mod rejections;

use crate::support::authority::Authority;
use crate::support::ports::Port;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings};

/// An edge with everything behind a token, over TLS, in front of a server of gRPC.
struct Secured {
    edge: Edge,
    issuer: Issuer,
    authority: Authority,
    port: Port,
}

impl Secured {
    /// `lines`: in the backend's options.
    fn in_front_of(server: u16, lines: &str) -> Self {
        let (issuer, port) = (Issuer::start(), Port::claim());
        let authority = Authority::new("edge");
        let pair = authority.server(&["localhost"]);
        let network = format!(
            "[network.secure.http]\nbind_address = \"127.0.0.1\"\nbind_port = {port}\n\
             cert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n"
        );
        let route = Route::to_url("grpc", &format!("http://127.0.0.1:{server}"))
            .prefix("/")
            .networks(&["secure"])
            .steps(&["jwt"])
            .backend(&format!("http_version = \"2\"\n{lines}"));
        let keys = format!("jwks_url = \"{}\"", issuer.url());
        let edge = Edge::configured(Settings::with_keys_to(&keys, server))
            .and(&(network + &route.text()))
            .file("cert.pem", &pair.certificate)
            .file("key.pem", &pair.key)
            .quiet()
            .start();
        Self { edge, issuer, authority, port }
    }

    fn port(&self) -> u16 {
        self.port.number()
    }

    fn token(&self) -> String {
        self.issuer.token().sign()
    }
}
