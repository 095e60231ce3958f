//! Reloads under load: no request fails, no connection is closed, nothing piles up.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::handover::echoing;
use super::load::{Load, wrk, wrk_result};
use super::{END, ended, has};
use crate::support::edge::command;
use crate::support::eventually;

const RELOADS: usize = 100;

/// MiB that the memory may differ by between the tenth reload and the last.
const MEMORY: u64 = 12;

#[test]
fn reloads_under_load_lose_nothing_and_close_nothing() {
    if !has("wrk") {
        return;
    }
    let edge = echoing().start();
    let mut idle: Vec<_> = (0..10).map(|_| edge.connect()).collect();
    let ask = |client: &mut crate::support::Client| {
        client.send(edge.get("/echo").bytes());
        let answer = client.response();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("keep-alive")));
    };
    idle.iter_mut().for_each(ask);
    let flood = wrk(edge.port());
    let fresh = Load::of_new_connections(edge.port(), 200);
    let kept = Load::of_kept_connections(edge.port(), 10, Duration::from_millis(300));
    let generation =
        || edge.manage("/admin/config/status").send().json()["generation"].as_u64().unwrap();
    let mut early = 0;
    let started = Instant::now();
    for round in 0..RELOADS {
        // What a request needs most changes each time: its route.
        edge.rewrite(|text| {
            let constant = text.split("[pipelines.p").next().unwrap_or_default().to_owned();
            constant
                + &format!(
                    "[pipelines.p{round}]\nnetworks = [\"public\"]\n\
                     endpoints = [\"e\"]\n[endpoints.e]\nservice = \"echo\"\n\
                     options = {{ path_prefix = \"/p{round}\" }}\n"
                )
        });
        let before = generation();
        if round % 2 == 0 {
            assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
        } else {
            edge.signal(Signal::SIGHUP);
        }
        eventually("the next generation", Duration::from_secs(30), || {
            (generation() > before).then_some(())
        });
        assert_eq!(edge.get(&format!("/p{round}")).send().status, 200);
        std::thread::sleep(Duration::from_millis(60));
        if round == 9 {
            early = edge.resident_mib();
        }
    }
    let late = edge.resident_mib();
    println!(
        "{RELOADS} reloads in {:?}, {early} MiB after ten, {late} MiB at the end",
        started.elapsed()
    );
    let (fresh, kept, flood) = (fresh.stop(), kept.stop(), wrk_result(flood));
    for (who, failures) in
        [("new connections", &fresh.1), ("kept connections", &kept.1), ("wrk", &flood.1)]
    {
        assert!(
            failures.is_empty(),
            "{who}: {} failures: {:?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
    }
    idle.iter_mut().for_each(ask);
    assert!(late <= early + MEMORY, "{early} MiB after ten reloads, {late} MiB after {RELOADS}");
    assert!(fresh.0 > 100 && kept.0 > 50 && flood.0 > 1000, "{} {} {}", fresh.0, kept.0, flood.0);
}

/// What `ExecReload=` of the unit runs.
#[test]
fn a_process_is_told_to_reload_by_the_binary_itself() {
    let edge = echoing().start();
    edge.rewrite(|text| text.replace("/echo", "/moved"));
    let reload = |id: &str| {
        let mut reload = command(edge.directory());
        ended(&mut reload.args(["reload", id]).spawn().expect("the binary starts")).code()
    };
    assert_eq!(reload(&edge.id().to_string()), Some(0));
    eventually("the reload", END, || (edge.get("/moved").send().status == 200).then_some(()));

    let nobody = i32::MAX.to_string();
    for (id, status) in [(nobody.as_str(), 1), ("0", 2), ("-1", 2), ("1", 2), ("x", 2)] {
        assert_eq!(reload(id), Some(status), "{id}");
    }
}
