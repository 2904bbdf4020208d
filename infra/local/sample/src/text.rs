//! What the pipeline finds out about a text. Pure functions of the text alone.

use std::collections::BTreeMap;

/// The words of a text in lower case: runs of letters, with apostrophes inside them.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphabetic() && !is_apostrophe(letter))
        .map(|word| word.trim_matches(is_apostrophe))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn is_apostrophe(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2019}')
}

#[derive(Debug, PartialEq, Eq)]
pub struct Frequencies {
    pub words: usize,
    pub distinct: usize,
    /// The most frequent words, the most frequent first, equal ones by the alphabet.
    pub top: Vec<(String, usize)>,
}

pub fn frequencies(text: &str, top: usize) -> Frequencies {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for word in words(text) {
        *counts.entry(word).or_default() += 1;
    }
    let total = counts.values().sum();
    let distinct = counts.len();
    let mut ranked: Vec<(String, usize)> = counts.into_iter().collect();
    // The map was in alphabetical order and the sort keeps the order of equals.
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked.truncate(top);
    Frequencies { words: total, distinct, top: ranked }
}

#[derive(Debug, PartialEq)]
pub struct Readability {
    pub sentences: usize,
    pub words: usize,
    pub syllables: usize,
    /// Flesch reading ease (R. Flesch, 1948): higher is easier, plain English is about 60 to 70.
    pub reading_ease: f64,
    /// Flesch-Kincaid grade level (J. P. Kincaid et al., 1975): years of school.
    pub grade_level: f64,
}

/// Measures a text; `None` when it has no word.
pub fn readability(text: &str) -> Option<Readability> {
    let (mut word_count, mut syllable_count) = (0, 0);
    for word in words(text) {
        word_count += 1;
        syllable_count += syllables(&word);
    }
    if word_count == 0 {
        return None;
    }
    let sentences = text.split(['.', '!', '?']).filter(|part| part.contains(char::is_alphabetic)).count();
    let words_per_sentence = ratio(word_count, sentences);
    let syllables_per_word = ratio(syllable_count, word_count);
    Some(Readability {
        sentences,
        words: word_count,
        syllables: syllable_count,
        reading_ease: one_decimal(206.835 - 1.015 * words_per_sentence - 84.6 * syllables_per_word),
        grade_level: one_decimal(0.39 * words_per_sentence + 11.8 * syllables_per_word - 15.59),
    })
}

/// The `index`th of `count` parts of a text, from 0, each with as many lines as the others, or one fewer.
pub fn part(text: &str, index: usize, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let count = count.max(1);
    let (from, to) = (index * lines.len() / count, (index + 1) * lines.len() / count);
    lines.get(from..to).unwrap_or_default().join("\n")
}

/// The syllables of an English word by its groups of vowels: an estimate, as these measures commonly use it.
pub fn syllables(word: &str) -> usize {
    let is_vowel = |letter: char| matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let mut groups = 0;
    let mut in_group = false;
    for letter in word.chars() {
        if is_vowel(letter) && !in_group {
            groups += 1;
        }
        in_group = is_vowel(letter);
    }
    let silent_e = word.ends_with('e') && !word.ends_with("le") && !word.ends_with("ee");
    if silent_e && groups > 1 {
        groups -= 1;
    }
    groups.max(1)
}

fn ratio(part: usize, whole: usize) -> f64 {
    // Texts have fewer than 2^32 words; beyond that the ratio is of no interest.
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(part) / number(whole.max(1))
}

fn one_decimal(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_with_apostrophes_inside_them() {
        let found: Vec<String> = words("Don't 'quote' me -- it\u{2019}s 3 o'clock, Zürich!").collect();
        assert!(found == ["don't", "quote", "me", "it\u{2019}s", "o'clock", "zürich"], "{found:?}");
    }

    #[test]
    fn the_most_frequent_words_come_first_and_equals_by_the_alphabet() {
        let found = frequencies("b a c b a d. B", 3);
        assert!(found.top == [("b".to_owned(), 3), ("a".to_owned(), 2), ("c".to_owned(), 1)], "{found:?}");
        assert!((found.words, found.distinct) == (7, 4));
    }

    #[test]
    fn syllables_are_groups_of_vowels_without_a_silent_e() {
        let counted: Vec<usize> = ["water", "gate", "table", "free", "rhythm", "the", "hmm"].map(syllables).into();
        assert!(counted == [2, 1, 2, 1, 1, 1, 1], "{counted:?}");
    }

    #[test]
    fn a_short_plain_sentence_is_easy_to_read() {
        let found = readability("The cat sat.").expect("words");
        assert!((found.sentences, found.words, found.syllables) == (1, 3, 3));
        assert!((found.reading_ease - 119.2).abs() < 0.01, "{found:?}");
        assert!((found.grade_level - -2.6).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn the_parts_of_a_text_are_the_text() {
        let text = "a\n\nb\nc\nd\n  \ne";
        let parts: Vec<String> = (0..3).map(|index| part(text, index, 3)).collect();
        assert!(parts == ["a", "b\nc", "d\ne"], "{parts:?}");
        assert!(part(text, 3, 3).is_empty());
    }

    #[test]
    fn a_text_without_words_has_no_readability() {
        assert!(readability("42 -- ...").is_none());
    }
}
