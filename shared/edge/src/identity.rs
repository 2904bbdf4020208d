//! Who the caller is: the authorizer's verdict in the event, and nothing else.
//!
//! **Invariants:** a tenant never comes from a body, a header or a path; without a verdict there is no caller, except
//! where a tenant for local development is configured, which the deployed template never does. A report token is no
//! caller's: what it opens is its flow's affair.

use crate::http::Request;
use crate::problem::{self, Problem};
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayRequestAuthorizerIamDescription as Iam, ApiGatewayRequestAuthorizerJwtDescription as Jwt,
};
use lambda_http::http::header::WWW_AUTHENTICATE;
use sluice_core::caller::{Caller, Principal};
use sluice_core::id::TenantId;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Characters of a principal that are kept.
const PRINCIPAL_CHARS: usize = 512;

/// How verdicts become callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
    /// The JWT claim with the tenant.
    pub tenant_claim: String,
    /// The JWT scope that marks the operator.
    pub operator_scope: String,
    /// IAM principals that are the operator.
    pub operator_principals: Vec<Pattern>,
    /// IAM principals whose tenant is not their account, the most specific pattern first.
    pub principal_tenants: Vec<(Pattern, TenantId)>,
    /// The sessions of the role that sends webhooks. It is a caller nowhere: a webhook may be pointed at any URL that its tenant
    /// may name, our own among them.
    pub sender: Option<Pattern>,
    /// Stands in for a missing verdict, as operator. Local development only.
    pub local_tenant: Option<TenantId>,
}

