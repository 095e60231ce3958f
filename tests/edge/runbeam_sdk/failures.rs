//! What becomes of a cloud that fails, which calls are tried again, and what an error tells.

use std::thread;
use std::time::{Duration, Instant};

use runbeam_sdk::{ApiError, ClientOptions, Gateway, RunbeamClient, RunbeamError};
use serde_json::json;

use crate::support::Cloud;
use crate::support::cloud::{Fault, GATEWAY_ID};

const TOKEN: &str = "17|plaintext-of-a-sanctum-token";

/// How often the cloud was asked to list, and to authorize, when both meet a fault so many times.
async fn tries(fault: Fault, times: usize) -> ((usize, bool), (usize, bool)) {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    client.list_pipelines(TOKEN).await.unwrap();
    cloud.fail_at("/gateways", times, fault.clone());
    let listed = client.list_gateways(TOKEN).await.is_ok();
    cloud.recover();
    cloud.fail_at("/authorize", times, fault);
    let authorized = client.authorize_gateway(TOKEN, "g", None, None).await.is_ok();
    let count = |part| cloud.requests_to(part).len();
    ((count("/gateways"), listed), (count("/authorize"), authorized))
}

#[tokio::test]
async fn what_is_tried_again_and_what_is_not() {
    let cases = [
        (Fault::status(500), 2, (3, true), (1, false)),
        (Fault::status(500), 9, (3, false), (1, false)),
        (Fault::status(503), 1, (2, true), (2, true)),
        (Fault::status(503), 9, (3, false), (3, false)),
        (Fault::status(429), 1, (2, true), (2, true)),
        (Fault::retry_after(429, 3600), 1, (1, false), (1, false)),
        (Fault::status(504), 1, (2, true), (1, false)),
        (Fault::Down, 1, (2, true), (1, false)),
        (Fault::status(400), 1, (1, false), (1, false)),
        (Fault::status(401), 1, (1, false), (1, false)),
        (Fault::status(403), 1, (1, false), (1, false)),
        (Fault::status(404), 1, (1, false), (1, false)),
        (Fault::status(409), 1, (1, false), (1, false)),
        (Fault::status(422), 1, (1, false), (1, false)),
        (Fault::Garbage(100), 1, (1, false), (1, false)),
        (Fault::Body("[]".into()), 1, (1, false), (1, false)),
        (Fault::Body("{}".into()), 1, (1, false), (1, false)),
        (Fault::Body(String::new()), 1, (1, false), (1, false)),
    ];
    for (fault, times, listing, authorizing) in cases {
        assert_eq!(
            tries(fault.clone(), times).await,
            (listing, authorizing),
            "{times} times {fault:?}"
        );
    }
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    client.list_pipelines(TOKEN).await.unwrap();
    cloud.fail_at("/authorize", 1, Fault::retry_after(429, 1));
    let begun = Instant::now();
    client.authorize_gateway(TOKEN, "g", None, None).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    cloud.fail_at("/authorize", 1, Fault::retry_after(429, 60));
    let error = client.authorize_gateway(TOKEN, "g", None, None).await.unwrap_err();
    assert_eq!((error.status(), error.retry_after()), (Some(429), Some(Duration::from_secs(60))));
}

#[tokio::test]
async fn a_call_that_never_reached_the_cloud_is_tried_again_whatever_it_is() {
    let mut cloud = Cloud::start();
    cloud.stop();
    let client = RunbeamClient::with_options(
        cloud.url(),
        ClientOptions { attempts: 20, ..ClientOptions::default() },
    )
    .unwrap();
    let call =
        tokio::spawn(async move { client.create_gateway(TOKEN, &Gateway::new("g", "G")).await });
    thread::sleep(Duration::from_millis(50));
    cloud.restart();
    assert_eq!(call.await.unwrap().unwrap().data.code, "g");
    assert_eq!(cloud.requests_to("/gateways").len(), 1);
    cloud.stop();
    let error = RunbeamClient::new(cloud.url()).list_gateways(TOKEN).await.unwrap_err();
    assert!(error.is_unreachable() && !error.is_timeout() && error.status().is_none(), "{error}");
    assert!(
        matches!(error, RunbeamError::Api(ApiError::Network { connected: false, .. })),
        "{error}"
    );
}

