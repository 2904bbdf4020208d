//! HTTP/1.1, by hyper.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::{Part, Request, Serve};

/// Why there is no more: on purpose.
#[derive(Debug, thiserror::Error)]
#[error("broken off on purpose")]
pub(crate) struct Aborted;

/// A body whose parts come over a channel.
pub(crate) struct ChannelBody {
    parts: mpsc::Receiver<Part>,
    is_aborted: bool,
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if self.is_aborted {
            return Poll::Ready(Some(Err(Aborted)));
        }
        match self.parts.poll_recv(context) {
            Poll::Ready(Some(Part::Data(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(Some(Part::Abort)) => {
                // What was sent before is to arrive: hyper writes it out when there is nothing for the moment.
                self.is_aborted = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl ChannelBody {
    fn new(parts: mpsc::Receiver<Part>) -> Self {
        Self { parts, is_aborted: false }
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        // There is room for one, and nobody else has sent.
        drop(sender.try_send(Part::Data(bytes)));
        Self::new(receiver)
    }
}

pub(super) async fn serve<C, S>(stream: C, service: Arc<S>)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve,
{
    let service = service_fn(move |request| answer(request, Arc::clone(&service)));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A caller that breaks its connection off is its own business, and so is one that we broke off.
    drop(connection.await);
}

async fn answer<S: Serve>(
    request: hyper::Request<Incoming>,
    service: Arc<S>,
) -> Result<hyper::Response<ChannelBody>, Aborted> {
    let (parts, body) = request.into_parts();
    // A request that never arrived whole is none.
    let body = body.collect().await.map_err(|_broken| Aborted)?.to_bytes();
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let request = Request {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        host,
        headers: parts.headers,
        body,
    };
    let answer = service.answer(request).await.ok_or(Aborted)?;
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name.as_ref(), value);
    }
    response.body(ChannelBody::new(answer.body)).map_err(|_invalid| Aborted)
}
