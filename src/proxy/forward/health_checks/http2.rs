//! One exchange over HTTP/2, on a connection of its own.

use std::pin::pin;

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use pingora::protocols::Stream;
use pingora::{Error, ErrorType};

/// Sends a request, with a body if it has one, and has `read` take what it needs of the response.
/// The connection ends with that.
pub(super) async fn exchange<T>(
    stream: Stream,
    request: Request<()>,
    body: Option<Bytes>,
    read: impl AsyncFnOnce(Response<RecvStream>) -> Result<T, h2::Error>,
) -> pingora::Result<T> {
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(failed)?;
    let mut exchange = pin!(async {
        let (response, mut upload) = sender.send_request(request, body.is_none())?;
        if let Some(body) = body {
            upload.send_data(body, true)?;
        }
        read(response.await?).await
    });
    let exchanged = tokio::select! {
        exchanged = &mut exchange => exchanged,
        // What it has read before its end may be all of the response.
        _ = connection => exchange.await,
    };
    exchanged.map_err(failed)
}

fn failed(error: h2::Error) -> Box<Error> {
    let why = match error.reason() {
        Some(reason) => format!("no response over HTTP/2: {reason}"),
        None => "no response over HTTP/2: the connection was closed".to_owned(),
    };
    Error::explain(ErrorType::H2Error, why).into_up()
}
