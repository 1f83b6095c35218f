//! Bodies of answers: text in which `$ok`, `$no`, `$id` and variables stand
//! for what the request said.

use serde_json::{Map, Value};

use crate::pattern::Variables;

/// What an answer is made for.
pub struct Context<'a> {
    /// The request's messages.
    pub messages: &'a [Value],
    pub variables: &'a Variables,
}

/// Puts in what the placeholders stand for; unknown ones are left alone.
pub fn expand(template: &str, context: &Context) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        match name {
            "ok" | "no" => {
                let index = take_index(&mut rest);
                let fields = take_object(&mut rest)?;
                out.push_str(&replies(context, name == "ok", index, &fields)?);
            }
            "id" => {
                let index = take_index(&mut rest).unwrap_or(0);
                let id = context.messages.get(index).and_then(|it| it.get("id"));
                out.push_str(&plain(id.unwrap_or(&Value::Null)));
            }
            _ => match context.variables.get(name) {
                Some(value) => out.push_str(&plain(value)),
                None => {
                    out.push('$');
                    out.push_str(name);
                }
            },
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether it makes a session: then there must be a client id.
pub fn says_ok(template: &str) -> bool {
    template.contains("$ok")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `.2` behind a placeholder: the request's third message.
fn take_index(rest: &mut &str) -> Option<usize> {
    let digits = rest.strip_prefix('.')?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let (number, after) = digits.split_at(end);
    let index = number.parse().ok()?;
    *rest = after;
    Some(index)
}

/// `{…}` behind a placeholder: more fields of the reply.
fn take_object(rest: &mut &str) -> Result<Map<String, Value>, String> {
    if !rest.starts_with('{') {
        return Ok(Map::new());
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Map<String, Value>>();
    match values.next() {
        Some(Ok(fields)) => {
            *rest = rest.get(values.byte_offset()..).unwrap_or_default();
            Ok(fields)
        }
        Some(Err(error)) => Err(format!("the fields behind a placeholder: {error}")),
        None => Ok(Map::new()),
    }
}

fn replies(
    context: &Context,
    ok: bool,
    index: Option<usize>,
    fields: &Map<String, Value>,
) -> Result<String, String> {
    let replies: Vec<String> = context
        .messages
        .iter()
        .enumerate()
        .filter(|(at, _)| index.is_none_or(|index| *at == index))
        .map(|(_, message)| reply(message, ok, fields, context.variables))
        .collect();
    if replies.is_empty() && index.is_some() {
        return Err("the request has no such message to answer".into());
    }
    Ok(replies.join(","))
}

fn reply(message: &Value, ok: bool, more: &Map<String, Value>, variables: &Variables) -> String {
    let mut reply = Map::new();
    for field in ["channel", "id", "subscription"] {
        if let Some(value) = message.get(field) {
            reply.insert(field.into(), value.clone());
        }
    }
    reply.insert("successful".into(), ok.into());
    if message.get("channel") == Some(&"/meta/handshake".into()) {
        let types = message.get("supportedConnectionTypes");
        let types = types.cloned().unwrap_or_else(|| Value::Array(vec![]));
        reply.insert("version".into(), "1.0".into());
        reply.insert("supportedConnectionTypes".into(), types);
        if let (true, Some(client)) = (ok, variables.get("client")) {
            reply.insert("clientId".into(), client.clone());
        }
    }
    for (field, value) in more {
        if *value == "$absent" {
            reply.remove(field);
        } else {
            reply.insert(field.clone(), value.clone());
        }
    }
    Value::Object(reply).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expanded(template: &str) -> Result<String, String> {
        let messages = [
            json!({"channel": "/meta/subscribe", "id": "3", "subscription": "/a", "clientId": "c"}),
            json!({"channel": "/x", "id": 4, "data": {}}),
        ];
        expand(
            template,
            &Context {
                messages: &messages,
                variables: &Variables::from([("client".into(), json!("c1"))]),
            },
        )
    }

    #[test]
    fn replies_to_all_or_to_one() {
        let subscribed =
            r#"{"channel":"/meta/subscribe","id":"3","subscription":"/a","successful":true}"#;
        let published = r#"{"channel":"/x","id":4,"successful":true}"#;
        assert_eq!(
            expanded("[$ok]").unwrap(),
            format!("[{subscribed},{published}]")
        );
        assert_eq!(
            expanded("[$ok.1,7,$ok.0]").unwrap(),
            format!("[{published},7,{subscribed}]")
        );
        assert!(expanded("[$ok.2]").is_err());
    }

    #[test]
    fn further_fields_are_put_in_or_taken_away() {
        assert_eq!(
            expanded(r#"$no.1{"id":"$absent","error":"402::x}"}!"#).unwrap(),
            r#"{"channel":"/x","error":"402::x}","successful":false}!"#
        );
        assert!(expanded("$ok{oops").is_err());
    }

    #[test]
    fn ids_and_variables() {
        assert_eq!(
            expanded("$id $id.1 $client $nothing 5$").unwrap(),
            "3 4 c1 $nothing 5$"
        );
    }

    #[test]
    fn a_handshake_gets_a_client_id() {
        let messages = [json!({"channel": "/meta/handshake", "id": "1",
            "supportedConnectionTypes": ["long-polling"]})];
        let variables = Variables::from([("client".into(), json!("c1"))]);
        let context = Context {
            messages: &messages,
            variables: &variables,
        };
        let reply: Value = serde_json::from_str(&expand("$ok", &context).unwrap()).unwrap();
        assert_eq!(reply["clientId"], "c1");
        assert_eq!(reply["supportedConnectionTypes"], json!(["long-polling"]));
        let reply: Value = serde_json::from_str(&expand("$no", &context).unwrap()).unwrap();
        assert_eq!(reply.get("clientId"), None);
    }
}
