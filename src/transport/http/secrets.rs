//! What must never be read in an error or a log line, even when a server
//! sends it back.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::authorization::Authorization;
use super::cookies::Jar;
use crate::runtime::lock;

/// Shorter ones are no secrets, and taking them out of a text would garble it.
const MINIMUM: usize = 6;

pub struct Secrets {
    authorization: Arc<Authorization>,
    cookies: Arc<Mutex<Jar>>,
    /// Of the host's headers and handshake extension, which do not change.
    fixed: Vec<String>,
}

impl Secrets {
    pub fn new(
        authorization: Arc<Authorization>,
        cookies: Arc<Mutex<Jar>>,
        headers: impl Iterator<Item = String>,
        handshake_ext: Option<&str>,
    ) -> Self {
        let mut fixed: Vec<String> = headers.collect();
        if let Some(ext) = handshake_ext.and_then(|it| serde_json::from_str(it).ok()) {
            leaves(&ext, &mut fixed);
        }
        Self {
            authorization,
            cookies,
            fixed,
        }
    }

    /// Takes all secrets out of a text, and a part of one where the text was
    /// cut off.
    pub fn redact(&self, text: &mut String) {
        let mut secrets = self.authorization.secrets();
        secrets.extend(lock(&self.cookies).values());
        let all = secrets.iter().chain(&self.fixed);
        let mut all: Vec<&str> = all
            .map(|it| it.trim())
            .filter(|it| it.len() >= MINIMUM)
            .collect();
        // Longer ones first: one may hold another.
        all.sort_unstable_by_key(|it| std::cmp::Reverse(it.len()));
        for secret in all {
            if text.contains(secret) {
                *text = text.replace(secret, "…");
            }
            redact_cut_off(text, secret);
        }
    }
}

/// Texts are cut with an ellipsis, in front of which a secret may begin.
fn redact_cut_off(text: &mut String, secret: &str) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find('…')) {
        let end = from + at;
        let begun = (MINIMUM..secret.len())
            .rev()
            .filter_map(|length| secret.get(..length))
            .find(|begun| text.get(..end).is_some_and(|it| it.ends_with(begun)));
        if let Some(begun) = begun {
            let start = end - begun.len();
            text.replace_range(start..end, "");
            from = start + '…'.len_utf8();
        } else {
            from = end + '…'.len_utf8();
        }
    }
}

fn leaves(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|it| leaves(it, into)),
        Value::Object(fields) => fields.values().for_each(|it| leaves(it, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::http::authorization::{basic, bearer};

    fn redacted(secrets: &Secrets, text: &str) -> String {
        let mut text = text.to_owned();
        secrets.redact(&mut text);
        text
    }

    #[test]
    fn whatever_a_server_sends_back_no_secret_is_read_contract_13() {
        let authorization = Arc::new(Authorization::new(Some(bearer("first-token").unwrap())));
        authorization.set(basic("me", Some("pass:word")).unwrap());
        let mut jar = Jar::default();
        jar.give("a", "given-cookie");
        jar.store(
            &hyper::header::HeaderValue::from_static("SID=server-cookie; Path=/"),
            &url::Url::parse("http://h/").unwrap(),
            &url::Url::parse("http://h/").unwrap(),
        );
        let secrets = Secrets::new(
            authorization,
            Arc::new(Mutex::new(jar)),
            std::iter::once("header-value".to_owned()),
            Some(r#"{"auth":[{"token":"ext-token"}],"n":1234567}"#),
        );
        for (text, expected) in [
            ("no first-token here", "no … here"),
            ("Basic bWU6cGFzczp3b3Jk", "Basic …"),
            ("me and pass:word", "me and …"),
            ("given-cookie, server-cookie", "…, …"),
            ("header-value and ext-token", "… and …"),
            ("begins \"Bearer first-to…\"", "begins \"Bearer …\""),
            ("begins \"Bearer fir…\"", "begins \"Bearer fir…\""),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redacted(&secrets, text), expected);
        }
    }
}
