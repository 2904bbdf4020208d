//! Answers of the governor that no model has given: each in the form in which its client reads errors.
//!
//! **Invariant:** whoever may not call is told one thing, whatever is wrong.
//!
//! Decision (2026-11-28): a call of which nobody knows whether it ran is answered with what no SDK repeats by itself
//! (`ModelErrorException` 424, `ModelTimeoutException` 408): it costs its whole hold, and so would each repetition.

use super::operation::Ungoverned;
use lambda_http::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use sluice_core::governor::verdict::Obstacle;

/// Exceptions of Bedrock Runtime that the governor throws: those that are modelled for each governed operation, and that SDKs
/// repeat, or do not, as is wanted.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Validation,
    AccessDenied,
    ModelTimeout,
    ModelError,
    Throttling,
    ServiceUnavailable,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Validation,
        Self::AccessDenied,
        Self::ModelTimeout,
        Self::ModelError,
        Self::Throttling,
        Self::ServiceUnavailable,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validation => "ValidationException",
            Self::AccessDenied => "AccessDeniedException",
            Self::ModelTimeout => "ModelTimeoutException",
            Self::ModelError => "ModelErrorException",
            Self::Throttling => "ThrottlingException",
            Self::ServiceUnavailable => "ServiceUnavailableException",
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            Self::Validation => 400,
            Self::AccessDenied => 403,
            Self::ModelTimeout => 408,
            Self::ModelError => 424,
            Self::Throttling => 429,
            Self::ServiceUnavailable => 503,
        }
    }

    /// As OpenAI's errors call it.
    const fn openai(self) -> &'static str {
        match self {
            Self::Validation => "invalid_request_error",
            Self::AccessDenied => "permission_error",
            Self::Throttling => "rate_limit_error",
            Self::ModelTimeout | Self::ModelError | Self::ServiceUnavailable => "server_error",
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub kind: Kind,
    pub message: String,
    pub retry_after_seconds: Option<u32>,
    /// Why, as the metric has it.
    pub reason: &'static str,
}

impl Refused {
    fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_seconds: None, reason }
    }

    /// Something is wrong with the request itself.
    pub fn invalid(why: impl std::fmt::Display) -> Self {
        Self::new(Kind::Validation, "invalid", why.to_string())
    }

    pub fn ungoverned(ungoverned: &Ungoverned) -> Self {
        Self::new(Kind::AccessDenied, "operation", ungoverned.to_string())
    }

    /// Something that it asks for has no price.
    pub fn unpriced(why: impl std::fmt::Display) -> Self {
        Self::new(Kind::Validation, "unpriced", why.to_string())
    }

    /// The model is none that the operator has declared for this tenant.
    pub fn unknown_model() -> Self {
        Self::new(Kind::Validation, "model", "the model is not declared for calls of this tenant")
    }

    /// Whoever calls may not, or the run takes no calls any more.
    pub fn not_admitted() -> Self {
        Self::new(Kind::AccessDenied, "not_admitted", sluice_core::governor::access::NotAdmitted.to_string())
    }

    pub fn exhausted() -> Self {
        Self::new(
            Kind::AccessDenied,
            "exhausted",
            "the run's budget is spent: no call of this size fits into what is left",
        )
    }

    pub fn throttled(obstacle: Obstacle, retry_after_seconds: u32) -> Self {
        let message = match obstacle {
            Obstacle::Holds => "other calls of the run hold what is left of its budget; try again when they have ended",
            Obstacle::Crowd => "as many calls of the run are under way as may be; try again when some have ended",
            Obstacle::Quota => "a budget over runs has nothing left for this call at present",
        };
        let retry_after_seconds = Some(retry_after_seconds);
        Self { retry_after_seconds, ..Self::new(Kind::Throttling, obstacle.as_str(), message) }
    }

    /// The ledger cannot be used, so nothing is called.
    pub fn unavailable() -> Self {
        let message = "the run's ledger cannot be used at present: no call was made";
        Self { retry_after_seconds: Some(2), ..Self::new(Kind::ServiceUnavailable, "unavailable", message) }
    }

    /// The model cannot be reached: nothing was sent to it.
    pub fn unreachable() -> Self {
        let message = "the model cannot be reached at present: no call was made";
        Self { retry_after_seconds: Some(2), ..Self::new(Kind::ServiceUnavailable, "unreachable", message) }
    }

    /// The connection broke before there was an answer.
    pub fn broken() -> Self {
        let message =
            "the connection to the model broke before it answered: the call counts with all that was set aside for it";
        Self::new(Kind::ModelError, "broken", message)
    }

    /// There was no answer in the time that is left.
    pub fn too_late() -> Self {
        let message = "the model did not answer in time: the call counts with all that was set aside for it";
        Self::new(Kind::ModelTimeout, "too_late", message)
    }

    pub const fn status(&self) -> u16 {
        self.kind.status()
    }

    /// Status, headers and body, in OpenAI's form or in AWS'.
    pub fn written(&self, is_chat: bool) -> (StatusCode, HeaderMap, String) {
        let Self { kind, message, retry_after_seconds, .. } = self;
        let body = match is_chat {
            true => json!({"error": {"message": message, "type": kind.openai(), "code": kind.as_str(), "param": null}}),
            false => json!({"message": message}),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(kind.as_str()));
        if let Some(seconds) = retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        (StatusCode::from_u16(kind.status()).unwrap_or_default(), headers, body.to_string())
    }
}

/// From which SDKs take the type of an error.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_reads_its_own_form_of_an_error() {
        let refused = Refused::throttled(Obstacle::Holds, 5);
        let (status, headers, body) = refused.written(false);
        assert_eq!((status.as_u16(), &headers["retry-after"]), (429, &HeaderValue::from(5)));
        assert_eq!(headers["x-amzn-errortype"], "ThrottlingException");
        assert_eq!(body, json!({"message": refused.message}).to_string());
        let (_, _, body) = refused.written(true);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (&body["error"]["type"], &body["error"]["code"]),
            (&json!("rate_limit_error"), &json!("ThrottlingException"))
        );
    }

    #[test]
    fn what_is_to_be_repeated_has_a_status_that_sdks_repeat_and_nothing_else_has() {
        // Source: boto3 and the JavaScript SDK by measurement: one request at 400, 403, 408 and 424, three at 429 and 503.
        for refused in [Refused::throttled(Obstacle::Crowd, 5), Refused::unavailable(), Refused::unreachable()] {
            assert!([429, 503].contains(&refused.status()) && refused.retry_after_seconds.is_some(), "{refused:?}");
        }
        for refused in [
            Refused::exhausted(),
            Refused::not_admitted(),
            Refused::invalid("x"),
            Refused::unpriced("x"),
            Refused::unknown_model(),
            Refused::broken(),
            Refused::too_late(),
        ] {
            assert!(
                ![429, 500, 503].contains(&refused.status()) && refused.retry_after_seconds.is_none(),
                "{refused:?}"
            );
        }
    }
}
