//! What the environment says. The only place of this crate that reads it.

use aws_credential_types::Credentials;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sluice_core::arn::StateMachineArn;
use sluice_core::budget::MicroUsd;
use sluice_core::destination::Destinations;
use sluice_core::flow::create_run::Policy;
use sluice_core::flow::waiting::WaitLimits;
use sluice_core::governor::url::{GovernorUrl, InvalidGovernorUrl};
use sluice_core::id::InvalidId;
use sluice_core::limits;
use sluice_core::operator::Unlisted;
use sluice_core::tenant_limits::TenantLimits;
use std::ops::RangeInclusive;
use std::sync::Arc;
use url::Url;

/// Settings of the adapters.
#[derive(Clone, Debug)]
pub struct Settings {
    pub region: String,
    /// `Debug` leaves the secret out.
    pub credentials: Credentials,
    pub endpoints: Endpoints,
    /// The roots that the services' certificates are checked against, instead of the compiled-in ones: those of a proxy
    /// that looks into TLS, or of a test.
    pub roots: Option<Arc<RootCertStore>>,
    /// Whether connections are opened while the function starts: in Lambda.
    pub opens_early: bool,
    /// The single table.
    pub table: String,
    /// The bus for Sluice's own events.
    pub event_bus: String,
    /// The state machine that a compute node gets when its declaration names none.
    pub runner_arn: Option<StateMachineArn>,
    /// Regions whose Lambda Function URLs may be called back.
    pub callback_regions: Vec<String>,
    /// Origins that may be called back besides. On a laptop only.
    pub extra_callback_origins: Vec<String>,
    /// What tenants may do that the operator has made no list for.
    pub unlisted: Unlisted,
    /// The largest `executionBudgetUsd`.
    pub max_budget: MicroUsd,
    /// What a tenant may take of which nothing else was said.
    pub tenant_limits: TenantLimits,
    /// What of the account's concurrency is set aside for read-runs; 0 for nothing.
    pub read_runs_concurrency: u32,
    /// Where runs have their calls of language models governed; `None` where nobody does.
    pub governor_url: Option<GovernorUrl>,
}

/// Where the services are, when not at their own addresses: on a laptop, and in tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub dynamodb: Option<String>,
    pub sfn: Option<String>,
    pub events: Option<String>,
    /// Of Bedrock Runtime.
    pub bedrock: Option<String>,
}

/// Why the environment cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable} {fault}")]
pub struct ConfigError {
    pub variable: &'static str,
    pub fault: String,
}

const REGION: &str = "AWS_REGION";
const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// A file of PEM certificates, by the name that the CLI and the SDKs have for it.
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html>
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// Lambda says here how it came to start the function.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const INITIALIZATION_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const BEDROCK_ENDPOINT: &str = "SLUICE_BEDROCK_ENDPOINT";
const TABLE: &str = "SLUICE_TABLE";
const EVENT_BUS: &str = "SLUICE_EVENT_BUS";
const RUNNER_ARN: &str = "SLUICE_RUNNER_ARN";
const CALLBACK_REGIONS: &str = "SLUICE_CALLBACK_REGIONS";
const EXTRA_CALLBACK_ORIGINS: &str = "SLUICE_EXTRA_CALLBACK_ORIGINS";
const UNLISTED_TENANTS: &str = "SLUICE_UNLISTED_TENANTS";
const MAX_BUDGET_USD: &str = "SLUICE_MAX_BUDGET_USD";
const TENANT_STARTS_PER_MINUTE: &str = "SLUICE_TENANT_STARTS_PER_MINUTE";
const TENANT_WAITS_AT_ONCE: &str = "SLUICE_TENANT_WAITS_AT_ONCE";
const TENANT_OPEN_RUNS: &str = "SLUICE_TENANT_OPEN_RUNS";
const READ_RUNS_CONCURRENCY: &str = "SLUICE_READ_RUNS_CONCURRENCY";
const TENANT_DEFINITIONS: &str = "SLUICE_TENANT_DEFINITIONS";
const GOVERNOR_URL: &str = "SLUICE_GOVERNOR_URL";

