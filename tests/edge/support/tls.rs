//! TLS from both sides: a client that says exactly what it offers, and a server for the edge to
//! connect to.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName};

use super::authority::{Authority, Pair};
use super::message::Head;
use super::ports::Port;
use super::response::Response;
use super::server::Server;
use super::wire::find;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client offers. Connections of one offer share their sessions.
#[derive(Debug, Clone)]
pub struct Offer {
    config: ClientConfig,
}

/// A connection after its handshake.
pub struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Offer {
    /// TLS 1.2 and 1.3, HTTP/1.1, trusting `authority`.
    pub fn trusting(authority: &Authority) -> Self {
        Self::built(authority, rustls::ALL_VERSIONS, None)
    }

    /// The same with a certificate of the client's own.
    pub fn with_certificate(authority: &Authority, pair: &Pair) -> Self {
        Self::built(authority, rustls::ALL_VERSIONS, Some(pair))
    }

    pub fn of_version(authority: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        Self::built(authority, &[version], None)
    }

    fn built(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        pair: Option<&Pair>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(8);
        Self { config }
    }

    pub fn protocols(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols =
            protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Asks for no name; the certificate is still verified for it.
    pub fn nameless(mut self) -> Self {
        self.config.enable_sni = false;
        self
    }

    /// Shakes hands with the listener at `port`, asking for `name`.
    pub fn connect(&self, port: u16, name: &str) -> io::Result<Secure> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let mut session =
            ClientConnection::new(Arc::new(self.config.clone()), name).expect("a session");
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Secure { stream: StreamOwned::new(session, socket) })
    }

    #[track_caller]
    pub fn shake(&self, port: u16, name: &str) -> Secure {
        self.connect(port, name).unwrap_or_else(|error| panic!("no handshake for {name}: {error}"))
    }

    /// One request on a connection of its own. In TLS 1.3 a refused certificate shows only here.
    pub fn get(&self, port: u16, path: &str) -> io::Result<Response> {
        self.connect(port, "localhost")?.get(path)
    }
}

impl Secure {
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request(path, &[])
    }

    pub fn request(&mut self, path: &str, fields: &[(&str, &str)]) -> io::Result<Response> {
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.unfinished(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
    }

    /// Sends these bytes, whatever they are, and waits for an answer.
    pub fn unfinished(&mut self, bytes: &str) -> io::Result<Response> {
        self.stream.write_all(bytes.as_bytes())?;
        let head = Head::parse(&read_head(&mut self.stream)?);
        let status = head
            .first_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let length =
            head.field("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let (trailers, interim) = (String::new(), Vec::new());
        Ok(Response { status, head, body, trailers, complete: true, interim })
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().expect("a certificate")[0].clone()
    }

    pub fn version(&self) -> ProtocolVersion {
        self.stream.conn.protocol_version().expect("a version")
    }

    pub fn protocol(&self) -> Option<&str> {
        self.stream.conn.alpn_protocol().and_then(|protocol| std::str::from_utf8(protocol).ok())
    }

    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// An upstream with TLS: it answers every request with 200 and the name that it was asked for.
pub struct SecureUpstream {
    port: Port,
    _server: Server,
    handshakes: Arc<AtomicUsize>,
    names: Arc<Mutex<Vec<Option<String>>>>,
}

impl SecureUpstream {
    pub fn start(pair: &Pair) -> Self {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = Arc::new(
            config
                .with_no_client_auth()
                .with_single_cert(pair.chain(), pair.private_key())
                .unwrap(),
        );
        let port = Port::claim();
        let (handshakes, names) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let server = Server::start(port.number(), {
            let (handshakes, names) = (Arc::clone(&handshakes), Arc::clone(&names));
            move |_, stream| {
                // A client that does not trust us is gone by now.
                let _ = serve(Arc::clone(&config), stream, &handshakes, &names);
            }
        });
        Self { port, _server: server, handshakes, names }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How many handshakes came to their end.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }

    /// The names that were asked for.
    pub fn names(&self) -> Vec<Option<String>> {
        self.names.lock().unwrap().clone()
    }
}

fn serve(
    config: Arc<ServerConfig>,
    mut socket: TcpStream,
    handshakes: &AtomicUsize,
    names: &Mutex<Vec<Option<String>>>,
) -> io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    handshakes.fetch_add(1, Ordering::SeqCst);
    names.lock().unwrap().push(session.server_name().map(str::to_owned));
    let mut stream = StreamOwned::new(session, socket);
    loop {
        let head = Head::parse(&read_head(&mut stream)?);
        let body = head
            .fields
            .iter()
            .map(|(name, value)| format!("{}: {value}\n", name.to_ascii_lowercase()))
            .collect::<String>();
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        )?;
    }
}

fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while find(&head, b"\r\n\r\n").is_none() {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
