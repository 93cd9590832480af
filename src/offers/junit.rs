//! A result of `run_tests` as JUnit XML (the `testsuite` that Jenkins, GitLab and GitHub actions read).
//!
//! Names and messages come from untrusted code: everything is escaped, and what XML 1.0 cannot hold is
//! replaced.

use std::fmt::Write;

use serde_json::Value;

/// The report.
pub fn report(result: &Value) -> String {
    let count = |name: &str| result["counts"][name].as_u64().unwrap_or(0);
    let (passed, failed, skipped, errors) =
        (count("passed"), count("failed"), count("skipped"), count("errors"));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = escape(result["test_framework"].as_str().unwrap_or("tests"));
    let _ = writeln!(
        xml,
        "<testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" \
         skipped=\"{skipped}\" time=\"{:.3}\">",
        passed + failed + skipped + errors,
        result["duration_seconds"].as_f64().unwrap_or(0.0),
    );
    for test in result["tests"].as_array().map(Vec::as_slice).unwrap_or_default() {
        case(&mut xml, test);
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn case(xml: &mut String, test: &Value) {
    let text = |name: &str| escape(test[name].as_str().unwrap_or(""));
    let seconds = test["duration_seconds"].as_f64().unwrap_or(0.0);
    let _ = write!(xml, "  <testcase name=\"{}\" time=\"{seconds:.3}\"", text("name"));
    let element = match test["outcome"].as_str() {
        Some("failed") => "failure",
        Some("skipped") => "skipped",
        Some("error" | "unfinished") => "error",
        _ => {
            xml.push_str("/>\n");
            return;
        }
    };
    let _ = writeln!(xml, "><{element} message=\"{}\"/></testcase>", text("message"));
}

/// Text within an attribute (XML 1.0 §2.2, §2.4, §3.3.3: line ends would become spaces).
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\r' => safe.push_str("&#13;"),
            '\t' => safe.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_holds_every_test_and_nothing_can_break_out_of_it() {
        let xml = report(&json!({
            "test_framework": "pytest",
            "duration_seconds": 1.5,
            "counts": { "passed": 1, "failed": 1, "skipped": 1, "errors": 1 },
            "tests": [
                { "name": "a", "outcome": "passed", "duration_seconds": 0.25 },
                { "name": "\"/><x>", "outcome": "failed", "duration_seconds": 0.0, "message": "1\n<2&\u{0}" },
                { "name": "c", "outcome": "skipped", "duration_seconds": 0.0 },
                { "name": "d", "outcome": "unfinished", "duration_seconds": 0.0, "message": "cut" },
            ],
        }));
        assert!(
            xml.contains("tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"1.500\"")
        );
        assert!(xml.contains("<testcase name=\"a\" time=\"0.250\"/>"), "{xml}");
        assert!(xml.contains("name=\"&quot;/&gt;&lt;x&gt;\""), "{xml}");
        assert!(xml.contains("<failure message=\"1&#10;&lt;2&amp;\u{fffd}\"/>"), "{xml}");
        assert!(
            xml.contains("<error message=\"cut\"/>") && xml.contains("<skipped message=\"\"/>")
        );
        assert_eq!(xml.matches("<testcase").count(), 4);
    }
}
