//! Serves the function: takes events from the runtime, and gives answers to the Runtime API by a connection of its own.
//!
//! Decision (2026-11-28): the runtime writes the head of a stream, its prelude and each piece apart, by a connection that holds a
//! small write back until the one before is acknowledged (Nagle's algorithm): 40 ms a call in the benchmark. Here a piece is written
//! when it comes, and an answer in one piece is one write. Events that cannot be read are left to the runtime.

use crate::App;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http_body::{Body as _, Frame};
use hyper_util::client::legacy::connect::HttpConnector;
use lambda_runtime::streaming::Body;
use lambda_runtime::tower::{Layer, Service};
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use lambda_runtime_api_client::{PooledClient, build_request};
use sluice_core::ports::{
    ChangeRun, Clock, FindModel, FindQuotas, GovernCalls, ReadLedgers, RecordReports, StopExecution,
};
use sluice_edge::bedrock::event::Event;
use sluice_edge::bedrock::reply::Reply;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Which invocation this is, where the Runtime API says it: its answer has to say the same.
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
/// An answer that begins with its status and headers.
const INTEGRATION: HeaderValue = HeaderValue::from_static("application/vnd.awslambda.http-integration-response");
/// What stands between these and the body.
const ZEROS: [u8; 8] = [0; 8];

/// Answers events until the Runtime API goes.
///
/// # Errors
/// When it does.
pub async fn serve<S, E, C>(app: App<S, E, C>) -> Result<(), Error>
where
    S: GovernCalls + ReadLedgers + FindModel + FindQuotas + ChangeRun + RecordReports + Clone + 'static,
    E: StopExecution + Clone + 'static,
    C: Clock + Clone + 'static,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Arc::new(PooledClient::builder().with_connector(connector).build());
    let app = Arc::new(app);
    let answering = Answering { app: Arc::clone(&app), client, next: () };
    let handler = service_fn(move |event: LambdaEvent<Event>| {
        let app = Arc::clone(&app);
        Box::pin(async move { app.handle(event).await })
    });
    Runtime::new(handler).layer(answering).run().await
}

/// Answers events that can be read, and leaves others to `next`: the runtime's own services, or nothing yet.
struct Answering<S, E, C, N> {
    app: Arc<App<S, E, C>>,
    client: Arc<PooledClient>,
    next: N,
}

impl<S, E, C, N> Layer<N> for Answering<S, E, C, ()> {
    type Service = Answering<S, E, C, N>;

    fn layer(&self, next: N) -> Self::Service {
        Answering { app: Arc::clone(&self.app), client: Arc::clone(&self.client), next }
    }
}

impl<S, E, C, N> Service<LambdaInvocation> for Answering<S, E, C, N>
where
    S: GovernCalls + ReadLedgers + FindModel + FindQuotas + ChangeRun + RecordReports + Clone + 'static,
    E: StopExecution + Clone + 'static,
    C: Clock + Clone + 'static,
    N: Service<LambdaInvocation, Response = (), Error = Error>,
    N::Future: 'static,
{
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.next.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let Ok(payload) = serde_json::from_slice::<Event>(&invocation.body) else {
            return Box::pin(self.next.call(invocation));
        };
        let (app, client) = (Arc::clone(&self.app), Arc::clone(&self.client));
        Box::pin(async move {
            let LambdaInvocation { parts, context, .. } = invocation;
            let path = format!("/2018-06-01/runtime/invocation/{}/response", context.request_id);
            let reply = app.handle(LambdaEvent { payload, context }).await.unwrap_or_else(|never| match never {});
            let mut request = build_request().method(http::Method::POST).uri(path).body(body(reply).await?)?;
            let headers = request.headers_mut();
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            headers.insert(MODE, HeaderValue::from_static("streaming"));
            headers.insert(CONTENT_TYPE, INTEGRATION);
            headers.extend(parts.headers.get(&INVOCATION_ID).map(|id| (INVOCATION_ID, id.clone())));
            client.call(request).await?;
            Ok(())
        })
    }
}

/// What is said of an answer, and the answer: together where it is there already.
async fn body(reply: Reply) -> Result<Body, Error> {
    let mut prelude = serde_json::to_vec(&reply.metadata_prelude)?;
    prelude.extend(ZEROS);
    if reply.stream.size_hint().exact().is_none() {
        return Ok(Body::new(Streamed { prelude: Some(prelude.into()), stream: reply.stream }));
    }
    prelude.extend_from_slice(&reply.stream.collect().await?.to_bytes());
    Ok(Body::from(prelude))
}

/// A stream after its prelude.
struct Streamed {
    prelude: Option<Bytes>,
    stream: Body,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = lambda_runtime_api_client::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.prelude.take() {
            Some(prelude) => Poll::Ready(Some(Ok(Frame::data(prelude)))),
            None => Pin::new(&mut self.stream).poll_frame(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use sluice_edge::bedrock::reply::{streamed, whole};

    #[tokio::test]
    async fn an_answer_in_one_piece_is_one_piece_and_a_stream_begins_with_its_head() {
        let head = |bytes: &[u8]| {
            let end = bytes.windows(8).position(|bytes| bytes == ZEROS).expect("zeros");
            let head: serde_json::Value = serde_json::from_slice(&bytes[..end]).expect("JSON");
            (head["statusCode"].as_u64(), bytes[end + 8..].to_vec())
        };
        let mut one = body(whole(201, http::HeaderMap::new(), "the body".into())).await.expect("a body");
        let only = one.frame().await.expect("a frame").expect("bytes").into_data().expect("data");
        assert_eq!(head(&only), (Some(201), b"the body".to_vec()));
        assert!(one.frame().await.is_none());
        let (mut sender, reply) = streamed(200, http::HeaderMap::new());
        let mut many = body(reply).await.expect("a body");
        let first = many.frame().await.expect("a frame").expect("bytes").into_data().expect("data");
        assert_eq!(head(&first), (Some(200), Vec::new()));
        let (sent, second) = tokio::join!(sender.send_data("a piece".into()), many.frame());
        sent.expect("sent");
        assert_eq!(second.expect("a frame").expect("bytes").into_data().expect("data"), "a piece");
        drop(sender);
        assert!(many.frame().await.is_none());
    }
}
