//! Kept connections: each request is answered, in order, however its bytes meet those of the
//! others.

use crate::support::{Edge, Upstream};

const LIST: &str = "GET /api/list HTTP/1.1\r\nHost: h\r\n\r\n";
const COUNTED: &str =
    "POST /api/counted HTTP/1.1\r\nHost: h\r\nContent-Length: 19\r\n\r\nfirst\r\n\r\nGET / HTTP";
const CHUNKED: &str = "POST /api/chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4\r\na\r\n\r\r\n0\r\n\r\n";
const EMPTY: &str = "PUT /api/empty HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &str = "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n";
const LATE: &str = "\r\nGET /api/late HTTP/1.1\r\nHost: h\r\n\r\n";

const KINDS: [(&str, u16, &str); 6] = [
    (LIST, 200, "/list"),
    (COUNTED, 200, "/counted"),
    (CHUNKED, 200, "/chunked"),
    (EMPTY, 200, "/empty"),
    (REFUSED, 404, ""),
    (LATE, 200, "/late"),
];

fn reading() -> Upstream {
    Upstream::with(|exchange| {
        exchange.read_body();
        exchange.echo_target();
    })
}

/// Every kind after every other one, and a request after both that comes when both are answered.
#[test]
fn every_request_after_every_other_in_one_piece() {
    let upstream = reading();
    let edge = Edge::open(&upstream).quiet().start();
    for (first, first_status, first_target) in KINDS {
        for (second, second_status, second_target) in KINDS {
            let mut client = edge.connect();
            client.send([first, second].concat());
            for (status, target) in [(first_status, first_target), (second_status, second_target)] {
                let response = client.response();
                assert_eq!(response.status, status, "{first:?} {second:?}");
                assert!(
                    target.is_empty() || response.text() == target,
                    "{first:?} {second:?}: {}",
                    response.text()
                );
            }
            assert_eq!(client.send(LIST).response().text(), "/list", "after {first:?} {second:?}");
        }
    }
}

/// The same bytes, cut in two at every place.
#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    let upstream = reading();
    let edge = Edge::open(&upstream).quiet().start();
    let bytes = [COUNTED, LATE, LIST].concat();
    for cut in 1..bytes.len() {
        let mut client = edge.connect();
        client.send(&bytes[..cut]);
        std::thread::sleep(std::time::Duration::from_millis(3));
        client.send(&bytes[cut..]);
        let targets = [(); 3].map(|()| client.response().text());
        assert_eq!(targets, ["/counted", "/late", "/list"], "cut at {cut}");
        assert_eq!(client.send(LIST).response().text(), "/list", "cut at {cut}");
    }
    assert!(upstream.requests().iter().all(
        |request| request.target() != "/counted" || request.body == b"first\r\n\r\nGET / HTTP"
    ));
}

/// Many at once, the answer of each later than the next request.
#[test]
fn a_hundred_requests_before_the_first_answer() {
    let upstream = reading();
    let edge = Edge::open(&upstream).quiet().start();
    let mut client = edge.connect();
    client.send([LIST, COUNTED, CHUNKED, EMPTY].concat().repeat(25));
    for number in 0..25 {
        let targets = [(); 4].map(|()| client.response().text());
        assert_eq!(targets, ["/list", "/counted", "/chunked", "/empty"], "round {number}");
    }
    assert_eq!(client.send(LIST).response().text(), "/list");
}
