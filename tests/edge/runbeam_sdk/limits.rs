//! How long a call takes, how much it reads, and where it goes.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runbeam_sdk::{ClientOptions, RunbeamClient, RunbeamError};
use rustls::pki_types::PrivateKeyDer;

use crate::support::Cloud;
use crate::support::cloud::{ENDLESS, Fault};
use crate::support::ports::Port;
use crate::support::server::Server;

const TOKEN: &str = "1|abc";

fn with_timeout(base_url: &str, timeout: Duration) -> RunbeamClient {
    RunbeamClient::with_options(base_url, ClientOptions { timeout, ..ClientOptions::default() })
        .unwrap()
}

#[tokio::test]
async fn a_call_ends_with_its_time_limit() {
    let cloud = Cloud::start();
    for part in ["base-url", "authorize", ""] {
        cloud.recover();
        cloud.fail_at(part, usize::MAX, Fault::Silence);
        let client = with_timeout(&cloud.url(), Duration::from_millis(400));
        let begun = Instant::now();
        let error = client.authorize_gateway(TOKEN, "g", None, None).await.unwrap_err();
        assert!(
            error.is_timeout() && !error.is_unreachable() && !error.is_rejected(),
            "{part}: {error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "{part}: {:?}", begun.elapsed());
    }
    // The limit is that of the whole call: further tries do not add to it.
    cloud.recover();
    cloud.fail(Fault::retry_after(429, 2));
    let client = with_timeout(&cloud.url(), Duration::from_secs(1));
    let begun = Instant::now();
    let error = client.list_gateways(TOKEN).await.unwrap_err();
    assert_eq!((error.status(), error.retry_after()), (Some(429), Some(Duration::from_secs(2))));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "no pause that ends too late: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_slow_answer_within_the_limit_is_an_answer() {
    let cloud = Cloud::start();
    cloud.fail_at("", 2, Fault::Slow(Duration::from_millis(200)));
    RunbeamClient::new(cloud.url()).list_gateways(TOKEN).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    for fault in [Fault::Garbage(10_000_000), Fault::Endless] {
        cloud.recover();
        cloud.fail_at("/gateways", 1, fault);
        let error = client.list_gateways(TOKEN).await.unwrap_err();
        assert!(error.to_string().contains("is larger than 1 MiB"), "{error}");
    }
    // What the sockets hold counts as taken too.
    assert!(cloud.endless_written() < ENDLESS / 4, "{}", cloud.endless_written());
    // The same where the API is looked for: then it is where it usually is.
    cloud.recover();
    cloud.fail_at("base-url", usize::MAX, Fault::Endless);
    assert!(RunbeamClient::new(cloud.url()).list_gateways(TOKEN).await.unwrap().data.is_empty());
}

#[tokio::test]
async fn a_redirect_leads_to_no_other_host() {
    let cloud = Cloud::start();
    let port = Port::claim();
    let elsewhere = Server::start(port.number(), |_, _| {});
    let client = RunbeamClient::new(cloud.url());
    client.list_gateways(TOKEN).await.unwrap();
    let places = [
        format!("http://127.0.0.1:{port}/api/gateways"),
        format!("http://localhost:{}/api/gateways", cloud.url().rsplit(':').next().unwrap()),
        format!("//127.0.0.1:{port}/"),
        format!("{}@127.0.0.1:{port}/", cloud.url().replace("http://", "http://u:")),
        cloud.url().replace("http://", "http://u:p@"),
        cloud.url().replace("http://", "https://"),
        "file:///etc/passwd".to_owned(),
        "http://".to_owned(),
    ];
    for place in places {
        for status in [301, 302, 303, 307, 308] {
            cloud.recover();
            cloud.fail_at("", usize::MAX, Fault::Redirect(status, place.clone()));
            cloud.forget_requests();
            for error in [
                client.list_gateways(TOKEN).await.unwrap_err(),
                client.authorize_gateway(TOKEN, "g", None, None).await.unwrap_err(),
            ] {
                assert!(
                    error.is_malformed_response() && error.to_string().contains("redirect"),
                    "{status} {place}: {error}"
                );
            }
        }
    }
    assert_eq!(elsewhere.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_within_the_host_is_followed() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    client.list_gateways(TOKEN).await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        cloud.fail_at("/gateways/moved", 1, Fault::Redirect(status, "/api/pipelines".into()));
        cloud.forget_requests();
        // What it is told there is no gateway; that it got there is what matters.
        client.get_gateway(TOKEN, "moved").await.unwrap_err();
        assert_eq!(cloud.requests()[1].path, "/api/pipelines", "{status}");
    }
    // Under 307 and 308 a POST stays a POST; under the others it would become a GET.
    for (status, followed) in [(307, true), (308, true), (301, false), (302, false), (303, false)] {
        cloud.fail_at("/status", 1, Fault::Redirect(status, "/api/harmony/status?again".into()));
        cloud.forget_requests();
        let outcome = client.report_status(TOKEN, &serde_json::json!({ "a": 1 })).await;
        assert_eq!(outcome.is_ok(), followed, "{status}");
        if followed {
            let second = &cloud.requests()[1];
            assert_eq!((&*second.method, &second.body["a"]), ("POST", &1.into()));
        }
    }
    cloud.fail_at("/gateways", usize::MAX, Fault::Redirect(307, "/api/gateways".into()));
    cloud.forget_requests();
    client.list_gateways(TOKEN).await.unwrap_err();
    assert_eq!(cloud.requests_to("/gateways").len(), 4, "a circle ends");
}

#[tokio::test]
async fn only_this_machine_is_spoken_to_in_the_clear() {
    for address in [
        "http://cloud.example",
        "http://192.0.2.1/api",
        "cloud.example",
        "",
        "ftp://127.0.0.1",
        "https://u:secret@cloud.example",
        "https://cloud.example?secret",
    ] {
        let error = RunbeamClient::new(address).list_gateways(TOKEN).await.unwrap_err();
        assert!(matches!(error, RunbeamError::Address { .. }), "{address}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(RunbeamClient::with_options(address, ClientOptions::default()).is_err());
        assert!(!format!("{:?}", RunbeamClient::new(address)).contains("secret"));
    }
}

#[tokio::test]
async fn a_certificate_is_checked_unless_the_cloud_is_on_this_machine_and_that_is_switched_off() {
    let certificate =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let tls = Arc::new(tls.with_single_cert(vec![certificate.cert.der().clone()], key).unwrap());
    let port = Port::claim();
    let _server = Server::start(port.number(), move |_, stream| {
        let mut stream = rustls::StreamOwned::new(
            rustls::ServerConnection::new(Arc::clone(&tls)).unwrap(),
            stream,
        );
        let mut head = [0; 4096];
        if stream.read(&mut head).is_ok_and(|length| length > 0) {
            let _ = stream.write_all(
                b"HTTP/1.1 200 X\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"data\":[]}",
            );
            let _ = stream.flush();
        }
    });
    let base = format!("https://127.0.0.1:{port}");
    let options =
        ClientOptions { attempts: 1, accept_invalid_certs: true, ..ClientOptions::default() };
    let trusting = RunbeamClient::with_options(&base, options.clone()).unwrap();
    assert!(trusting.list_gateways(TOKEN).await.unwrap().data.is_empty());
    match RunbeamClient::with_options(
        &base,
        ClientOptions { accept_invalid_certs: false, ..options.clone() },
    ) {
        Ok(client) => {
            let error = client.list_gateways(TOKEN).await.unwrap_err();
            assert!(error.is_unreachable(), "{error}");
        }
        Err(error) => eprintln!("skipped: a machine without root certificates: {error}"),
    }
    let error = RunbeamClient::with_options("https://cloud.example", options).unwrap_err();
    assert!(error.to_string().contains("this machine only"), "{error}");
}
