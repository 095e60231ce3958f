//! Tokens whose issuer is asked about them: again and again, as long as a stream is open.

use std::thread;
use std::time::Duration;

use super::{
    ANSWER, CLOSE, SECOND, assert_timely, bearer, end, is_open, metric, reload, unix, upstream,
    websocket,
};
use crate::chain::{edge_of, step};
use crate::introspection::{SECRET, Tokens};
use crate::support::poll::becomes_true;
use crate::support::provider::Reply;
use crate::support::token::now;

const CACHE: &str = "cache_secs = 1\nleeway_secs = 0";

#[test]
fn a_token_made_inactive_ends_within_the_time_of_an_answer() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge(CACHE, &upstream).start();
    for token in ["opaque-one", "opaque-two"] {
        tokens.good(token);
    }
    let mut client = websocket(&edge, &bearer("opaque-one"));
    let other = websocket(&edge, &bearer("opaque-two"));
    let asked = tokens.questions();
    thread::sleep(5 * SECOND / 2);
    let questions = tokens.questions() - asked;
    assert!((2..=6).contains(&questions), "{questions} in 2.5 s");
    let since = unix();
    tokens.know("opaque-one", serde_json::json!({ "active": false }));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert!(unix() < since + 2.5, "{}", unix() - since);
    client.send(ANSWER);
    assert!(end(&mut client).0.is_empty());
    let counted = "harmony_streams_ended_total{pipeline=\"api\",cause=\"inactive\"}";
    assert_eq!(metric(&edge, counted), Some(1.0));
    assert!(is_open(other));
}

#[test]
fn without_an_answer_it_lives_to_its_exp() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge(CACHE, &upstream).start();
    let due = now() + 5;
    let mut answer = tokens.answer();
    answer["exp"] = due.into();
    tokens.know("opaque-one", answer);
    let mut client = websocket(&edge, &bearer("opaque-one"));
    tokens.say(Some(Reply::Status(500)));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert_timely(unix(), due as f64);
}

#[test]
fn without_exp_an_answer_counts_for_its_time_only() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge(CACHE, &upstream).start();
    let mut answer = tokens.answer();
    answer.as_object_mut().unwrap().remove("exp");
    tokens.know("opaque-one", answer);
    let mut client = websocket(&edge, &bearer("opaque-one"));
    thread::sleep(5 * SECOND / 2);
    tokens.say(Some(Reply::Status(500)));
    let since = unix();
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert!(unix() < since + 3.0, "{}", unix() - since);
}

#[test]
fn many_streams_of_one_token_are_one_question() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge(CACHE, &upstream).start();
    tokens.good("opaque-one");
    let clients: Vec<_> = (0..20).map(|_| websocket(&edge, &bearer("opaque-one"))).collect();
    let asked = tokens.questions();
    thread::sleep(Duration::from_secs(3));
    let questions = tokens.questions() - asked;
    assert!((2..=5).contains(&questions), "{questions} in 3 s");
    drop(clients);
}

#[test]
fn a_reload_shows_no_token_to_another_issuer() {
    let (one, other, upstream) = (Tokens::start(), Tokens::start(), upstream());
    let lines = |tokens: &Tokens| format!("{}\n{CACHE}", tokens.anybodys());
    let tables = step("one", "introspection", "", &lines(&one))
        + &step(
            "other",
            "introspection",
            "",
            &format!("{}\ntoken_header = \"X-Token\"", lines(&other)),
        );
    let edge = edge_of(&upstream, &["one", "other"], &tables).env("SECRET", SECRET).start();
    one.good("opaque-one");
    other.good("opaque-two");
    let client = websocket(&edge, &format!("{}X-Token: opaque-two\r\n", bearer("opaque-one")));
    reload(&edge, |text| text.replace("[proxy]", "[proxy]\nresolve_secs = 77"));
    thread::sleep(5 * SECOND / 2);
    // The name of the step that took it is gone, and the other one would take any token.
    reload(&edge, |text| {
        text.replace("middleware.other", "middleware.new").replace("\"other\"", "\"new\"")
    });
    thread::sleep(5 * SECOND / 2);
    assert!(one.shown("opaque-one") && other.shown("opaque-two"));
    assert!(!one.shown("opaque-two") && !other.shown("opaque-one"));
    assert!(is_open(client));
}

