//! How a service of AWS is called: an operation writes the request and reads the answer, aws-sigv4 signs it, and what lies between
//! them is here: attempts, pauses and time. Operations are the SDK's, but for those of DynamoDB (`dynamo/operation.rs`) and the start of
//! an execution (`sfn/operation.rs`).
//!
//! **Invariants:** no call is waited for beyond its time, nor beyond the end of its invocation, and none begins after that; what is
//! sent again is the same request, signed anew; a connection on which an attempt failed is not used again.
//!
//! Decision (2026-11-28): not the SDK's own client. What it does for any service in any place (rules of endpoints, providers of
//! identity, strategies and interceptors to be put in) was about half of the time of a call and a tenth to a fifth of a function, and
//! none of it is of use here: a function has one region, and credentials that come and go with its process. `tests/benchmark/README.md`
//! has the figures; `tests/adapters/call.rs` and `operations.rs` hold attempts, requests and answers beside the SDK's. Given up with it
//! are the SDK's headers about itself, Lambda's trace id, which it passed on, and the mending of a clock that is minutes wrong.

use crate::clock::SystemClock;
use crate::connector::{Connector, SLUICE, classified};
use crate::deadline;
use crate::sigv4::{self, Signature, Signer};
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_eventbridge::operation as eventbridge;
use aws_sdk_sfn::operation as sfn;
pub(crate) use aws_smithy_runtime_api::client::interceptors::context::Error as Erased;
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
pub(crate) use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::error::operation::BuildError;
use aws_smithy_types::retry::{ErrorKind, ProvideErrorKind};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::capture_connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluice_core::ports::Clock;
use std::any::Any;
use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Attempts at a call, the first one among them.
const MAX_ATTEMPTS: u32 = 3;
/// The first pause at most; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Statuses after which the same request may do better.
const TRANSIENT_STATUSES: [u16; 4] = [500, 502, 503, 504];
/// Most requests are shorter.
const ROOM: usize = 2_048;

static DATE: HeaderName = HeaderName::from_static(sigv4::DATE);
static TOKEN: HeaderName = HeaderName::from_static(sigv4::TOKEN);

pub type BoxError = Box<dyn Error + Send + Sync>;
/// Why a call has no output.
pub type CallError<E> = SdkError<E, HttpResponse>;

/// An operation of a service.
pub trait Operation {
    type Input<'a>;
    type Output: Send + 'static;
    type Error: Error + ProvideErrorMetadata + ProvideErrorKind + Send + Sync + 'static;

    /// # Errors
    /// When the input is none, or cannot be written.
    fn write(input: Self::Input<'_>) -> Result<Asked, BoxError>;
    /// The output in an answer.
    ///
    /// # Errors
    /// What the service says instead, or why that cannot be read.
    fn read(answer: &HttpResponse) -> Result<Found, Unread>;
    /// An error that is none of its own.
    fn unhandled(error: Erased) -> Self::Error;
}

/// An output, to whoever does not know of which operation.
pub type Found = Box<dyn Any + Send>;
/// Why an answer has no output.
pub type Unread = OrchestratorError<Erased>;

/// What is asked of a service, not yet signed.
#[derive(Debug)]
pub struct Asked {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Asked {
    /// JSON for an operation, whose target is `<service>_<version>.<operation>`.
    /// Source: <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>
    pub(crate) fn json(target: &'static str, input: &impl Serialize) -> Result<Self, BoxError> {
        let mut body = Vec::with_capacity(ROOM);
        serde_json::to_writer(&mut body, input)?;
        let kind = HeaderValue::from_static("application/x-amz-json-1.0");
        let target = (HeaderName::from_static("x-amz-target"), HeaderValue::from_static(target));
        Ok(Self { headers: vec![(CONTENT_TYPE, kind), target], body: body.into() })
    }

