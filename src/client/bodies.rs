//! What travels, as the log shows it to who wants it: its beginning, and nothing secret.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::shared::Shared;
use crate::bayeux::error_text::one_line;
use crate::bayeux::json;
use crate::log;

/// Longer ones are not shown: looking for secrets in them takes its time.
const LONGEST: usize = 64 * 1024;
/// So much is shown of the others.
const SHOWN: usize = 4096;

const STARS: &str = r#""***""#;

/// The fields of a handshake and of its reply that the protocol itself has (Bayeux 1.0,
/// section 4.1). All others are between the host and its server.
const HANDSHAKE: &[&str] = &[
    "channel",
    "id",
    "version",
    "minimumVersion",
    "supportedConnectionTypes",
    "advice",
    "successful",
    "authSuccessful",
    "error",
    "timestamp",
];

impl Shared {
    pub(super) fn tell_body(&self, what: &'static str, body: &[u8]) {
        if log::wants_bodies() {
            let shown = self.shown(body);
            tracing::trace!(target: "cometd::body", bytes = body.len(), "{what} {shown}");
        }
    }

    fn shown(&self, body: &[u8]) -> String {
        if body.len() > LONGEST {
            return "(too long to show)".to_owned();
        }
        let text = String::from_utf8_lossy(body);
        let messages = match serde_json::from_str::<Vec<&RawValue>>(&text) {
            Ok(messages) => {
                let messages: Vec<_> = messages.into_iter().map(message).collect();
                format!("[{}]", messages.join(","))
            }
            Err(_) => match serde_json::from_str::<&RawValue>(&text) {
                Ok(single) => message(single).into_owned(),
                // A handshake may be in there, cut off.
                Err(_) if text.contains("clientId") || text.contains("handshake") => {
                    "(no JSON)".to_owned()
                }
                Err(_) => text.into_owned(),
            },
        };
        one_line(&self.redact_json(messages), SHOWN)
    }
}

fn message(message: &RawValue) -> Cow<'_, str> {
    let Some(fields) = json::entries(message) else {
        return message.get().into();
    };
    let is_handshake = fields.iter().any(|(name, value)| {
        name == "channel" && json::string(value).as_deref() == Some("/meta/handshake")
    });
    let shown = fields.iter().map(|(name, value)| {
        // Who knows the id of a session may speak for it.
        let secret = name == "clientId" || is_handshake && !HANDSHAKE.contains(&&**name);
        (&**name, if secret { STARS } else { value.get() })
    });
    json::object(shown).into()
}

#[cfg(test)]
mod tests {
    use crate::client::Builder;

    fn shown(body: &str) -> String {
        let mut builder = Builder::new("http://127.0.0.1:9/").unwrap();
        builder.set_bearer_token("very/secret/token").unwrap();
        builder.build().unwrap().shared.shown(body.as_bytes())
    }

    #[test]
    fn messages_are_shown_without_secrets_contract_13() {
        for (body, expected) in [
            (
                r#"[{"channel":"/a","data":{"b":[1, 2]},"clientId":"x1"}]"#,
                r#"[{"channel":"/a","data":{"b":[1, 2]},"clientId":"***"}]"#,
            ),
            (
                r#"[{"ext":{"pin":"1"},"channel":"\/meta/handshake","id":"1","password":"1"}, {"a":1}]"#,
                r#"[{"ext":"***","channel":"\/meta/handshake","id":"1","password":"***"},{"a":1}]"#,
            ),
            (r#"{"client\u0049d":"x1"}"#, r#"{"clientId":"***"}"#),
            (r#"[{"data":"very/secret/token"}]"#, r#"[{"data":"…"}]"#),
            (r#"[{"data":"very\/secret\/token"}]"#, r#""…""#),
            (r#"[{"data":"x","clientId":"x1"#, "(no JSON)"),
            ("<html>\n<b>very/secret/token", "<html> <b>…"),
            ("[1,[]]", "[1,[]]"),
            ("", ""),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
    }

    #[test]
    fn long_bodies_are_cut() {
        let long = format!(r#"[{{"data":"{}"}}]"#, "x".repeat(10_000));
        let cut = shown(&long);
        assert!(cut.len() <= super::SHOWN + "…".len() && cut.ends_with("x…"));
        assert_eq!(shown(&"x".repeat(super::LONGEST + 1)), "(too long to show)");
    }
}
