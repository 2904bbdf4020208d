//! Which modules and crates a file of Rust names: enough of the language's grammar for that, and no more.

use std::collections::BTreeSet;
use std::fmt;

/// A module by its path below the crate; the root has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module(pub Vec<String>);

impl fmt::Display for Module {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { formatter.write_str("crate") } else { formatter.write_str(&self.0.join("::")) }
    }
}

/// The modules that `module` imports, out of all there are.
pub fn imports(module: &Module, text: &str, known: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut imports = BTreeSet::new();
    for path in paths(text) {
        let mut at = match path.segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => [&module.0[..], &path.inside[..]].concat(),
            // A child by its own name. Anything else comes from another crate, or was imported before.
            Some(first) if known.contains(&Module([&module.0[..], &[first.to_owned()]].concat())) => module.0.clone(),
            Some(_) | None => continue,
        };
        for segment in &path.segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                _ => at.push(segment.clone()),
            }
        }
        // What is named may be an item: its module is the longest part of the path that is one.
        while !known.contains(&Module(at.clone())) && at.pop().is_some() {}
        imports.insert(Module(at));
    }
    imports.remove(module);
    imports
}

/// The first segments of all paths: crates among them.
pub fn crates(text: &str) -> BTreeSet<String> {
    paths(text).into_iter().filter_map(|path| path.segments.into_iter().next()).collect()
}

/// The texts that a file writes out, without their quotes. Those under `#[cfg(test)]` are left out.
pub fn texts(text: &str) -> Vec<String> {
    let tokens = without_tests(tokens(text));
    tokens.iter().filter_map(|token| token.strip_prefix('"')).map(str::to_owned).collect()
}

/// A path as it is written.
struct Path {
    segments: Vec<String>,
    /// The modules that the file itself opens around it, with braces.
    inside: Vec<String>,
}

/// Every path of a file, those of `use` trees spread out. Code under `#[cfg(test)]` is left out.
fn paths(text: &str) -> Vec<Path> {
    let tokens = without_tests(tokens(text));
    let mut paths = Vec::new();
    // The modules opened with braces, each with the depth of its braces.
    let mut inside: Vec<(String, usize)> = Vec::new();
    let (mut depth, mut index) = (0, 0);
    let names = |inside: &[(String, usize)]| inside.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    while index < tokens.len() {
        match tokens[index].as_str() {
            "use" => {
                let mut trees = Vec::new();
                index = tree(&tokens, index + 1, &[], &mut trees);
                paths.extend(trees.into_iter().map(|segments| Path { segments, inside: names(&inside) }));
                continue;
            }
            "mod" if tokens.get(index + 2).is_some_and(|token| token == "{") => {
                inside.push((tokens[index + 1].clone(), depth));
                index += 1;
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inside.pop_if(|(_, opened_at)| *opened_at == depth);
            }
            token if is_name(token) && tokens.get(index + 1).is_some_and(|next| next == "::") => {
                let mut segments = vec![token.to_owned()];
                while tokens.get(index + 1).is_some_and(|next| next == "::")
                    && tokens.get(index + 2).is_some_and(|next| is_name(next))
                {
                    segments.push(tokens[index + 2].clone());
                    index += 2;
                }
                paths.push(Path { segments, inside: names(&inside) });
            }
            _ => {}
        }
        index += 1;
    }
    paths
}

/// Spreads out one tree of a `use` line, from `index` on. Returns where the tree ends.
fn tree(tokens: &[String], mut index: usize, prefix: &[String], trees: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(index) {
        match token.as_str() {
            "{" => {
                index += 1;
                while tokens.get(index).is_some_and(|token| token != "}") {
                    index = tree(tokens, index, &path, trees);
                    index += usize::from(tokens.get(index).is_some_and(|token| token == ","));
                }
                return index + 1;
            }
            "as" => index += 1,
            "*" | "::" => {}
            name if is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        index += 1;
    }
    trees.push(path);
    index
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Drops each item that `#[cfg(test)]` stands before.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while index < tokens.len() {
        if tokens[index..].iter().map(String::as_str).take(MARK.len()).ne(MARK) {
            kept.push(tokens[index].clone());
            index += 1;
            continue;
        }
        // The item ends with its `;`, or with the brace that closes its body.
        let mut depth = 0;
        index += MARK.len();
        while index < tokens.len() {
            let token = tokens[index].as_str();
            depth += usize::from(token == "{");
            depth -= usize::from(token == "}");
            index += 1;
            if depth == 0 && matches!(token, ";" | "}") {
                break;
            }
        }
    }
    kept
}

/// Names, `::`, single characters, and texts as they are written behind one `"`; no comments.
fn tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let starts = |with: &str| rest.iter().copied().take(with.chars().count()).eq(with.chars());
        if starts("//") {
            at += rest.iter().take_while(|c| **c != '\n').count();
        } else if starts("/*") {
            at += comment(rest);
        } else if let Some((length, marks)) = raw_text(rest) {
            tokens.push(written(rest, length, marks));
            at += length;
        } else if rest[0] == '"' {
            let length = quoted(rest, '"');
            tokens.push(written(rest, length, 1));
            at += length;
        } else if rest[0] == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
            at += quoted(rest, '\'');
        } else if rest[0].is_alphanumeric() || rest[0] == '_' {
            let name: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            at += name.chars().count();
            tokens.push(name);
        } else if starts("::") {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !rest[0].is_whitespace() {
                tokens.push(rest[0].to_string());
            }
            at += 1;
        }
    }
    tokens
}

/// The length of a block comment, which may hold others.
fn comment(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a text or character, its quotes included.
fn quoted(text: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The token of a text of this length, quotes included, that ends with so many marks.
fn written(text: &[char], length: usize, marks: usize) -> String {
    let end = length.saturating_sub(marks).min(text.len());
    text[..end].iter().skip_while(|c| **c != '"').collect()
}

/// The length of a raw text and of the marks that end it; `None` where none begins.
fn raw_text(text: &[char]) -> Option<(usize, usize)> {
    let before = usize::from(text[0] == 'b');
    if text.get(before) != Some(&'r') {
        return None;
    }
    let hashes = text[before + 1..].iter().take_while(|c| **c == '#').count();
    let open = before + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < text.len()
        && !(text[at] == '"' && text[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes)
    {
        at += 1;
    }
    Some((at + 1 + hashes, 1 + hashes))
}
