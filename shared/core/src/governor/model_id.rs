//! How calls name models, in every form that the API takes.
//!
//! **Invariant:** two names are one id exactly where they are billed alike: a foundation model's ARN is its plain id, a system
//! inference profile's ARN is the profile's id, and an application inference profile is nothing but its own ARN. A profile is
//! never the model behind it: `us.anthropic.…` costs more than `global.anthropic.…`, and both are declared or refused.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-use.html>

use crate::id::InvalidId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A model as it is billed: a plain id (`anthropic.claude-haiku-4-5-20251001-v1:0`), a system inference profile
/// (`us.anthropic.…`, `eu.…`, `apac.…`, `global.…`), or the ARN of an application inference profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId(String);

/// Characters of a `modelId` at most, by the service's model.
const MOST_CHARS: usize = 2_048;

const MESSAGE: InvalidId = InvalidId(
    "must be a model's id, an inference profile's id, or the ARN of a foundation model, of an inference profile or of an \
     application inference profile",
);

impl ModelId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in a segment of a path, where it may be escaped (`%3A`, `%2F`), or may not.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_path(segment: &str) -> Result<Self, InvalidId> {
        unescaped(segment).ok_or(MESSAGE)?.parse()
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ModelId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() > MOST_CHARS {
            return Err(MESSAGE);
        }
        let id = if text.starts_with("arn:") { of_arn(text).ok_or(MESSAGE)? } else { text };
        let is_named = id.starts_with("arn:") || is_plain(id);
        is_named.then(|| Self(id.to_owned())).ok_or(MESSAGE)
    }
}

impl TryFrom<String> for ModelId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ModelId> for String {
    fn from(id: ModelId) -> Self {
        id.0
    }
}

/// What the ARN names: an id where it has one, or itself.
fn of_arn(arn: &str) -> Option<&str> {
    let ["arn", partition, "bedrock", region, account, resource] = arn.splitn(6, ':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    if !is_word(partition) || !partition.starts_with("aws") || !is_word(region) {
        return None;
    }
    match resource.split_once('/')? {
        ("foundation-model", id) => (account.is_empty() && is_plain(id)).then_some(id),
        ("inference-profile", id) => (is_account && is_plain(id)).then_some(id),
        ("application-inference-profile", id) => {
            let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            (is_account && is_id).then_some(arn)
        }
        (_, _) => None,
    }
}

/// `provider.model`, with a geography before it for a profile, and with versions behind it.
fn is_plain(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    id.bytes().all(is_allowed)
        && id.split_once('.').is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty())
}

/// A segment of a path with its escapes resolved, once.
fn unescaped(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                (digit(high)? * 16 + digit(low)?, after)
            }
            (b'%', _) => return None,
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
    const APPLICATION: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6";

    #[test]
    fn every_form_of_a_name_is_one_id() {
        let profile = format!("us.{PLAIN}");
        for (text, id) in [
            (PLAIN.to_owned(), PLAIN),
            (PLAIN.replace(':', "%3A"), PLAIN),
            (PLAIN.replace(':', "%3a"), PLAIN),
            (format!("arn:aws:bedrock:us-east-1::foundation-model/{PLAIN}"), PLAIN),
            (format!("arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2F{}", PLAIN.replace(':', "%3A")), PLAIN),
            (profile.clone(), &profile),
            (format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{profile}"), &profile),
            (format!("arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/{profile}"), &profile),
            (APPLICATION.to_owned(), APPLICATION),
            (APPLICATION.replace(':', "%3A").replace('/', "%2F"), APPLICATION),
            ("eu.amazon.nova-lite-v1:0".to_owned(), "eu.amazon.nova-lite-v1:0"),
            ("apac.amazon.nova-lite-v1:0".to_owned(), "apac.amazon.nova-lite-v1:0"),
            (
                "global.anthropic.claude-sonnet-4-5-20250929-v1:0".to_owned(),
                "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
            ("openai.gpt-oss-120b-1:0".to_owned(), "openai.gpt-oss-120b-1:0"),
            ("meta.llama3-1-8b-instruct-v1:0:128k".to_owned(), "meta.llama3-1-8b-instruct-v1:0:128k"),
        ] {
            assert_eq!(ModelId::from_path(&text).map(String::from), Ok(id.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_profile_is_not_the_model_behind_it() {
        let ids =
            ["", "us.", "eu.", "apac.", "global."].map(|geography| format!("{geography}{PLAIN}").parse::<ModelId>());
        let distinct: std::collections::BTreeSet<_> = ids.into_iter().flatten().collect();
        assert_eq!(distinct.len(), 5);
    }

    #[test]
    fn what_names_no_model_is_refused() {
        for text in [
            "",
            "claude",
            "..",
            "anthropic.",
            ".claude",
            "anthropic.claude v2",
            "anthropic.claude/../x",
            "anthropic.claude%",
            "anthropic.claude%4",
            "anthropic.claude%zz",
            "anthropic.claude%253A0",
            "anthropic.claude%ff",
            "arn:aws:bedrock:us-east-1::foundation-model/",
            "arn:aws:bedrock:us-east-1:123456789012:foundation-model/anthropic.claude",
            "arn:aws:bedrock:us-east-1::inference-profile/us.anthropic.claude",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/us.anthropic.claude",
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/a1b2c3",
            "arn:aws:bedrock:us-east-1:123456789012:prompt/A1B2C3:1",
            "arn:aws:bedrock:us-east-1:123456789012:imported-model/a1b2c3",
            "arn:aws:s3:us-east-1::foundation-model/anthropic.claude",
            "arn:aws:bedrock:*::foundation-model/anthropic.claude",
        ] {
            assert_eq!(ModelId::from_path(text), Err(MESSAGE), "{text}");
        }
        assert_eq!(format!("a.{}", "b".repeat(MOST_CHARS)).parse::<ModelId>(), Err(MESSAGE));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_taken_is_taken_again(text in "\\PC{0,80}|[a-z.:%0-9A-F/-]{0,80}") {
            if let Ok(id) = ModelId::from_path(&text) {
                prop_assert_eq!(id.as_str().parse::<ModelId>(), Ok(id.clone()));
            }
        }
    }
}