impl Settings {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// When a variable is missing or makes no sense.
    #[expect(clippy::disallowed_methods, reason = "this is the config module")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// [`Self::from_env`] with the environment given. Blank variables count as absent.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let optional = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let required = |name: &'static str| {
            optional(name).ok_or_else(|| ConfigError { variable: name, fault: "is not set".to_owned() })
        };
        let endpoint = |name: &str| optional(name).or_else(|| optional(ENDPOINT));
        let region = required(REGION)?;
        Ok(Self {
            // Lambda gives its credentials in the environment and renews them with the whole sandbox.
            credentials: Credentials::new(
                required(ACCESS_KEY_ID)?,
                required(SECRET_ACCESS_KEY)?,
                optional(SESSION_TOKEN),
                None,
                "environment",
            ),
            endpoints: Endpoints {
                dynamodb: endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
                sfn: endpoint("AWS_ENDPOINT_URL_SFN"),
                events: endpoint("AWS_ENDPOINT_URL_EVENTBRIDGE"),
                // Not the one address of a laptop's stack: what that has for Bedrock keeps no limits.
                bedrock: optional(BEDROCK_ENDPOINT).map(|text| address(BEDROCK_ENDPOINT, text)).transpose()?,
            },
            roots: optional(CA_BUNDLE).map(|path| bundle(&path)).transpose()?,
            opens_early: optional(INITIALIZATION_TYPE).is_some(),
            table: required(TABLE)?,
            event_bus: optional(EVENT_BUS).unwrap_or_else(|| "default".to_owned()),
            runner_arn: optional(RUNNER_ARN).map(|text| state_machine(RUNNER_ARN, text)).transpose()?,
            callback_regions: optional(CALLBACK_REGIONS).map_or_else(|| vec![region.clone()], |text| list(&text)),
            extra_callback_origins: optional(EXTRA_CALLBACK_ORIGINS)
                .map_or_else(|| Ok(Vec::new()), |text| origins(&text))?,
            unlisted: optional(UNLISTED_TENANTS).map_or(Ok(Unlisted::default()), |text| unlisted(&text))?,
            max_budget: optional(MAX_BUDGET_USD).map_or(Ok(LARGEST_BUDGET), |text| budget(&text))?,
            tenant_limits: tenant_limits(&optional)?,
            read_runs_concurrency: optional(READ_RUNS_CONCURRENCY)
                .map_or(Ok(0), |text| number(READ_RUNS_CONCURRENCY, &text, &(0..=u32::MAX)))?,
            governor_url: optional(GOVERNOR_URL).map(|text| governor_url(&text)).transpose()?,
            region,
        })
    }

    /// Everything at one address, with credentials that open nothing.
    pub fn for_test(endpoint: &str) -> Self {
        let endpoint = Some(endpoint.to_owned());
        Self {
            region: "eu-west-1".to_owned(),
            credentials: Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "test"),
            endpoints: Endpoints { dynamodb: endpoint.clone(), sfn: endpoint.clone(), events: endpoint, bedrock: None },
            roots: None,
            opens_early: false,
            table: "sluice-test".to_owned(),
            event_bus: "default".to_owned(),
            runner_arn: "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-runner".parse().ok(),
            callback_regions: vec!["eu-west-1".to_owned()],
            extra_callback_origins: Vec::new(),
            unlisted: Unlisted::Open,
            max_budget: LARGEST_BUDGET,
            tenant_limits: TenantLimits::DEFAULT,
            read_runs_concurrency: 0,
            governor_url: None,
        }
    }

    /// Where webhooks may go.
    pub fn destinations(&self) -> Destinations {
        Destinations { regions: self.callback_regions.clone(), extra_origins: self.extra_callback_origins.clone() }
    }

    /// How many reads may wait at once.
    pub fn wait_limits(&self) -> WaitLimits {
        WaitLimits::of(self.tenant_limits, self.read_runs_concurrency)
    }

    /// What a request for a run is held to.
    pub fn policy(&self) -> Policy {
        Policy {
            destinations: self.destinations(),
            unlisted: self.unlisted,
            max_budget: self.max_budget,
            tenant_limits: self.tenant_limits,
            governor_url: self.governor_url.clone(),
        }
    }
}

const LARGEST_BUDGET: MicroUsd = MicroUsd::from_usd(limits::BUDGET_USD);

