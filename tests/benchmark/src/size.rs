//! What a function weighs: what a process maps, and what Lambda fetches.

use crate::error::{Error, Result};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    pub file: u64,
    /// `None` of a file that has its symbols still, and so is not what is deployed.
    pub zipped: Option<u64>,
}

impl Size {
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let content = fs::read(path).map_err(Error::io(path.display()))?;
        let is_stripped = has_symbols(&content) != Some(true);
        let zipped = is_stripped.then(|| deflated(&content)).transpose().map_err(Error::io(path.display()))?;
        Ok(Self { file: content.len() as u64, zipped })
    }
}

/// Whether a 64-bit ELF file has a table of symbols. `None` for what is none.
/// Source: elf(5)
fn has_symbols(file: &[u8]) -> Option<bool> {
    const SYMBOLS: u32 = 2;
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?)));
    let begin = usize::try_from(u64::from_le_bytes(file.get(0x28..0x30)?.try_into().ok()?)).ok()?;
    let (size, count) = (half(0x3a)?, half(0x3c)?);
    let kinds = (0..count).map(|number| {
        let at = begin + number * size + 4;
        Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
    });
    Some(kinds.collect::<Option<Vec<u32>>>()?.contains(&SYMBOLS))
}

/// As small as a zip makes it.
pub fn deflated(content: &[u8]) -> io::Result<u64> {
    let mut encoder = DeflateEncoder::new(Counter(0), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.0)
}

/// Keeps nothing of what is written but its length.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, some: &[u8]) -> io::Result<usize> {
        self.0 += some.len() as u64;
        Ok(some.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_is_small() {
        let zeros = deflated(&[0; 100_000]).expect("a length");
        assert!(zeros < 1_000, "{zeros}");
    }

    #[test]
    fn symbols_are_noticed() {
        let own = std::fs::read(std::env::current_exe().expect("this test")).expect("its file");
        assert_eq!(has_symbols(&own), Some(true), "a test is not stripped");
        assert_eq!(has_symbols(b"#!/bin/sh"), None);
        assert_eq!(has_symbols(&own[..64]), None, "cut off");
    }
}
