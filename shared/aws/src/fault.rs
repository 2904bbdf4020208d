//! What an AWS call said when it failed, as one line that is safe to show to an operator.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::fmt;

/// A failed call. The SDK's own error says "service error" and hides the rest in its chain; this says what it was:
/// `ThrottlingException: Rate exceeded`. It holds no request and no response, so nothing secret can be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: String,
    pub message: String,
}

impl Fault {
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let answer = answer.err();
                Self::new(answer.code().unwrap_or("unknown"), answer.message().unwrap_or("no message"))
            }
            SdkError::TimeoutError(_) => Self::new("timeout", "no answer in time"),
            SdkError::DispatchFailure(failure) => {
                let cause = failure.as_connector_error().map(|error| chain(error)).unwrap_or_default();
                Self::new("connection", &cause)
            }
            SdkError::ResponseError(_) => Self::new("response", "the answer could not be read"),
            SdkError::ConstructionFailure(_) => Self::new("request", "the request could not be built"),
            _ => Self::new("unknown", "the call failed"),
        }
    }
}

/// Every message of an error's chain.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl Error for Fault {}
