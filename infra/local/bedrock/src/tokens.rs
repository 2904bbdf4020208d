//! The stand-in's own vocabulary: made up, but with counts as real ones have them. English has about one token in four or five
//! bytes, rare scripts have one a byte, and, as with some real vocabularies, it is the text in NFKC that is counted.
//!
//! **Invariant:** a text has at most as many tokens as its NFKC form has bytes.

use icu_normalizer::ComposingNormalizer;

/// Letters in one token of a word in ASCII.
const WORD: u64 = 6;
/// Digits in one token.
const DIGITS: u64 = 3;
/// White space in one token.
const SPACE: u64 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    Space,
    Other,
}

fn class(c: char) -> Class {
    match c {
        c if c.is_ascii_alphabetic() => Class::Letter,
        c if c.is_ascii_digit() => Class::Digit,
        c if c.is_ascii_whitespace() => Class::Space,
        _ => Class::Other,
    }
}

/// Tokens of a run of characters of one class.
fn of_run(class: Class, length: u64, is_followed: bool) -> u64 {
    match class {
        Class::Letter => length.div_ceil(WORD),
        Class::Digit => length.div_ceil(DIGITS),
        // One space belongs to the word after it.
        Class::Space if length == 1 && is_followed => 0,
        Class::Space => length.div_ceil(SPACE),
        Class::Other => 0,
    }
}

fn of_other(c: char) -> u64 {
    let bytes = c.len_utf8() as u64;
    if c.is_alphabetic() && bytes > 1 { bytes - 1 } else { bytes }
}

/// Tokens of a text.
pub fn count(text: &str) -> u64 {
    if text.is_ascii() {
        return count_characters(text.chars());
    }
    count_characters(ComposingNormalizer::new_nfkc().normalize_iter(text.chars()))
}

fn count_characters(characters: impl Iterator<Item = char>) -> u64 {
    let (mut tokens, mut run, mut length) = (0, Class::Other, 0);
    for c in characters {
        let found = class(c);
        if found == run && found != Class::Other {
            length += 1;
            continue;
        }
        tokens += of_run(run, length, found != Class::Other);
        (run, length) = (found, 1);
        if found == Class::Other {
            tokens += of_other(c);
        }
    }
    tokens + of_run(run, length, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_are_as_real_ones() {
        for (text, tokens) in [
            ("", 0),
            ("word", 1),
            (" word", 1),
            ("two words", 2),
            ("internationalization", 4),
            ("2026", 2),
            ("a, b", 3),
            ("    ", 1),
            ("é", 1),
            ("日本", 4),
            ("\u{E000}", 3),
            ("\u{1F600}", 4),
        ] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
        // One ligature of three bytes, eighteen letters in NFKC.
        assert!(count("\u{FDFA}") > 6);
    }

    proptest! {
        #[test]
        fn no_text_has_more_tokens_than_bytes_of_its_nfkc_form(text in "\\PC{0,60}|[\u{FD00}-\u{FDFF}\u{E000}a-c ]{0,60}") {
            let normal: usize =
                ComposingNormalizer::new_nfkc().normalize_iter(text.chars()).map(char::len_utf8).sum();
            prop_assert!(count(&text) <= normal.max(text.len()) as u64);
        }
    }
}
