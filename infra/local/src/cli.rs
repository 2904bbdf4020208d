//! The command line of `cargo dev`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use sluice_local::{Options, sample};
use url::Url;

pub const HELP: &str = "\
cargo dev: Sluice on this machine, without an AWS account and without Docker

Builds the functions, deploys infra/template.yaml to a local AWS emulator, runs a sample workflow on a real text, shows its
result and its verified webhook, then serves until Ctrl-C. It needs Python 3.10 or newer (for the emulator).

  --once                    exit after the sample: 0 only if it SUCCEEDED and its webhook was delivered and verified
  --port N                  the API's port on 127.0.0.1 (default 8787; 0 lets the system choose)
  --input FILE              run the sample on this text
  --allow-callback ORIGIN   let webhooks also go to this origin, like http://127.0.0.1:9000 (repeatable)
  --tenant NAME             the tenant to act as, who is also the operator (default dev)
  --help                    this text";

pub enum Command {
    Start(Arguments),
    Help,
}

pub struct Arguments {
    pub options: Options,
    pub once: bool,
    pub input: PathBuf,
}

pub fn parse() -> Result<Command, lexopt::Error> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut arguments = Arguments { options: Options::dev(), once: false, input: sample::default_text() };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("once") => arguments.once = true,
            Long("port") => arguments.options.port = parser.value()?.parse()?,
            Long("input") => arguments.input = PathBuf::from(parser.value()?),
            Long("allow-callback") => {
                let origin = origin(&parser.value()?.string()?)?;
                arguments.options.callback_origins.push(origin);
            }
            Long("tenant") => arguments.options.tenant = tenant(parser.value()?.string()?)?,
            Long("help") | Short('h') => return Ok(Command::Help),
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected()),
        }
    }
    Ok(Command::Start(arguments))
}

/// `scheme://host[:port]` and nothing after it.
fn origin(text: &str) -> Result<String, lexopt::Error> {
    // As the functions compare it: host in lower case, without a default port.
    let parsed =
        Url::parse(text).ok().filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none());
    let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty());
    // A comma would make two origins of it where the functions read the list.
    if let Some(url) = parsed
        && !text.contains(',')
    {
        return Ok(url.origin().ascii_serialization());
    }
    Err(format!("--allow-callback wants an origin like http://127.0.0.1:9000, not {text:?}").into())
}

fn tenant(name: String) -> Result<String, lexopt::Error> {
    if !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
    {
        return Ok(name);
    }
    Err(format!("--tenant wants letters, digits, '-', '_' and '.', not {name:?}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Result<Arguments, String> {
        let words = std::iter::once("cargo dev").chain(words.iter().copied());
        match parse_from(lexopt::Parser::from_iter(words)) {
            Ok(Command::Start(arguments)) => Ok(arguments),
            Ok(Command::Help) => Err("help".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn without_arguments_it_serves_on_8787_as_dev() {
        let found = arguments(&[]).expect("no arguments are fine");
        assert!(!found.once && found.options.port == 8787 && found.options.tenant == "dev");
    }

    #[test]
    fn callback_origins_add_up() {
        let words =
            ["--allow-callback", "http://127.0.0.1:9000/", "--allow-callback=https://Example.test:443", "--once"];
        let found = arguments(&words).expect("two origins");
        assert!(found.options.callback_origins == ["http://127.0.0.1:9000", "https://example.test"] && found.once);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in ["127.0.0.1:9000", "http://", "http://host/path", "http://a,http://b", "ftp://host"] {
            assert!(arguments(&["--allow-callback", text]).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_option_and_a_port_that_is_none_are_refused() {
        assert!(arguments(&["--prot", "1"]).is_err());
        assert!(arguments(&["--port", "70000"]).is_err());
    }
}