    /// What the SDK writes.
    fn of(codec: &FrozenLayer, input: Input) -> Result<Self, BoxError> {
        let serializer = codec.load::<SharedRequestSerializer>().ok_or(NotBegun::NoSerializer)?;
        let written = serializer.serialize_input(input, &mut ConfigBag::base())?;
        let header = |(name, value): (&str, &str)| Ok((name.parse::<HeaderName>()?, HeaderValue::from_str(value)?));
        let headers = written.headers().iter().map(header).collect::<Result<_, BoxError>>()?;
        let body = Bytes::copy_from_slice(written.body().bytes().ok_or(NotBegun::NoBody)?);
        Ok(Self { headers, body })
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }
}

/// What the SDK reads in an answer.
pub(crate) fn read_by(codec: &FrozenLayer, answer: &HttpResponse) -> Result<Output, Unread> {
    let Some(deserializer) = codec.load::<SharedResponseDeserializer>() else {
        return Err(Unread::other(NoOutput::NoDeserializer));
    };
    deserializer.deserialize_nonstreaming_with_config(answer, &ConfigBag::base())
}

/// What the SDK writes an operation's requests with, and reads its answers.
macro_rules! codec {
    ($operation:expr) => {{
        static CODEC: std::sync::OnceLock<aws_smithy_types::config_bag::FrozenLayer> = std::sync::OnceLock::new();
        let config = || aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin::config(&$operation);
        let none = || aws_smithy_types::config_bag::Layer::new("none").freeze();
        CODEC.get_or_init(|| config().unwrap_or_else(none))
    }};
}
pub(crate) use codec;

/// Operations whose requests and answers are JSON by serde, and whose failures are as the SDK reads them.
macro_rules! by_serde {
    ($sdk:ident as $service:literal: $($operation:ident($input:ty) -> $output:ty, $module:ident::$error:ident;)*) => {$(
        #[derive(Debug)]
        pub struct $operation;

        impl $crate::call::Operation for $operation {
            type Input<'a> = $input;
            type Output = $output;
            type Error = $sdk::operation::$module::$error;

            fn write(input: Self::Input<'_>) -> Result<$crate::call::Asked, $crate::call::BoxError> {
                $crate::call::Asked::json(concat!($service, ".", stringify!($operation)), &input)
            }

            fn read(
                answer: &$crate::call::HttpResponse,
            ) -> Result<$crate::call::Found, $crate::call::Unread> {
                use $crate::call::{Unread, codec, output, read_by};
                if !answer.status().is_success() {
                    let failure = read_by(codec!($sdk::operation::$module::$operation::new()), answer).err();
                    return Err(failure.unwrap_or_else(|| Unread::other($crate::call::NoOutput::Another)));
                }
                match output::<Self::Output>(answer) {
                    Ok(output) => Ok(Box::new(output)),
                    Err(error) => Err(Unread::operation($crate::call::Erased::erase(Self::Error::unhandled(error)))),
                }
            }

            fn unhandled(error: $crate::call::Erased) -> Self::Error {
                Self::Error::unhandled(error)
            }
        }
    )*};
}
pub(crate) use by_serde;

/// What serde reads in an answer.
pub(crate) fn output<T: DeserializeOwned>(answer: &HttpResponse) -> Result<T, BoxError> {
    // Looked at as a whole, each string in it need not be.
    let text = std::str::from_utf8(answer.body().bytes().unwrap_or_default())?;
    // Nothing is an empty document, to the SDK as well.
    Ok(serde_json::from_str(if text.is_empty() { "{}" } else { text })?)
}

/// An answer of which nothing is read.
#[derive(Debug, Deserialize)]
pub struct Done {}

macro_rules! operations {
    ($($service:ident::$module:ident::$operation:ident($input:ident, $output:ident, $error:ident)),* $(,)?) => {$(
        impl Operation for $service::$module::$operation {
            type Input<'a> = Result<$service::$module::$input, BuildError>;
            type Output = $service::$module::$output;
            type Error = $service::$module::$error;

            fn write(input: Self::Input<'_>) -> Result<Asked, BoxError> {
                Asked::of(codec!(Self::new()), Input::erase(input?))
            }

            fn read(answer: &HttpResponse) -> Result<Found, Unread> {
                match read_by(codec!(Self::new()), answer)?.downcast::<Self::Output>() {
                    Ok(output) => Ok(Box::new(output)),
                    Err(_) => Err(Unread::other(NoOutput::Another)),
                }
            }

            fn unhandled(error: Erased) -> Self::Error {
                Self::Error::unhandled(error)
            }
        }
    )*};
}

operations! {
    eventbridge::put_events::PutEvents(PutEventsInput, PutEventsOutput, PutEventsError),
    sfn::describe_execution::DescribeExecution(
        DescribeExecutionInput, DescribeExecutionOutput, DescribeExecutionError
    ),
    sfn::list_executions::ListExecutions(ListExecutionsInput, ListExecutionsOutput, ListExecutionsError),
    sfn::send_task_failure::SendTaskFailure(SendTaskFailureInput, SendTaskFailureOutput, SendTaskFailureError),
    sfn::send_task_success::SendTaskSuccess(SendTaskSuccessInput, SendTaskSuccessOutput, SendTaskSuccessError),
    sfn::stop_execution::StopExecution(StopExecutionInput, StopExecutionOutput, StopExecutionError),
}

/// A service in a place. Clones share its connections, and what it may still spend on attempts.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) connector: Connector,
    /// Where it is; why that is nowhere.
    pub(crate) endpoint: Result<Uri, Arc<str>>,
    pub(crate) signer: Arc<Signer>,
    /// All attempts at a call together.
    pub(crate) most: Duration,
    /// One attempt.
    pub(crate) attempt: Duration,
    pub(crate) quota: Arc<Quota>,
}

#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error("the time of the invocation is over")]
    Over,
    #[error("{0}")]
    Nowhere(Arc<str>),
    #[error("the operation writes no requests")]
    NoSerializer,
    #[error("the request has no body to send again")]
    NoBody,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoOutput {
    #[error("no answer in time")]
    Late,
    #[error("the operation reads no answers")]
    NoDeserializer,
    #[error("the answer is another operation's")]
    Another,
}

impl Service {
    /// Makes a call, and makes it again where that may help.
    ///
    /// # Errors
    /// When there is no output: what the service answered last, or why it did not.
    pub async fn call<O: Operation>(&self, input: O::Input<'_>) -> Result<O::Output, CallError<O::Error>> {
        self.call_within::<O>(input, MAX_ATTEMPTS).await
    }

