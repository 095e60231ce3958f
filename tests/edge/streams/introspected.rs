//! Tokens whose issuer is asked about them: again and again, as long as a stream is open.

use std::thread;
use std::time::Duration;

use super::{
    ANSWER, CLOSE, SECOND, assert_timely, bearer, end, is_open, metric, unix, upstream, websocket,
};
use crate::introspection::Tokens;
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
