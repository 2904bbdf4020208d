//! Families of models: each has bodies of its own in `InvokeModel`.

/// Whose body a model takes and answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ai21,
    Anthropic,
    Cohere,
    Llama,
    Mistral,
    Nova,
    /// OpenAI's own, and those that took over its form.
    OpenAi,
    Titan,
}

impl Family {
    /// By a model's plain id, a profile's id, or an ARN that ends with one of them.
    pub fn of(id: &str) -> Option<Self> {
        let name = id.rsplit('/').next().unwrap_or(id);
        let providers = [
            ("amazon.nova", Self::Nova),
            ("amazon.titan", Self::Titan),
            ("ai21.", Self::Ai21),
            ("anthropic.", Self::Anthropic),
            ("cohere.", Self::Cohere),
            ("deepseek.", Self::OpenAi),
            ("meta.", Self::Llama),
            ("mistral.", Self::Mistral),
            ("openai.", Self::OpenAi),
            ("qwen.", Self::OpenAi),
        ];
        let model = |name: &str| providers.iter().find(|(start, _)| name.starts_with(start)).map(|(_, family)| *family);
        model(name).or_else(|| name.split_once('.').and_then(|(_geography, model_id)| model(model_id)))
    }

    /// Whether `InvokeModel` tells its usage in headers, and its stream in metrics. Some families tell it nowhere.
    pub const fn tells_usage(self) -> bool {
        match self {
            Self::Ai21 | Self::Cohere => false,
            Self::Anthropic | Self::Llama | Self::Mistral | Self::Nova | Self::OpenAi | Self::Titan => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_told_by_the_provider_behind_any_geography() {
        for (id, family) in [
            ("anthropic.claude-haiku-4-5-20251001-v1:0", Some(Family::Anthropic)),
            ("global.anthropic.claude-haiku-4-5-20251001-v1:0", Some(Family::Anthropic)),
            ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", Some(Family::Nova)),
            (
                "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.meta.llama3-1-8b-instruct-v1:0",
                Some(Family::Llama),
            ),
            ("amazon.titan-text-express-v1", Some(Family::Titan)),
            ("amazon.rerank-v1:0", None),
            ("nobody.model", None),
        ] {
            assert_eq!(Family::of(id), family, "{id}");
        }
    }
}