#[tokio::test]
async fn errors_tell_what_a_program_needs() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let error = client.authorize_gateway(TOKEN, "foreign", None, None).await.unwrap_err();
    assert!(error.is_rejected() && error.status() == Some(403), "{error}");
    assert_eq!(error.cloud_message(), Some("This gateway belongs to a different team"));
    assert_eq!(
        error.to_string(),
        "authorize: the cloud answered 403: This gateway belongs to a different team"
    );
    let error = client.authorize_gateway(TOKEN, "", None, None).await.unwrap_err();
    assert!(!error.is_rejected() && error.status() == Some(422), "{error}");
    let token = client.authorize_gateway(TOKEN, "g", None, None).await.unwrap().machine_token;
    cloud.revoke_issued_tokens();
    let error = client.list_changes_for_gateway(&token, GATEWAY_ID).await.unwrap_err();
    assert!(error.is_rejected() && error.status() == Some(401), "{error}");
    for bad in ["", "a b", "a\r\nX-Evil: 1", "ä"] {
        let error = client.list_gateways(bad).await.unwrap_err();
        assert!(matches!(error, RunbeamError::Api(ApiError::InvalidToken)), "{error}");
    }
}

#[tokio::test]
async fn no_token_is_in_an_error_or_a_debug() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let echo =
        json!({ "message": format!("token {TOKEN} is bad\r\n\u{1b}[31m{}", "x".repeat(5000)) })
            .to_string();
    let reflecting = [
        Fault::status(401),
        Fault::status(500),
        Fault::Body(json!({ "machine_token": [TOKEN], "data": TOKEN }).to_string()),
        Fault::Body(echo),
        Fault::Garbage(2_000_000),
        Fault::Down,
        Fault::Redirect(307, format!("http://192.0.2.1/{TOKEN}")),
    ];
    for fault in reflecting {
        cloud.recover();
        cloud.fail(fault.clone());
        let error = client.authorize_gateway(TOKEN, "g", None, None).await.unwrap_err();
        for shown in [error.to_string(), format!("{error:?}"), format!("{client:?}")] {
            assert!(!shown.contains("plaintext") && shown.len() < 1000, "{fault:?}: {shown}");
        }
    }
    cloud.recover();
    let answer = client.authorize_gateway(TOKEN, "g", None, None).await.unwrap();
    assert!(!format!("{answer:?}").contains(&answer.machine_token));
}

#[tokio::test]
async fn answers_may_vary() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let answered = async |body: serde_json::Value| {
        cloud.recover();
        cloud.fail_at("/authorize", 1, Fault::Body(body.to_string()));
        client.authorize_gateway(TOKEN, "asked", None, None).await
    };
    let least = answered(json!({ "machine_token": "mt_1", "gateway": { "id": 7 } })).await.unwrap();
    assert_eq!(
        (&*least.gateway.id, &*least.gateway.code, &*least.expires_at, least.expires_in),
        ("7", "asked", "", 0.0)
    );
    let seconds = answered(json!({ "machine_token": "mt_1", "expires_in": "3600.5",
        "gateway": { "id": "7" }, "abilities": null }))
    .await
    .unwrap();
    assert!(seconds.expires_in == 3600.5 && seconds.expires_at.ends_with('Z'), "{seconds:?}");
    let full = json!({ "machine_token": "mt_1", "expires_in": 3600,
        "expires_at": "2099-01-01T00:00:00+00:00", "new": {}, "abilities": ["a"],
        "gateway": { "id": "7", "code": "c", "name": null, "authorized_by": { "id": 3,
            "name": "Op", "email": "op@example.com" } } });
    let full = answered(full).await.unwrap();
    assert_eq!(
        (&*full.expires_at, &*full.gateway.code, &*full.gateway.authorized_by.unwrap().id),
        ("2099-01-01T00:00:00+00:00", "c", "3")
    );
    for bad in [
        json!({}),
        json!({ "machine_token": "", "gateway": { "id": 7 } }),
        json!({ "machine_token": "mt_1" }),
        json!({ "machine_token": "mt_1", "gateway": {} }),
        json!(null),
    ] {
        assert!(
            matches!(answered(bad.clone()).await, Err(RunbeamError::Api(ApiError::Parse { .. }))),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn pages_without_end_are_an_error() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    client.list_pipelines(TOKEN).await.unwrap();
    let circle = json!({ "data": [], "links": { "next": "/x?page=2" } });
    cloud.fail_at("/gateways", usize::MAX, Fault::Body(circle.to_string()));
    let error = client.list_gateways(TOKEN).await.unwrap_err();
    assert!(error.to_string().contains("without end"), "{error}");
    assert_eq!(cloud.requests_to("/gateways").len(), 2);
    cloud.recover();
    cloud.page_size(1);
    for number in 0..250 {
        cloud.add("gateways", json!({ "id": number, "code": "g", "name": "G" }));
    }
    client.list_gateways(TOKEN).await.unwrap_err();
    assert!(cloud.requests_to("/gateways").len() < 220);
}
