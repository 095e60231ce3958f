//! Calls through the edge, over TLS with a token, between a client and a server of `tonic`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::Code;
use tonic::metadata::MetadataValue;

use super::Secured;
use crate::support::grpc::{Client, Server, messages};
use crate::support::poll::becomes_true;

/// Longer than any call takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Place {
    server: Server,
    front: Secured,
}

impl Place {
    fn start() -> Self {
        Self::with_backend("")
    }

    /// Lines in the backend's options.
    fn with_backend(lines: &str) -> Self {
        let server = Server::start();
        let front = Secured::in_front_of(server.port(), lines);
        Self { server, front }
    }

    async fn client(&self) -> Client {
        self.client_with(Some(&self.front.token())).await
    }

    async fn client_with(&self, token: Option<&str>) -> Client {
        Client::over_tls(self.front.port(), &self.front.authority.pem(), token).await
    }
}

/// Runs a client to its end.
fn run(client: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, client).await.expect("the calls end in time");
    });
}

#[test]
fn a_unary_call_keeps_metadata_trailers_and_status() {
    let place = Place::start();
    run(async {
        let client = place.client().await;
        let mut request = client.request(Bytes::from_static(b"hi"));
        let metadata = request.metadata_mut();
        metadata.insert("x-mine", "v".parse().unwrap());
        metadata.insert("x-auth-subject", "root".parse().unwrap());
        metadata.insert_bin("raw-bin", MetadataValue::from_bytes(b"\x01\xfe"));
        let response = client.unary("Echo", request).await.unwrap();
        // `tonic` joins the initial metadata and the trailers.
        let metadata = response.metadata();
        assert_eq!(metadata.get("x-initial").unwrap(), "1");
        assert_eq!(metadata.get("x-trailing").unwrap(), "2");
        assert_eq!(metadata.get_bin("bin-bin").unwrap().to_bytes().unwrap(), &b"\0\xff"[..]);
        assert_eq!(response.into_inner(), &b"hi"[..]);
        let seen = place.server.metadata();
        assert_eq!(seen.get("x-mine").unwrap(), "v");
        assert_eq!(seen.get_bin("raw-bin").unwrap().to_bytes().unwrap(), &b"\x01\xfe"[..]);
        assert_eq!(seen.get_all("x-auth-subject").iter().collect::<Vec<_>>(), ["alice"]);
        assert_eq!(seen.get("te").unwrap(), "trailers");

        let failed = client.unary("Fails", client.request(Bytes::new())).await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::NotFound, "no such thing: 100%"));
    });
    let logged = || {
        let log = place.front.edge.log();
        log.contains(" upstream_protocol=HTTP/2.0 attempts=1 grpc_status=0 ")
            && log.contains(" status=200 ")
            && log.contains(" grpc_status=5 ")
    };
    assert!(becomes_true(PATIENCE, logged), "{}", place.front.edge.log());
}

#[test]
fn streams_of_ten_thousand_messages_and_large_messages_arrive_whole() {
    let place = Place::start();
    run(async {
        let client = place.client().await;
        let (sender, stream) = messages();
        sender.send(Bytes::from_static(b"10000")).await.unwrap();
        drop(sender);
        let mut down = client.streaming("Down", client.request(stream)).await.unwrap().into_inner();
        let mut next = 0;
        while let Some(message) = down.message().await.unwrap() {
            assert_eq!(message, next.to_string());
            next += 1;
        }
        assert_eq!(next, 10_000, "down");

        let (sender, stream) = messages();
        tokio::spawn(send_numbers(sender));
        let mut up = client.streaming("Up", client.request(stream)).await.unwrap().into_inner();
        assert_eq!(up.message().await.unwrap().unwrap(), "10000", "up");

        let (sender, stream) = messages();
        tokio::spawn(send_numbers(sender));
        let mut both = client.streaming("Echo", client.request(stream)).await.unwrap().into_inner();
        let mut next = 0;
        while let Some(message) = both.message().await.unwrap() {
            assert_eq!(message, next.to_string());
            next += 1;
        }
        assert_eq!(next, 10_000, "both");

        let large: Bytes = (0..4 << 20).map(|index: u32| (index % 251) as u8).collect();
        let echoed = client.unary("Echo", client.request(large.clone())).await.unwrap();
        assert!(echoed.into_inner() == large, "4 MiB each way");
    });
}

async fn send_numbers(sender: tokio::sync::mpsc::Sender<Bytes>) {
    for number in 0..10_000 {
        if sender.send(Bytes::from(number.to_string())).await.is_err() {
            return;
        }
    }
}

