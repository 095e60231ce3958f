//! A call as it stands on the wire: what a client of gRPC makes of it is not asked.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpStream;

/// Longer than any answer takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer: its status of HTTP, its fields, and whether the head has ended the stream.
pub struct Answer {
    pub status: u16,
    pub fields: HeaderMap,
    pub ends_with_head: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One message to `path`, as a client of gRPC sends it, with further fields.
pub fn call(port: u16, path: &str, fields: &[(&str, &str)]) -> Answer {
    let (head, ends_with_head, _) = exchange(port, path, fields);
    Answer { status: head.status.as_u16(), fields: head.headers, ends_with_head }
}

/// The trailers of the answer to a call; `None`: it was reset, or has none.
pub fn end_of_call(port: u16, path: &str, fields: &[(&str, &str)]) -> Option<HeaderMap> {
    exchange(port, path, fields).2
}

/// The head of an answer, whether it ends the stream, and the trailers.
fn exchange(
    port: u16,
    path: &str,
    fields: &[(&str, &str)],
) -> (http::response::Parts, bool, Option<HeaderMap>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let mut request = http::Request::builder()
            .method("POST")
            .uri(format!("http://127.0.0.1:{port}{path}"))
            .header("te", "trailers");
        if !fields.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (response, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), true).unwrap();
        let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
        let (head, mut body) = response.into_parts();
        let ends_with_head = body.is_end_stream();
        while let Some(Ok(_)) = body.data().await {}
        (head, ends_with_head, body.trailers().await.ok().flatten())
    })
}
