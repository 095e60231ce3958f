//! Who counts together with whom, and which number counts for whom.

use serde_json::json;

use super::*;
use crate::auth::testing::identity;

fn admitted(claims: Value) -> Vec<Admitted> {
    vec![Admitted {
        identity: identity(claims),
        step: 0,
    }]
}

fn from<'a>(client: &str, admitted: &'a [Admitted]) -> Requester<'a> {
    Requester {
        request_id: "-",
        client: client.parse().ok(),
        admitted,
        route: ("p", "e"),
    }
}

fn claim_named(name: &str) -> CountBy {
    CountBy::Claim(name.into())
}

#[test]
fn a_key_carries_kind_method_and_issuer() {
    let bys = [
        CountBy::Client,
        CountBy::Subject,
        CountBy::ClientId,
        CountBy::Route,
        claim_named("sub"),
        claim_named("client_id"),
        claim_named("a"),
    ];
    let tokens = [
        json!({"sub": "192.0.2.1", "client_id": "192.0.2.1", "iss": "i", "a": "192.0.2.1"}),
        json!({"sub": "192.0.2.1", "client_id": "192.0.2.1", "iss": "j", "a": "192.0.2.1"}),
        json!({"sub": "192.0.2.1", "client_id": "192.0.2.1", "a": ["192.0.2.1"]}),
        json!({"sub": "p", "client_id": "e", "iss": "i", "a": 1}),
        json!({"sub": "pe", "client_id": "x", "iss": "i", "a": "1"}),
    ];
    let mut keys = Vec::new();
    for token in &tokens {
        let admitted = admitted(token.clone());
        for by in &bys {
            keys.push(from("192.0.2.1", &admitted).key("l", std::slice::from_ref(by)));
        }
    }
    let all = keys.len();
    keys.sort();
    keys.dedup();
    // Address and route are the same for all of them.
    assert_eq!(keys.len(), all - 2 * (tokens.len() - 1));
}

#[test]
fn who_has_no_such_identity_counts_by_address() {
    let with_none = admitted(json!({"iss": "i", "a": null}));
    for by in [
        CountBy::Subject,
        CountBy::ApiKey,
        CountBy::ClientId,
        claim_named("a"),
        claim_named("b.c"),
    ] {
        let key = |client, admitted| from(client, admitted).key("l", std::slice::from_ref(&by));
        let address = from("192.0.2.1", &[]).key("l", &[CountBy::Client]);
        assert_eq!(key("192.0.2.1", &[]), address, "{by}");
        assert_eq!(key("192.0.2.1", &with_none), address, "{by}");
        assert_ne!(key("192.0.2.2", &with_none), address, "{by}");
    }
    let both = [CountBy::Subject, CountBy::Route];
    assert_ne!(
        from("192.0.2.1", &[]).key("l", &both),
        from("192.0.2.2", &[]).key("l", &both)
    );
}

#[test]
fn the_first_identity_that_has_it_counts() {
    let both = [
        admitted(json!({"sub": "a", "iss": "i"})),
        admitted(json!({"sub": "b", "iss": "i", "plan": {"name": "gold"}})),
    ]
    .concat();
    let second = &both[1..];
    let key = |admitted, by: CountBy| from("192.0.2.1", admitted).key("l", &[by]);
    assert_ne!(key(&both, CountBy::Subject), key(second, CountBy::Subject));
    let plan = || claim_named("plan.name");
    assert_eq!(key(&both, plan()), key(second, plan()));
}

#[test]
fn addresses_of_one_client_are_one_and_a_long_key_stays_short() {
    let key = |client| from(client, &[]).key("l", &[CountBy::Client]);
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_ne!(key("nothing"), key("::"));
    let long = |end: &str| {
        let admitted = admitted(json!({"sub": "x".repeat(4000) + end}));
        from("192.0.2.1", &admitted).key("l", &[CountBy::Subject])
    };
    assert!(long("").len() < 64);
    assert_ne!(long("a"), long("b"));
}

#[test]
fn a_claim_chooses_the_number() {
    let quota = Quota {
        most: 5,
        by: Some((
            claim_named("plan"),
            [("gold", 1000), ("free", 10), ("7", 70), ("true", 2)]
                .map(|(value, most)| (value.to_owned(), most))
                .into(),
        )),
    };
    for (claims, most) in [
        (json!({}), 5),
        (json!({"plan": null}), 5),
        (json!({"plan": "none"}), 5),
        (json!({"plan": "gold"}), 1000),
        (json!({"plan": ["free", "gold", "none"]}), 1000),
        (json!({"plan": ["none"]}), 5),
        (json!({"plan": 7}), 70),
        (json!({"plan": true}), 2),
        (json!({"plan": {"gold": 1}}), 5),
    ] {
        let admitted = admitted(claims.clone());
        assert_eq!(
            from("192.0.2.1", &admitted).max_requests(&quota),
            most,
            "{claims}"
        );
    }
    assert_eq!(from("192.0.2.1", &[]).max_requests(&quota), 5);
    let by_subject = Quota {
        most: 5,
        by: Some((CountBy::Subject, [("a".to_owned(), 9)].into())),
    };
    let a = admitted(json!({"sub": "a"}));
    assert_eq!(from("192.0.2.1", &a).max_requests(&by_subject), 9);
    assert_eq!(from("192.0.2.1", &[]).max_requests(&by_subject), 5);
}
