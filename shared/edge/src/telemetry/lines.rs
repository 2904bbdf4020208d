//! Lines of the log: each is a JSON object of its own, with the members that `tracing_subscriber` gives it.
//!
//! Decision (2026-11-29): not its formatter, which reads what a span was known by, and writes it anew, whenever something is added to it
//! or said within it: a twentieth of a request's time (`tests/benchmark/README.md`).

use jiff::Timestamp;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::io::Write;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Writes a line for each event, with the fields of the span that it is in.
pub struct Lines<W> {
    /// Where to, and as of when.
    pub open: W,
    pub now: fn() -> Timestamp,
}

/// Fields as members of an object: names, and values in JSON.
#[derive(Debug, Default)]
struct Members(Vec<(&'static str, String)>);

impl<S, W, O> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn() -> O + 'static,
    O: Write,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut members = Members::default();
            attributes.record(&mut members);
            span.extensions_mut().insert(members);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(members) = span.extensions_mut().get_mut::<Members>()
        {
            values.record(members);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let about = event.metadata();
        let mut members = Members::default();
        event.record(&mut members);
        let mut line = format!(r#"{{"timestamp":"{:.6}","level":"{}""#, (self.now)(), about.level());
        members.join(&mut line);
        line += &format!(r#","target":{}"#, json(about.target()));
        if let Some(span) = context.event_span(event) {
            line += r#","span":{"name":"#;
            line += &json(span.name());
            if let Some(members) = span.extensions().get::<Members>() {
                members.join(&mut line);
            }
            line.push('}');
        }
        line += "}\n";
        // There is nobody to tell that nobody can be told.
        drop((self.open)().write_all(one_line(line).as_bytes()));
    }
}

impl Members {
    fn set(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        let (name, value) = (field.name(), json(value));
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn join(&self, line: &mut String) {
        for (name, value) in &self.0 {
            for part in [",\"", name, "\":", value] {
                line.push_str(part);
            }
        }
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, &format!("{value:?}"));
    }
}

/// Text and numbers, none of which JSON has no form for.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// What JSON lets stand and some readers of logs take for the end of a line, escaped: no text of a caller's, such as a path, begins
/// a line of its own.
fn one_line(line: String) -> String {
    const ENDS: [(char, &str); 3] = [('\u{85}', r"\u0085"), ('\u{2028}', r"\u2028"), ('\u{2029}', r"\u2029")];
    // They begin with bytes that few lines have.
    if !line.bytes().any(|byte| matches!(byte, 0xC2 | 0xE2)) {
        return line;
    }
    ENDS.into_iter().fold(line, |line, (end, escaped)| line.replace(end, escaped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry;

    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
        }

        /// The lines, but for when they were written.
        fn lines(&self) -> Vec<Value> {
            let line = |line: &str| {
                let mut line: Value = serde_json::from_str(line).expect("JSON");
                let at = line.as_object_mut().expect("an object").remove("timestamp").expect("a time");
                at.as_str().expect("text").parse::<Timestamp>().expect("a time");
                line
            };
            self.text().lines().map(line).collect()
        }
    }

    /// What is written of what is said, here and by the library.
    fn both(say: impl Fn()) -> (Written, Written) {
        let (ours, theirs) = (Written::default(), Written::default());
        let (open, writer) = (ours.clone(), theirs.clone());
        let lines = Lines { open: move || open.clone(), now: || Timestamp::UNIX_EPOCH };
        tracing::subscriber::with_default(registry().with(lines), &say);
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
        tracing::subscriber::with_default(registry().with(layer.with_writer(move || writer.clone())), &say);
        (ours, theirs)
    }

    fn say(text: &str, number: f64, again: &str) {
        tracing::debug!(number, "in no span");
        let outer = tracing::info_span!("outer", only.outer = 1);
        let _outer = outer.enter();
        tracing::info!("in one span");
        let error = io::Error::other(text.to_owned());
        let span =
            tracing::error_span!("inner", tenant.id = Empty, run.id = Empty, http.path = text, n = 7_u8, yes = true);
        span.record("tenant.id", text);
        {
            let _inner = span.enter();
            tracing::warn!(error.cause = %error, error = &error as &(dyn Error + 'static), list = ?[text, again], "{text} happened");
            span.record("run.id", tracing::field::display(text));
            // What is said again takes the place of what was said.
            span.record("tenant.id", again);
            tracing::error!(below = -5_i64, above = u64::MAX, large = u128::MAX, number, nothing = Empty, text);
        }
        tracing::trace!(parent: &span, "in a span that was left");
    }

    proptest! {
        #[test]
        fn lines_say_what_the_library_s_say(text in any::<String>(), number in any::<f64>(), again in ".{0,5}") {
            let (ours, theirs) = both(|| say(&text, number, &again));
            prop_assert_eq!(ours.lines(), theirs.lines());
        }
    }

    #[test]
    fn nothing_that_a_line_says_ends_it() {
        let said = "a\u{85}b\u{2028}c\u{2029}d \u{2027}\u{86}é\n\r";
        let (ours, _) = both(|| tracing::info!(http.path = said, "x"));
        let ends = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
        assert_eq!(ours.text().find(ends), Some(ours.text().len() - 1), "{}", ours.text());
        assert_eq!(ours.lines()[0]["http.path"], json!(said), "it says what it said");
    }

    #[test]
    fn a_line_is_one_write_and_begins_with_its_time() {
        let (ours, _) = both(|| tracing::info!("x"));
        assert_eq!(ours.text().matches('\n').count(), 1);
        assert!(
            ours.text().starts_with(r#"{"timestamp":"1970-01-01T00:00:00.000000Z","level":"INFO","#),
            "{}",
            ours.text()
        );
    }
}
