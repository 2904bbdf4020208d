//! The command line.

use std::fs;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use sluice_bedrock::{Keys, Options};

pub const HELP: &str = "\
sluice-bedrock: a stand-in for Bedrock Runtime on 127.0.0.1

  --keys FILE           who may call, as JSON: {\"region\", \"keys\": [{\"accessKeyId\", \"secretAccessKey\", \"sessionToken\"}],
                        \"bearerTokens\": []}; more can be told over the control port
  --authority FILE      where the certificate is written that callers have to trust (AWS_CA_BUNDLE)
  --prices FILE         the models and what they cost (default: built in)
  --port N              the door's port (default 0: any)
  --plain-port N        a second door without TLS
  --control-port N      the control port (default 0: any)
  --pause-ms N          before each frame of a stream (default 0)
  --help                this text

It says where it is in one line of JSON, and ends with its standard input.";

pub enum Command {
    Serve(Options),
    Help,
}

pub fn parse() -> Result<Command, lexopt::Error> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let keys = Keys { region: "us-east-1".to_owned(), ..Keys::default() };
    let mut options = Options { keys, plain_port: None, ..Options::test() };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("keys") => {
                let text = read(parser.value()?.into())?;
                options.keys = Options::keys(&text).map_err(|error| error.to_string())?;
            }
            Long("authority") => options.authority_path = Some(PathBuf::from(parser.value()?)),
            Long("prices") => options.prices = Some(read(parser.value()?.into())?),
            Long("port") => options.port = parser.value()?.parse()?,
            Long("plain-port") => options.plain_port = Some(parser.value()?.parse()?),
            Long("control-port") => options.control_port = parser.value()?.parse()?,
            Long("pause-ms") => options.pause_ms = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(Command::Help),
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected()),
        }
    }
    Ok(Command::Serve(options))
}

fn read(path: PathBuf) -> Result<String, lexopt::Error> {
    fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options, String> {
        match parse_from(lexopt::Parser::from_args(words)) {
            Ok(Command::Serve(options)) => Ok(options),
            Ok(Command::Help) => Err("help".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn nobody_may_call_unless_keys_are_given_and_there_is_no_plain_door() {
        let found = options(&[]).expect("no arguments are fine");
        assert!(found.keys.keys.is_empty() && found.keys.bearer_tokens.is_empty() && found.plain_port.is_none());
    }

    #[test]
    fn what_is_not_known_or_no_number_is_refused() {
        for words in [&["--prot", "1"][..], &["--port", "70000"], &["--keys", "/nonexistent/keys"], &["word"]] {
            assert!(options(words).is_err(), "{words:?}");
        }
    }
}
