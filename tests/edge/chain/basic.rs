//! The outcome table for a single Basic step.

use super::{ALICE, BASIC, BOB, User, assert_absent, basic, edge_of, forms, identity_of, step};
use crate::bearer::assert_generic_denial;
use crate::support::edge::EdgeBuilder;
use crate::support::{Edge, Response, Upstream, secrets};

/// Outside ASCII, and with the separator in it.
const ZOE: User = User {
    name: "zoe",
    password: "zoë:has:colons-in-her-password",
    hash: "$2b$04$QwaN2mlk0fFQyiCLJYgVQe/3PAl0/kzUvvRrFVCNBo9OXA9Hmt7Zq",
};

fn edge(upstream: &Upstream, flags: &str, config: &str) -> EdgeBuilder {
    let config = format!("users = [{}, {}, {}]\n{config}", ALICE.entry(), BOB.entry(), ZOE.entry());
    edge_of(upstream, &["password"], &step("password", "basic-auth", flags, &config))
}

fn log_in(edge: &Edge, credential: &str) -> Response {
    edge.get("/api/x").header("Authorization", credential).send()
}

#[test]
fn every_row_in_every_form() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "max_failures = 0").start();
    let good = ALICE.credential();
    let encoded = good.strip_prefix("Basic ").unwrap();
    let rejected = [
        ("wrong password", basic("alice", "this-is-not-her-password-at-all")),
        ("another user's password", basic("alice", BOB.password)),
        ("unknown user", basic("mallory", ALICE.password)),
        ("a user in other letters", basic("ALICE", ALICE.password)),
        ("no user", basic("", ALICE.password)),
        ("no password", basic("alice", "")),
        ("a password that goes on", basic("alice", &format!("{}x", ALICE.password))),
        ("a control character", basic("alice", &format!("{}\n", ALICE.password))),
        ("NUL", basic("alice", &format!("{}\0", ALICE.password))),
        ("73 bytes", basic("alice", &"p".repeat(73))),
        ("no colon", "Basic YWxpY2U=".to_owned()),
        ("no base64", "Basic !!!!".to_owned()),
        ("stray characters", format!("Basic {encoded}!")),
        ("the scheme alone", "Basic".to_owned()),
        ("two in one", format!("Basic {encoded}, Basic {encoded}")),
    ];
    for form in forms(&edge) {
        let missing = form.assert_denied("missing", &[], 401, &[BASIC]);
        form.assert_denied(
            "another scheme",
            &[("Authorization", &format!("Bearer {encoded}"))],
            401,
            &[BASIC],
        );
        form.assert_denied(
            "another field",
            &[("X-Authorization", &good), ("Proxy-Authorization", &good)],
            401,
            &[BASIC],
        );
        for (row, credential) in &rejected {
            let bytes = form.assert_denied(row, &[("Authorization", credential)], 401, &[BASIC]);
            assert_eq!(
                bytes, missing,
                "{row}; {}: byte for byte as if nothing was presented",
                form.name
            );
        }
        form.assert_denied(
            "twice",
            &[("Authorization", &good), ("Authorization", &good)],
            400,
            &[BASIC],
        );
        form.assert_denied(
            "good and bad",
            &[("Authorization", &good), ("Authorization", "Basic YWxpY2U=")],
            400,
            &[BASIC],
        );
        assert_eq!(upstream.count(), 0, "{}: nothing reaches the upstream", form.name);
        let received =
            form.assert_passes("good", &[("Authorization", &good)], &upstream, ("basic", "alice"));
        assert_absent(&form.name, &received, encoded);
        assert!(
            !received.head.has("authorization"),
            "{}: Authorization at the upstream",
            form.name
        );
    }
}

