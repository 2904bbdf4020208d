//! The governor: no run spends more on governed calls of language models than its cap.
//!
//! A call's worst case is set aside on its run's ledger before the call, and what it really cost is settled after it. So the cap
//! is never passed, whatever calls at once, crashes, lost answers and ended runs do to it:
//!
//! 1. [`access`]: who calls, for which node of which run: a grant in the path, and a processor's key.
//! 2. [`call`]: what the request says that bears on its cost, read from its body by the edge.
//! 3. [`model`] and [`price`]: what the operator has declared. What is not priced is refused.
//! 4. [`worst_case`]: what the call costs at most, and with how many tokens of output it fits into a rest.
//! 5. [`ledger`]: the one item of a run that holds and costs are kept on, and every change of it.
//! 6. [`verdict`]: what is to be done where the worst case is not set aside: draw, lower, wait, refuse.
//! 7. [`usage`] and [`record`]: what the call really used, and what is kept of it.
//! 8. [`quota`]: budgets over runs, by day or month, on which a run draws ahead.
//!
//! Decision (2026-11-28): what is reported and what is governed are counted on one item, and told from one source: the records of
//! the calls. A reserve sees what was only reported from the first write of the report on. A call id is one call, whoever tells of
//! it: a report finds the record of a governed call under its id, and counts it no second time. Totals by node, provider and
//! model are summed from the records when somebody asks: they do not fit into the 8 KB that let the ledger take a hundred writes
//! a second.
//!
//! Decision (2026-11-28): reports change the ledger by plain updates, as calls do, because transactions on one item cancel each
//! other. The one that takes a run above its cap is the exception: it is counted in the transaction that stops the run.
//!
//! Decision (2026-11-28): every change of a run to a state in which it is being stopped or has ended closes its ledger in the same
//! transaction. So nothing is granted from that write on, and nobody has to ask the run before a call.

pub mod access;
pub mod call;
pub mod declaration;
pub mod ledger;
pub mod model;
pub mod model_id;
pub mod price;
pub mod quota;
pub mod record;
pub mod terms;
pub mod text;
pub mod url;
pub mod usage;
pub mod verdict;
pub mod worst_case;
