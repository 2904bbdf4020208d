//! HTTP/2, by h2: hyper's own support for it would be linked into every function of the workspace.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::{Part, Request, Response, Serve};

pub(super) async fn serve<C, S>(stream: C, service: Arc<S>)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    // A connection that breaks ends its streams: each of them sees it.
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, Arc::clone(&service)));
    }
}

async fn answer<S: Serve>(request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>, service: Arc<S>) {
    let Some(request) = read(request).await else { return };
    let answer = tokio::select! {
        answer = service.answer(request) => answer,
        // The caller has reset the stream, or is gone.
        _reset = poll_fn(|context| respond.poll_reset(context)) => return,
    };
    match answer {
        None => respond.send_reset(Reason::INTERNAL_ERROR),
        Some(answer) => send(answer, respond).await,
    }
}

/// The request with its whole body.
async fn read(request: http::Request<RecvStream>) -> Option<Request> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.ok()?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len()).ok()?;
    }
    Some(Request {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        host: parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers,
        body: body.into(),
    })
}

async fn send(answer: Response, mut respond: SendResponse<Bytes>) {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name.as_ref(), value);
    }
    let Ok(response) = response.body(()) else { return respond.send_reset(Reason::INTERNAL_ERROR) };
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    if pass(answer.body, &mut stream).await.is_none() {
        // Of a stream that the caller has reset, nothing comes of this.
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
}

/// Passes every part on as it comes. `None`: the stream is to break, or has.
async fn pass(mut body: mpsc::Receiver<Part>, stream: &mut SendStream<Bytes>) -> Option<()> {
    loop {
        let part = tokio::select! {
            part = body.recv() => part,
            _reset = poll_fn(|context| stream.poll_reset(context)) => return None,
        };
        match part {
            Some(Part::Data(bytes)) => send_data(bytes, stream).await?,
            Some(Part::Abort) => {
                // What was sent before is to arrive: the connection writes it out when it has its turn, and a reset takes back
                // what it has not.
                tokio::task::yield_now().await;
                return None;
            }
            None => return stream.send_data(Bytes::new(), true).ok(),
        }
    }
}

/// As fast as the caller takes it.
async fn send_data(mut bytes: Bytes, stream: &mut SendStream<Bytes>) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
        let part = bytes.split_to(capacity.min(bytes.len()));
        stream.send_data(part, false).ok()?;
    }
    Some(())
}
