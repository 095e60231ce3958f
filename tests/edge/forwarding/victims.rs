//! Upstreams that send more than they were asked for, and clients that make use of it: nobody gets
//! an answer that was meant for somebody else.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::upstream::Exchange;
use crate::support::{Client, Edge, Upstream};

/// `VICTIMS=10000` for more.
const VICTIMS: usize = 1_000;
const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
/// What attackers ask for, and how.
const ATTACKS: [(&str, &str, &str); 9] = [
    ("HEAD", "/head", ""),
    ("HEAD", "/bare", ""),
    ("GET", "/204", ""),
    ("GET", "/304", ""),
    ("GET", "/past", ""),
    ("GET", "/past-chunks", ""),
    ("GET", "/split", ""),
    ("GET", "/login", "Authorization: NTLM mallory\r\n"),
    ("POST", "/early", "Content-Length: 60\r\n"),
];

/// Up to so many milliseconds, and none at times.
fn delay(most: u64) -> Duration {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed) as u64;
    Duration::from_millis(if number.is_multiple_of(3) { 0 } else { number * 7919 % most })
}

fn careless() -> Upstream {
    let names = Mutex::new(HashMap::<usize, String>::new());
    Upstream::with(move |exchange| {
        let target = exchange.target().to_owned();
        if target == "/early" {
            return exchange.write(b"HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\nno");
        }
        exchange.read_body();
        let name = {
            let mut names = names.lock().unwrap();
            if let Some(sent) = exchange.field("authorization") {
                let name = sent.split(' ').nth(1).unwrap_or_default();
                names.insert(exchange.connection(), name.to_owned());
            }
            names.get(&exchange.connection()).cloned().unwrap_or_default()
        };
        let body = format!("{target} {name}");
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let behind = |exchange: &mut Exchange, head: &str, most| {
            exchange.write(head.as_bytes());
            exchange.pause(delay(most));
            exchange.write(FORGED.as_bytes());
        };
        match target.as_str() {
            "/head" => behind(exchange, "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n", 1000),
            "/bare" => behind(exchange, "HTTP/1.1 404 X\r\n\r\n", 1000),
            "/204" => behind(exchange, "HTTP/1.1 204 X\r\n\r\n", 100),
            "/304" => behind(exchange, "HTTP/1.1 304 X\r\nContent-Length: 44\r\n\r\n", 1000),
            "/past" => exchange.write(format!("{whole}{FORGED}").as_bytes()),
            "/past-chunks" => {
                let chunks = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
                exchange.write(format!("HTTP/1.1 200 OK\r\n{chunks}{FORGED}").as_bytes());
            }
            "/split" => {
                for piece in whole.as_bytes().chunks(7) {
                    exchange.write(piece);
                    exchange.pause(Duration::from_millis(1));
                }
            }
            _ => exchange.write(whole.as_bytes()),
        }
    })
}

fn attack(edge: &Edge, (method, target, fields): (&str, &str, &str)) {
    let mut client = edge.connect().patience(Duration::from_secs(5));
    client.send(format!("{method} /api{target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    let _ = client.try_response(method);
    if target == "/early" {
        // What the upstream would take for a request of its own.
        client.send("GET /stolen HTTP/1.1\r\nHost: h\r\nX-Pad: 1234567890\r\n\r\n");
        let _ = client.try_response(method);
    }
}

fn victim(edge: &Edge, client: &mut Client, number: usize) -> Option<String> {
    let (got, expected) = match number % 10 {
        0 => {
            let response = edge.get(&format!("/api/v{number}")).http2().send();
            (response.text(), format!("/v{number} "))
        }
        1 => {
            let response = edge.post(&format!("/api/v{number}"), "body").send();
            (response.text(), format!("/v{number} "))
        }
        _ => {
            client.send(format!("GET /api/v{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
            (client.response().text(), format!("/v{number} "))
        }
    };
    (got != expected).then(|| format!("{got:?} instead of {expected:?}"))
}

#[test]
fn nobody_gets_an_answer_that_was_meant_for_another() {
    let victims = std::env::var("VICTIMS").ok().and_then(|it| it.parse().ok()).unwrap_or(VICTIMS);
    let upstream = careless();
    let edge = Edge::open(&upstream).quiet().start();
    let (over, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for what in ATTACKS {
            let (edge, over) = (&edge, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    attack(edge, what);
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let victims = [(); 4].map(|()| {
            scope.spawn(|| {
                let mut client = edge.connect();
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && number < victims
                {
                    wrong.lock().unwrap().extend(victim(&edge, &mut client, number));
                    // A connection that was idle for a moment is the one that something came on.
                    thread::sleep(Duration::from_millis(number as u64 % 7));
                }
            })
        });
        let ended = victims.map(thread::ScopedJoinHandle::join);
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {victims}: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}