/// The ARN of a caller, or the beginning of one with `*` after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern of users, of roles or of sessions. A role never calls by its own ARN but by that of one of its
    /// sessions, so a pattern of roles becomes the pattern of their sessions:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>.
    ///
    /// # Errors
    /// What is wrong with a pattern that could never match, or that would match more than it says.
    fn read(text: &str) -> Result<Self, String> {
        let start = text.strip_suffix('*').unwrap_or(text);
        if start.contains('*') {
            return Err(format!("{text:?} has a * that is not at its end"));
        }
        let parts: Vec<&str> = start.splitn(6, ':').collect();
        let ["arn", partition, "iam", _, account, resource] = parts[..] else {
            return Ok(Self(text.to_owned()));
        };
        let is_exact = start.len() == text.len();
        let Some(role) = resource.strip_prefix("role/") else {
            if !is_exact && "role/".starts_with(resource) {
                return Err(format!("{text:?} is for users and roles at once: say user/* or role/*"));
            }
            return Ok(Self(text.to_owned()));
        };
        // The ARN of a session does not show the path of its role.
        let name = role.rsplit('/').next().unwrap_or(role);
        if name.is_empty() && (is_exact || role.contains('/')) {
            return Err(format!("{text:?} names a path of roles, which no caller shows: name the roles"));
        }
        let end = if is_exact { "/*" } else { "*" };
        Ok(Self(format!("arn:{partition}:sts::{account}:assumed-role/{name}{end}")))
    }

    /// The sessions of one role, by the role's ARN; `None` for what is no ARN of a role.
    pub fn sessions_of(role: &str) -> Option<Self> {
        let sessions = Self::read(role).ok()?;
        (role.contains(":role/") && !role.contains('*')).then_some(sessions)
    }

    fn matches(&self, arn: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => arn.starts_with(start),
            None => arn == self.0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {message}")]
pub struct ConfigError {
    pub name: &'static str,
    pub message: String,
}

impl IdentityConfig {
    /// # Errors
    /// When a variable is there but cannot be read.
    #[expect(clippy::disallowed_methods, reason = "this is where the edge reads its configuration")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// A test's configuration: what no variable sets.
    pub fn for_test() -> Self {
        Self {
            tenant_claim: "tenant_id".to_owned(),
            operator_scope: "sluice/operator".to_owned(),
            operator_principals: Vec::new(),
            principal_tenants: Vec::new(),
            sender: None,
            local_tenant: None,
        }
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let given = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let defaults = Self::for_test();
        let operator_principals = given("SLUICE_OPERATOR_PRINCIPALS").unwrap_or_default();
        let principal_tenants = given("SLUICE_PRINCIPAL_TENANTS").unwrap_or_else(|| "{}".to_owned());
        let sender = match given(SENDER) {
            Some(role) => Some(
                Pattern::sessions_of(&role)
                    .ok_or_else(|| ConfigError { name: SENDER, message: format!("{role:?} is no role's ARN") })?,
            ),
            None => None,
        };
        let local_tenant = match given("SLUICE_LOCAL_TENANT") {
            Some(text) => Some(tenant("SLUICE_LOCAL_TENANT", &text)?),
            None => None,
        };
        Ok(Self {
            tenant_claim: given("SLUICE_TENANT_CLAIM").unwrap_or(defaults.tenant_claim),
            operator_scope: given("SLUICE_OPERATOR_SCOPE").unwrap_or(defaults.operator_scope),
            operator_principals: operator_principals
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(|text| {
                    Pattern::read(text).map_err(|message| ConfigError { name: "SLUICE_OPERATOR_PRINCIPALS", message })
                })
                .collect::<Result<_, _>>()?,
            principal_tenants: principal_tenants_of(&principal_tenants)?,
            sender,
            local_tenant,
        })
    }

    /// Refuses the role that sends webhooks, whichever route it asks for, an open one too.
    ///
    /// # Errors
    /// 403.
    pub fn refuse_the_sender(&self, request: &Request) -> Result<(), Problem> {
        let iam = request.authorizer.as_ref().and_then(|authorizer| authorizer.iam.as_ref());
        let arn = iam.and_then(|iam| iam.user_arn.as_deref()).unwrap_or_default();
        match &self.sender {
            Some(sender) if sender.matches(arn) => Err(no_tenant("webhooks are not sent to Sluice itself")),
            Some(_) | None => Ok(()),
        }
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// 401 without a verdict, 403 for a verdict that names no tenant.
    pub fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let verdict = request.authorizer.as_ref().map(|authorizer| (&authorizer.iam, &authorizer.jwt));
        let caller = match verdict {
            Some((Some(iam), _)) => self.iam_caller(iam)?,
            Some((None, Some(jwt))) => self.jwt_caller(jwt)?,
            Some((None, None)) | None => self.local_caller()?,
        };
        request.about_tenant(&caller.tenant);
        Ok(caller)
    }

    fn iam_caller(&self, iam: &Iam) -> Result<Caller, Problem> {
        let arn = iam.user_arn.as_deref().unwrap_or_default();
        let mapped = self.principal_tenants.iter().find(|(pattern, _)| pattern.matches(arn));
        let tenant = match (mapped, &iam.account_id) {
            (Some((_, tenant)), _) => tenant.clone(),
            (None, Some(account_id)) => {
                account_id.parse().map_err(|_| no_tenant("the signer's account is no tenant"))?
            }
            (None, None) => return Err(unauthenticated()),
        };
        let is_operator = self.operator_principals.iter().any(|pattern| pattern.matches(arn));
        let name = if arn.is_empty() { iam.account_id.as_deref().unwrap_or_default() } else { arn };
        Ok(Caller { tenant, principal: principal(name), is_operator })
    }

    fn jwt_caller(&self, jwt: &Jwt) -> Result<Caller, Problem> {
        // API Gateway makes every claim a text.
        let claim = |name: &str| jwt.claims.get(name).map(String::as_str);
        let Some(tenant) = claim(&self.tenant_claim) else {
            return Err(no_tenant(&format!("the token has no claim {}", self.tenant_claim)));
        };
        let refused =
            |why: &dyn Display| no_tenant(&format!("the token's claim {} is no tenant: {why}", self.tenant_claim));
        // A claim that is no text arrives as JSON's word for it.
        if is_account_id(tenant) || ["null", "true", "false"].contains(&tenant) {
            return Err(refused(&"an AWS account's id and JSON's own words name none"));
        }
        let tenant = tenant.parse().map_err(|error| refused(&error))?;
        let in_claim = claim("scope").is_some_and(|scopes| scopes.split(' ').any(|scope| scope == self.operator_scope));
        let in_list = jwt.scopes.as_ref().is_some_and(|scopes| scopes.contains(&self.operator_scope));
        let name = claim("sub").or_else(|| claim("client_id")).unwrap_or("unnamed");
        Ok(Caller { tenant, principal: principal(name), is_operator: in_claim || in_list })
    }

    fn local_caller(&self) -> Result<Caller, Problem> {
        let tenant = self.local_tenant.clone().ok_or_else(unauthenticated)?;
        Ok(Caller { tenant, principal: principal("local"), is_operator: true })
    }
}

/// The variable with the ARN of the role that sends webhooks.
const SENDER: &str = "SLUICE_CALLBACK_ROLE_ARN";

/// Tenants of tokens and of signers share one namespace, and a signer's is its account: no token may name one.
fn is_account_id(tenant: &str) -> bool {
    tenant.len() == 12 && tenant.bytes().all(|byte| byte.is_ascii_digit())
}

fn principal(name: &str) -> Principal {
    Principal(name.chars().take(PRINCIPAL_CHARS).collect())
}

fn unauthenticated() -> Problem {
    Problem::new(&problem::UNAUTHENTICATED, "the request carries no identity that an authorizer has verified")
        .with_header(WWW_AUTHENTICATE, problem::CHALLENGE)
}

fn no_tenant(detail: &str) -> Problem {
    Problem::new(&problem::NO_TENANT, detail)
}

fn tenant(name: &'static str, text: &str) -> Result<TenantId, ConfigError> {
    text.parse().map_err(|error| ConfigError { name, message: format!("{text:?} is no tenant: {error}") })
}

fn principal_tenants_of(text: &str) -> Result<Vec<(Pattern, TenantId)>, ConfigError> {
    const NAME: &str = "SLUICE_PRINCIPAL_TENANTS";
    let map: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| ConfigError {
        name: NAME,
        message: format!("must be a JSON object of principal patterns and tenants: {error}"),
    })?;
    let mut tenants: Vec<(Pattern, TenantId)> = Vec::with_capacity(map.len());
    for (text, tenant_text) in map {
        let pattern = Pattern::read(text.trim()).map_err(|message| ConfigError { name: NAME, message })?;
        if tenants.iter().any(|(known, _)| *known == pattern) {
            return Err(ConfigError { name: NAME, message: format!("{text:?} says the same callers as another") });
        }
        tenants.push((pattern, tenant(NAME, &tenant_text)?));
    }
    tenants.sort_by_key(|(Pattern(pattern), _)| {
        std::cmp::Reverse((pattern.trim_end_matches('*').len(), !pattern.ends_with('*')))
    });
    Ok(tenants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Event;
    use lambda_runtime::LambdaEvent;
    use serde_json::{Value, json};

    fn caller(config: &IdentityConfig, authorizer: Value) -> Result<(String, String, bool), u16> {
        let event = json!({"requestContext": {"http": {"method": "GET"}, "authorizer": authorizer}}).to_string();
        let event: Event = serde_json::from_str(&event).expect("an event");
        let request = Request::from(LambdaEvent::new(event, lambda_runtime::Context::default()));
        match config.caller(&request) {
            Ok(caller) => Ok((caller.tenant.to_string(), caller.principal.0, caller.is_operator)),
            Err(problem) => Err(problem.kind.status),
        }
    }

    fn said(tenant: &str, principal: &str, is_operator: bool) -> Result<(String, String, bool), u16> {
        Ok((tenant.to_owned(), principal.to_owned(), is_operator))
    }

    fn config(variables: &[(&str, &str)]) -> Result<IdentityConfig, ConfigError> {
        IdentityConfig::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const ADA: &str = "arn:aws:iam::123456789012:user/ada";
    const CHAT: &str = "arn:aws:sts::123456789012:assumed-role/chat/i-1";

    #[test]
    fn an_account_is_a_tenant_unless_the_operator_says_otherwise() {
        let plain = config(&[]).expect("config");
        assert_eq!(
            caller(&plain, json!({"iam": {"accountId": "123456789012", "userArn": ADA}})),
            said("123456789012", ADA, false)
        );
        let mapped = config(&[
            ("SLUICE_OPERATOR_PRINCIPALS", " arn:aws:iam::123456789012:user/ada , "),
            (
                "SLUICE_PRINCIPAL_TENANTS",
                r#"{"arn:aws:sts::123456789012:*":"all","arn:aws:sts::123456789012:assumed-role/chat/*":"chat"}"#,
            ),
        ])
        .expect("config");
        assert_eq!(
            caller(&mapped, json!({"iam": {"accountId": "123456789012", "userArn": ADA}})),
            said("123456789012", ADA, true)
        );
        assert_eq!(
            caller(&mapped, json!({"iam": {"accountId": "123456789012", "userArn": CHAT}})),
            said("chat", CHAT, false)
        );
        let other = "arn:aws:sts::123456789012:assumed-role/chatter/i-1";
        assert_eq!(
            caller(&mapped, json!({"iam": {"accountId": "123456789012", "userArn": other}})),
            said("all", other, false)
        );
    }

    #[test]
    fn a_role_stands_for_its_sessions_and_for_no_others() {
        let session = |name: &str| format!("arn:aws:sts::123456789012:assumed-role/{name}/i-1");
        let cases = [
            ("role/chat", "chat", true),
            ("role/service/eu/chat", "chat", true),
            ("role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0a1b", "AWSReservedSSO_Admin_0a1b", true),
            ("role/chat*", "chat", true),
            ("role/chat*", "chatter", true),
            ("role/team/chat-*", "chat-eu", true),
            ("role/*", "anyone", true),
            ("role/chat", "chatter", false),
            ("role/chat", "cha", false),
            ("role/team/chat-*", "chatter", false),
            ("user/chat", "chat", false),
        ];
        for (role, caller_role, matches) in cases {
            let principal = format!("arn:aws:iam::123456789012:{role}");
            let mapped = json!({principal.as_str(): "mapped"}).to_string();
            let config = config(&[
                ("SLUICE_OPERATOR_PRINCIPALS", principal.as_str()),
                ("SLUICE_PRINCIPAL_TENANTS", mapped.as_str()),
            ])
            .expect("config");
            let arn = session(caller_role);
            let tenant = if matches { "mapped" } else { "123456789012" };
            assert_eq!(
                caller(&config, json!({"iam": {"accountId": "123456789012", "userArn": arn}})),
                said(tenant, &arn, matches),
                "{role} and {caller_role}"
            );
            let elsewhere = arn.replace("123456789012", "210987654321");
            assert_eq!(
                caller(&config, json!({"iam": {"accountId": "210987654321", "userArn": elsewhere}})),
                said("210987654321", &elsewhere, false),
                "{role} of another account"
            );
        }
    }

    #[test]
    fn who_sends_webhooks_calls_nothing() {
        let with = |variables: &[(&str, &str)], arn: &str| {
            let config = config(variables).expect("config");
            let iam = json!({"iam": {"accountId": "123456789012", "userArn": arn}});
            let event = json!({"requestContext": {"http": {"method": "POST"}, "authorizer": iam}}).to_string();
            let event: Event = serde_json::from_str(&event).expect("an event");
            let request = Request::from(LambdaEvent::new(event, lambda_runtime::Context::default()));
            config.refuse_the_sender(&request).map_err(|problem| problem.kind.status)
        };
        let role = [(SENDER, "arn:aws:iam::123456789012:role/stack/sluice-run-callback")];
        for (arn, told) in [
            ("arn:aws:sts::123456789012:assumed-role/sluice-run-callback/sluice-run-callback", Err(403)),
            ("arn:aws:sts::123456789012:assumed-role/sluice-run-callback/x", Err(403)),
            ("arn:aws:sts::123456789012:assumed-role/sluice-run-callback-2/x", Ok(())),
            ("arn:aws:sts::210987654321:assumed-role/sluice-run-callback/x", Ok(())),
            (ADA, Ok(())),
            ("", Ok(())),
        ] {
            assert_eq!(with(&role, arn), told, "{arn}");
            assert_eq!(with(&[], arn), Ok(()));
        }
        for text in ["sluice-run-callback", ADA, "arn:aws:iam::123456789012:role/", "arn:aws:iam::123456789012:role/*"]
        {
            assert_eq!(config(&[(SENDER, text)]).expect_err("refused").name, SENDER, "{text}");
        }
    }

    #[test]
    fn a_role_that_is_named_is_more_specific_than_a_beginning() {
        let mapped =
            r#"{"arn:aws:iam::123456789012:role/chat*":"all","arn:aws:iam::123456789012:role/bots/chat":"chat"}"#;
        let config = config(&[("SLUICE_PRINCIPAL_TENANTS", mapped)]).expect("config");
        assert_eq!(
            caller(&config, json!({"iam": {"accountId": "123456789012", "userArn": CHAT}})),
            said("chat", CHAT, false)
        );
    }

    #[test]
    fn a_token_names_its_tenant_and_its_operator() {
        let config = config(&[]).expect("config");
        let token = |claims: Value, scopes: Value| json!({"jwt": {"claims": claims, "scopes": scopes}});
        assert_eq!(
            caller(&config, token(json!({"tenant_id": "acme", "sub": "ada"}), Value::Null)),
            said("acme", "ada", false)
        );
        let scope = json!({"tenant_id": "acme", "client_id": "ci", "scope": "a sluice/operator", "exp": "1900000000"});
        assert_eq!(caller(&config, token(scope, Value::Null)), said("acme", "ci", true));
        let listed = json!(["sluice/operator"]);
        assert_eq!(caller(&config, token(json!({"tenant_id": "acme"}), listed)), said("acme", "unnamed", true));
        let near = json!({"tenant_id": "acme", "scope": "sluice/operators"});
        assert_eq!(caller(&config, token(near, json!([]))), said("acme", "unnamed", false));
    }

    #[test]
    fn who_has_no_tenant_is_refused() {
        let config = config(&[]).expect("config");
        for authorizer in [
            json!({"jwt": {"claims": {"sub": "ada"}}}),
            json!({"jwt": {"claims": {"tenant_id": "a#b"}}}),
            json!({"jwt": {"claims": {"tenant_id": "000000000000"}}}),
            json!({"jwt": {"claims": {"tenant_id": "123456789012"}}}),
            json!({"jwt": {"claims": {"tenant_id": "null"}}}),
            json!({"jwt": {"claims": {"tenant_id": "true"}}}),
            json!({"jwt": {"claims": {"tenant_id": "false"}}}),
            json!({"iam": {"accountId": "a b"}}),
        ] {
            assert_eq!(caller(&config, authorizer.clone()), Err(403), "{authorizer}");
        }
        for authorizer in [
            Value::Null,
            json!({}),
            json!({"lambda": {"tenant": "acme"}}),
            json!({"iam": {}}),
            // Not as API Gateway writes it: no verdict can be read from it.
            json!({"jwt": {"claims": {"tenant_id": 7}}}),
        ] {
            assert_eq!(caller(&config, authorizer.clone()), Err(401), "{authorizer}");
        }
    }

    #[test]
    fn the_local_tenant_stands_in_only_for_a_missing_verdict() {
        let local = config(&[("SLUICE_LOCAL_TENANT", "dev")]).expect("config");
        assert_eq!(caller(&local, Value::Null), said("dev", "local", true));
        assert_eq!(caller(&local, json!({"jwt": {"claims": {"tenant_id": "acme"}}})), said("acme", "unnamed", false));
        assert_eq!(caller(&local, json!({"jwt": {"claims": {}}})), Err(403));
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named() {
        for (name, value) in [
            ("SLUICE_LOCAL_TENANT", "a b"),
            ("SLUICE_PRINCIPAL_TENANTS", "[]"),
            ("SLUICE_PRINCIPAL_TENANTS", r#"{"arn:aws:*":"a b"}"#),
            ("SLUICE_PRINCIPAL_TENANTS", r#"{"arn:aws:iam::1:role/a/b":"x","arn:aws:iam::1:role/b":"y"}"#),
            ("SLUICE_OPERATOR_PRINCIPALS", "arn:aws:iam::123456789012:role/team/*"),
            ("SLUICE_OPERATOR_PRINCIPALS", "arn:aws:iam::123456789012:role/"),
            ("SLUICE_OPERATOR_PRINCIPALS", "arn:aws:iam::123456789012:*"),
            ("SLUICE_OPERATOR_PRINCIPALS", "arn:aws:iam::*:role/admin"),
        ] {
            assert_eq!(config(&[(name, value)]).expect_err("refused").name, name);
        }
    }
}
