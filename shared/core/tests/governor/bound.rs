//! No vocabulary makes more tokens of a text than the governor sets aside for it.

use icu_normalizer::ComposingNormalizer;
use proptest::prelude::*;
use sluice_core::governor::call::Input;
use sluice_core::governor::text::most_tokens;
use sluice_core::governor::worst_case::TOKEN_CHARS;
use std::sync::LazyLock;
use tiktoken_rs::CoreBPE;

/// Vocabularies that are public: of two hundred thousand, of a hundred thousand and of fifty thousand tokens.
static VOCABULARIES: LazyLock<[(&str, CoreBPE); 3]> = LazyLock::new(|| {
    [
        ("o200k", tiktoken_rs::o200k_base().expect("it is built in")),
        ("cl100k", tiktoken_rs::cl100k_base().expect("it is built in")),
        ("p50k", tiktoken_rs::p50k_base().expect("it is built in")),
    ]
});

fn nfkc(text: &str) -> String {
    ComposingNormalizer::new_nfkc().normalize(text).into_owned()
}

/// The most tokens that any vocabulary makes of the text, whether it takes it as it is or in NFKC.
fn tokens(text: &str) -> (u64, &'static str) {
    let normal = nfkc(text);
    let of = |(name, vocabulary): &'static (&'static str, CoreBPE)| {
        let count = |text: &str| vocabulary.encode_ordinary(text).len() as u64;
        (count(text).max(count(&normal)), *name)
    };
    VOCABULARIES.iter().map(of).max().expect("there are some")
}

/// Every code point that is longer in NFKC: of these, all are tried.
fn growing() -> Vec<char> {
    let all = (0..=0x10_FFFF_u32).filter_map(char::from_u32);
    all.filter(|c| most_tokens(c.encode_utf8(&mut [0; 4])) > c.len_utf8() as u64).collect()
}

#[test]
fn what_grows_in_nfkc_is_bounded_alone_and_repeated() {
    let growing = growing();
    assert!(growing.contains(&'\u{FDFA}') && growing.contains(&'\u{FDFB}') && growing.len() > 900);
    for c in growing {
        for text in [c.to_string(), c.to_string().repeat(5), format!("a{c}b {c}")] {
            let (found, name) = tokens(&text);
            assert!(found <= most_tokens(&text), "{name}: {found} tokens of {text:?}, bound {}", most_tokens(&text));
        }
    }
}

#[test]
fn what_is_known_to_be_dear_is_bounded() {
    for (what, text) in [
        ("marks", "\u{0301}\u{0327}\u{0489}".repeat(300)),
        ("private use", "\u{E000}\u{F8FF}\u{10FFFD}".repeat(300)),
        ("rare scripts", "\u{12000}\u{13000}\u{16800}\u{1E900}".repeat(200)),
        ("spaces", " \t\u{A0}\u{2003}\r\n".repeat(300)),
        ("joined emoji", "👩‍👩‍👧‍👦🏳️‍🌈".repeat(100)),
        ("controls", "\u{0}\u{1}\u{7f}\u{85}".repeat(300)),
        ("specials", "<|endoftext|><|im_start|>".repeat(100)),
        ("digits", "0123456789".repeat(200)),
        ("json", r#"{"a":[{"b":null},{"c":"\ud83d"}]}"#.repeat(100)),
    ] {
        let (found, name) = tokens(&text);
        assert!(found <= most_tokens(&text), "{name}: {found} tokens of {what}, bound {}", most_tokens(&text));
    }
}

/// Text of any kind: of letters, of anything, of what grows, of marks.
fn any_text() -> impl Strategy<Value = String> {
    let grown = proptest::sample::select(growing());
    let piece = prop_oneof![
        3 => "[ -~]{0,40}",
        3 => any::<String>(),
        3 => proptest::collection::vec(grown, 0..20).prop_map(String::from_iter),
        1 => proptest::collection::vec(proptest::char::range('\u{300}', '\u{36f}'), 0..20).prop_map(String::from_iter),
        1 => proptest::collection::vec(proptest::char::range('\u{e000}', '\u{f8ff}'), 0..20).prop_map(String::from_iter),
        1 => proptest::collection::vec(proptest::char::range('\u{ac00}', '\u{d7a3}'), 0..20).prop_map(String::from_iter),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_has_more_tokens_than_its_bound(text in any_text()) {
        let (found, name) = tokens(&text);
        prop_assert!(found <= most_tokens(&text), "{}: {} tokens, bound {}", name, found, most_tokens(&text));
    }

    /// However a model's template joins several texts.
    #[test]
    fn no_conversation_has_more_tokens_than_its_bound(texts in proptest::collection::vec(any_text(), 1..5)) {
        let input = Input {
            text_tokens: texts.iter().map(|text| most_tokens(text)).sum(),
            messages: texts.len() as u64,
            ..Input::default()
        };
        for joint in ["", "\n", "\n\nHuman: "] {
            let (found, name) = tokens(&texts.join(joint));
            let bound = input.most_tokens(u64::MAX);
            prop_assert!(found <= bound, "{}: {} tokens, bound {}", name, found, bound);
        }
    }
}

#[test]
fn no_token_is_longer_than_a_guardrail_is_told() {
    for (name, vocabulary) in VOCABULARIES.iter() {
        let longest = (0..250_000_u32)
            .filter_map(|rank| vocabulary.decode_bytes(&[rank]).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).chars().count() as u64)
            .max();
        assert!(longest.is_some_and(|longest| longest <= TOKEN_CHARS), "{name}: {longest:?}");
    }
}
