//! DPoP proofs of a fleet.

use super::assert_becomes;
use super::redis::Redis;
use crate::support::proof::Sender;
use crate::support::{Edge, Issuer, Upstream};

#[test]
fn a_proof_that_was_used_at_one_node_is_used_at_the_others() {
    let Some(mut redis) = Redis::start() else { return };
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let shared = format!("[shared]\nurl = \"{}\"\n", redis.url());
    let node = || {
        let builder = Edge::with_jwt(&issuer, &upstream).jwt("dpop = \"require\"");
        builder.and(&shared).quiet().start()
    };
    let nodes = [node(), node()];
    assert_becomes(true, &nodes);
    let token = issuer.token().claim("cnf", sender.cnf()).sign();
    let proof = || sender.proof("http://api.example/api/x", &token).sign();
    let status = |node: &Edge, proof: &str| {
        node.get("/api/x").host("api.example").dpop(&token, proof).send().status
    };
    let (one, other) = (proof(), proof());
    assert_eq!((status(&nodes[0], &one), status(&nodes[1], &one)), (200, 401));
    assert_eq!((status(&nodes[1], &other), status(&nodes[0], &other)), (200, 401));

    redis.kill();
    assert_becomes(false, &nodes);
    let alone = proof();
    assert_eq!((status(&nodes[0], &alone), status(&nodes[0], &alone)), (200, 401));
    assert_eq!(status(&nodes[1], &alone), 200, "each node knows its own");
}
