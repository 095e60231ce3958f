//! What a cloud can do to what is not its own: nothing.

use super::{authorize, await_status, echo, edge, forwarding, guarded, reports};
use crate::support::{Cloud, Edge, Issuer, Upstream};

#[test]
fn its_backends_and_urls_stay_within_its_reach() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let management = edge.management_port();
    let key = |url: &str| {
        format!(
            "[middleware.x]\ntype = \"jwt-auth\"\nconfig = {{ jwks_allow_http = true, jwks_url = \
             \"{url}\", issuer = \"i\", audience = \"a\" }}\n"
        )
    };
    let good = "http://127.0.0.1:1";
    let changes = [
        forwarding("x", "http://169.254.169.254/latest/meta-data"),
        forwarding("x", "http://[::ffff:169.254.169.254]"),
        forwarding("x", "http://0xA9FEA9FE"),
        forwarding("x", "http://224.0.0.1"),
        forwarding("x", "http://0.0.0.0:80"),
        forwarding("x", &format!("http://[::1]:{management}")),
        forwarding("x", &format!("http://127.8.8.8:{management}/admin")),
        guarded("x", good, &key("http://169.254.169.254/keys")),
        guarded("x", good, &key(&format!("http://localhost:{management}/admin/info"))),
        guarded(
            "x",
            good,
            "[middleware.x]\ntype = \"basic-auth\"\nconfig = { username = \"u\", password_hash = \
             \"$2b$17$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\" }\n",
        ),
    ];
    for (number, toml) in changes.iter().enumerate() {
        cloud.add_change(&format!("c{number}"), "pipeline", toml);
    }
    cloud.add_change(
        "good",
        "pipeline",
        &forwarding("y", &format!("http://127.0.0.1:{}", upstream.port())),
    );
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_status(&cloud, "good", "applied");
    for (number, toml) in changes.iter().enumerate() {
        let reported = reports(&cloud, &format!("c{number}"));
        assert_eq!(reported[0].0, "failed", "{toml}");
        let said = reported[0].1.to_string();
        let reasons = ["points at", "valid host", "bcrypt cost"];
        assert!(reasons.iter().any(|reason| said.contains(reason)), "{toml}: {said}");
    }
    assert_eq!((edge.get("/x").send().status, edge.get("/y").send().status), (404, 200));
}

#[test]
fn a_name_that_leads_out_of_reach_is_not_connected_to() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let narrowed = format!("{}\nbackend_allow = [\"192.0.2.0/24\"]", super::runbeam(&cloud));
    let edge = Edge::open(&upstream).and(&narrowed).start();
    let url = format!("http://localhost:{}", upstream.port());
    cloud.add_change("c", "pipeline", &forwarding("x", &url));
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_status(&cloud, "c", "applied");
    assert_eq!(edge.get("/x").send().status, 503);
    super::await_log(&edge, "a pipeline from the cloud may not connect to");
    assert_eq!(upstream.connections(), 0);
    // The operator's own pipelines are not narrowed.
    assert_eq!(edge.get("/api/x").send().status, 200);
}

#[test]
fn its_claims_and_its_limits_are_its_own() {
    let (cloud, issuer, upstream) = (Cloud::start(), Issuer::start(), Upstream::start());
    // The operator's step counts under the name that the cloud gives its policy.
    let limit = |requests: u32| {
        format!(
            "rules = [{{ id = \"all\", type = \"allow_all\" }}, {{ id = \"often\", type = \
             \"rate_limit\", max_requests = {requests}, window_seconds = 3600 }}]\n"
        )
    };
    let local = echo("limited").replace("middleware = []", "middleware = [\"acl\"]")
        + "[middleware.acl]\ntype = \"policies\"\n"
        + &limit(2);
    let edge = edge(&cloud, &upstream).and(&local).start();
    let url = format!("http://127.0.0.1:{}", upstream.port());
    let step = format!(
        "[middleware.x]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \"{}\", issuer = \
         \"https://auth.example.com\", audience = \"harmony-api\", claims_to_headers = {{ tenant \
         = \"X-Tenant\" }} }}\n",
        issuer.url()
    );
    cloud.add_change("claims", "pipeline", &guarded("x", &url, &step));
    let policy = "[middleware.often]\ntype = \"policies\"\npolicies = [\"acl\"]\n[policies.acl]\n";
    let limited = echo("often").replace("middleware = []", "middleware = [\"often\"]");
    cloud.add_change("limits", "pipeline", &(limited + policy + &limit(5)));
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_status(&cloud, "claims", "applied");
    await_status(&cloud, "limits", "applied");

    assert_eq!(edge.get("/api/x").header("X-Tenant", "mine").send().status, 200);
    let seen = upstream.last();
    assert_eq!(seen.head.field("X-Tenant"), Some("mine"), "the operator's routes keep theirs");
    let token = issuer.token().claim("tenant", "acme").sign();
    let asked = edge.get("/x/x").bearer(&token).header("X_Tenant", "forged");
    assert_eq!(asked.header("X-Tenant", "forged").send().status, 200);
    let seen = upstream.last();
    assert_eq!(seen.head.field("X-Tenant"), Some("acme"));
    assert_eq!(seen.head.field("X_Tenant"), None);

    let statuses = |path: &str, times: usize| -> Vec<u16> {
        (0..times).map(|_| edge.get(path).send().status).collect()
    };
    assert_eq!(statuses("/often", 6), [200, 200, 200, 200, 200, 429]);
    assert_eq!(statuses("/limited", 3), [200, 200, 429]);
}
