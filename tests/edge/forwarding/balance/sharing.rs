//! Who gets a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{configured, in_front_of, status};
use crate::support::ports::Port;
use crate::support::{Upstream, eventually};

#[test]
fn weights_say_how_much() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let options = format!(
        "upstreams = [{{ url = \"http://127.0.0.1:{}\", weight = 3 }}, \"http://127.0.0.1:{}\"]",
        one.port(),
        two.port()
    );
    let edge = configured(&options).start();
    for _ in 0..40 {
        assert_eq!(edge.post("/x", "body").send().status, 200);
    }
    assert_eq!([one.count(), two.count()], [30, 10]);
    let told = edge.manage("/admin/backends").send().json();
    let backend = &told["backends"][0];
    assert_eq!(
        (&backend["name"], &backend["balance"], &backend["pipelines"]),
        (&"app".into(), &"round_robin".into(), &serde_json::json!(["p"]))
    );
    assert_eq!(backend["upstreams"].as_array().unwrap().len(), 2);
    // A request is in flight until it is logged, which may be after its client has the answer.
    let first = eventually("nothing in flight", super::PATIENCE, || {
        Some(status(&edge, one.port())).filter(|status| status["in_flight"] == 0)
    });
    assert_eq!(
        (&first["weight"], &first["requests"], &first["failures"], &first["in_flight"]),
        (&3.into(), &30.into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&first["state"], &first["health_check"], &first["last_error"]),
        (&"healthy".into(), &false.into(), &serde_json::Value::Null)
    );
}

#[test]
fn each_upstream_has_a_path_of_its_own() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let edge = configured(&format!(
        "upstreams = [\"http://127.0.0.1:{}/one\", \"http://127.0.0.1:{}\"]",
        one.port(),
        two.port()
    ))
    .start();
    for _ in 0..2 {
        edge.get("/x?q=1").send();
    }
    assert_eq!((one.only().target(), two.only().target()), ("/one/x?q=1", "/x?q=1"));
}

#[test]
fn the_least_busy_one_gets_the_next_request() {
    let released = Arc::new(AtomicBool::new(false));
    let busy = {
        let released = released.clone();
        Upstream::with(move |exchange| {
            while exchange.target() == "/slow" && !released.load(Ordering::SeqCst) {
                exchange.pause(Duration::from_millis(10));
            }
            exchange.echo_target();
        })
    };
    let other = Upstream::start();
    let edge = in_front_of(&[busy.port(), other.port()], "balance = \"least_conn\"").start();
    // Turns among equals: the first request goes to the first upstream.
    let mut client = edge.connect();
    client.send(edge.get("/slow").bytes());
    eventually("the slow request", super::PATIENCE, || (busy.count() == 1).then_some(()));
    assert_eq!(status(&edge, busy.port())["in_flight"], 1);
    let others = || {
        eventually("the end of the other requests", super::PATIENCE, || {
            (status(&edge, other.port())["in_flight"] == 0).then_some(())
        })
    };
    for number in 0..6 {
        assert_eq!(edge.get("/x").send().status, 200, "request {number}");
        others();
    }
    assert_eq!((busy.count(), other.count()), (1, 6));
    released.store(true, Ordering::SeqCst);
    assert_eq!(client.response_to("GET").status, 200);
    eventually("nothing in flight", super::PATIENCE, || {
        (status(&edge, busy.port())["in_flight"] == 0).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    assert!(busy.count() > 1, "it gets requests again");
}

#[test]
fn the_same_tenant_meets_the_same_upstream() {
    let mut upstreams = vec![Upstream::start(), Upstream::start(), Upstream::start()];
    let ports: Vec<u16> = upstreams.iter().map(Upstream::port).collect();
    let edge =
        in_front_of(&ports, "balance = \"consistent\"\nconsistent_by = { header = \"X-Tenant\" }")
            .start();
    let home = |tenant: usize, upstreams: &[Upstream]| {
        let before: Vec<usize> = upstreams.iter().map(Upstream::count).collect();
        for _ in 0..3 {
            assert_eq!(
                edge.get("/x").header("X-Tenant", format!("tenant-{tenant}")).send().status,
                200
            );
        }
        let grown: Vec<usize> = upstreams
            .iter()
            .zip(&before)
            .map(|(upstream, before)| upstream.count() - before)
            .collect();
        let homes: Vec<usize> = (0..grown.len()).filter(|&index| grown[index] == 3).collect();
        assert_eq!(homes.len(), 1, "tenant {tenant}: {grown:?}");
        upstreams[homes[0]].port()
    };
    let before: Vec<u16> = (0..30).map(|tenant| home(tenant, &upstreams)).collect();
    for port in &ports {
        assert!(before.contains(port), "{port} has no tenant: {before:?}");
    }
    let (lost, _) = upstreams.remove(1).stop();
    for (tenant, before) in before.iter().enumerate() {
        let now = home(tenant, &upstreams);
        assert!(
            now == *before || *before == lost.number(),
            "tenant {tenant} moved without a reason"
        );
    }
    for _ in 0..3 {
        assert_eq!(edge.get("/x").send().status, 200, "without the header the address counts");
    }
}

#[test]
fn clients_at_one_address_meet_one_upstream() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let edge = in_front_of(&[one.port(), two.port()], "balance = \"consistent\"").start();
    for _ in 0..10 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    let mut counts = [one.count(), two.count()];
    counts.sort_unstable();
    assert_eq!(counts, [0, 10]);
}

#[test]
fn an_upstream_without_an_address_costs_no_request() {
    let good = Upstream::start();
    let edge = configured(&format!(
        "upstreams = [\"http://does-not-exist.invalid\", \"http://127.0.0.1:{}\"]",
        good.port()
    ))
    .start();
    for number in 0..8 {
        assert_eq!(edge.post("/x", "body").send().status, 200, "request {number}");
    }
    assert_eq!(good.count(), 8);
}

#[test]
fn all_are_tried_when_all_are_dead() {
    let ports = [Port::claim(), Port::claim()];
    let edge = in_front_of(&[ports[0].number(), ports[1].number()], "").start();
    for number in 0..8 {
        let response = edge.get("/x").send();
        assert_eq!(
            (response.status, response.json()["error"].as_str()),
            (502, Some("Bad Gateway")),
            "request {number}"
        );
    }
    let [first, _second] = ports;
    let back = Upstream::at(first, |exchange| exchange.echo_target());
    // No waiting for the end of an ejection: the last one is never ejected, and it may be either of
    // them.
    for number in 0..8 {
        assert_eq!(edge.post("/x", "body").send().status, 200, "request {number}");
    }
    assert_eq!(back.count(), 8);
}
