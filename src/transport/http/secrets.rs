//! What must never be read in an error or a log line, even when a server
//! sends it back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;

use super::authorization::Authorization;
use super::cookies::Jar;
use super::proxy::Proxies;
use crate::bayeux::error_text::one_line;
use crate::bayeux::json;
use crate::runtime::lock;

/// Shorter ones are no secrets, and taking them out of a text would garble it.
const MINIMUM: usize = 6;

pub struct Secrets {
    authorization: Arc<Authorization>,
    cookies: Arc<Mutex<Jar>>,
    /// Of the host's headers, handshake extension and proxies, which do not change.
    fixed: Vec<String>,
    /// Of what the host's code has put into handshakes, one set a time.
    given: Mutex<VecDeque<Vec<String>>>,
}

/// So many sets are kept: those of this handshake and of the one before, of the
/// provider and of the extensions.
const SETS: usize = 4;

impl Secrets {
    pub fn new(
        authorization: Arc<Authorization>,
        cookies: Arc<Mutex<Jar>>,
        headers: impl Iterator<Item = String>,
        handshake_ext: Option<&str>,
        proxies: &Proxies,
    ) -> Self {
        let mut fixed = lock(&cookies).values();
        fixed.extend(proxies.secrets());
        for value in headers {
            // "Bearer abc": the scheme is no secret, what follows is.
            fixed.extend(value.split_once(' ').map(|(_, it)| it.to_owned()));
            fixed.push(value);
        }
        if let Some(ext) = handshake_ext {
            leaves(ext, &mut fixed);
        }
        Self {
            authorization,
            cookies,
            fixed,
            given: Mutex::default(),
        }
    }

    /// From now on the strings of this JSON are secrets as well. The oldest of
    /// them are forgotten.
    pub fn remember(&self, json: &str) {
        let mut strings = Vec::new();
        leaves(json, &mut strings);
        strings.retain(|it| it.len() >= MINIMUM);
        let mut given = lock(&self.given);
        // The same again, as most hosts have it, takes no older one's place.
        given.retain(|it| *it != strings);
        if given.len() == SETS {
            given.pop_front();
        }
        given.push_back(strings);
    }

    /// Takes all secrets out of a text, and a part of one where the text was
    /// cut off.
    pub fn redact(&self, text: &mut String) {
        let mut secrets = self.authorization.secrets();
        secrets.extend(lock(&self.cookies).values());
        secrets.extend(lock(&self.given).iter().flatten().cloned());
        let all = secrets.iter().chain(&self.fixed);
        // Texts of servers were brought onto one line.
        let folded: Vec<String> = all.clone().map(|it| one_line(it, it.len())).collect();
        let mut all: Vec<&str> = all
            .chain(&folded)
            .map(|it| it.trim())
            .filter(|it| it.len() >= MINIMUM)
            .collect();
        // Longer ones first: one may hold another.
        all.sort_unstable_by_key(|it| std::cmp::Reverse(it.len()));
        all.dedup();
        for secret in all {
            if text.contains(secret) {
                *text = text.replace(secret, "…");
            }
            redact_cut_off(text, secret);
        }
    }
}

/// How many places a text was cut off at, at most; a server may write more.
const CUTS: usize = 4;

/// Texts are cut with an ellipsis, in front of which a secret may begin.
fn redact_cut_off(text: &mut String, secret: &str) {
    let mut before = text.len();
    for _ in 0..CUTS {
        let Some(end) = text.get(..before).and_then(|it| it.rfind('…')) else {
            return;
        };
        let begun = (MINIMUM..secret.len().min(end + 1))
            .rev()
            .filter_map(|length| secret.get(..length))
            .find(|begun| text.get(..end).is_some_and(|it| it.ends_with(begun)));
        before = end;
        if let Some(begun) = begun {
            before = end - begun.len();
            text.replace_range(before..end, "");
        }
    }
}

