//! How many tokens a text can be at most.
//!
//! **Invariant:** no vocabulary in use makes more tokens of a text than the longer of the text and its NFKC form has bytes, both
//! in UTF-8. A token stands for at least one byte of what is tokenized; some vocabularies bring the text into NFKC before, and
//! the longest known growth is 11 times (U+FDFA: 3 bytes, 33 in NFKC). `tests/governor/bound.rs` asks real vocabularies.

use icu_normalizer::ComposingNormalizer;

/// Bytes of the longer of a text and its NFKC form: it has no more tokens.
pub fn most_tokens(text: &str) -> u64 {
    let bytes = text.len() as u64;
    if text.is_ascii() {
        return bytes;
    }
    let nfkc = ComposingNormalizer::new_nfkc();
    let normal: u64 = nfkc.normalize_iter(text.chars()).map(|c| c.len_utf8() as u64).sum();
    bytes.max(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_both_forms_counts() {
        for (text, tokens) in [
            ("", 0),
            ("plain", 5),
            ("é", 2),
            ("e\u{301}", 3),  // is shorter in NFKC
            ("\u{FDFA}", 33), // eighteen letters in NFKC
            ("\u{FDFA}\u{FDFA}", 66),
            ("㍿", 12), // four ideographs in NFKC
            ("ﬁ", 3),   // two letters in NFKC
            ("\u{1F600}", 4),
            ("\u{E000}", 3),
        ] {
            assert_eq!(most_tokens(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn a_few_letters_grow_and_none_more_than_elevenfold() {
        let all = (0..=0x10_FFFF_u32).filter_map(char::from_u32);
        let growth = all.map(|c| (most_tokens(c.encode_utf8(&mut [0; 4])), c.len_utf8() as u64));
        let growing: Vec<_> = growth.filter(|(tokens, bytes)| tokens > bytes).collect();
        assert!(growing.len() > 900, "{}", growing.len());
        assert!(growing.iter().all(|(tokens, bytes)| *tokens <= 11 * bytes));
    }
}
