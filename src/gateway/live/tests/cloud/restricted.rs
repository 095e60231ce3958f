//! What pipelines from the cloud may connect to and set, and what is watched after a failed
//! reload.

use super::*;

#[test]
fn a_name_that_leads_to_the_management_api_leads_nowhere() {
    let house = House::new();
    let live = house.start();
    let text = pipeline("a")
        .replace(
            "endpoints =",
            "middleware = []\nbackends = [\"b\"]\nendpoints =",
        )
        .replace("\"echo\"", "\"http\"")
        + "[backends.b]\nservice = \"http\"\nbase_url = \"http://by-name.example:9090\"\n";
    live.apply_change("1", one("a", &text)).unwrap();
    let gateway = live.gateway();
    let routes = gateway.routes("127.0.0.1:8080".parse().unwrap()).unwrap();
    let found = routes.find("h", "/a", &http::Method::GET).unwrap();
    let upstream = found.route.pipeline.backends()[0].upstream().unwrap();
    assert_eq!(upstream.address(), None);
    upstream
        .addresses
        .resolved(vec!["10.1.2.3:9090".parse().unwrap()]);
    assert!(upstream.address().is_some() && upstream.addresses_in_order(None).len() == 1);
    for refused in [
        "127.0.0.1:9090",
        "[::ffff:127.0.0.1]:9090",
        "169.254.169.254:9090",
        "[fe80::1]:9090",
        "[64:ff9b::a9fe:a9fe]:9090",
        "224.0.0.1:9090",
        "0.0.0.0:9090",
    ] {
        upstream.addresses.resolved(vec![refused.parse().unwrap()]);
        assert_eq!(upstream.address(), None, "{refused}");
        assert!(
            upstream.addresses_in_order(None).is_empty(),
            "nor do checks: {refused}"
        );
    }
    // It is asked anew each time, so it does not matter when a name begins to lie.
    upstream
        .addresses
        .resolved(vec!["10.1.2.3:9090".parse().unwrap()]);
    assert!(upstream.address().is_some());
    house.write(&format!(
        "{LOCAL}[runbeam]\nenabled = false\nbackend_allow = [\"10.2.0.0/16\"]\n"
    ));
    let Ok(Reload::Reloaded(diff)) = live.reload() else {
        panic!("{:?}", live.status().last_error);
    };
    assert_eq!(diff.others, ["runbeam"]);
    let gateway = live.gateway();
    let narrowed = gateway.pipelines()[1].backends()[0].upstream().unwrap();
    narrowed
        .addresses
        .resolved(vec!["10.1.2.3:9090".parse().unwrap()]);
    assert_eq!(narrowed.address(), None);
    narrowed
        .addresses
        .resolved(vec!["10.2.2.3:9090".parse().unwrap()]);
    assert!(narrowed.address().is_some());
}

#[test]
fn the_clouds_claims_are_stripped_on_its_own_routes_alone() {
    let house = House::new();
    let claims = "issuer = \"i\", claims_to_headers = { tenant = \"X-Tenant\" }";
    house.write(&LOCAL.replace("issuer = \"i\"", claims));
    let live = house.start();
    let text = pipeline("a").replace("endpoints =", "middleware = [\"a\"]\nendpoints =")
        + "[middleware.a]\ntype = \"jwt-auth\"\nconfig = { jwks_url = \"https://h/k\", issuer = \
           \"i\", audience = \"a\", claims_to_headers = { a = \"X-Tenant\", b = \"Accept\" } }\n";
    live.apply_change("1", one("a", &text)).unwrap();
    let gateway = live.gateway();
    let further = |index: usize| gateway.extra_claim_headers(&gateway.pipelines()[index]);
    assert_eq!(gateway.claim_headers(), ["x-tenant"]);
    assert_eq!(further(0), <[http::HeaderName; 0]>::default());
    assert_eq!(further(1), ["accept"]);
}

#[test]
fn what_a_failed_reload_named_is_watched_too() {
    let house = House::new();
    let live = house.start();
    let before = live.watched();
    house.write(&LOCAL.replace("secret = \"${SECRET}\"", "secret = \"${file:deep/secret}\""));
    assert!(live.reload().is_err());
    let watched = live.watched();
    assert!(watched.files.contains(&house.path("deep/secret")));
    assert!(before.files.iter().all(|file| watched.files.contains(file)));
    let content = watched.fingerprint();
    fs::create_dir(house.path("deep")).unwrap();
    fs::write(
        house.path("deep/secret"),
        "0123456789abcdef0123456789abcdef\n",
    )
    .unwrap();
    assert_ne!(watched.fingerprint(), content);
    live.reload().unwrap();
}
