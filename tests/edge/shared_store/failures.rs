//! Failed credentials of a fleet.

use std::time::Duration;

use super::assert_becomes;
use super::redis::Redis;
use crate::support::poll::becomes_true;
use crate::support::{Edge, Settings, Upstream};

#[test]
fn who_fails_at_one_node_has_failed_at_the_others() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Upstream::start();
    // SHA-256 of "opensesame".
    let tables = format!(
        "[shared]\nurl = \"{}\"\n[middleware.key]\ntype = \"api-key\"\n\
         [middleware.key.config]\nheader = \"X-Key\"\nmax_failures = 3\nkeys = [{{ id = \"k\", \
         hash = \"d9fb92e3bbe65be1f1aad4a82eef4567f7a1ebe2cd110c8049b9698be7a70c88\" }}]\n",
        redis.url()
    );
    let text = Settings::open(&upstream).and(&tables).text();
    let text = text.replace("middleware = []", "middleware = [\"key\"]");
    let nodes = [(); 2].map(|()| Edge::configured(Settings::of_text(&text)).quiet().start());
    assert_becomes(true, &nodes);
    let status = |node: &Edge, key: &str| node.get("/api/x").header("X-Key", key).send().status;
    assert_eq!(status(&nodes[0], "opensesame"), 200);
    assert_eq!([(); 2].map(|()| status(&nodes[0], "wrong")), [401, 401]);
    // The third one, wherever it is, is the last.
    assert_eq!(status(&nodes[1], "wrong"), 401);
    let closed = |node: &Edge| becomes_true(Duration::from_secs(2), || status(node, "x") == 429);
    assert!(closed(&nodes[1]));
    assert_eq!(status(&nodes[1], "wrong"), 429);
}