    /// Makes a call that is never made again, because it may be carried out later than anybody knows.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_once<O: Operation>(&self, input: O::Input<'_>) -> Result<O::Output, CallError<O::Error>> {
        self.call_within::<O>(input, 1).await
    }

    async fn call_within<O: Operation>(
        &self,
        input: O::Input<'_>,
        attempts: u32,
    ) -> Result<O::Output, CallError<O::Error>> {
        let written = Written::<O>::new(input).map_err(CallError::construction_failure)?;
        self.send_within(&written, attempts).await
    }

    /// [`Self::call`] with what is written already, and may be sent again.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn send<O: Operation>(&self, written: &Written<O>) -> Result<O::Output, CallError<O::Error>> {
        self.send_within(written, MAX_ATTEMPTS).await
    }

    /// The part of a call that is the same for all operations is compiled once.
    async fn send_within<O: Operation>(
        &self,
        written: &Written<O>,
        attempts: u32,
    ) -> Result<O::Output, CallError<O::Error>> {
        match Box::pin(self.attempts(&written.asked, attempts, &Reading::of::<O>())).await {
            Ok((found, answer)) => match found.downcast::<O::Output>() {
                Ok(output) => Ok(*output),
                Err(_) => Err(CallError::response_error(NoOutput::Another, answer)),
            },
            Err(error) => Err(own::<O>(error)),
        }
    }

    async fn attempts(
        &self,
        asked: &Asked,
        attempts: u32,
        reading: &Reading,
    ) -> Result<(Found, HttpResponse), CallError<Erased>> {
        let most = deadline::left().map_or(self.most, |left| self.most.min(left));
        if most.is_zero() {
            return Err(CallError::construction_failure(NotBegun::Over));
        }
        let end = Instant::now() + most;
        let (mut number, mut spent) = (1, 0);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let tried = timeout(left.min(self.attempt), self.attempt(asked, reading)).await;
            let error = match tried {
                Ok(Ok(found)) => {
                    self.quota.give_back(spent);
                    return Ok(found);
                }
                Ok(Err(error)) => error,
                Err(_) => CallError::timeout_error(NoOutput::Late),
            };
            let pause = pause(number);
            let has_time = Instant::now() + pause < end;
            let cost = retry_cost(&error, reading.said).filter(|_| number < attempts && has_time);
            let Some(cost) = cost.filter(|cost| self.quota.take(*cost)) else { return Err(error) };
            tracing::debug!(%error, "a call is tried again");
            (number, spent) = (number + 1, cost);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, asked: &Asked, reading: &Reading) -> Result<(Found, HttpResponse), CallError<Erased>> {
        let mut request = self.signed(asked).map_err(CallError::construction_failure)?;
        let used = capture_connection(&mut request);
        let give_up = || {
            if let Some(connection) = used.connection_metadata().as_ref() {
                connection.poison();
            }
        };
        let answer = self.connector.send(request).await;
        let (head, body) = answer.map_err(|error| CallError::dispatch_failure(classified(error)))?.into_parts();
        let (bytes, broken) = match body.collect().await {
            Ok(body) => (body.to_bytes(), None),
            Err(error) => (Default::default(), Some(error)),
        };
        let response = HttpResponse::try_from(Response::from_parts(head, SdkBody::from(bytes)));
        let response = response.map_err(CallError::construction_failure)?;
        if let Some(error) = broken {
            give_up();
            return Err(CallError::response_error(error, response));
        }
        let error = match (reading.read)(&response) {
            Ok(found) => return Ok((found, response)),
            Err(error) => error,
        };
        // The orchestrator's error gives what it holds only by a map.
        let mut own = None;
        let rest = error.map_operation_error(|error| own = Some(error));
        let error = match own {
            Some(own) => CallError::service_error(own, response),
            None => CallError::response_error(rest.to_string(), response),
        };
        if retry_cost(&error, reading.said).is_some() {
            give_up();
        }
        Err(error)
    }

    fn signed(&self, asked: &Asked) -> Result<Request<SdkBody>, BoxError> {
        let endpoint = self.endpoint.as_ref().map_err(|why| NotBegun::Nowhere(Arc::clone(why)))?;
        let host = endpoint.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let Signature { date, token, authorization } =
            self.signer.sign(host, endpoint.path(), asked.headers(), &asked.body, SystemClock.now());
        let mut request = Request::new(SdkBody::from(asked.body.clone()));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(endpoint);
        let headers = request.headers_mut();
        headers.extend(asked.headers.iter().cloned());
        headers.insert(USER_AGENT, HeaderValue::from_static(SLUICE));
        headers.insert(&DATE, HeaderValue::try_from(date)?);
        headers.insert(AUTHORIZATION, HeaderValue::try_from(authorization)?);
        if let Some(token) = token {
            headers.insert(&TOKEN, HeaderValue::try_from(token)?);
        }
        Ok(request)
    }
}

