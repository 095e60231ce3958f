//! Five days before its end the token is renewed with itself, or the operator hears of it.

use super::{SOON, authorize, await_log, await_poll_with, await_state, edge};
use crate::support::{Cloud, Upstream, eventually};

#[test]
fn it_is_granted_and_refused() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    cloud.token_ttl(4 * 86_400);
    cloud.allow_renewal(false);
    let mut edge = edge(&cloud, &upstream).start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    let told = await_state(&edge, "expiring");
    let asked = cloud.requests_to("/harmony/authorize").pop().unwrap();
    assert_eq!(
        asked.authorization,
        Some(format!("Bearer {}", cloud.issued_tokens()[0])),
        "with the machine token itself"
    );
    assert_eq!(asked.body["gateway_code"], "edge-1");
    assert!(told["token_expires_at"].is_string());
    await_log(&edge, "was not renewed");
    let warnings = || edge.log().matches("was not renewed").count();
    assert_eq!(warnings(), 1, "once a day");
    let metrics = edge.manage("/metrics").send().text();
    assert!(
        metrics.lines().any(|line| line == "harmony_runbeam_state{state=\"expiring\"} 1"),
        "{metrics}"
    );
    eventually("polls go on", SOON, || {
        (cloud.requests_to("/harmony/changes/").len() >= 2).then_some(())
    });

    // The operator authorizes anew.
    cloud.token_ttl(30 * 86_400);
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_state(&edge, "authorized");

    // Near its end again, and this time the cloud renews it.
    cloud.token_ttl(4 * 86_400);
    assert_eq!(authorize(&edge, &cloud).status, 201);
    cloud.token_ttl(30 * 86_400);
    cloud.allow_renewal(true);
    edge.restart();
    eventually("the renewal", SOON, || (cloud.issued_tokens().len() == 4).then_some(()));
    let renewal = cloud.requests_to("/harmony/authorize").pop().unwrap();
    assert_eq!(renewal.authorization, Some(format!("Bearer {}", cloud.issued_tokens()[2])));
    await_poll_with(&cloud, &cloud.issued_tokens()[3]);
    edge.restart();
    await_state(&edge, "authorized");
    assert_eq!(cloud.issued_tokens().len(), 4, "the renewed token was stored");
}
