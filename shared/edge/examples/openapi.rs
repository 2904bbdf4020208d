//! Prints the API's description: `cargo run --quiet -p sluice-edge --example openapi > infra/openapi.json`

use std::io::Write;

fn main() -> std::io::Result<()> {
    let document = sluice_edge::openapi::document();
    writeln!(std::io::stdout(), "{document:#}")
}