#[test]
fn an_answer_comes_while_the_request_goes_on() {
    let place = Place::start();
    run(async {
        let client = place.client().await;
        let (sender, stream) = messages();
        let mut answers =
            client.streaming("Echo", client.request(stream)).await.unwrap().into_inner();
        for word in ["a", "b", "c"] {
            sender.send(Bytes::from(word)).await.unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap(), word);
        }
        drop(sender);
        assert_eq!(answers.message().await.unwrap(), None);
        assert_eq!(answers.trailers().await.unwrap().unwrap().get("x-trailing").unwrap(), "2");
    });
}

#[test]
fn a_cancelled_call_reaches_the_server_within_a_second() {
    let place = Place::start();
    run(async {
        let client = place.client().await;
        let slow = tokio::spawn({
            let (client, request) = (client.clone(), client.request(Bytes::new()));
            async move { client.unary("Slow", request).await }
        });
        assert!(becomes_true(PATIENCE, || place.server.waiting() == 1));
        slow.abort();
        let begun = Instant::now();
        assert!(becomes_true(PATIENCE, || place.server.cancelled() == 1));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

        let (sender, stream) = messages();
        let mut stalls =
            client.streaming("Stalls", client.request(stream)).await.unwrap().into_inner();
        assert_eq!(stalls.message().await.unwrap().unwrap(), "begun");
        drop((sender, stalls));
        let begun = Instant::now();
        assert!(becomes_true(PATIENCE, || place.server.cancelled() == 2));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        // The connection to the server lives on.
        client.unary("Echo", client.request(Bytes::new())).await.unwrap();
    });
    assert_eq!(place.server.connections(), 1);
}

#[test]
fn a_call_without_a_token_or_with_a_bad_one_is_unauthenticated() {
    let place = Place::start();
    run(async {
        for token in [None, Some("a.b.c")] {
            let client = place.client_with(token).await;
            let failed = client.unary("Echo", client.request(Bytes::new())).await.unwrap_err();
            assert_eq!(failed.code(), Code::Unauthenticated);
            let challenge = failed.metadata().get("www-authenticate").unwrap();
            assert!(challenge.to_str().unwrap().starts_with("Bearer"), "{challenge:?}");
            // A stream of which nobody has asked for the rest is told too.
            let (_sender, stream) = messages();
            let failed = client.streaming("Echo", client.request(stream)).await.unwrap_err();
            assert_eq!(failed.code(), Code::Unauthenticated);
        }
    });
    assert_eq!(place.server.connections(), 0);
}

#[test]
fn a_server_that_is_killed_is_unavailable_and_well_again_when_it_is_back() {
    let mut place = Place::start();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = runtime.block_on(place.client());
    let (_sender, stream) = messages();
    let mut stalls = runtime.block_on(async {
        client.streaming("Stalls", client.request(stream)).await.unwrap().into_inner()
    });
    assert_eq!(runtime.block_on(stalls.message()).unwrap().unwrap(), "begun");
    let slow = runtime.spawn({
        let (client, request) = (client.clone(), client.request(Bytes::new()));
        async move { client.unary("Slow", request).await }
    });
    assert!(becomes_true(PATIENCE, || place.server.waiting() == 2));
    place.server.kill();
    let code = |outcome: Result<_, tonic::Status>| outcome.map(drop).unwrap_err().code();
    let stalled = runtime.block_on(stalls.message());
    assert_eq!(stalled.unwrap_err().code(), Code::Unavailable, "in the middle of a stream");
    assert_eq!(code(runtime.block_on(slow).unwrap()), Code::Unavailable, "before its answer");
    let echo = || runtime.block_on(client.unary("Echo", client.request(Bytes::new())));
    assert_eq!(code(echo()), Code::Unavailable, "afterwards");
    place.server.restart();
    assert!(becomes_true(PATIENCE, || echo().is_ok()));
}

#[test]
fn a_thousand_calls_of_one_connection_share_few_to_the_server() {
    let place = Place::start();
    run(async {
        let client = place.client().await;
        let calls: Vec<_> = (0..1000)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    let message = Bytes::from(number.to_string());
                    let request = client.request(message.clone());
                    let answer = client.unary("Echo", request).await.unwrap();
                    assert_eq!(answer.into_inner(), message);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
    let connections = place.server.connections();
    assert!((1..=40).contains(&connections), "{connections}");
}