/// The strings in a JSON text, as they are and as they were written.
fn leaves(text: &str, into: &mut Vec<String>) {
    match text.as_bytes().first() {
        Some(b'"') => {
            into.extend(serde_json::from_str::<String>(text));
            into.push(text.trim_matches('"').to_owned());
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            values.iter().for_each(|it| leaves(it.get(), into));
        }
        Some(b'{') => {
            // Of one name all of them are sent.
            let object: Option<&RawValue> = serde_json::from_str(text).ok();
            let fields = object.and_then(json::entries).unwrap_or_default();
            fields.iter().for_each(|(_, it)| leaves(it.get(), into));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::http::authorization::{any, basic, bearer};
    use crate::transport::http::proxy::{Choice, Proxy};

    fn redacted(secrets: &Secrets, text: &str) -> String {
        let mut text = text.to_owned();
        secrets.redact(&mut text);
        text
    }

    #[test]
    fn whatever_a_server_sends_back_no_secret_is_read_contract_13() {
        let authorization = Arc::new(Authorization::new(Some(bearer("first-token").unwrap())));
        authorization.set(any("Custom tökén-1234567").unwrap());
        authorization.set(basic("me", Some("pass:word")).unwrap());
        let mut jar = Jar::default();
        jar.give("a", "given-cookie");
        jar.store(
            &hyper::header::HeaderValue::from_static("SID=server-cookie; Path=/"),
            &url::Url::parse("http://h/").unwrap(),
            &url::Url::parse("http://h/").unwrap(),
        );
        jar.store(
            &hyper::header::HeaderValue::from_static("SID=newer-cookie; Path=/"),
            &url::Url::parse("http://h/").unwrap(),
            &url::Url::parse("http://h/").unwrap(),
        );
        let proxy = Proxy::parse("http://me:proxy-password@proxy:3128").unwrap();
        let proxies = Choice::Always(Arc::new(proxy)).proxies();
        let secrets = Secrets::new(
            authorization,
            Arc::new(Mutex::new(jar)),
            ["header-value".to_owned(), "Key two  words".to_owned()].into_iter(),
            Some(r#"{"auth":[{"token":"ext-token","path":"a\/long\/one"}],"n":1234567}"#),
            &proxies,
        );
        for (text, expected) in [
            ("no first-token here", "no … here"),
            ("Basic bWU6cGFzczp3b3Jk", "Basic …"),
            ("me and pass:word", "me and …"),
            ("given-cookie, server-cookie", "…, …"),
            ("newer-cookie", "…"),
            ("two  words or two words", "… or …"),
            (r"a\/long\/one or a/long/one", "… or …"),
            ("tökén-1234567", "…"),
            ("header-value and ext-token", "… and …"),
            ("proxy-password bWU6cHJveHktcGFzc3dvcmQ=", "… …"),
            ("begins \"Bearer first-to…\"", "begins \"Bearer …\""),
            ("begins \"Bearer fir…\"", "begins \"Bearer fir…\""),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redacted(&secrets, text), expected);
        }
    }

    #[test]
    fn what_a_provider_gives_is_a_secret_the_newest_sets_of_it_contract_13() {
        let jar = Arc::new(Mutex::new(Jar::default()));
        let secrets = Secrets::new(
            Arc::default(),
            jar,
            std::iter::empty(),
            None,
            &Proxies::default(),
        );
        for number in 1..=4 {
            let answer = format!(r#"{{"ext":{{"answer":"given-{number}","n":123456}}}}"#);
            secrets.remember(&answer);
            secrets.remember(&answer);
        }
        assert_eq!(redacted(&secrets, "given-1 given-4 123456"), "… … 123456");
        secrets.remember(r#"["given-5"]"#);
        assert_eq!(redacted(&secrets, "given-1 given-2 given-5"), "given-1 … …");
        secrets.remember(r#"{"a":"given-6","a":"given-7"}"#);
        assert_eq!(redacted(&secrets, "given-6 given-7"), "… …");
    }
}
