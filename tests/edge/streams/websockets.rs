//! WebSockets: with a close frame where one can stand, and time to answer it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::{
    ANSWER, CLOSE, SECOND, UPGRADE, assert_logged, assert_timely, bearer, end, exact, is_open,
    metric, open, soon, switch, unix, until_closed, upstream, websocket,
};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Issuer, Upstream};

#[test]
fn a_silent_one_ends_with_its_token_and_no_other_does() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let mut client = websocket(&edge, &bearer(&token));
    let other = websocket(&edge, &bearer(&issuer.token().sign()));
    let gauge = "harmony_open_streams{pipeline=\"api\"}";
    assert_eq!(metric(&edge, gauge), Some(2.0));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert_timely(unix(), due as f64);
    client.send(ANSWER);
    let (rest, ended) = end(&mut client);
    assert!(rest.is_empty());
    assert_timely(ended, due as f64);
    assert_logged(&edge, "status=101");
    let counted = "harmony_streams_ended_total{pipeline=\"api\",cause=\"expired\"}";
    assert_eq!((metric(&edge, gauge), metric(&edge, counted)), (Some(1.0), Some(1.0)));
    assert!(is_open(other));
}

#[test]
fn the_client_has_half_a_second_to_answer() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "");
    let wait = |answers: &'static [u8]| {
        let token = issuer.token().claim("exp", soon()).sign();
        let mut client = websocket(&edge, &bearer(&token));
        assert_eq!(client.raw_exactly(4), CLOSE);
        let told = Instant::now();
        client.send(answers);
        assert!(end(&mut client).0.is_empty());
        told.elapsed()
    };
    thread::scope(|scope| {
        let answering = scope.spawn(|| wait(ANSWER));
        // An answer behind another frame is one, too.
        let later = scope.spawn(|| wait(b"\x82\x84\0\0\0\0\x88\x82\0\0\x88\x80\0\0\0\0"));
        let silent = scope.spawn(|| wait(b""));
        let talking = scope.spawn(|| wait(b"\x82\x84\0\0\0\0\x88\x82\0\0"));
        let at_once = [answering, later].map(|it| it.join().unwrap());
        let in_vain = [silent, talking].map(|it| it.join().unwrap());
        for took in at_once {
            assert!(took < SECOND / 3, "{took:?}");
        }
        for took in in_vain {
            assert!(took > SECOND / 3 && took < 3 * SECOND / 2, "{took:?}");
        }
    });
}

#[test]
fn a_close_frame_stands_between_two_frames_only() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "");
    let long = format!("827e0100{}", "88".repeat(256));
    thread::scope(|scope| {
        for (says, closed) in [
            // A whole text; a first fragment; a ping within a message; bits of an extension.
            ("810568656c6c6f", true),
            ("0102686988", false),
            ("010268698900", true),
            ("c103f24800", true),
            (&*long, true),
            // Half of a header, of a long length, and of a payload.
            ("82", false),
            ("827f000000", false),
            ("8205aabb", false),
            // The upstream has taken its leave itself.
            ("880203e8", false),
            // A length that no frame has.
            ("827fffffffffffffffff", false),
        ] {
            let (issuer, edge) = (&issuer, &edge);
            scope.spawn(move || {
                let due = soon();
                let token = issuer.token().claim("exp", due).sign();
                let mut client = websocket(edge, &format!("{}Says: {says}\r\n", bearer(&token)));
                let sent = says.len() / 2;
                client.raw_exactly(sent);
                let (rest, ended) = end(&mut client);
                assert_eq!(rest == CLOSE, closed, "{says}: {rest:?}");
                assert!(closed || rest.is_empty(), "{says}: {rest:?}");
                assert_timely(ended, due as f64);
            });
        }
    });
}

#[test]
fn another_protocol_just_ends() {
    let issuer = Issuer::start();
    let upstream = Upstream::with(|exchange| {
        switch(exchange, "frobnicate/2");
        exchange.write(b"hello");
        until_closed(exchange);
    });
    let edge = exact(&issuer, &upstream, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let mut client = websocket(&edge, &bearer(&token));
    let (bytes, ended) = end(&mut client);
    assert_eq!(bytes, b"hello");
    assert_timely(ended, due as f64);
}

#[test]
fn a_token_counts_wherever_it_stood() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    for (setting, path, field) in [
        ("token_cookie = \"at\"", "/api/ws", "Cookie: at=TOKEN\r\n"),
        ("token_query = \"at\"", "/api/ws?at=TOKEN", ""),
        ("token_header = \"X-Token\"", "/api/ws", "X-Token: TOKEN\r\n"),
    ] {
        let settings = format!("leeway_secs = 0\n{setting}");
        let edge = Edge::with_jwt(&issuer, &upstream).jwt(&settings).start();
        let due = soon();
        let token = issuer.token().claim("exp", due).sign();
        let (path, field) = (path.replace("TOKEN", &token), field.replace("TOKEN", &token));
        let mut client = open(&edge, &path, &format!("{UPGRADE}{field}"), 101);
        client.send(b"\x82\x80\0\0\0\0");
        assert_eq!(client.raw_exactly(4), CLOSE, "{setting}");
        assert_timely(unix(), due as f64);
    }
}

#[test]
fn a_client_that_reads_nothing_ends_too() {
    let issuer = Issuer::start();
    let gone = Arc::<AtomicUsize>::default();
    let upstream = Upstream::with({
        let gone = Arc::clone(&gone);
        move |exchange| {
            switch(exchange, "websocket");
            let frame = [&b"\x82\x7e\xff\xff"[..], &[b'x'; 65_535]].concat();
            let mut writer = exchange.writer();
            while writer.write_all(&frame).is_ok() {}
            gone.fetch_add(1, Ordering::SeqCst);
            exchange.close();
        }
    });
    let edge = exact(&issuer, &upstream, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let client = websocket(&edge, &bearer(&token));
    assert!(becomes_true(10 * SECOND, || gone.load(Ordering::SeqCst) == 1));
    assert_timely(unix(), due as f64);
    drop(client);
}

#[test]
fn a_step_may_say_that_streams_outlive_its_credential() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "stream_end = \"never\"");
    let token = issuer.token().exp(1).sign();
    let client = websocket(&edge, &bearer(&token));
    assert_eq!(metric(&edge, "harmony_open_streams{pipeline=\"api\"}"), Some(0.0));
    thread::sleep(2 * SECOND);
    assert_eq!(edge.get("/api/x").bearer(&token).send().status, 401);
    assert!(is_open(client));
}

#[test]
fn the_leeway_of_the_step_counts() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("leeway_secs = 3").start();
    let due = soon() - 2;
    let token = issuer.token().claim("exp", due).sign();
    let mut client = websocket(&edge, &bearer(&token));
    assert_eq!(client.raw_exactly(4), CLOSE);
    assert_timely(unix(), due as f64 + 3.0);
}
