//! What a JSON Schema may cost. Tenants write schemas and callers write what is checked against them, so that both may
//! be hostile, and a validator is a small interpreter: `$ref`s make a few lines of schema into a tree of any size, and
//! a schema that goes through a value twice at each level takes twice as long with each level.
//!
//! **Invariants:** a schema that [`inspect`] lets pass has an end at every place of a value; a value that [`measure`]
//! lets pass is checked within about a second, on a stack of 2 MB, in memory that its steps bound. Both count more than
//! the validator does, never less: every branch is taken, and every pattern matches.
//!
//! Decision (2026-11-22): the schema engine matches patterns in linear time and fetches nothing; a schema that
//! needs look-around is refused.
//!
//! Decision (2026-11-22): what a check against a schema costs is counted before it is made, from above: a validator
//! has no budget of its own, and trees of `$ref`s double with each level. Beyond the bound it is `invalid_schema`.
//!
//! Decision (2026-11-22): a schema violation repeats no value, and says where only up to 100,000 steps: the
//! validator keeps every violation in memory until it has them all.

pub mod plain;

use crate::limits;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The drafts a schema may name. Draft 4 is not among them: there `id` is a keyword, and every example that has one
/// would be an embedded schema.
const DRAFTS: [&str; 4] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
];
/// Keywords whose schemas look at the same place of the value.
const IN_PLACE: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];
/// Keywords whose schemas look at the same place if it has a certain key.
const IN_PLACE_BY_KEY: [&str; 2] = ["dependentSchemas", "dependencies"];
/// How often `unevaluated…` has the schemas beside it looked at again. Each such keyword within them does the same, so
/// this multiplies; 2.6 was measured for `anyOf`, `if` takes more.
const UNEVALUATED_FACTOR: u64 = 4;

/// A schema that was looked through.
#[derive(Debug)]
pub struct Inspected<'a> {
    root: &'a Value,
    anchors: BTreeMap<&'a str, &'a Value>,
}

/// Looks a schema through, before anything compiles it.
///
/// # Errors
/// A sentence for the tenant.
pub fn inspect(schema: &Value) -> Result<Inspected<'_>, String> {
    let mut scan = Scan { inspected: Inspected { root: schema, anchors: BTreeMap::new() }, pattern_states: 0 };
    if let Some(draft) = schema.get("$schema") {
        let known = |draft: &str| DRAFTS.contains(&draft.strip_suffix('#').unwrap_or(draft));
        if !draft.as_str().is_some_and(known) {
            return Err("$schema must name draft 2020-12, 2019-09, 7 or 6".to_owned());
        }
    }
    scan.look(schema, 0)?;
    let mut expansions = BTreeMap::new();
    scan.inspected.check_references(schema, &mut expansions)?;
    Ok(scan.inspected)
}

struct Scan<'a> {
    inspected: Inspected<'a>,
    /// Of all patterns together.
    pattern_states: u64,
}

