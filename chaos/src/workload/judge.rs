//! Answers become outcomes: right, a typed failure, silence, or wrong.

use serde_json::Value;

use super::Answer;
use crate::record::Outcome;

/// What a call may be told while something is broken; anything else no fault excuses.
const EXCUSED: [u16; 5] = [409, 429, 500, 503, 504];
/// An error that names nothing: never an excuse.
const NAMELESS: &str = "internal";

/// A JSON-RPC answer as the REST twin would give it.
pub(super) fn unwrap_mcp(answer: Answer) -> Answer {
    let (status, mut body) = answer?;
    let result = body["result"].take();
    if result["isError"] == true {
        return Ok((503, result["structuredContent"].clone()));
    }
    if !result.is_null() {
        return Ok((status, result["structuredContent"].clone()));
    }
    // A typed JSON-RPC error may come with 200; the code says what it is.
    let status = if status == 200 { 503 } else { status };
    Ok((status, serde_json::json!({ "error": { "code": body["error"]["data"]["code"] } })))
}

/// A run that must have printed `expected`; made: its execution id.
pub(super) fn printed(answer: Answer, expected: &str) -> (Outcome, String) {
    let ended = match &answer {
        Ok((200, body)) => body["status"].as_str().filter(|status| *status != "ok"),
        _ => None,
    };
    if let Some(status) = ended {
        return (Outcome::Ended(status.to_owned()), String::new());
    }
    held(answer, |body| body["stdout"] == format!("{expected}\n"))
}

/// A lint whose one finding is known; a linter that could not run is a failure of its own.
pub(super) fn linted(answer: Answer) -> (Outcome, String) {
    if let Ok((200, body)) = &answer
        && (body["linter"]["available"] == false || body["linter_exit_code"].is_null())
    {
        return (Outcome::Ended("linter unavailable".to_owned()), String::new());
    }
    held(answer, |body| body["diagnostics"][0]["rule"] == "F401")
}

/// An answer in 2xx that must satisfy `right`; made: its execution id, when it has one.
pub(super) fn held(answer: Answer, right: impl Fn(&Value) -> bool) -> (Outcome, String) {
    let outcome = match answer {
        Err(reason) => Outcome::Unknown(reason),
        Ok((200..=299, body)) if right(&body) => {
            let made = body["execution_id"].as_str().unwrap_or("").to_owned();
            return (Outcome::Done, made);
        }
        Ok((status, body)) => failure(status, &body),
    };
    (outcome, String::new())
}

/// A call that policy denies.
pub(super) fn refused(answer: Answer) -> Outcome {
    match answer {
        Err(reason) => Outcome::Unknown(reason),
        Ok((401 | 403, _)) => Outcome::Done,
        Ok((200..=299, body)) => Outcome::Granted(body.to_string()),
        Ok((status, body)) => failure(status, &body),
    }
}

fn failure(status: u16, body: &Value) -> Outcome {
    let code = body["error"]["code"].as_str().unwrap_or("");
    if EXCUSED.contains(&status) && !code.is_empty() && code != NAMELESS {
        return Outcome::Failed(status, code.to_owned());
    }
    let mut text = format!("{status} {body}");
    text.truncate(text.char_indices().nth(300).map_or(text.len(), |(at, _)| at));
    Outcome::Wrong(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_answer_and_a_nameless_error_are_not_excused() {
        let wrong = |answer: Answer| matches!(printed(answer, "a").0, Outcome::Wrong(_));
        assert_eq!(
            printed(Ok((200, json!({"status": "ok", "stdout": "a\n"}))), "a").0,
            Outcome::Done
        );
        assert!(wrong(Ok((200, json!({"status": "ok", "stdout": "b\n"})))));
        assert!(wrong(Ok((500, json!({"error": {"code": "internal"}})))));
        assert!(wrong(Ok((503, json!("<html>")))));
        assert!(wrong(Ok((403, json!({"error": {"code": "forbidden"}})))));
        let down = printed(Ok((503, json!({"error": {"code": "unavailable"}}))), "a").0;
        assert_eq!(down, Outcome::Failed(503, "unavailable".to_owned()));
        assert_eq!(printed(Err("reset".to_owned()), "a").0, Outcome::Unknown("reset".to_owned()));
        let killed = json!({"status": "killed", "stdout": ""});
        assert_eq!(printed(Ok((200, killed)), "a").0, Outcome::Ended("killed".to_owned()));
    }

    #[test]
    fn a_granted_call_that_policy_denies_is_seen() {
        assert!(matches!(refused(Ok((200, json!({})))), Outcome::Granted(_)));
        assert_eq!(refused(Ok((403, json!({})))), Outcome::Done);
    }
}
