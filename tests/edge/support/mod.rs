//! The harness: an issuer, an upstream and the edge between them, in three lines.
//!
//! ```ignore
//! let issuer = Issuer::start();
//! let upstream = Upstream::start();
//! let edge = Edge::with_jwt(&issuer, &upstream).start();
//! assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
//! ```
//!
//! Everything is real: sockets, keys, the binary. Everything ends with the test.

pub mod authority;
pub mod client;
pub mod cloud;
pub mod edge;
pub mod frames;
pub mod grpc;
pub mod hpack;
pub mod http2;
pub mod http2_peer;
pub mod http2_upstream;
pub mod issuer;
pub mod keys;
pub mod message;
pub mod poll;
pub mod ports;
pub mod program;
pub mod proof;
pub mod provider;
pub mod request;
pub mod resources;
pub mod response;
pub mod secrets;
pub mod server;
pub mod settings;
pub mod tls;
pub mod token;
pub mod upstream;
pub mod wire;

pub use client::Client;
pub use cloud::Cloud;
pub use edge::Edge;
pub use http2_peer::Peer;
pub use http2_upstream::Http2Upstream;
pub use issuer::Issuer;
pub use message::Framing;
pub use poll::eventually;
pub use program::Program;
pub use provider::Provider;
pub use response::Response;
pub use settings::Settings;
pub use upstream::Upstream;
