//! JSON patterns: what a message must look like.
//!
//! A pattern is JSON. Numbers, literals and arrays stand for themselves.
//! A string that begins with `$` is a placeholder: `"$*"` is anything,
//! `"$absent"` a field that must not be there, and `"$name"` anything the
//! first time, and the same thing from then on. An object with a key `"..."`
//! may have further fields.

use std::collections::BTreeMap;

use serde_json::Value;

pub type Variables = BTreeMap<String, Value>;

/// Compares; adds what differs to `differences` and what was captured to
/// `variables`.
pub fn compare(
    pattern: &Value,
    value: &Value,
    at: &str,
    variables: &mut Variables,
    differences: &mut Vec<String>,
) {
    let mut differs = |what: String| differences.push(format!("{at}: {what}"));
    match (pattern, value) {
        (Value::String(text), _) if text.starts_with('$') => {
            let name = text.get(1..).unwrap_or_default();
            match name {
                "*" => {}
                "absent" => differs(format!("should be absent, came {value}")),
                _ => match variables.get(name) {
                    None => {
                        variables.insert(name.to_owned(), value.clone());
                    }
                    Some(bound) if bound == value => {}
                    Some(bound) => differs(format!("expected {text} = {bound}, came {value}")),
                },
            }
        }
        (Value::Object(wanted), Value::Object(came)) => {
            let open = wanted.contains_key("...");
            for (key, wanted) in wanted.iter().filter(|(key, _)| *key != "...") {
                let at = format!("{at}.{key}");
                match came.get(key) {
                    Some(came) => compare(wanted, came, &at, variables, differences),
                    None if *wanted == "$absent" => {}
                    None => differences.push(format!("{at}: expected {wanted}, nothing came")),
                }
            }
            if !open {
                for (key, came) in came.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
                    differences.push(format!("{at}.{key}: nothing expected, came {came}"));
                }
            }
        }
        (Value::Array(wanted), Value::Array(came)) => {
            for (index, pair) in wanted.iter().zip(came).enumerate() {
                let at = format!("{at}[{index}]");
                compare(pair.0, pair.1, &at, variables, differences);
            }
            for (index, wanted) in wanted.iter().enumerate().skip(came.len()) {
                differences.push(format!("{at}[{index}]: expected {wanted}, nothing came"));
            }
            for (index, came) in came.iter().enumerate().skip(wanted.len()) {
                differences.push(format!("{at}[{index}]: nothing expected, came {came}"));
            }
        }
        _ if pattern == value => {}
        _ => differs(format!("expected {pattern}, came {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(pattern: &Value, value: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        compare(
            pattern,
            value,
            "",
            &mut Variables::from([("client".into(), json!("c1"))]),
            &mut differences,
        );
        differences
    }

    #[test]
    fn structure_counts_and_not_the_order_of_fields() {
        let pattern: Value = serde_json::from_str(r#"[{"a":1,"b":[true,null]}]"#).unwrap();
        let value: Value = serde_json::from_str(r#"[{"b": [true, null], "a": 1}]"#).unwrap();
        assert!(differences(&pattern, &value).is_empty());
        assert_eq!(
            differences(&pattern, &json!([{"a": 2, "b": [true], "c": 0}, 7])),
            [
                "[0].a: expected 1, came 2",
                "[0].b[1]: expected null, nothing came",
                "[0].c: nothing expected, came 0",
                "[1]: nothing expected, came 7",
            ]
        );
    }

    #[test]
    fn placeholders() {
        let pattern =
            json!([{"id": "$id", "x": "$*", "clientId": "$client", "n": "$absent"}, "$id"]);
        assert!(differences(
            &pattern,
            &json!([{"id": "5", "x": {}, "clientId": "c1"}, "5"])
        )
        .is_empty());
        assert_eq!(
            differences(
                &pattern,
                &json!([{"id": "5", "x": {}, "clientId": "c2", "n": 1}, "6"])
            ),
            [
                r#"[0].clientId: expected $client = "c1", came "c2""#,
                "[0].n: should be absent, came 1",
                r#"[1]: expected $id = "5", came "6""#,
            ]
        );
    }

    #[test]
    fn an_open_object_may_have_more() {
        let pattern = json!({"a": 1, "...": ""});
        assert!(differences(&pattern, &json!({"a": 1, "b": 2})).is_empty());
        assert_eq!(differences(&pattern, &json!({"b": 2})).len(), 1);
    }
}
