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
//! Decision (2026-11-28): the ledger of usage and this ledger become one item. Today `flow::record_usage` reads the item, adds
//! calls to it and writes it under an optimistic lock (`UsageLedger::rev`), with the calls, and with the change that stops the
//! run, in one transaction. A hundred calls a second on one item would make nearly all of these transactions fail. In one item
//! every change is a plain update under conditions that only the change itself needs ([`ledger`]), so that none has to be read
//! before it is written:
//!
//! - `UsageLedger`'s totals (`total`, `by_node`, `by_provider`, `by_model`) become attributes that are added to, in the same
//!   update that removes a hold and adds its cost. `rev` goes, and with it `RunChange::expected_ledger_rev`: whoever tells the
//!   usage of a run at its end closes the ledger in the transaction of the end, and reads what it says from then on.
//! - A report (`POST …/usage`, `usage[]` of a result) becomes: put the record of each call under its call id, if there is none;
//!   then [`Report`](ledger::change::Report) what the new ones cost. A governed call's record has the same key, and its id is the
//!   request id that the processor's SDK saw: reported as well, it counts once. A crash between the two is mended by repeating
//!   the report, so a record of a report says whether it was added (the governed call's hold says that for it).
//! - The stop that follows from a report is decided on what the update answers with (`ALL_NEW`), and is a change of the run like
//!   any other, which closes the ledger in its own transaction.
//!
//! Decision (2026-11-28): every change of a run to a state in which it is being stopped or has ended closes its ledger in the same
//! transaction. So nothing is granted from that write on, and nobody has to ask the run before a call.

pub mod access;
pub mod call;
pub mod call_id;
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
