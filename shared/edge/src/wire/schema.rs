//! What the API's description says of values whose Rust types do not show it: money, texts of a form, maps by node. The
//! types here have no values; wire types name them in `#[schema(value_type = …)]`.

use sluice_core::id::{NodeId, Tag};
use sluice_core::{destination, limits};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Ref, Schema, SchemaType, Type};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// A type that exists only for the description: its name there, its meaning, and its schema.
macro_rules! described {
    ($(#[doc = $doc:literal])* $name:ident, $schema:expr $(, $part:ty)*) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.description(Some([$($doc),*].map(str::trim).join(" "))).into()
            }
        }

        impl ToSchema for $name {
            fn schemas(_parts: &mut Vec<(String, RefOr<Schema>)>) {
                $(
                    _parts.push((<$part>::name().into_owned(), <$part>::schema()));
                    <$part>::schemas(_parts);
                )*
            }
        }
    };
}

described!(
    /// US dollars. A number as callers compute it: what is finer than 0.000001 is cut off, so that 0.30000000000000004 is 0.3.
    /// Less than 0.000001, but not 0, is refused. A deployment may allow less than the maximum given here.
    Usd,
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0_usize)).maximum(Some(limits::BUDGET_USD as usize))
);
described!(
    /// A version's number, `active` (what a run gets by default), `latest`, or `draft`: what is being written, for its owner.
    VersionRule,
    OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["active", "latest", "draft"])))
        .item(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1_usize)).maximum(Some(u32::MAX as usize)))
);
described!(
    /// A definition's id or its name. A name is never shaped like an id.
    DefinitionReference,
    pattern("^[A-Za-z0-9_-]{1,40}$")
);
described!(
    /// Of a run: any text without control characters.
    RunName,
    pattern(r"^[^\x00-\x1f\x7f-\x9f]*$").min_length(Some(1)).max_length(Some(limits::DISPLAY_NAME_CHARS))
);
described!(
    /// For people.
    DisplayName,
    text().max_length(Some(limits::DISPLAY_NAME_CHARS))
);
described!(
    /// For people.
    Description,
    text().max_length(Some(limits::DESCRIPTION_CHARS))
);
described!(
    /// The callers' own notes, kept with the run and shown with it.
    Labels,
    ObjectBuilder::new()
        .property_names(Some(text().min_length(Some(1)).max_length(Some(limits::LABEL_CHARS.0))))
        .additional_properties(Some(text().max_length(Some(limits::LABEL_CHARS.1))))
        .max_properties(Some(limits::LABELS))
);
described!(
    /// Any JSON, by node id.
    ValuesByNode,
    by_node(any())
);
described!(
    /// A JSON object, by node id.
    ObjectsByNode,
    by_node(ObjectBuilder::new().into())
);
described!(
    /// A version or tag of the processor, by node id.
    TagsByNode,
    by_node(Ref::from_schema_name(Tag::name()).into()),
    Tag
);
described!(
    /// A JSON Schema, draft 2020-12 unless `$schema` says otherwise. Nothing is fetched: `$ref` leads within it.
    JsonSchema,
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Object, Type::Boolean]))
);
described!(
    /// A call's id, a provider, a model: any text without control characters.
    CallText,
    pattern(r"^[^\x00-\x1f\x7f-\x9f]*$").min_length(Some(1)).max_length(Some(limits::USAGE_TEXT_CHARS))
);
described!(
    /// US dollars, read from the number as it is written; what is finer than 0.000000001 is rounded up.
    CallCost,
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0_usize)).maximum(Some(limits::CALL_COST_USD as usize))
);
described!(
    /// US dollars, exactly as the number is written; more than 9 decimals are refused.
    UsdPrice,
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0_usize)).maximum(Some(limits::PRICE_USD as usize))
);
described!(
    /// As calls name a model: its plain id (`anthropic.claude-…`), a system inference profile (`us.anthropic.claude-…`), the ARN of
    /// either, or that of an application inference profile.
    ModelIdText,
    pattern("^[A-Za-z0-9.:/_-]+$").min_length(Some(3)).max_length(Some(2_048))
);
described!(
    /// Any text that is not blank.
    CommentText,
    pattern(r"\S").min_length(Some(1)).max_length(Some(limits::COMMENT_CHARS))
);
described!(
    /// A tenant's id, or `*` for every tenant.
    TenantOrAll,
    pattern(r"^(\*|[A-Za-z0-9_.:@-]{1,128})$")
);
described!(
    /// What a definition may be found by. Any text without control characters.
    DefinitionTag,
    pattern(r"^[^\x00-\x1f\x7f-\x9f]*$").min_length(Some(1)).max_length(Some(limits::DEFINITION_TAGS.1))
);
described!(
    /// The ARN of an ECS cluster.
    ClusterArn,
    pattern("^arn:aws(-[a-z-]+)?:ecs:[A-Za-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]{1,140}$")
);
described!(
    /// The ARN of an ECS task definition, without its revision.
    TaskDefinitionArn,
    pattern("^arn:aws(-[a-z-]+)?:ecs:[A-Za-z0-9-]+:[0-9]{12}:task-definition/[A-Za-z0-9_-]{1,140}$")
);
described!(
    /// A container of the task definition.
    ContainerName,
    pattern("^[A-Za-z0-9_-]{1,255}$")
);
described!(
    /// A subnet's id.
    SubnetId,
    pattern("^subnet-[A-Za-z0-9_-]{1,255}$")
);
described!(
    /// A security group's id.
    SecurityGroupId,
    pattern("^sg-[A-Za-z0-9_-]{1,255}$")
);
described!(
    /// An origin of Lambda Function URLs: `https://<url-id>.lambda-url.<region>.on.aws`.
    CallbackOrigin,
    pattern("^https?://[!-.0-~]+$")
);
described!(
    /// The beginning of the ARNs of secrets of one account: of Secrets Manager as far as `secret:`, or of the SSM Parameter Store
    /// as far as `parameter/`, or further. Not a pattern.
    SecretArnPrefix,
    pattern("^arn:aws[!-)+->@-~]*:(secretsmanager:[!-)+->@-~]+:[0-9]{12}:secret:|ssm:[!-)+->@-~]+:[0-9]{12}:parameter/)[!-)+->@-~]*$")
        .max_length(Some(2048))
);
described!(
    /// The unqualified ARN of a Lambda function.
    FunctionArn,
    pattern("^arn:aws(-[a-z-]+)?:lambda:[A-Za-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,140}$")
);
described!(
    /// The ARN of a Step Functions Standard state machine.
    StateMachineArn,
    pattern("^arn:aws(-[a-z-]+)?:states:[A-Za-z0-9-]+:[0-9]{12}:stateMachine:[A-Za-z0-9_-]{1,140}$")
);
described!(
    /// A Lambda Function URL with `AWS_IAM`, in a region the deployment allows:
    /// `https://<url-id>.lambda-url.<region>.on.aws/…`, without port, user information and fragment.
    CallbackUrl,
    pattern("^[!-~]+$").format(Some(SchemaFormat::Custom("uri".to_owned()))).max_length(Some(destination::URL_BYTES))
);
described!(
    /// Opaque. Goes on after the page it came with, in the same list with the same filters.
    Cursor,
    pattern("^[A-Za-z0-9_-]+$")
);

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn pattern(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

fn any() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

fn by_node(value: RefOr<Schema>) -> ObjectBuilder {
    let names = match NodeId::schema() {
        RefOr::T(schema) => Some(schema),
        RefOr::Ref(_) => None,
    };
    ObjectBuilder::new().property_names(names).additional_properties(Some(value))
}
