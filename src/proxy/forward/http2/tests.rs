use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::{Http2, Http2Connection};
use crate::proxy::forward::deadline::Deadlines;
use crate::proxy::forward::error::{REFUSED, UNPROCESSED, describe};
use crate::proxy::forward::pool::Permit;

const PATIENCE: Duration = Duration::from_secs(5);

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);
type Server = server::Connection<DuplexStream, Bytes>;

/// A connection, and the server's end of it.
async fn connect(max_streams: u32) -> (Http2Connection, Server) {
    let (ours, theirs) = duplex(1024 * 1024);
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(max_streams);
    let (connection, server) = tokio::join!(handshake(ours), builder.handshake(theirs));
    (connection.unwrap(), server.unwrap())
}

async fn handshake(stream: DuplexStream) -> pingora::Result<Http2Connection> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1)).into();
    let deadlines = Arc::new(Deadlines::default());
    let stream = Box::new(stream);
    let made = Http2Connection::handshake(stream, address, Permit::uncounted(), &deadlines);
    timeout(PATIENCE, made).await.unwrap()
}

fn get(connection: &Http2Connection) -> Http2 {
    let mut exchange = Http2::new(connection.reserve().unwrap());
    let request = Request::get("http://h/").body(()).unwrap();
    exchange.write_head(request, true).unwrap();
    exchange
}

/// The next request that comes, while the connection goes on.
async fn accept(server: &mut Server) -> Accepted {
    timeout(PATIENCE, server.accept())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

/// Goes on with a server's connection while something else happens.
async fn beside<T>(server: &mut Server, what: impl Future<Output = T>) -> T {
    tokio::select! {
        done = timeout(PATIENCE, what) => done.unwrap(),
        _ = poll_fn(|context| server.poll_closed(context)) => panic!("the connection ended"),
    }
}

fn kind(outcome: pingora::Result<HttpTask>) -> ErrorType {
    outcome.unwrap_err().etype().clone()
}

#[tokio::test]
async fn a_connection_has_room_for_as_many_exchanges_as_the_server_allows() {
    let (connection, _server) = connect(2).await;
    let (one, other) = (connection.reserve().unwrap(), connection.reserve().unwrap());
    assert!(!one.reused && other.reused);
    assert!(connection.reserve().is_none() && connection.idle_for().is_none());
    drop(one);
    assert!(connection.reserve().is_some());
    drop(other);
    assert!(connection.idle_for().is_some());
    connection.close();
    assert!(connection.reserve().is_none());
}

#[tokio::test]
async fn an_exchange_that_is_reset_disturbs_no_other() {
    let (connection, mut server) = connect(10).await;
    let (mut one, mut other) = (get(&connection), get(&connection));
    let (_, mut to_one) = accept(&mut server).await;
    let (_, mut to_other) = accept(&mut server).await;
    to_one.send_reset(Reason::INTERNAL_ERROR);
    let reset = beside(&mut server, one.read()).await;
    assert_eq!(
        describe(&reset.unwrap_err()),
        "it reset the stream: unexpected internal error encountered"
    );
    to_other.send_response(Response::new(()), true).unwrap();
    let head = beside(&mut server, other.read()).await.unwrap();
    assert!(matches!(head, HttpTask::Header(head, true) if head.status == 200));
}

#[tokio::test]
async fn an_exchange_that_is_given_up_resets_its_stream() {
    let (connection, mut server) = connect(10).await;
    let exchange = get(&connection);
    let (_, mut response) = accept(&mut server).await;
    drop(exchange);
    let reset = poll_fn(|context| response.poll_reset(context));
    assert_eq!(beside(&mut server, reset).await.unwrap(), Reason::CANCEL);
    assert!(!connection.is_closing() && connection.idle_for().is_some());
}

#[tokio::test]
async fn what_the_server_promises_not_to_have_processed_is_told_apart() {
    let (connection, mut server) = connect(10).await;
    let mut refused = get(&connection);
    let (_, mut response) = accept(&mut server).await;
    response.send_reset(Reason::REFUSED_STREAM);
    let outcome = beside(&mut server, refused.read()).await;
    assert_eq!(kind(outcome), ErrorType::Custom(REFUSED));

    // Accepted before the server says that it goes away, and after.
    let mut before = get(&connection);
    let _accepted = accept(&mut server).await;
    server.abrupt_shutdown(Reason::NO_ERROR);
    let mut after = get(&connection);
    let closing = tokio::spawn(async move { poll_fn(|context| server.poll_closed(context)).await });
    let outcome = timeout(PATIENCE, after.read()).await.unwrap();
    assert_eq!(kind(outcome), ErrorType::Custom(UNPROCESSED));
    assert!(connection.is_closing() && connection.reserve().is_none());
    let outcome = timeout(PATIENCE, before.read()).await.unwrap();
    assert_ne!(kind(outcome), ErrorType::Custom(UNPROCESSED));
    drop(closing);
}

#[tokio::test]
async fn no_more_is_read_than_the_client_takes() {
    let (connection, mut server) = connect(10).await;
    let mut exchange = get(&connection);
    let (_, mut response) = accept(&mut server).await;
    let mut body = response.send_response(Response::new(()), false).unwrap();
    body.reserve_capacity(1024 * 1024);
    body.send_data(Bytes::from(vec![0; 1024 * 1024]), true)
        .unwrap();
    let mut got = 0;
    // Each part gives the room of the one before back.
    let reading = async {
        loop {
            match exchange.read().await.unwrap() {
                HttpTask::Body(Some(part), last) => {
                    got += part.len();
                    if last {
                        break got;
                    }
                }
                HttpTask::Header(..) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                HttpTask::Done => break got,
                part => panic!("{part:?}"),
            }
        }
    };
    assert_eq!(beside(&mut server, reading).await, 1024 * 1024);
}

#[tokio::test]
async fn who_does_not_speak_http2_is_named() {
    for (sent, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "it answered with HTTP/1.1",
        ),
        (b"\x15\x03\x01\0\x02\x02\x28....", "it answered with TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it did not answer with HTTP/2"),
        (b"", "connection lost"),
    ] {
        let (ours, mut theirs) = duplex(1024);
        let answering = async {
            theirs.read_u8().await.unwrap();
            theirs.write_all(sent).await.unwrap();
            drop(theirs);
        };
        let (outcome, ()) = tokio::join!(handshake(ours), answering);
        let error: Box<Error> = outcome.err().unwrap();
        let told = describe(&error);
        assert!(told.starts_with(expected), "{told} for {sent:?}");
    }
}
