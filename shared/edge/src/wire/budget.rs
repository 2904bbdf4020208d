//! What may be spent in a day or a month. Spelled alike in what is declared and in what is shown.

use super::refusal::Form;
use super::schema::Usd;
use crate::fault::Faults;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_core::budget::MicroUsd;
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::place::Field;
use sluice_core::violation::Invalid;
use utoipa::ToSchema;

/// What governed calls of runs may cost together, by day or month of UTC. At least one of `maxUsd` and `perUserMaxUsd` is given.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Budget)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetWire {
    period: Period,
    /// Of all runs. Absent: as much as comes.
    #[schema(value_type = Option<Usd>)]
    max_usd: Option<Box<RawValue>>,
    /// Of all runs of each `userId`. Runs that name no user are held to `maxUsd` only.
    #[schema(value_type = Option<Usd>)]
    per_user_max_usd: Option<Box<RawValue>>,
}

impl BudgetWire {
    /// The budget; what is wrong with it is noted, and then nobody may rely on it.
    pub fn read(&self, faults: &mut Faults) -> Budget {
        let mut invalid = Invalid::default();
        let [max, per_user] = [&self.max_usd, &self.per_user_max_usd].map(|raw| raw.as_deref().map(RawValue::get));
        let budget = Budget::read(self.period, max, per_user, &Field::Budget.at(), &mut invalid);
        faults.extend(Form::Plain.faults(invalid));
        budget
    }
}

/// An amount as a JSON number.
fn number(amount: MicroUsd) -> Option<Box<RawValue>> {
    RawValue::from_string(amount.to_json_number().to_string()).ok()
}

impl From<&Budget> for BudgetWire {
    fn from(budget: &Budget) -> Self {
        Self {
            period: budget.period,
            max_usd: budget.max.and_then(number),
            per_user_max_usd: budget.per_user_max.and_then(number),
        }
    }
}
