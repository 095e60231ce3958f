//! The programs of the SDK's documentation, to the letter: they compile, and they run.
//!
//! Nothing in them is replaced. Their hosts (`runbeam.example.com`, `api.runbeam.io`) are reached
//! through `HTTPS_PROXY`, behind which a stand-in cloud on loopback answers with a certificate that
//! `SSL_CERT_FILE` makes trusted. One of them holds a JWT that is cut off: that one has to fail. It
//! runs with a whole token in `tests/edge/runbeam_sdk/seed.rs` of the workspace.

#![cfg(unix)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::collapsible_if,
    missing_docs,
    reason = "what the documentation shows is here as it is there"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A program of the documentation, with its `main`.
macro_rules! program {
    ($name:ident) => {
        #[allow(unused_imports, reason = "as the documentation has it")]
        mod $name {
            include!(concat!("seed/", stringify!($name), ".rs"));

            pub(super) fn run() -> super::Outcome {
                main()
            }
        }
    };
}

program!(using_jwt_tokens);
program!(using_runbeam_tokens);
program!(list_gateways);
program!(manage_services);
program!(download_full_configuration);

/// The snippet of "Instance Isolation", which has neither a `main` nor a token of its own: a test
/// compares it with the documentation.
#[rustfmt::skip]
#[tokio::main]
async fn instance_isolation() -> Outcome {
    let token = MachineToken::new("mt_1", "", "id", "code", vec![]);
    use runbeam_sdk::{save_token, load_token, clear_token, MachineToken};
    // Each instance_id gets separate storage at ~/.runbeam/<instance_id>/
    let instance_id = "harmony-production";
    // Save token
    save_token(instance_id, &token).await?;
    // Load token
    if let Some(token) = load_token(instance_id).await? {
        println!("Loaded token for gateway: {}", token.gateway_code);
    }
    // Clear token
    clear_token(instance_id).await?;
    Ok(())
}

#[test]
fn the_snippet_is_that_of_the_documentation() {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let snippet = squeezed(include_str!("seed/instance_isolation.rs"));
    assert!(squeezed(include_str!("seed.rs")).contains(&snippet));
}

/// The programs read the environment, which a test must not change: each runs in a process of its
/// own, which is this test once more.
#[test]
fn the_programs_run() {
    const PROGRAM: &str = "RUNBEAM_SDK_TEST_PROGRAM";
    if let Ok(program) = std::env::var(PROGRAM) {
        let outcome = match program.as_str() {
            "using_jwt_tokens" => using_jwt_tokens::run(),
            "using_runbeam_tokens" => using_runbeam_tokens::run(),
            "list_gateways" => list_gateways::run(),
            "manage_services" => manage_services::run(),
            "download_full_configuration" => download_full_configuration::run(),
            "instance_isolation" => instance_isolation(),
            other => panic!("no program is named {other}"),
        };
        return match outcome {
            Ok(()) => println!("outcome: ok"),
            Err(error) => println!("outcome: {error}"),
        };
    }
    let home = tempfile::tempdir().unwrap();
    let certificate = home.path().join("ca.pem");
    let proxy = start_cloud(&certificate);
    let run = |program: &str| -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_programs_run", "--nocapture"])
            .env_clear()
            .env("HOME", home.path())
            .env(PROGRAM, program)
            .env("HTTPS_PROXY", format!("http://{proxy}"))
            .env("SSL_CERT_FILE", &certificate)
            // Nobody's keyring.
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
            .output()
            .unwrap();
        printed(&output)
    };
    for (program, expected) in [
        (
            "list_gateways",
            "Gateway: East (east)\nGateway enabled: true\noutcome: ok",
        ),
        (
            "manage_services",
            "Service: S on gateway g1\nService type: http\noutcome: ok",
        ),
        (
            "download_full_configuration",
            "Endpoints: 1\nBackends: 1\nPipelines: 1\noutcome: ok",
        ),
        ("using_runbeam_tokens", "outcome: ok"),
        (
            "instance_isolation",
            "Loaded token for gateway: code\noutcome: ok",
        ),
        (
            "using_jwt_tokens",
            "outcome: the user token is refused: malformed",
        ),
    ] {
        let printed = run(program);
        assert!(printed.contains(expected), "{program}: {printed}");
    }
    let kept = std::fs::read(home.path().join(".runbeam/my-gateway/auth.json")).unwrap();
    assert!(
        !kept.windows(7).any(|part| part == b"mt_seed"),
        "never unencrypted on disk"
    );
    assert!(
        !home
            .path()
            .join(".runbeam/harmony-production/auth.json")
            .exists(),
        "cleared"
    );
}

fn printed(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}")
}

/// An HTTP proxy that answers for every host that it is asked for; its address.
fn start_cloud(certificate: &std::path::Path) -> String {
    let hosts = ["runbeam.example.com", "api.runbeam.io"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            // A client that breaks off is no matter of this test's.
            std::thread::spawn(move || drop(serve(stream, config)));
        }
    });
    address
}

fn serve(mut stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    // Byte by byte: what follows the head is TLS.
    let mut connect = Vec::new();
    while !connect.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        connect.extend(byte);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = BufReader::new(StreamOwned::new(connection, stream));
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        tls.read_line(&mut line)?;
        if request.is_empty() {
            request.clone_from(&line);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    tls.read_exact(&mut body)?;
    let answer = answer(request.split(' ').nth(1).unwrap_or_default());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", answer.len());
    let stream = tls.get_mut();
    stream.write_all(format!("{head}Connection: close\r\n\r\n{answer}").as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn answer(path: &str) -> String {
    let list = |element: &str| format!(r#"{{"data":[{element}]}}"#);
    match path {
        "/api/gateways" => list(r#"{"id":"g1","code":"east","name":"East"}"#),
        "/api/services" => list(r#"{"id":"s1","name":"S","gateway_id":"g1"}"#),
        "/api/endpoints" | "/api/backends" | "/api/pipelines" => list(r#"{"id":"x1"}"#),
        "/api/gateways/gateway-123" => r#"{"data":{"enabled":true}}"#.to_owned(),
        "/api/services/service-456" => r#"{"data":{"service_type":"http"}}"#.to_owned(),
        "/api/harmony/authorize" => r#"{"machine_token":"mt_seed","expires_in":2592000,
            "gateway":{"id":"g1","code":"gateway-123","name":"G"},"abilities":[]}"#
            .to_owned(),
        // Where the API begins: the cloud does not say.
        _ => "{}".to_owned(),
    }
}
