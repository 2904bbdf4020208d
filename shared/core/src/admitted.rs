//! Who may use what the operator declares.

use crate::id::{InvalidId, TenantId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Who may use something: the tenants listed, or everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenants(pub Vec<Admitted>);

/// An entry of a list of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Admitted {
    /// `*`
    Everyone,
    Tenant(TenantId),
}

impl Tenants {
    /// `["*"]`
    pub fn everyone() -> Self {
        Self(vec![Admitted::Everyone])
    }

    pub fn admits(&self, tenant: &TenantId) -> bool {
        self.0.iter().any(|admitted| admitted.is(tenant))
    }

    /// What a tenant may see of the list: the entries that are of itself.
    #[must_use]
    pub fn seen_by(&self, tenant: &TenantId) -> Self {
        Self(self.0.iter().filter(|admitted| admitted.is(tenant)).cloned().collect())
    }
}

impl Admitted {
    fn is(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Tenant(admitted) => admitted == tenant,
        }
    }
}

impl FromStr for Admitted {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "*" => Ok(Self::Everyone),
            tenant => {
                tenant.parse().map(Self::Tenant).map_err(|_| InvalidId("must be a tenant's id, or \"*\" for all"))
            }
        }
    }
}

impl TryFrom<String> for Admitted {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Admitted> for String {
    fn from(admitted: Admitted) -> Self {
        match admitted {
            Admitted::Everyone => "*".to_owned(),
            Admitted::Tenant(tenant) => tenant.to_string(),
        }
    }
}
