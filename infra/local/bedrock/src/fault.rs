//! The errors that Bedrock Runtime models, with the statuses and the words of the service.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html>

use serde_json::{Value, json};

/// What kind of error an operation answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AccessDenied,
    InternalServer,
    InvalidSignature,
    MissingAuthenticationToken,
    ModelError,
    ModelNotReady,
    ModelTimeout,
    ResourceNotFound,
    ServiceQuotaExceeded,
    ServiceUnavailable,
    Throttling,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::AccessDenied,
        Self::InternalServer,
        Self::InvalidSignature,
        Self::MissingAuthenticationToken,
        Self::ModelError,
        Self::ModelNotReady,
        Self::ModelTimeout,
        Self::ResourceNotFound,
        Self::ServiceQuotaExceeded,
        Self::ServiceUnavailable,
        Self::Throttling,
        Self::UnknownOperation,
        Self::UnrecognizedClient,
        Self::Validation,
    ];

    /// As `x-amzn-errortype` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::InternalServer => "InternalServerException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::ModelError => "ModelErrorException",
            Self::ModelNotReady => "ModelNotReadyException",
            Self::ModelTimeout => "ModelTimeoutException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ServiceQuotaExceeded => "ServiceQuotaExceededException",
            Self::ServiceUnavailable => "ServiceUnavailableException",
            Self::Throttling => "ThrottlingException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::Validation => "ValidationException",
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            Self::ServiceQuotaExceeded | Self::Validation => 400,
            Self::AccessDenied
            | Self::InvalidSignature
            | Self::MissingAuthenticationToken
            | Self::UnrecognizedClient => 403,
            Self::ResourceNotFound | Self::UnknownOperation => 404,
            Self::ModelTimeout => 408,
            Self::ModelError => 424,
            Self::ModelNotReady | Self::Throttling => 429,
            Self::InternalServer => 500,
            Self::ServiceUnavailable => 503,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::AccessDenied => "You don't have access to the model with the specified model ID.",
            Self::InternalServer => {
                "The system encountered an unexpected error during processing. Try your request again."
            }
            Self::InvalidSignature => {
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
                 Key and signing method. Consult the service documentation for details."
            }
            Self::MissingAuthenticationToken => "Missing Authentication Token",
            Self::ModelError => "The request failed due to an error while processing the model.",
            Self::ModelNotReady => "The model specified in the request is not ready to serve inference requests.",
            Self::ModelTimeout => {
                "The request took too long to process. Processing time exceeded the model timeout length."
            }
            Self::ResourceNotFound => "Could not resolve the foundation model from the provided model identifier.",
            Self::ServiceQuotaExceeded => "Your request exceeds the service quota for your account.",
            Self::ServiceUnavailable => "The service isn't currently available. Try again later.",
            Self::Throttling => "Too many requests, please wait before trying again.",
            Self::UnknownOperation => "The operation is not known.",
            Self::UnrecognizedClient => "The security token included in the request is invalid.",
            Self::Validation => "The input fails to satisfy the constraints specified by Amazon Bedrock.",
        }
    }

    /// By its status (the first kind of a model that has it), or by its name, whatever case it begins with.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "400" => Some(Self::Validation),
            "403" => Some(Self::AccessDenied),
            "404" => Some(Self::ResourceNotFound),
            "408" => Some(Self::ModelTimeout),
            "424" => Some(Self::ModelError),
            "429" => Some(Self::Throttling),
            "500" => Some(Self::InternalServer),
            "503" => Some(Self::ServiceUnavailable),
            _ => Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text)),
        }
    }
}

/// An error as one call is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub message: String,
    /// Seconds, for `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Validation, message)
    }

    pub fn body(&self) -> Value {
        json!({"message": self.message})
    }

    /// As OpenAI's clients read it.
    pub fn chat_body(&self) -> Value {
        let kind = if self.kind.status() < 500 { "invalid_request_error" } else { "server_error" };
        json!({"error": {"message": self.message, "type": kind, "code": self.kind.name(), "param": null}})
    }

    /// The payload of an exception within a stream of events.
    pub fn stream_body(&self) -> Value {
        if self.kind == Kind::ModelError {
            return json!({"message": self.message, "originalStatusCode": 500, "originalMessage": self.message});
        }
        self.body()
    }

    /// As `:exception-type` names it: only these are modelled within a stream.
    pub const fn stream_name(kind: Kind) -> Option<&'static str> {
        match kind {
            Kind::InternalServer => Some("internalServerException"),
            Kind::ModelError => Some("modelStreamErrorException"),
            Kind::ModelTimeout => Some("modelTimeoutException"),
            Kind::ServiceUnavailable => Some("serviceUnavailableException"),
            Kind::Throttling => Some("throttlingException"),
            Kind::Validation => Some("validationException"),
            Kind::AccessDenied
            | Kind::InvalidSignature
            | Kind::MissingAuthenticationToken
            | Kind::ModelNotReady
            | Kind::ResourceNotFound
            | Kind::ServiceQuotaExceeded
            | Kind::UnknownOperation
            | Kind::UnrecognizedClient => None,
        }
    }

    /// The kind that a stream names so.
    pub fn stream_kind(name: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| Self::stream_name(*kind).is_some_and(|found| found.eq_ignore_ascii_case(name)))
    }
}

impl From<Kind> for Fault {
    fn from(kind: Kind) -> Self {
        Self::new(kind, kind.message())
    }
}