impl<'a> Scan<'a> {
    /// Looks at everything in the document, whether it is a schema or a value in one: a `$ref` may make any part of it
    /// a schema.
    fn look(&mut self, value: &'a Value, depth: usize) -> Result<(), String> {
        if depth > limits::JSON_DEPTH {
            return Err(format!("the schema is nested deeper than {} levels", limits::JSON_DEPTH));
        }
        match value {
            Value::Object(fields) => {
                self.look_at_keywords(value, fields, depth == 0)?;
                fields.values().try_for_each(|field| self.look(field, depth + 1))
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.look(item, depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn look_at_keywords(
        &mut self,
        value: &'a Value,
        fields: &'a Map<String, Value>,
        is_root: bool,
    ) -> Result<(), String> {
        for (keyword, field) in fields {
            match (keyword.as_str(), field) {
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                    return Err(format!("{keyword} is not taken: use $ref"));
                }
                ("$id" | "$schema", Value::String(_)) if !is_root => {
                    return Err(format!("{keyword} may stand at the root of the schema only"));
                }
                ("$anchor" | "$dynamicAnchor", Value::String(name)) => {
                    // One schema may be both under the same name.
                    let known = self.inspected.anchors.insert(name, value);
                    if known.is_some_and(|known| !std::ptr::eq(known, value)) {
                        return Err("an anchor stands twice".to_owned());
                    }
                }
                ("pattern", Value::String(pattern)) => self.add_pattern(pattern)?,
                ("patternProperties", Value::Object(patterns)) => {
                    patterns.keys().try_for_each(|pattern| self.add_pattern(pattern))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add_pattern(&mut self, pattern: &str) -> Result<(), String> {
        let states = pattern_states(pattern);
        self.pattern_states = self.pattern_states.saturating_add(states);
        if states > limits::SCHEMA_PATTERN_STATES {
            let shown: String = pattern.chars().take(40).collect();
            return Err(format!("the pattern {shown:?} is too large with all its repetitions written out"));
        }
        if self.pattern_states > limits::SCHEMA_PATTERNS_STATES {
            return Err("the patterns are too large together".to_owned());
        }
        Ok(())
    }
}

/// Where the search for loops stands with a schema.
#[derive(Clone, Copy)]
enum Expansion {
    Open,
    /// How many schemas it comes to at one place of a value.
    Counted(u64),
}

impl<'a> Inspected<'a> {
    /// Follows every `$ref` in the document, and counts what each schema comes to at one place of a value.
    fn check_references(&self, value: &'a Value, expansions: &mut BTreeMap<usize, Expansion>) -> Result<(), String> {
        match value {
            Value::Object(fields) => {
                self.expand(value, 0, expansions)?;
                fields.values().try_for_each(|field| self.check_references(field, expansions))
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.check_references(item, expansions)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn expand(
        &self,
        schema: &'a Value,
        depth: usize,
        expansions: &mut BTreeMap<usize, Expansion>,
    ) -> Result<u64, String> {
        let Value::Object(keywords) = schema else {
            return Ok(1);
        };
        if depth > limits::SCHEMA_NESTING {
            return Err(format!("more than {} schemas follow from each other at one place", limits::SCHEMA_NESTING));
        }
        let key = std::ptr::from_ref(schema).addr();
        match expansions.get(&key) {
            Some(Expansion::Counted(count)) => return Ok(*count),
            Some(Expansion::Open) => return Err("a $ref leads in a circle".to_owned()),
            None => {}
        }
        expansions.insert(key, Expansion::Open);
        let mut count = 0_u64;
        let mut add = |schema: &'a Value| {
            count = count.saturating_add(self.expand(schema, depth + 1, expansions)?);
            Ok::<(), String>(())
        };
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            add(self.target(reference)?)?;
        }
        for schema in in_place(keywords) {
            add(schema)?;
        }
        for (_, schema) in by_key(keywords) {
            add(schema)?;
        }
        count = count.saturating_mul(factor(keywords)).saturating_add(1);
        if count > limits::SCHEMA_EXPANSION {
            let bound = limits::SCHEMA_EXPANSION;
            return Err(format!("a schema comes to more than {bound} schemas at one place, its $refs written out"));
        }
        expansions.insert(key, Expansion::Counted(count));
        Ok(count)
    }

    fn target(&self, reference: &str) -> Result<&'a Value, String> {
        let shown = || reference.chars().take(100).collect::<String>();
        let Some(fragment) = reference.strip_prefix('#') else {
            return Err(format!("the $ref {:?} leads out of the schema: only #, #/… and #anchor are taken", shown()));
        };
        if fragment.contains('%') {
            return Err(format!("the $ref {:?} must be written without percent-encoding", shown()));
        }
        let target = if fragment.is_empty() || fragment.starts_with('/') {
            self.root.pointer(fragment)
        } else {
            self.anchors.get(fragment).copied()
        };
        target.ok_or_else(|| format!("the $ref {:?} leads nowhere", shown()))
    }
}

fn in_place(keywords: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    IN_PLACE.iter().filter_map(|keyword| keywords.get(*keyword)).flat_map(each)
}

fn by_key(keywords: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    IN_PLACE_BY_KEY.iter().filter_map(|keyword| keywords.get(*keyword)?.as_object()).flatten()
}

/// The schemas of a keyword that takes one or a list of them.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let list = value.as_array().map(Vec::as_slice);
    list.unwrap_or_else(|| std::slice::from_ref(value)).iter()
}

fn factor(keywords: &Map<String, Value>) -> u64 {
    let is_again = keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems");
    if is_again { UNEVALUATED_FACTOR } else { 1 }
}

/// A class of Unicode's is a table of byte ranges.
const UNICODE_CLASS: u64 = 500;
/// Anything but a few characters is a table of all the forms of UTF-8.
const CLASS: u64 = 12;
/// A character may stand for its other cases too, which have more bytes.
const CHARACTER: u64 = 3;

/// How many states a pattern compiles to, with every counted repetition written out: an estimate from above.
fn pattern_states(pattern: &str) -> u64 {
    let mut groups = vec![0_u64];
    // What a repetition would repeat. It is in its group's sum already.
    let mut last = 0_u64;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let atom = match c {
            '\\' => escape(&mut rest),
            '[' => {
                let mut size = CLASS;
                while let Some(c) = rest.next() {
                    match c {
                        ']' => break,
                        '\\' => size += escape(&mut rest),
                        _ => size += CHARACTER,
                    }
                }
                size
            }
            '(' => {
                groups.push(0);
                last = 0;
                continue;
            }
            ')' => {
                // The group's own sum goes into the one around it.
                if groups.len() > 1 { groups.pop().unwrap_or_default().saturating_add(2) } else { CHARACTER }
            }
            '{' => {
                let repeated: String = rest.as_str().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
                if rest.as_str()[repeated.len()..].starts_with('}')
                    && repeated.starts_with(|c: char| c.is_ascii_digit())
                {
                    rest = rest.as_str()[repeated.len() + 1..].chars();
                    let most =
                        repeated.split(',').filter_map(|bound| bound.parse::<u64>().ok()).max().unwrap_or(u64::MAX);
                    last.saturating_mul(most)
                } else {
                    CHARACTER
                }
            }
            '.' => CLASS,
            '*' | '+' | '?' | '|' => 1,
            _ => CHARACTER,
        };
        // A repetition may follow a repetition: then it repeats the larger whole.
        last = if matches!(c, '*' | '+' | '?' | '{') { last.saturating_add(atom) } else { atom };
        if let Some(sum) = groups.last_mut() {
            *sum = sum.saturating_add(atom);
        }
    }
    groups.into_iter().fold(0, u64::saturating_add)
}

/// The states of what follows a backslash, read to its end.
fn escape(rest: &mut std::str::Chars<'_>) -> u64 {
    if !matches!(rest.next(), Some('p' | 'P')) {
        return CLASS;
    }
    if let Some(name) = rest.as_str().strip_prefix('{') {
        *rest = name.split_once('}').map_or("", |(_, after)| after).chars();
    }
    UNICODE_CLASS
}

/// Counts the steps that a check of `value` takes at most.
///
/// # Errors
/// A sentence for the caller, when there are too many.
pub fn measure(schema: &Inspected<'_>, value: &Value) -> Result<u64, String> {
    let mut meter = Meter { schema, steps: 0 };
    meter.visit(schema.root, value, 0)?;
    Ok(meter.steps)
}

struct Meter<'a> {
    schema: &'a Inspected<'a>,
    steps: u64,
}

impl Meter<'_> {
    fn spend(&mut self, steps: u64) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > limits::SCHEMA_STEPS {
            return Err(format!("a check against the schema takes more than {} steps", limits::SCHEMA_STEPS));
        }
        Ok(())
    }

    fn visit(&mut self, schema: &Value, value: &Value, depth: usize) -> Result<(), String> {
        self.spend(1)?;
        let Value::Object(keywords) = schema else {
            return Ok(());
        };
        if depth > limits::SCHEMA_NESTING {
            return Err(format!("the value takes the schema through more than {} levels", limits::SCHEMA_NESTING));
        }
        self.spend(own_steps(keywords, value))?;
        for _ in 0..factor(keywords) {
            self.visit_in_place(keywords, value, depth + 1)?;
            match value {
                Value::Object(fields) => self.visit_fields(keywords, fields, depth + 1)?,
                Value::Array(items) => self.visit_items(keywords, items, depth + 1)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        Ok(())
    }

    fn visit_in_place(&mut self, keywords: &Map<String, Value>, value: &Value, depth: usize) -> Result<(), String> {
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            self.visit(self.schema.target(reference)?, value, depth)?;
        }
        for schema in in_place(keywords) {
            self.visit(schema, value, depth)?;
        }
        for (key, schema) in by_key(keywords) {
            self.spend(1)?;
            if value.get(key).is_some() {
                self.visit(schema, value, depth)?;
            }
        }
        Ok(())
    }

    fn visit_fields(
        &mut self,
        keywords: &Map<String, Value>,
        fields: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), String> {
        let named = keywords.get("properties").and_then(Value::as_object);
        self.spend(named.map_or(0, |named| named.len() as u64 / 4))?;
        for (key, field) in fields {
            if let Some(Value::Object(patterns)) = keywords.get("patternProperties") {
                for (pattern, schema) in patterns {
                    self.spend(match_steps(pattern, key))?;
                    self.visit(schema, field, depth)?;
                }
            }
            if let Some(schema) = named.and_then(|named| named.get(key)) {
                self.visit(schema, field, depth)?;
            } else {
                for keyword in ["additionalProperties", "unevaluatedProperties"] {
                    if let Some(schema) = keywords.get(keyword) {
                        self.visit(schema, field, depth)?;
                    }
                }
            }
            if let Some(names) = keywords.get("propertyNames") {
                self.visit(names, &Value::String(key.clone()), depth)?;
            }
        }
        Ok(())
    }

    fn visit_items(&mut self, keywords: &Map<String, Value>, items: &[Value], depth: usize) -> Result<(), String> {
        for (index, item) in items.iter().enumerate() {
            for keyword in ["prefixItems", "items"] {
                if let Some(schema) = keywords.get(keyword).and_then(Value::as_array).and_then(|list| list.get(index)) {
                    self.visit(schema, item, depth)?;
                }
            }
            for keyword in ["items", "additionalItems", "contains", "unevaluatedItems"] {
                if let Some(schema) = keywords.get(keyword).filter(|schema| !schema.is_array()) {
                    self.visit(schema, item, depth)?;
                }
            }
        }
        Ok(())
    }
}

/// What a schema's own keywords take, without the schemas in them.
fn own_steps(keywords: &Map<String, Value>, value: &Value) -> u64 {
    let bulk = match value {
        // Some keywords go over a text, and compare or convert a number's digits.
        Value::String(text) => text.len() as u64 / 256,
        Value::Number(number) => digits(number) / 32,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => 0,
    };
    keywords.iter().fold(0_u64, |steps, (keyword, argument)| {
        let more = match (keyword.as_str(), argument, value) {
            ("pattern", Value::String(pattern), Value::String(text)) => match_steps(pattern, text),
            // The slowest format is `regex`, with tens of nanoseconds a byte.
            ("format" | "contentEncoding" | "contentMediaType", _, Value::String(text)) => text.len() as u64,
            // Long division.
            ("multipleOf", Value::Number(by), Value::Number(number)) => digits(by).saturating_mul(digits(number)) / 500,
            ("enum", Value::Array(options), _) => {
                (options.len() as u64 / 4).saturating_add(1).saturating_mul(weight(value))
            }
            ("const", _, _) => weight(value),
            ("required", Value::Array(names), Value::Object(_)) => names.len() as u64,
            ("dependentRequired" | "dependencies", Value::Object(names), Value::Object(_)) => {
                names.values().map(|names| 1 + names.as_array().map_or(0, Vec::len) as u64).sum()
            }
            ("uniqueItems", Value::Bool(true), Value::Array(items)) => unique_steps(items),
            _ => 0,
        };
        steps.saturating_add(1).saturating_add(bulk).saturating_add(more)
    })
}

/// A match goes through the text once, at worst with every state of the pattern at once. Counting them takes a while too.
fn match_steps(pattern: &str, text: &str) -> u64 {
    1 + pattern.len() as u64 / 16 + pattern_states(pattern).saturating_mul(text.len() as u64) / 20
}

/// Items are told apart by a hash first. Texts and short numbers have one each, but brackets leave no trace in it and
/// long numbers may share theirs: those are compared with each other.
fn unique_steps(items: &[Value]) -> u64 {
    let (mut count, mut total) = (0_u64, 0_u64);
    for item in items {
        let is_compared = match item {
            Value::Null | Value::Bool(_) | Value::String(_) => false,
            Value::Number(number) => digits(number) > 15 || number.as_str().contains(['e', 'E']),
            Value::Array(_) | Value::Object(_) => true,
        };
        if is_compared {
            count += 1;
            total = total.saturating_add(weight(item));
        }
    }
    (items.len() as u64).saturating_add(total).saturating_add(count.saturating_mul(total) / 4)
}

/// What it takes to go through a value once. A number that is compared is converted each time.
fn weight(value: &Value) -> u64 {
    1 + match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => digits(number) / 8,
        Value::String(text) => text.len() as u64 / 256,
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields.values().map(weight).sum(),
    }
}

fn digits(number: &serde_json::Number) -> u64 {
    number.as_str().len() as u64
}
