//! Two `jwt-auth` steps in one pipeline: groups, optional steps, and when the next step may try.

use super::{CHALLENGE, INVALID};
use crate::support::edge::EdgeBuilder;
use crate::support::settings::Route;
use crate::support::token::{AUDIENCE, ISSUER, Token};
use crate::support::{Edge, Issuer, Settings, Upstream};

/// Two issuers with a key and a name of their own, and an upstream.
struct Two {
    first: Issuer,
    second: Issuer,
    upstream: Upstream,
}

const SECOND: &str = "https://second.example.com";

impl Two {
    fn start() -> Self {
        Self {
            first: Issuer::with_key("a", 0),
            second: Issuer::with_key("b", 1),
            upstream: Upstream::start(),
        }
    }

    /// `/api` with the steps `one` and `two`, each with these flags, for the one issuer and the
    /// other.
    fn edge(&self, one: &str, two: &str) -> EdgeBuilder {
        let of = |issuer: &str| format!("issuer = \"{issuer}\"\naudience = \"{AUDIENCE}\"");
        self.edge_with(one, two, [&of(ISSUER), &of(SECOND)])
    }

    fn edge_with(&self, one: &str, two: &str, [first, second]: [&str; 2]) -> EdgeBuilder {
        let step = |name: &str, flags: &str, issuer: &Issuer, config: &str| {
            format!(
                "[middleware.{name}]\ntype = \"jwt-auth\"\n{flags}\n[middleware.{name}.config]\n\
                 jwks_url = \"{}\"\n{config}\n",
                issuer.url()
            )
        };
        let route = Route::to("api", &self.upstream).prefix("/api").steps(&["one", "two"]);
        Edge::configured(
            Settings::bare()
                .and(&route.text())
                .and(&step("one", one, &self.first, first))
                .and(&step("two", two, &self.second, second)),
        )
    }

    fn of_first(&self) -> Token {
        self.first.token().claim("sub", "of-first")
    }

    fn of_second(&self) -> Token {
        self.second.token().claim("iss", SECOND).claim("sub", "of-second")
    }
}

/// What a token leads to: the status, and the subject that the upstream was told.
#[track_caller]
fn outcome(edge: &Edge, two: &Two, token: Option<&Token>) -> (u16, Option<String>) {
    two.upstream.clear();
    let request = edge.get("/api/x");
    let response = token.map_or(request.clone(), |token| request.bearer(&token.sign())).send();
    let subject = two
        .upstream
        .requests()
        .first()
        .map(|request| request.head.field("x-auth-subject").unwrap_or("anonymous").to_owned());
    (response.status, subject)
}

fn passed(subject: &str) -> (u16, Option<String>) {
    (200, Some(subject.to_owned()))
}

const DENIED: (u16, Option<String>) = (401, None);

#[test]
fn a_rejected_token_never_falls_through_by_default() {
    let two = Two::start();
    let edge = two.edge("optional = true", "").start();
    assert_eq!(
        outcome(&edge, &two, Some(&two.of_first())),
        passed("of-first"),
        "the first step satisfies the group"
    );
    assert_eq!(
        outcome(&edge, &two, Some(&two.of_second())),
        DENIED,
        "the first step refuses it, and that ends the request"
    );
    assert_eq!(outcome(&edge, &two, None), DENIED, "nothing presented");
    let missing = edge.get("/api/x").send();
    assert_eq!(
        missing.fields("www-authenticate"),
        [CHALLENGE],
        "one challenge for the one scheme of the group"
    );
}

#[test]
fn fallback_on_failed_lets_the_next_step_try() {
    let two = Two::start();
    let edge = two.edge("optional = true\nfallback_on = \"failed\"", "").start();
    assert_eq!(outcome(&edge, &two, Some(&two.of_first())), passed("of-first"));
    assert_eq!(
        outcome(&edge, &two, Some(&two.of_second())),
        passed("of-second"),
        "refused by the first, taken by the second"
    );
    assert_eq!(outcome(&edge, &two, Some(&two.of_first().expired())), DENIED, "refused by both");
    assert_eq!(outcome(&edge, &two, None), DENIED);
    let refused = edge.get("/api/x").bearer(&two.of_second().expired().sign()).send();
    assert_eq!(refused.fields("www-authenticate"), [INVALID]);
}

#[test]
fn a_group_of_optional_steps_lets_who_presents_nothing_pass_as_anonymous() {
    let two = Two::start();
    let edge = two.edge("optional = true\nfallback_on = \"failed\"", "optional = true").start();
    assert_eq!(outcome(&edge, &two, None), passed("anonymous"));
    assert_eq!(outcome(&edge, &two, Some(&two.of_first())), passed("of-first"));
    assert_eq!(outcome(&edge, &two, Some(&two.of_second())), passed("of-second"));
    assert_eq!(
        outcome(&edge, &two, Some(&two.of_second().expired())),
        DENIED,
        "a group in which anything was rejected never passes as anonymous"
    );
    assert_eq!(outcome(&edge, &two, Some(&two.of_first().claim("aud", "other"))), DENIED);
}

#[test]
fn groups_are_anded() {
    let two = Two::start();
    let edge = two.edge("", "").start();
    assert_eq!(
        outcome(&edge, &two, Some(&two.of_first())),
        DENIED,
        "the first group alone is not enough"
    );
    assert_eq!(outcome(&edge, &two, Some(&two.of_second())), DENIED, "nor is the second");
    assert_eq!(outcome(&edge, &two, None), DENIED);
}

#[test]
fn a_token_that_satisfies_every_group_passes() {
    let two = Two::start();
    // The same issuer and keys behind both steps, each with an audience of its own.
    two.second.publish(vec![two.first.signing_key().jwk("a")]);
    let both = format!("issuer = [\"{ISSUER}\", \"{SECOND}\"]");
    let edge = two
        .edge_with(
            "",
            "",
            [&format!("{both}\naudience = \"one\""), &format!("{both}\naudience = \"two\"")],
        )
        .start();
    assert_eq!(
        outcome(&edge, &two, Some(&two.of_first().claim("aud", vec!["one", "two"]))),
        passed("of-first")
    );
    assert_eq!(outcome(&edge, &two, Some(&two.of_first().claim("aud", "one"))), DENIED);
    assert_eq!(outcome(&edge, &two, Some(&two.of_first().claim("aud", "two"))), DENIED);
}

#[test]
fn an_optional_step_alone_is_anonymous_or_good_never_bad() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt_flags("optional = true").start();
    let get = || edge.get("/api/x");
    assert_eq!(get().send().status, 200, "nothing presented");
    assert_eq!(get().bearer(&issuer.token().sign()).send().status, 200, "a good token");
    assert_eq!(
        get().header("Authorization", "Basic dXNlcjpwYXNz").send().status,
        200,
        "a credential of another kind is not this step's"
    );
    assert_eq!(
        get().bearer(&issuer.token().expired().sign()).send().status,
        401,
        "an expired token"
    );
    assert_eq!(get().bearer("abc").send().status, 401, "no token");
    assert_eq!(upstream.count(), 3);
}
