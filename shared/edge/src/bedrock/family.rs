//! Which body a model takes.

use sluice_core::governor::model_id::ModelId;

/// The families of models that have a body of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Anthropic,
    Nova,
    Llama,
    Titan,
    Mistral,
    Cohere,
    /// Chat completions' own body: OpenAI, AI21, Qwen, DeepSeek and others.
    Chat,
}

impl Family {
    /// By the provider in a model's id, behind the geography of a profile. `None` where that is not known: an application
    /// inference profile does not say which model is behind it, but another id of the same declaration may.
    pub fn of(id: &ModelId) -> Option<Self> {
        let id = id.as_str();
        let mut parts = id.split('.');
        let (first, second) = (parts.next()?, parts.next()?);
        Self::named(first, second).or_else(|| Self::named(second, parts.next()?))
    }

    fn named(provider: &str, model: &str) -> Option<Self> {
        match provider {
            "anthropic" => Some(Self::Anthropic),
            "amazon" if model.starts_with("nova") => Some(Self::Nova),
            "amazon" if model.starts_with("titan") => Some(Self::Titan),
            "meta" => Some(Self::Llama),
            "mistral" => Some(Self::Mistral),
            "cohere" => Some(Self::Cohere),
            "openai" | "ai21" | "qwen" | "deepseek" | "moonshot" | "moonshotai" | "minimax" | "nvidia" | "google" => {
                Some(Self::Chat)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(id: &str) -> Option<Family> {
        Family::of(&id.parse().expect("an id"))
    }

    #[test]
    fn a_family_is_told_by_the_provider_behind_any_geography() {
        for (id, found) in [
            ("anthropic.claude-haiku-4-5-20251001-v1:0", Some(Family::Anthropic)),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Some(Family::Anthropic)),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", Some(Family::Anthropic)),
            ("eu.amazon.nova-lite-v1:0", Some(Family::Nova)),
            ("amazon.titan-text-express-v1", Some(Family::Titan)),
            ("us.meta.llama3-3-70b-instruct-v1:0", Some(Family::Llama)),
            ("mistral.mistral-large-2407-v1:0", Some(Family::Mistral)),
            ("cohere.command-r-v1:0", Some(Family::Cohere)),
            ("openai.gpt-oss-120b-1:0", Some(Family::Chat)),
            ("newcomer.model-v1:0", None),
            ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3", None),
        ] {
            assert_eq!(family(id), found, "{id}");
        }
    }
}
