//! Random pipelines and requests: what `explain` says, what the proxy answers, and what the pages
//! say that both should, as a model of a few lines has it.

mod generator;
mod model;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;

use generator::{configuration, request, steps};
use model::Model;

use super::*;
use crate::auth::Shared;
use crate::config::Source;
use crate::gateway::Live;

/// What the proxy answers; `None`: it forwards.
async fn answer(edge: &Edge, head: &[u8], local: SocketAddr, peer: SocketAddr) -> Option<String> {
    let (mut client, server) = duplex(STREAM);
    client.write_all(head).await.unwrap();
    let mut session = Session::new_h1(Box::new(server));
    session.read_request().await.unwrap();
    let mut ctx = edge.new_ctx();
    (ctx.connection.local, ctx.connection.peer) = (Some(local), Some(peer));
    if !edge
        .try_respond(&mut session, &mut ctx, &mut Trace::off())
        .await
        .unwrap()
    {
        return None;
    }
    drop(session);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    Some(format!(
        "{:?} {}",
        ctx.reason,
        without_moment(&head_of(&answer))
    ))
}

/// A head without what differs from one request to the next.
fn without_moment(head: &[String]) -> String {
    let lasting = head.iter().filter(|line| {
        let name = line
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        !["date", "x-request-id"].contains(&name.as_str())
    });
    lasting.cloned().collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn it_says_what_the_proxy_does_and_both_do_what_the_pages_say() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (local, peer) = (
        "127.0.0.1:8080".parse().unwrap(),
        "192.0.2.1:4711".parse().unwrap(),
    );
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let steps = steps(&mut random);
        let most = random.u32(5..15);
        let text = configuration(&steps, most);
        let source =
            Source::text("t.toml", &text).with_environment(BTreeMap::<String, String>::new());
        let live = Live::start(source, Shared::new(None).unwrap());
        let live = live.unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{text}"));
        let edge = Edge::new(Arc::new(live), Arc::default());
        let mut model = Model { left: most };
        for number in 0..30 {
            let request = request(&mut random, &steps);
            let head = request.head();
            let case = format!("seed {seed}, request {number}: {steps:?}\n{head}");
            let explained = edge.explain(head.as_bytes(), local, peer).await.unwrap();
            let answered = answer(&edge, head.as_bytes(), local, peer).await;
            let expected = model.judge(&steps, &request);

            let told = match &explained.end {
                End::Answered { head, reason, .. } => {
                    Some(format!("{reason:?} {}", without_moment(head)))
                }
                End::Forwarded { .. } => None,
            };
            assert_eq!(told, answered, "{case}\n{explained}");
            let end = match &expected.end {
                Ok(()) if request.target == "/open" => "None HTTP/1.1 200 OK".to_owned(),
                Ok(()) => String::new(),
                Err((status, reason)) => format!("Some({reason:?}) HTTP/1.1 {status} "),
            };
            let answered = answered.unwrap_or_default();
            assert!(
                answered.starts_with(&end),
                "{end}: {answered}\n{case}\n{explained}"
            );
            assert_eq!(answered.is_empty(), end.is_empty(), "{case}\n{explained}");
            *ends.entry(end).or_default() += 1;

            let outcomes = explained.entries.iter().filter_map(|entry| match entry {
                Entry::Step { outcome, .. } => Some(outcome.as_str()),
                Entry::Limit { .. } => None,
            });
            let outcomes: Vec<&str> = outcomes.collect();
            let right = outcomes.len() == expected.steps.len()
                && outcomes
                    .iter()
                    .zip(&expected.steps)
                    .all(|(told, step)| told.starts_with(step));
            assert!(right, "{outcomes:?}: {:?}\n{case}", expected.steps);
        }
    }
    // Each kind of end has come up.
    for end in ["401", "403", "404", "405", "413", "429", "400", "200"] {
        assert!(
            ends.keys().any(|known| known.contains(end)),
            "{end}: {ends:?}"
        );
    }
    println!("{ends:?}");
}
