//! Who is asking.

use crate::id::TenantId;
use serde::{Deserialize, Serialize};

/// The authenticated caller, as the authorizer's verdict names them. Never taken from a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub tenant: TenantId,
    /// The IAM ARN, the JWT subject, or the API key's id: kept with what the caller made.
    pub principal: Principal,
    /// May declare processors, compute nodes and tenants' limits.
    pub is_operator: bool,
}

/// Who, within the tenant. Free text of at most 512 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Principal(pub String);
