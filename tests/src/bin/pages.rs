//! Makes the tables on the pages anew: `cargo run --quiet -p sluice-tests --bin pages`

use sluice_tests::{file, pages, text};

fn main() -> std::io::Result<()> {
    for page in pages::all() {
        let old = text(&page);
        let new = pages::renewed(&old);
        if new != old {
            std::fs::write(file(&page), new)?;
        }
    }
    Ok(())
}
