//! What a processor's failure says to people. Step Functions gives the cause of a failed call as the service's own JSON; a
//! reader wants the type and the message in it.

use serde_json::Value;

/// Codes that Step Functions uses when it leaves it to the cause to say what failed, and Lambda's own words for "the function
/// threw something".
const SAYS_NOTHING: [&str; 5] =
    ["States.TaskFailed", "Lambda.Unknown", "Lambda.AWSLambdaException", "Unhandled", "Handled"];

/// Code and message of a processor's failure, from the error and the cause that the runner recorded. A cause in none of the
/// known forms, or a text, is the message as it is.
///
/// Forms: a Lambda function's error object
/// (<https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html>), a nested execution and an ECS task as the `.sync`
/// integrations give them (<https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html>). The runner cuts a
/// long cause off; what is left of a function's message is shown all the same.
pub fn shown(error: &str, cause: &str) -> (String, String) {
    let Some((code, message)) = function(cause).or_else(|| execution(cause)).or_else(|| task(cause)) else {
        return (error.to_owned(), cause.to_owned());
    };
    let code = code.filter(|code| !code.is_empty() && (error.is_empty() || SAYS_NOTHING.contains(&error)));
    (code.unwrap_or_else(|| error.to_owned()), message)
}

type Said = (Option<String>, String);

/// `{"errorType": "ValueError", "errorMessage": "no text", "stackTrace": [...]}`, perhaps without its end.
fn function(cause: &str) -> Option<Said> {
    if !cause.trim_start().starts_with('{') {
        return None;
    }
    let message = text_of(cause, "errorMessage")?;
    Some((text_of(cause, "errorType"), message))
}

/// `{"ExecutionArn": "...", "Status": "FAILED", "Error": "...", "Cause": "..."}`
fn execution(cause: &str) -> Option<Said> {
    let said: Value = serde_json::from_str(cause).ok()?;
    said["ExecutionArn"].as_str()?;
    let code = said["Error"].as_str().map(str::to_owned);
    let inner = said["Cause"].as_str().filter(|inner| !inner.is_empty());
    let message = match inner {
        // The nested machine may have failed of one of its own functions.
        Some(inner) => function(inner).map_or_else(|| inner.to_owned(), |(_, message)| message),
        None => format!("the execution ended {}", said["Status"].as_str().unwrap_or("FAILED")),
    };
    Some((code, message))
}

/// `{"TaskArn": "...", "StoppedReason": "...", "Containers": [{"Name": "work", "ExitCode": 1, "Reason": "..."}]}`
fn task(cause: &str) -> Option<Said> {
    let said: Value = serde_json::from_str(cause).ok()?;
    said["TaskArn"].as_str()?;
    let mut parts: Vec<String> = said["StoppedReason"].as_str().map(str::to_owned).into_iter().collect();
    for container in said["Containers"].as_array().into_iter().flatten() {
        let name = container["Name"].as_str().unwrap_or("a container");
        if let Some(code) = container["ExitCode"].as_i64().filter(|code| *code != 0) {
            parts.push(format!("{name} exited with {code}"));
        }
        if let Some(reason) = container["Reason"].as_str() {
            parts.push(format!("{name}: {reason}"));
        }
    }
    (!parts.is_empty()).then(|| (None, parts.join("; ")))
}

/// The text of a field of the outermost object. Of an object that was cut off, what is there of it.
fn text_of(object: &str, name: &str) -> Option<String> {
    if let Ok(whole) = serde_json::from_str::<Value>(object) {
        return whole[name].as_str().map(str::to_owned);
    }
    let mut rest = object.trim_start().strip_prefix('{')?.trim_start();
    loop {
        let key = Literal::first_in(rest)?;
        rest = rest[key.end..].trim_start().strip_prefix(':')?.trim_start();
        let value = Literal::first_in(rest);
        if key.text == name {
            return value.map(|value| value.text);
        }
        // What comes before the message is text; a stack trace comes after it.
        rest = rest[value?.end..].trim_start().strip_prefix(',')?.trim_start();
    }
}

/// A JSON string at the beginning of a text.
struct Literal {
    text: String,
    /// Bytes up to behind it.
    end: usize,
}