#[test]
fn a_token_is_asked_about_under_whatever_name_a_reload_gives() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge(CACHE, &upstream).start();
    for token in ["opaque-one", "opaque-two"] {
        tokens.good(token);
    }
    let mut client = websocket(&edge, &bearer("opaque-one"));
    reload(&edge, |text| text.replace("pipelines.api", "pipelines.other"));
    thread::sleep(3 * SECOND / 2);
    let since = unix();
    tokens.know("opaque-one", serde_json::json!({ "active": false }));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert!(unix() < since + 2.5, "{}", unix() - since);

    let mut client = websocket(&edge, &bearer("opaque-two"));
    reload(&edge, |text| {
        text.replace("middleware.op", "middleware.new").replace("\"op\"", "\"new\"")
    });
    thread::sleep(3 * SECOND / 2);
    let since = unix();
    tokens.know("opaque-two", serde_json::json!({ "active": false }));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert!(unix() < since + 2.5, "{}", unix() - since);
}

#[test]
fn a_reload_that_asks_nobody_ends_no_stream_and_one_that_asks_again_does() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge_that_verifies(CACHE, &upstream).start();
    let token = tokens.signed();
    tokens.good(&token);
    let mut client = websocket(&edge, &bearer(&token));
    let asks = "client_id = \"edge\"\nclient_secret = \"${SECRET}\"\nintrospect = true\n\
                cache_secs = 1\n";
    reload(&edge, |text| text.replace(asks, "# asks nobody\n"));
    tokens.know(&token, serde_json::json!({ "active": false }));
    let asked = tokens.questions();
    thread::sleep(5 * SECOND / 2);
    let counted = "harmony_streams_ended_total{pipeline=\"api\",cause=\"inactive\"}";
    assert_eq!(tokens.questions(), asked);
    assert_ne!(metric(&edge, counted), Some(1.0));
    let since = unix();
    reload(&edge, |text| text.replace("# asks nobody\n", asks));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert!(unix() < since + 2.5, "{}", unix() - since);
}

#[test]
fn an_answer_that_comes_after_a_reload_which_asks_nobody_ends_no_stream() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge_that_verifies(CACHE, &upstream).start();
    let token = tokens.signed();
    tokens.good(&token);
    let client = websocket(&edge, &bearer(&token));
    let asked = tokens.questions();
    let inactive = Reply::Json(serde_json::json!({ "active": false }));
    tokens.say(Some(Reply::After(3 * SECOND / 2, Box::new(inactive))));
    assert!(becomes_true(5 * SECOND, || tokens.questions() > asked), "it is asked again");
    let asks = "client_id = \"edge\"\nclient_secret = \"${SECRET}\"\nintrospect = true\n\
                cache_secs = 1\n";
    reload(&edge, |text| text.replace(asks, "# asks nobody\n"));
    thread::sleep(5 * SECOND / 2);
    assert!(is_open(client));
}

#[test]
fn of_a_token_that_verifies_the_end_that_is_answered_counts() {
    let (tokens, upstream) = (Tokens::start(), upstream());
    let edge = tokens.edge_that_verifies("cache_secs = 60\nleeway_secs = 0", &upstream).start();
    let token = tokens.signed();
    let due = now() + 3;
    let mut answer = tokens.answer();
    answer["exp"] = due.into();
    tokens.know(&token, answer);
    let mut client = websocket(&edge, &bearer(&token));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert_timely(unix(), due as f64);
    assert_eq!(edge.get("/api/x").bearer(&token).send().status, 401);
}
