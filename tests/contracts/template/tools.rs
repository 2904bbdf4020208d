//! AWS' own tools read the template.

use std::process::Command;

use sluice_local::program;
use sluice_tests::file;

use super::{SAMPLE_TEMPLATE, TEMPLATE, run};

#[test]
fn sam_finds_nothing_to_complain_about() {
    let sam = program("sam").expect("the Python environment");
    run(Command::new(sam).args(["validate", "--lint", "--region", "eu-west-1", "--template"]).arg(file(TEMPLATE)));
}

#[test]
fn cfn_lint_finds_nothing_to_complain_about() {
    let cfn_lint = program("cfn-lint").expect("the Python environment");
    run(Command::new(cfn_lint)
        .args(["--non-zero-exit-code", "informational", "--"])
        .args([file(TEMPLATE), file(SAMPLE_TEMPLATE)]));
}