/// What is asked by an operation, written once however often it is sent.
#[derive(Debug)]
pub struct Written<O> {
    /// In a box, for it lives as long as the call, in whatever waits for that.
    asked: Box<Asked>,
    of: PhantomData<fn() -> O>,
}

impl<O: Operation> Written<O> {
    /// # Errors
    /// When the input is none, or cannot be written.
    pub fn new(input: O::Input<'_>) -> Result<Self, BoxError> {
        Ok(Self { asked: Box::new(O::write(input)?), of: PhantomData })
    }
}

/// How an operation's answers are read, to whoever does not know which it is.
struct Reading {
    read: fn(&HttpResponse) -> Result<Found, Unread>,
    said: Said,
}

impl Reading {
    fn of<O: Operation>() -> Self {
        Self { read: O::read, said: said::<O::Error> }
    }
}

/// An error as the operation has it.
fn own<O: Operation>(error: CallError<Erased>) -> CallError<O::Error> {
    error.map_service_error(|error| match error.downcast::<O::Error>() {
        Ok(error) => error,
        Err(other) => O::unhandled(other),
    })
}

/// What an operation's own error says of itself: its code, and whether its model calls it one to try again.
type Said = fn(&Erased) -> (Option<&str>, Option<ErrorKind>);

fn said<E: Error + ProvideErrorMetadata + ProvideErrorKind + Send + Sync + 'static>(
    error: &Erased,
) -> (Option<&str>, Option<ErrorKind>) {
    error
        .downcast_ref::<E>()
        .map_or((None, None), |error| (ProvideErrorMetadata::code(error), error.retryable_error_kind()))
}

/// What trying again takes from the quota; `None` where it would not help.
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html> ("standard")
fn retry_cost(error: &CallError<Erased>, said: Said) -> Option<u32> {
    let is_transient = match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_io() || failure.is_timeout() || failure.as_other().is_some(),
        SdkError::ServiceError(answer) => {
            let (code, kind) = said(answer.err());
            if kind.is_some() || code.is_some_and(|code| THROTTLING_ERRORS.contains(&code)) {
                return Some(Quota::RETRY);
            }
            code.is_some_and(|code| TRANSIENT_ERRORS.contains(&code))
                || TRANSIENT_STATUSES.contains(&answer.raw().status().as_u16())
        }
        SdkError::ConstructionFailure(_) | _ => false,
    };
    is_transient.then_some(Quota::RETRY_OF_TRANSIENT)
}

/// Full jitter, so that those who failed together do not come back together.
fn pause(number: u32) -> Duration {
    let most = FIRST_PAUSE * (1 << number.saturating_sub(1).min(8));
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(random % most_us)
}

/// What a process may spend on attempts after the first, so that it does not make a service that is in trouble busier still. Every
/// call that succeeds gives back what its last attempt took, or 1.
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html> ("retry quota")
#[derive(Debug)]
pub(crate) struct Quota(AtomicU32);

impl Quota {
    const WHOLE: u32 = 500;
    const RETRY: u32 = 5;
    const RETRY_OF_TRANSIENT: u32 = 10;

    fn take(&self, cost: u32) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).is_ok()
    }

    fn give_back(&self, spent: u32) {
        let back = |left: u32| (left < Self::WHOLE).then(|| (left + spent.max(1)).min(Self::WHOLE));
        // It is whole already where there is nothing to change.
        let _whole = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self(AtomicU32::new(Self::WHOLE))
    }
}