/// Certificates that cannot be made sense of are left out, as every reader of bundles does; one at least must be good.
fn bundle(path: &str) -> Result<Arc<RootCertStore>, ConfigError> {
    let fault = |what: String| ConfigError { variable: CA_BUNDLE, fault: format!("names {path}, {what}") };
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| fault(format!("which cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(fault("which has no certificate".to_owned())) } else { Ok(Arc::new(roots)) }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Each as a browser would spell it, because that is what a callback URL's origin is compared with.
fn origins(text: &str) -> Result<Vec<String>, ConfigError> {
    list(text)
        .iter()
        .map(|part| match Url::parse(part) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url.origin().ascii_serialization()),
            Ok(_) | Err(_) => Err(ConfigError {
                variable: EXTRA_CALLBACK_ORIGINS,
                fault: format!("has {part}, which is no http(s) origin"),
            }),
        })
        .collect()
}

/// Where a service is: an http(s) URL, without a query.
fn address(variable: &'static str, text: String) -> Result<String, ConfigError> {
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() => Ok(text),
        Ok(_) | Err(_) => Err(ConfigError { variable, fault: format!("is {text}, which is no http(s) address") }),
    }
}

fn state_machine(variable: &'static str, text: String) -> Result<StateMachineArn, ConfigError> {
    text.try_into().map_err(|error: InvalidId| ConfigError { variable, fault: error.to_string() })
}

fn unlisted(text: &str) -> Result<Unlisted, ConfigError> {
    match text {
        "closed" => Ok(Unlisted::Closed),
        "open" => Ok(Unlisted::Open),
        other => {
            Err(ConfigError { variable: UNLISTED_TENANTS, fault: format!("is {other:?}, neither closed nor open") })
        }
    }
}

fn budget(text: &str) -> Result<MicroUsd, ConfigError> {
    MicroUsd::parse(text, LARGEST_BUDGET)
        .map_err(|error| ConfigError { variable: MAX_BUDGET_USD, fault: error.to_string() })
}

fn governor_url(text: &str) -> Result<GovernorUrl, ConfigError> {
    text.parse().map_err(|error: InvalidGovernorUrl| ConfigError {
        variable: GOVERNOR_URL,
        fault: format!("is {text}, which {error}"),
    })
}

/// What a tenant may take, each within what an operator could say of one tenant.
fn tenant_limits(optional: &impl Fn(&str) -> Option<String>) -> Result<TenantLimits, ConfigError> {
    let read = |variable: &'static str, allowed: RangeInclusive<u32>, default: u32| {
        optional(variable).map_or(Ok(default), |text| number(variable, &text, &allowed))
    };
    let default = TenantLimits::DEFAULT;
    Ok(TenantLimits {
        starts_per_minute: read(TENANT_STARTS_PER_MINUTE, limits::TENANT_STARTS_PER_MINUTE, default.starts_per_minute)?,
        waits_at_once: read(TENANT_WAITS_AT_ONCE, limits::TENANT_WAITS_AT_ONCE, default.waits_at_once)?,
        open_runs: read(TENANT_OPEN_RUNS, limits::TENANT_OPEN_RUNS, default.open_runs)?,
        definitions: read(TENANT_DEFINITIONS, limits::TENANT_DEFINITIONS, default.definitions)?,
    })
}