impl Literal {
    fn first_in(text: &str) -> Option<Self> {
        let body = text.strip_prefix('"')?;
        let mut is_escaped = false;
        let closed = body.char_indices().find(|(_, letter)| {
            let ends = *letter == '"' && !is_escaped;
            is_escaped = *letter == '\\' && !is_escaped;
            ends
        });
        match closed {
            Some((at, _)) => Some(Self { text: serde_json::from_str(&text[..at + 2]).ok()?, end: at + 2 }),
            // Cut off, perhaps in the middle of an escape of up to 12 characters (`\ud83d\ude00`).
            None => (0..=12).find_map(|less| {
                let end = body.len().checked_sub(less).filter(|end| body.is_char_boundary(*end))?;
                let whole = serde_json::from_str(&format!("\"{}\"", &body[..end])).ok()?;
                Some(Self { text: whole, end: text.len() })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(error: &str, cause: &Value) -> (String, String) {
        shown(error, &cause.to_string())
    }

    fn pair(code: &str, message: &str) -> (String, String) {
        (code.to_owned(), message.to_owned())
    }

    #[test]
    fn a_functions_failure_is_its_type_and_its_message() {
        let python = json!({"errorMessage": "no \"text\"\n😀", "errorType": "ValueError", "requestId": "1", "stackTrace": ["a"]});
        assert_eq!(said("ValueError", &python), pair("ValueError", "no \"text\"\n😀"));
        assert_eq!(said("Lambda.Unknown", &python), pair("ValueError", "no \"text\"\n😀"));
        let node = r#"{"errorType":"TypeError","errorMessage":"x is not a function","trace":["TypeError: x"]}"#;
        assert_eq!(shown("TypeError", node), pair("TypeError", "x is not a function"));
        let timeout = json!({"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: 1 Error: Task timed out after 3.00 seconds"});
        assert_eq!(
            said("Sandbox.Timedout", &timeout),
            pair("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 3.00 seconds")
        );
    }

    #[test]
    fn a_message_is_shown_wherever_the_cause_was_cut_off() {
        for message in ["no text", "a \\ \"quoted\" 😀 é \n end", ""] {
            for whole in [
                json!({"errorMessage": message, "errorType": "E", "stackTrace": ["x".repeat(40)]}).to_string(),
                format!(r#"{{ "errorType" : "E", "errorMessage":{}, "trace": ["x", "y"]}}"#, json!(message)),
                // As Python writes it.
                format!(r#"{{"errorMessage": "{}", "errorType": "E"}}"#, escaped(message)),
            ] {
                let from = whole.find("errorMessage").expect("it is there") + "errorMessage\": \"".len();
                for cut in (from..=whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
                    let (code, shown) = shown("E", &whole[..cut]);
                    assert_eq!(code, "E");
                    assert!(message.starts_with(&shown), "{:?} became {shown:?}", &whole[..cut]);
                }
                assert_eq!(super::shown("E", &whole), pair("E", message));
            }
        }
    }

    /// JSON with every letter beyond ASCII as an escape.
    fn escaped(text: &str) -> String {
        let letters = text.encode_utf16().map(|unit| match u8::try_from(unit) {
            Ok(b'\\') => "\\\\".to_owned(),
            Ok(b'"') => "\\\"".to_owned(),
            Ok(b'\n') => "\\n".to_owned(),
            Ok(ascii @ 0x20..=0x7e) => char::from(ascii).to_string(),
            _ => format!("\\u{unit:04x}"),
        });
        letters.collect()
    }

    #[test]
    fn a_nested_execution_and_a_task_say_what_failed_in_them() {
        let inner = json!({"errorMessage": "no text", "errorType": "ValueError"}).to_string();
        let nested = json!({"ExecutionArn": "arn:aws:states:::execution:p:1", "Status": "FAILED", "Error": "ValueError", "Cause": inner});
        assert_eq!(said("States.TaskFailed", &nested), pair("ValueError", "no text"));
        let silent = json!({"ExecutionArn": "arn:aws:states:::execution:p:1", "Status": "ABORTED"});
        assert_eq!(said("States.TaskFailed", &silent), pair("States.TaskFailed", "the execution ended ABORTED"));
        let task = json!({"TaskArn": "arn:aws:ecs:::task/1", "StoppedReason": "Essential container in task exited",
            "Containers": [{"Name": "work", "ExitCode": 137, "Reason": "OutOfMemoryError"}, {"Name": "log", "ExitCode": 0}]});
        assert_eq!(
            said("States.TaskFailed", &task),
            pair(
                "States.TaskFailed",
                "Essential container in task exited; work exited with 137; work: OutOfMemoryError"
            )
        );
    }

    #[test]
    fn what_is_in_no_known_form_is_shown_as_it_is() {
        for cause in
            ["", "Rate Exceeded.", "[1]", "{}", r#"{"error": "x"}"#, r#"{"errorMessage": 7}"#, "{broken", "{\"a\": [1"]
        {
            assert_eq!(shown("Lambda.TooManyRequestsException", cause), pair("Lambda.TooManyRequestsException", cause));
        }
    }
}
