//! SARIF 2.1.0 (OASIS), as code scanning takes it.

use serde_json::{Map, Value, json};

use super::{Item, Level, Place, Report, page_address};
use crate::codes;

/// The schema that the answer follows.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log, ending in a newline. What is as it should be is no result.
pub(crate) fn render(report: &Report<'_>) -> serde_json::Result<String> {
    let mut codes: Vec<&str> = report.items.iter().map(|item| item.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let found = report.items.iter().filter(|item| item.level != Level::Pass);
    let results: Vec<Value> = found.map(|item| result(item, &codes)).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "nattrace",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": codes.iter().map(|code| rule(report, code)).collect::<Vec<_>>(),
            }},
            "automationDetails": {"id": format!("nattrace/{}/", report.command)},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

fn rule(report: &Report<'_>, code: &str) -> Value {
    let page = codes::find(code);
    let summary = page.map_or("", codes::Page::summary);
    let text = page.map_or("", |page| page.text);
    let found = report.items.iter().filter(|item| item.code == code).map(|item| item.level);
    let (level, severity) = match found.max() {
        // An entry of a policy that holds would fail as any other.
        None | Some(Level::Pass | Level::Error) => ("error", "8.0"),
        Some(Level::Warning) if code.starts_with("policy-") => ("error", "8.0"),
        Some(Level::Warning) => ("warning", "5.0"),
        Some(Level::Info) => ("note", "2.0"),
    };
    json!({
        "id": code,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": summary},
        "help": {"text": text, "markdown": text},
        "helpUri": page_address(code),
        "defaultConfiguration": {"level": level},
        // What code scanning sorts alerts by.
        "properties": {"tags": ["security", "firewall"], "security-severity": severity},
    })
}

fn result(item: &Item, codes: &[&str]) -> Value {
    let level = match item.level {
        Level::Pass => "none",
        Level::Info => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let message = format!("{}: {}", item.title, item.message);
    let mut result = object(json!({
        "ruleId": item.code,
        "ruleIndex": codes.iter().position(|code| *code == item.code).unwrap_or(0),
        // Section 3.27.10: a level other than `none` goes with this kind only.
        "kind": "fail",
        "level": level,
        "message": {"text": message},
        "partialFingerprints": {"nattrace/v1": item.fingerprint},
    }));
    if let Some(place) = &item.place {
        result.insert("locations".to_owned(), json!([location(place, None)]));
    }
    if let Some(place) = &item.decided_at {
        let related = json!([location(place, Some("the rule that decides"))]);
        result.insert("relatedLocations".to_owned(), related);
    }
    if let Some(excuse) = &item.excuse {
        let accepted = json!([{"kind": "external", "status": "accepted", "justification": excuse}]);
        result.insert("suppressions".to_owned(), accepted);
    }
    Value::Object(result)
}

/// The entries of an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(entries) => entries,
        _ => Map::new(),
    }
}

fn location(place: &Place, message: Option<&str>) -> Value {
    let mut location = object(json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(&place.file)},
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endLine": place.line,
                "endColumn": place.end_column,
            },
        },
    }));
    if let Some(message) = message {
        location.insert("message".to_owned(), json!({"text": message}));
    }
    Value::Object(location)
}

/// A path as the reference that it is (RFC 3986 section 4.2).
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::with_capacity(path.len());
    if path.starts_with('/') {
        // A reference that begins with a slash can't be combined with the root of a repository.
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::report::sample;

    /// What the standard and code scanning ask of a log.
    #[test]
    fn the_log_keeps_the_rules_of_the_standard() {
        let log: Value = serde_json::from_str(&render(&sample()).unwrap()).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for rule in rules {
            assert!(rule["helpUri"].as_str().unwrap().starts_with("https://"));
            assert!(!rule["help"]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
            assert_eq!(result["kind"], "fail");
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            for location in result["locations"].as_array().into_iter().flatten() {
                let region = &location["physicalLocation"]["region"];
                assert!(region["startLine"].as_u64().unwrap() >= 1);
                assert!(region["endColumn"].as_u64() > region["startColumn"].as_u64());
            }
        }
        assert_eq!(results[2]["suppressions"][0]["kind"], "external");
        insta::assert_snapshot!(serde_json::to_string_pretty(&run["results"]).unwrap());
    }

    #[test]
    fn a_path_is_a_reference() {
        assert_eq!(uri("./a b/ü:1.toml"), "a%20b/%C3%BC%3A1.toml");
        assert_eq!(uri("/srv/rules.v4"), "file:///srv/rules.v4");
    }
}
