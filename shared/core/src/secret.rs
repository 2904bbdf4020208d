//! References to secrets. A parameter never has a secret itself but `{"secretRef": "<ARN>"}`, which a processor resolves with
//! rights of its own. Processors are shared, so whoever names the ARN must be one that the operator lets name it.

use crate::id::InvalidId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// The member of an object that makes it a reference.
const REFERENCE: &str = "secretRef";

/// Whether a value is a reference to a secret of Secrets Manager or a parameter of the SSM Parameter Store, and nothing else.
pub fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        object.len() == 1
            && object.get(REFERENCE).and_then(Value::as_str).is_some_and(|arn| Named::in_arn(arn).is_some())
    })
}

/// What a value refers to, however deep inside: the text of every member `secretRef`, whatever stands beside it.
pub fn references(value: &Value) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(object) => {
                found.extend(object.get(REFERENCE).and_then(Value::as_str));
                left.extend(object.values());
            }
            Value::Array(values) => left.extend(values),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}

/// The parts of an ARN that say whose secret it names.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
struct Named<'a> {
    account: &'a str,
    name: &'a str,
}

impl<'a> Named<'a> {
    /// `None` for what is no ARN of a secret or a parameter. The name may be empty.
    fn in_arn(text: &'a str) -> Option<Self> {
        let ["arn", partition, service, region, account, resource] = text.splitn(6, ':').collect::<Vec<_>>()[..] else {
            return None;
        };
        let name = match service {
            "secretsmanager" => resource.strip_prefix("secret:"),
            "ssm" => resource.strip_prefix("parameter/"),
            _ => None,
        }?;
        let is_named = partition.starts_with("aws") && !region.is_empty() && account.len() == 12;
        is_named.then_some(Self { account, name })
    }
}

/// The beginning of the ARNs of the secrets that a tenant may refer to. It goes at least as far as the account and the kind, as
/// `arn:aws:secretsmanager:eu-west-1:123456789012:secret:` does; `…:secret:acme/` is a folder of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretPrefix(String);

impl SecretPrefix {
    /// Bytes of one at most: those of the longest ARN.
    const BYTES: usize = 2_048;

    /// Whether an ARN is one of a secret, and begins so.
    pub fn admits(&self, arn: &str) -> bool {
        arn.starts_with(&self.0) && Named::in_arn(arn).is_some_and(|named| !named.name.is_empty())
    }
}

impl TryFrom<String> for SecretPrefix {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let is_account = |account: &str| account.bytes().all(|byte| byte.is_ascii_digit());
        let is_prefix = text.len() <= Self::BYTES
            && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'*' && byte != b'?')
            && Named::in_arn(&text).is_some_and(|named| is_account(named.account));
        is_prefix.then_some(Self(text)).ok_or(InvalidId(
            "must be the beginning of an ARN as far as arn:aws:secretsmanager:<region>:<account>:secret: or \
             arn:aws:ssm:<region>:<account>:parameter/, and no pattern",
        ))
    }
}

impl From<SecretPrefix> for String {
    fn from(prefix: SecretPrefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn prefix(text: &str) -> Option<SecretPrefix> {
        text.to_owned().try_into().ok()
    }

    #[test]
    fn a_prefix_names_an_account_and_a_kind() {
        for good in [
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme/",
            "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/",
        ] {
            assert!(prefix(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "arn:aws:secretsmanager:",
            "arn:aws:secretsmanager:eu-west-1:123456789012",
            "arn:aws:secretsmanager:eu-west-1:123456789012:",
            "arn:aws:secretsmanager:eu-west-1:*:secret:",
            "arn:aws:secretsmanager:eu-west-1:12345678901x:secret:",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme/*",
            "arn:aws:secretsmanager::123456789012:secret:",
            "arn:aws:ssm:eu-west-1:123456789012:secret:",
            "arn:aws:s3:::bucket",
            "*",
        ] {
            assert!(prefix(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_admits_what_begins_so_and_names_something() {
        let acme = prefix("arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme/").expect("a prefix");
        assert!(acme.admits("arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme/key"));
        let account = prefix("arn:aws:secretsmanager:eu-west-1:123456789012:secret:").expect("a prefix");
        assert!(!account.admits("arn:aws:secretsmanager:eu-west-1:123456789012:secret:"));
        for other in [
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme2/key",
            "arn:aws:secretsmanager:eu-west-2:123456789012:secret:acme/key",
            "arn:aws:secretsmanager:eu-west-1:123456789013:secret:acme/key",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/acme/key",
            "acme/key",
        ] {
            assert!(!acme.admits(other), "{other}");
        }
    }

    #[test]
    fn a_reference_is_found_however_deep() {
        let arn = |name: &str| format!("arn:aws:ssm:eu-west-1:123456789012:parameter/{name}");
        let value = json!({
            "secretRef": arn("outside"), "beside": 1,
            "list": [{"secretRef": arn("inside")}, {"deep": {"secretRef": arn("deep")}}, {"secretRef": 5}],
        });
        let names = ["deep", "inside", "outside"].map(arn);
        assert_eq!(references(&value), names.iter().map(String::as_str).collect());
        assert!(!is_reference(&value));
        assert!(is_reference(&json!({"secretRef": arn("one")})));
        assert!(references(&json!(["secretRef", {"secretref": arn("one")}])).is_empty());
    }
}
