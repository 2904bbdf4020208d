//! What may be spent in a day or a month, spelled alike in what is declared and in what is shown; and what is left of it.

use super::refusal::Form;
use super::schema::{CallCost, Usd};
use crate::fault::Faults;
use crate::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_core::budget::{MicroUsd, UsdNumber};
use sluice_core::flow::read_budgets::{BudgetState, Purse};
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::id::{ComputeNodeKey, UserId};
use sluice_core::place::Field;
use sluice_core::time::rfc3339_millis;
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

/// `GET /v1/budgets`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Budgets)]
#[serde(rename_all = "camelCase")]
pub struct BudgetsView {
    /// The user that was asked for.
    #[schema(value_type = Option<UserId>, required)]
    user_id: Option<String>,
    /// That of the tenant first, which holds wherever its runs execute. Whatever has no budget is not here.
    budgets: Vec<BudgetStateView>,
}

/// How a budget stands in its present period.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BudgetState)]
#[serde(rename_all = "camelCase")]
struct BudgetStateView {
    /// `null` for the budget of the tenant itself.
    #[schema(value_type = Option<ComputeNodeKey>, required)]
    compute_node_id: Option<String>,
    period: Period,
    /// When the next period begins, with nothing drawn.
    #[schema(format = DateTime)]
    ends_at: String,
    /// Of all together; `null` where the budget does not say.
    #[schema(required)]
    all: Option<PurseView>,
    /// Of the user that was asked for; `null` where none was, or the budget does not say.
    #[schema(required)]
    user: Option<PurseView>,
}

/// What may be spent, in US dollars, exact.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Purse)]
#[serde(rename_all = "camelCase")]
struct PurseView {
    #[schema(value_type = CallCost)]
    max_usd: UsdNumber,
    /// What runs have spent of it, and what those that are open have set aside to spend.
    #[schema(value_type = CallCost)]
    drawn_usd: UsdNumber,
    /// What runs may still draw.
    #[schema(value_type = CallCost)]
    left_usd: UsdNumber,
}

impl BudgetsView {
    pub fn new(user: Option<&UserId>, budgets: &[BudgetState]) -> Self {
        Self { user_id: user.map(UserId::to_string), budgets: budgets.iter().map(BudgetStateView::from).collect() }
    }
}

impl From<&BudgetState> for BudgetStateView {
    fn from(state: &BudgetState) -> Self {
        Self {
            compute_node_id: state.compute_node.as_ref().map(ToString::to_string),
            period: state.period,
            ends_at: rfc3339_millis(state.ends_at),
            all: state.all.as_ref().map(PurseView::from),
            user: state.user.as_ref().map(PurseView::from),
        }
    }
}

impl From<&Purse> for PurseView {
    fn from(purse: &Purse) -> Self {
        Self {
            max_usd: purse.most.to_json_number(),
            drawn_usd: purse.drawn.to_json_number(),
            left_usd: purse.left().to_json_number(),
        }
    }
}

/// Whose budgets are asked for.
///
/// # Errors
/// Everything that is wrong with the query.
pub fn user_asked(request: &Request) -> Result<Option<UserId>, Faults> {
    let mut query = request.query(&["userId"]);
    let user = query.read("userId", str::parse);
    query.finish()?;
    Ok(user)
}