#[test]
fn connection_may_not_nominate_the_credential() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "").start();
    for nominated in ["Authorization", "keep-alive, authorization", "X-Auth-Subject", "Host"] {
        let response = edge
            .get("/api/x")
            .header("Authorization", ALICE.credential())
            .header("Connection", nominated)
            .send();
        assert_eq!(response.status, 400, "{nominated}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn good_passwords_in_every_spelling() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "").start();
    for user in [&ALICE, &BOB, &ZOE] {
        let credential = user.credential();
        let encoded = credential.strip_prefix("Basic ").unwrap();
        for scheme in ["Basic ", "basic ", "BASIC ", "bAsIc   "] {
            assert_eq!(
                log_in(&edge, &format!("{scheme}{encoded}")).status,
                200,
                "{}, {scheme:?}",
                user.name
            );
            let received = upstream.only();
            assert_eq!(identity_of(&received), (Some("basic"), Some(user.name)), "{scheme:?}");
            assert_absent(scheme, &received, encoded);
            upstream.clear();
        }
    }
}

#[test]
fn users_may_stand_in_three_places() {
    let upstream = Upstream::start();
    for user in [&ALICE, &BOB] {
        secrets::remember(user.hash);
    }
    let single = format!("username = \"{}\"\npassword_hash = \"{}\"", ALICE.name, ALICE.hash);
    for (row, config, knows) in [
        ("one user", single.clone(), [true, false]),
        ("a file", "htpasswd_path = \"htpasswd\"".to_owned(), [false, true]),
        ("a user and a file", format!("{single}\nhtpasswd_path = \"htpasswd\""), [true, true]),
        ("a list", format!("users = [{}]", BOB.entry()), [false, true]),
    ] {
        let edge = edge_of(&upstream, &["password"], &step("password", "basic-auth", "", &config));
        let edge = edge.file("htpasswd", &format!("{}:{}\n", BOB.name, BOB.hash)).start();
        let passes = [ALICE.credential(), BOB.credential()]
            .map(|credential| log_in(&edge, &credential).status == 200);
        assert_eq!(passes, knows, "{row}: alice, bob");
    }
}

#[test]
fn a_credential_travels_where_that_is_said() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "forward_credential = true", "").start();
    let credential = ALICE.credential();
    assert_eq!(log_in(&edge, &credential).status, 200);
    assert_eq!(upstream.only().head.field("authorization"), Some(credential.as_str()));
}

#[test]
fn the_realm_is_the_one_configured() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "realm = \"the vault\"", "").start();
    assert_eq!(
        edge.get("/api/x").send().fields("www-authenticate"),
        [r#"Basic realm="the vault", charset="UTF-8""#]
    );
}

/// The answer of one who has guessed too often.
#[track_caller]
fn assert_limited(row: &str, response: &Response) {
    assert_eq!(response.status, 429, "{row}");
    let seconds = response.field("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(
        seconds.is_some_and(|seconds| (1..=60).contains(&seconds)),
        "{row}: Retry-After {seconds:?}"
    );
    assert!(!response.head.has("www-authenticate"), "{row}: no challenge");
    assert_generic_denial(row, response);
}

#[test]
fn too_many_failures_are_429_except_for_who_was_let_in_before() {
    for (config, most) in [("max_failures = 3", 3), ("", 10)] {
        let upstream = Upstream::start();
        let edge = edge(&upstream, "", config).start();
        let good = ALICE.credential();
        assert_eq!(log_in(&edge, &good).status, 200, "{config:?}");
        let wrong =
            |number: usize| basic("alice", &format!("wrong-password-{number:02}-wrong-password"));
        for number in 0..most {
            assert_eq!(log_in(&edge, &wrong(number)).status, 401, "{config:?}: guess {number}");
        }
        assert_limited("one more guess", &log_in(&edge, &wrong(most)));
        assert_limited(
            "over HTTP/2",
            &edge.get("/api/x").http2().header("Authorization", wrong(most + 1)).send(),
        );
        assert_limited("a guess that was made before", &log_in(&edge, &wrong(0)));
        assert_limited(
            "the right password of a user who was not here yet",
            &log_in(&edge, &BOB.credential()),
        );
        assert_limited(
            "an unknown user",
            &log_in(&edge, &basic("mallory", "whatever-whatever-whatever")),
        );
        assert_eq!(
            log_in(&edge, &good).status,
            200,
            "{config:?}: the credential that was accepted before"
        );
        assert_eq!(
            edge.get("/api/x").http2().header("Authorization", &good).send().status,
            200,
            "{config:?}: the same over HTTP/2"
        );
        assert_eq!(
            edge.get("/api/x").send().status,
            401,
            "{config:?}: who presents nothing does not guess"
        );
        assert_eq!(upstream.count(), 3, "{config:?}");
    }
}