fn number(variable: &'static str, text: &str, allowed: &RangeInclusive<u32>) -> Result<u32, ConfigError> {
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| ConfigError {
        variable,
        fault: format!("is {text}, which is no whole number from {} to {}", allowed.start(), allowed.end()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let least = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "very-secret"),
            ("SLUICE_TABLE", "sluice-table"),
        ];
        let find = |name: &str| {
            let found = variables.iter().chain(&least).find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::from_variables(find)
    }

    #[test]
    fn the_least_environment_is_enough() {
        let settings = read(&[]).expect("settings");
        assert_eq!(settings.callback_regions, ["eu-west-1"]);
        assert_eq!(settings.event_bus, "default");
        assert_eq!(settings.unlisted, Unlisted::Closed);
        assert_eq!(settings.max_budget, MicroUsd::from_usd(100_000));
        assert_eq!(settings.tenant_limits, TenantLimits::DEFAULT);
        assert_eq!(settings.endpoints, Endpoints::default());
        assert!(settings.extra_callback_origins.is_empty() && settings.runner_arn.is_none());
        assert_eq!(settings.policy().governor_url, None);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = read(&[("SLUICE_TABLE", " ")]).expect_err("no table");
        assert_eq!(error.to_string(), "environment variable SLUICE_TABLE is not set");
    }

    #[test]
    fn a_services_own_endpoint_beats_the_common_one() {
        let settings =
            read(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:2")]);
        let endpoints = settings.expect("settings").endpoints;
        assert_eq!(endpoints.dynamodb.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(endpoints.sfn.as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(endpoints.events.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(endpoints.bedrock, None, "the common one is never that of models");
        let own = read(&[("SLUICE_BEDROCK_ENDPOINT", "https://localhost:8443")]).expect("settings").endpoints;
        assert_eq!(own.bedrock.as_deref(), Some("https://localhost:8443"));
    }

    #[test]
    fn lists_and_origins_are_taken_apart() {
        let settings = read(&[
            ("SLUICE_CALLBACK_REGIONS", "eu-west-1, us-east-1,"),
            ("SLUICE_EXTRA_CALLBACK_ORIGINS", "http://127.0.0.1:9000/,HTTP://LocalHost:80"),
        ])
        .expect("settings");
        assert_eq!(settings.callback_regions, ["eu-west-1", "us-east-1"]);
        assert_eq!(settings.extra_callback_origins, ["http://127.0.0.1:9000", "http://localhost"]);
    }

    #[test]
    fn each_limit_of_tenants_is_read_from_its_own_variable() {
        let settings = read(&[
            ("SLUICE_TENANT_STARTS_PER_MINUTE", "1"),
            ("SLUICE_TENANT_WAITS_AT_ONCE", "2"),
            ("SLUICE_TENANT_OPEN_RUNS", "300"),
            ("SLUICE_TENANT_DEFINITIONS", "4"),
            ("SLUICE_READ_RUNS_CONCURRENCY", "100"),
        ]);
        let expected = TenantLimits { starts_per_minute: 1, waits_at_once: 2, open_runs: 300, definitions: 4 };
        let settings = settings.expect("settings");
        assert_eq!((settings.tenant_limits, settings.policy().tenant_limits), (expected, expected));
        assert_eq!(settings.wait_limits(), WaitLimits { tenant: expected, all: 70 });
    }

    #[test]
    fn the_governor_is_where_its_variable_says() {
        let of = |text| read(&[("SLUICE_GOVERNOR_URL", text)]).expect("settings").policy().governor_url;
        let url = of("https://api.example/prod/").map(|url| url.to_string());
        assert_eq!((url.as_deref(), of(" ")), (Some("https://api.example/prod"), None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (variable, value) in [
            ("SLUICE_MAX_BUDGET_USD", "-1"),
            ("SLUICE_UNLISTED_TENANTS", "true"),
            ("SLUICE_RUNNER_ARN", "sluice-runner"),
            ("SLUICE_MAX_BUDGET_USD", "100001"),
            ("SLUICE_EXTRA_CALLBACK_ORIGINS", "file:///etc/passwd"),
            ("SLUICE_EXTRA_CALLBACK_ORIGINS", "localhost"),
            ("SLUICE_BEDROCK_ENDPOINT", "localhost:8443"),
            ("SLUICE_BEDROCK_ENDPOINT", "https://localhost/?x=1"),
            ("SLUICE_TENANT_STARTS_PER_MINUTE", "0"),
            ("SLUICE_TENANT_WAITS_AT_ONCE", "many"),
            ("SLUICE_TENANT_OPEN_RUNS", "99"),
            ("SLUICE_TENANT_DEFINITIONS", "-1"),
            ("SLUICE_READ_RUNS_CONCURRENCY", "-1"),
            ("SLUICE_GOVERNOR_URL", "http://api.example/prod"),
        ] {
            assert_eq!(read(&[(variable, value)]).expect_err(value).variable, variable);
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        assert!(!format!("{:?}", read(&[("AWS_SESSION_TOKEN", "very-private")]).expect("settings")).contains("very-"));
    }
}
