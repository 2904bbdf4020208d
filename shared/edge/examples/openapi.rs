//! Writes `infra/openapi.json` anew: `cargo run --quiet -p sluice-edge --example openapi`

fn main() -> std::io::Result<()> {
    let document = sluice_edge::openapi::document();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/openapi.json"), format!("{document:#}\n"))
}
