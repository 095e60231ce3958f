//! What others say: `curl`, `openssl s_client`, `h2load`.

use std::process::{Command, Stdio};

use super::Listening;
use crate::support::authority::Authority;

/// Its output, both streams; `None` after saying that it is not here.
fn run(listening: &Listening, program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let command = Command::new(program)
        .args(arguments)
        .current_dir(listening.edge.directory())
        .stdin(Stdio::null())
        .output();
    let Ok(output) = command else {
        eprintln!("skipped: needs {program}");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

fn listening() -> Listening {
    let listening = Listening::with().start();
    listening.write("ca.pem", &listening.authority.pem());
    listening
}

#[test]
fn curl() {
    let listening = listening();
    let url = format!("https://localhost:{}/s/x", listening.port());
    for (version, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let format = "%{http_version} %{http_code} %{ssl_verify_result}\n";
        let Some((ended, text)) = run(
            &listening,
            "curl",
            &["-sS", version, "--cacert", "ca.pem", "-o", "body", "-w", format, &url],
        ) else {
            return;
        };
        assert!(ended && text.contains(expected), "{text}");
        let body = std::fs::read_to_string(listening.edge.directory().join("body")).unwrap();
        assert!(body.contains("\"x-forwarded-proto\": \"https\""), "{body}");
    }
    let (ended, text) = run(&listening, "curl", &["-sS", &url]).expect("curl was here");
    assert!(!ended && text.contains("certificate"), "{text}");
}

#[test]
fn curl_with_a_certificate() {
    let clients = Authority::new("clients");
    let alice = clients.client("alice");
    let listening = Listening::with()
        .network("client_ca_path = \"clients.pem\"")
        .file("clients.pem", &clients.pem())
        .pipeline("middleware = [\"m\"]")
        .and("[middleware.m]\ntype = \"mutual-tls\"\n")
        .start();
    for (name, content) in [
        ("ca.pem", &listening.authority.pem()),
        ("alice.pem", &alice.certificate),
        ("alice.key", &alice.key),
    ] {
        listening.write(name, content);
    }
    let url = format!("https://localhost:{}/s/x", listening.port());
    for version in ["--http1.1", "--http2"] {
        let arguments = [
            "-sS",
            version,
            "--cacert",
            "ca.pem",
            "--cert",
            "alice.pem",
            "--key",
            "alice.key",
            &url,
        ];
        let Some((ended, text)) = run(&listening, "curl", &arguments) else {
            return;
        };
        assert!(ended && text.contains("\"x-auth-subject\": \"alice\""), "{text}");
    }
}

#[test]
fn openssl() {
    let listening = listening();
    let address = format!("127.0.0.1:{}", listening.port());
    let client = |more: &[&str]| {
        let arguments = [
            &["s_client", "-connect", &address, "-CAfile", "ca.pem", "-servername", "localhost"],
            more,
        ]
        .concat();
        run(&listening, "openssl", &arguments)
    };
    let Some((_, text)) = client(&["-tls1_3", "-alpn", "h2,http/1.1"]) else {
        return;
    };
    assert!(
        text.contains("Verify return code: 0 (ok)")
            && text.contains("ALPN protocol: h2")
            && text.contains("TLSv1.3"),
        "{text}"
    );
    let (_, text) = client(&["-tls1_2"]).expect("openssl was here");
    assert!(
        text.contains("Verify return code: 0 (ok)")
            && text.contains("TLSv1.2")
            && text.contains("ECDHE"),
        "{text}"
    );
    for old in ["-tls1_1", "-tls1"] {
        // Without this level the client itself would not even try.
        let (ended, text) = client(&[old, "-cipher", "ALL:@SECLEVEL=0"]).expect("openssl was here");
        let refused =
            text.contains("alert protocol version") || text.contains("alert handshake failure");
        assert!(!ended && refused, "{old}: {text}");
    }
    for weak in ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "NULL"] {
        let (ended, text) = client(&["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")])
            .expect("openssl was here");
        assert!(!ended && text.contains("handshake failure"), "{weak}: {text}");
    }
    let (_, text) =
        client(&["-tls1_2", "-no_ticket", "-legacy_renegotiation"]).expect("openssl was here");
    assert!(text.contains("Secure Renegotiation IS supported"), "{text}");
}

#[test]
fn h2load() {
    let listening = listening();
    let url = format!("https://localhost:{}/s/x", listening.port());
    let Some((ended, text)) =
        run(&listening, "h2load", &["-n", "2000", "-c", "10", "-m", "10", &url])
    else {
        return;
    };
    assert!(ended && text.contains("Application protocol: h2"), "{text}");
    assert!(text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
}