#[test]
fn failures_count_for_each_client_address() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "max_failures = 2")
        .proxy("trusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    let status = |client: &str, credential: &str| {
        edge.get("/api/x")
            .header("X-Forwarded-For", client)
            .header("Authorization", credential)
            .send()
            .status
    };
    let wrong =
        |number: usize| basic("alice", &format!("wrong-password-{number:02}-wrong-password"));
    assert_eq!([1, 2, 3].map(|number| status("192.0.2.1", &wrong(number))), [401, 401, 429]);
    assert_eq!(status("192.0.2.1", &ALICE.credential()), 429, "the right password, too late");
    assert_eq!(status("192.0.2.2", &ALICE.credential()), 200, "another client");
    assert_eq!(
        status("192.0.2.1", &ALICE.credential()),
        429,
        "what another client used is not looked up for one who guesses"
    );
    assert_eq!(status("192.0.2.2", &ALICE.credential()), 200, "who used it goes on");
    assert_eq!(
        status("192.0.2.2, 192.0.2.1", &wrong(4)),
        429,
        "the rightmost address that is not trusted counts, whatever stands before it"
    );
    assert_eq!(status("192.0.2.1, 192.0.2.2", &wrong(5)), 401, "and here it is the other one");
    assert_eq!(status("192.0.2.1:4711", &wrong(6)), 429, "whatever the port");
    assert_eq!(["unknown", "junk", "x:1"].map(|who| status(who, &wrong(7))), [401, 401, 429]);
    assert_eq!(status("192.0.2.9:1", &ALICE.credential()), 200, "nobody else is locked out");
}

#[test]
fn over_the_limit_the_right_password_gets_the_answer_of_a_wrong_one() {
    let upstream = Upstream::start();
    secrets::remember(ALICE.hash);
    let config = "htpasswd_path = \"htpasswd\"\nmax_failures = 3";
    let edge = edge_of(&upstream, &["password"], &step("password", "basic-auth", "", config))
        .file("htpasswd", &format!("{}:{}\n{}:{}\n", ALICE.name, ALICE.hash, BOB.name, BOB.hash))
        .proxy("trusted_proxies = [\"127.0.0.1\"]")
        .start();
    let ask = |client: &str, credential: &str| {
        edge.get("/api/x")
            .header("X-Forwarded-For", client)
            .header("Authorization", credential)
            .send()
    };
    assert_eq!(ask("192.0.2.1", &ALICE.credential()).status, 200, "the user logs in");
    // Each guess for another user, from another address of one network.
    for (number, name) in ["alice", "bob", "mallory"].iter().enumerate() {
        let client = format!("2001:db8::{number}");
        let wrong = basic(name, &format!("wrong-password-{number:02}-wrong-password"));
        assert_eq!(ask(&client, &wrong).status, 401, "{name}");
    }
    let answer = |row: &str, credential: &str| {
        let response = ask("2001:db8::99", credential);
        assert_limited(row, &response);
        let fields = response.head.fields.iter();
        let fields = fields.filter(|(name, _)| {
            !["x-request-id", "retry-after", "date"].contains(&name.to_ascii_lowercase().as_str())
        });
        (fields.cloned().collect::<Vec<_>>(), response.body.clone())
    };
    let wrong = answer("wrong", &basic("alice", "another-wrong-password-another-one"));
    assert_eq!(answer("right, and used by somebody else", &ALICE.credential()), wrong);
    assert_eq!(answer("right, and never used", &BOB.credential()), wrong);
    assert_eq!(answer("right again", &ALICE.credential()), wrong);
    assert_eq!(ask("192.0.2.1", &ALICE.credential()).status, 200, "the user goes on");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn without_a_limit_every_guess_is_401() {
    let upstream = Upstream::start();
    let edge = edge(&upstream, "", "max_failures = 0").start();
    for number in 0..15 {
        assert_eq!(
            log_in(&edge, &basic("alice", &format!("wrong-password-{number:02}-wrong-password")))
                .status,
            401,
            "guess {number}"
        );
    }
    assert_eq!(log_in(&edge, &ALICE.credential()).status, 200);
}
