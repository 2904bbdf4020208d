//! What telemetry does for a whole process: in a process of its own.

use sluice_edge::metrics::{self, Emitter};
use sluice_edge::telemetry;
use sluice_testkit::metrics::{during, keep};

#[test]
fn a_panic_is_counted() {
    // The first emitter counts, so that nothing goes to standard output.
    metrics::init(Emitter::for_test(keep));
    telemetry::init("under-test");
    let counted = during(|| drop(std::panic::catch_unwind(|| panic!("on purpose"))));
    assert_eq!(counted, ["Panics 1"]);
}
