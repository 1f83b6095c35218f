//! What must never be read in an error or a log line, even when a server
//! sends it back.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use hyper::header::HeaderMap;
use serde_json::value::RawValue;

use super::authorization::Authorization;
use super::cookies::Jar;
use super::proxies::Proxies;
use crate::bayeux::json::{self, up_to};
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
    /// Of what it has put into the headers of requests.
    headers: Mutex<VecDeque<Vec<String>>>,
}

/// So many sets are kept: those of this handshake and of the one before, of the
/// provider and of the extensions.
const SETS: usize = 4;
/// The same of headers: those of the requests under way, and of some before.
const HEADER_SETS: usize = 8;

impl Secrets {
    pub fn new(
        authorization: Arc<Authorization>,
        cookies: Arc<Mutex<Jar>>,
        headers: impl Iterator<Item = String>,
        handshake_ext: Option<&str>,
        proxies: &Proxies,
    ) -> Self {
        let mut fixed = Vec::new();
        lock(&cookies).each_value(|it| fixed.push(it.to_owned()));
        fixed.extend(proxies.secrets());
        for value in headers {
            of_header(value, &mut fixed);
        }
        if let Some(ext) = handshake_ext {
            leaves(ext, &mut fixed);
        }
        Self {
            authorization,
            cookies,
            fixed,
            given: Mutex::default(),
            headers: Mutex::default(),
        }
    }

    /// From now on the strings of this JSON are secrets as well. The oldest of
    /// them are forgotten.
    pub fn remember(&self, json: &str) {
        let mut strings = Vec::new();
        leaves(json, &mut strings);
        keep(&self.given, SETS, strings);
    }

    /// The same of the headers of a request.
    pub fn remember_headers(&self, headers: &HeaderMap) {
        let mut strings = Vec::new();
        for value in headers.values() {
            let value = String::from_utf8_lossy(value.as_bytes());
            of_header(value.into_owned(), &mut strings);
        }
        keep(&self.headers, HEADER_SETS, strings);
    }

    /// Takes all secrets out of a text, and a part of one where the text was
    /// cut off. What it costs grows with the text, and hardly with the secrets:
    /// a server may set many long cookies, and have many errors told.
    pub fn redact(&self, text: &mut String) {
        let mut search = Search::new(text);
        for secret in self.authorization.secrets() {
            search.look_for(&secret);
        }
        lock(&self.cookies).each_value(|it| search.look_for(it));
        for secret in lock(&self.given).iter().flatten() {
            search.look_for(secret);
        }
        for secret in lock(&self.headers).iter().flatten() {
            search.look_for(secret);
        }
        for secret in &self.fixed {
            search.look_for(secret);
        }
        if let Some(redacted) = search.redacted() {
            *text = redacted;
        }
    }
}

fn of_header(value: String, secrets: &mut Vec<String>) {
    // "Bearer abc": the scheme is no secret, what follows is.
    secrets.extend(value.split_once(' ').map(|(_, it)| it.to_owned()));
    secrets.push(value);
}

fn keep(sets: &Mutex<VecDeque<Vec<String>>>, most: usize, mut strings: Vec<String>) {
    strings.retain(|it| it.len() >= MINIMUM);
    let mut sets = lock(sets);
    // The same again, as most hosts have it, takes no older one's place.
    sets.retain(|it| *it != strings);
    if sets.len() == most {
        sets.pop_front();
    }
    sets.push_back(strings);
}

/// Longer texts are cut: nothing that is told is as long.
const LONGEST_TEXT: usize = 64 * 1024;

/// So many secrets that begin as something in the text does are looked for.
/// Beyond that all is taken out from there on: who has set so many cookies that
/// begin alike, and sends them back, wants to keep us busy.
const MAXIMUM_SUSPECTS: usize = 32;

/// Stands where a text was cut off, and where something was taken out.
const ELLIPSIS: &str = "…";

/// A text in which secrets are looked for, in capitals or not: a host that a
/// server has named is told in small letters.
struct Search<'t> {
    text: &'t str,
    cut: bool,
    /// One bit for each value of `place` that a part of the text has.
    parts: Vec<u64>,
    /// How far `mixed` is shifted for that.
    shift: u32,
    /// The bytes that are part of a secret; empty as long as there are none.
    found: Vec<bool>,
    suspects: usize,
    /// From here on everything is taken out.
    end: usize,
}

/// So many bits of `Search::parts` for each part of the text: with fewer, most
/// secrets would seem to be in a long one, which is then gone through for each.
const BITS: usize = 32;

/// A number for the first bytes of a secret, or of what may be one.
fn mixed(part: &[u8]) -> Option<u64> {
    let part: &[u8; MINIMUM] = part.first_chunk()?;
    let letters = part.iter().map(u8::to_ascii_lowercase);
    let number = letters.fold(0, |all, it| all << 8 | u64::from(it));
    Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl<'t> Search<'t> {
    fn new(text: &'t str) -> Self {
        let whole = text.len();
        let text = up_to(text, LONGEST_TEXT);
        let bits = (text.len() * BITS).next_power_of_two().max(64);
        let mut search = Self {
            text,
            cut: text.len() < whole,
            parts: vec![0; bits / 64],
            shift: u64::BITS - bits.trailing_zeros(),
            found: Vec::new(),
            suspects: 0,
            end: text.len(),
        };
        for part in text.as_bytes().windows(MINIMUM) {
            if let Some((index, bit)) = search.place(part) {
                if let Some(bits) = search.parts.get_mut(index) {
                    *bits |= bit;
                }
            }
        }
        search
    }

    /// Where a part has its bit.
    fn place(&self, part: &[u8]) -> Option<(usize, u64)> {
        let number = mixed(part)? >> self.shift;
        let index = usize::try_from(number / 64).ok()?;
        Some((index, 1 << (number % 64)))
    }

    fn has_part(&self, part: &[u8]) -> bool {
        self.place(part).is_some_and(|(index, bit)| {
            let bits = self.parts.get(index).copied();
            bits.unwrap_or_default() & bit != 0
        })
    }

    fn look_for(&mut self, secret: &str) {
        let secret = secret.trim();
        self.look_for_form(secret, true);
        // Texts of servers were brought onto one line. What the beginning is
        // then, is seen from a little more than itself.
        let is_space = |c: char| c.is_whitespace() || c.is_control();
        let beginning = up_to(secret, 4 * MINIMUM);
        if beginning.contains(is_space) || self.has_part(beginning.as_bytes()) {
            let (folded, whole) = folded(secret, self.text.len());
            if folded != secret {
                self.look_for_form(&folded, whole);
            }
        }
    }

    /// `whole` is false for the beginning of a secret that is longer.
    fn look_for_form(&mut self, form: &str, whole: bool) {
        let bytes = form.as_bytes();
        let Some(first) = bytes.first_chunk::<MINIMUM>() else {
            return;
        };
        if !self.has_part(first) {
            return;
        }
        let mut parts = self.text.as_bytes().windows(MINIMUM);
        let Some(at) = parts.position(|it| it.eq_ignore_ascii_case(first)) else {
            return;
        };
        self.suspects += 1;
        if self.suspects > MAXIMUM_SUSPECTS {
            self.end = self.end.min(at);
            return;
        }
        let length = bytes.len().min(self.text.len());
        let whole = whole && length == bytes.len();
        let form = bytes.get(..length).unwrap_or_default();
        self.mark(&form.to_ascii_lowercase(), whole);
    }

    /// Marks each place of a secret, or of the beginning of one where the text
    /// was cut off: Knuth, Morris and Pratt's search, which is linear.
    fn mark(&mut self, form: &[u8], whole: bool) {
        let borders = borders(form);
        let text = self.text.as_bytes();
        let mut matched = 0;
        for (at, byte) in text.iter().enumerate() {
            let byte = &byte.to_ascii_lowercase();
            let rest = text.get(at..).unwrap_or_default();
            if matched >= MINIMUM && rest.starts_with(ELLIPSIS.as_bytes()) {
                mark(&mut self.found, text.len(), at - matched..at);
            }
            while matched > 0 && form.get(matched) != Some(byte) {
                matched = borders.get(matched - 1).copied().unwrap_or_default();
            }
            if form.get(matched) == Some(byte) {
                matched += 1;
            }
            if matched == form.len() && whole {
                mark(&mut self.found, text.len(), at + 1 - matched..at + 1);
            }
        }
        if self.cut && matched >= MINIMUM {
            mark(
                &mut self.found,
                text.len(),
                text.len() - matched..text.len(),
            );
        }
    }

    /// The text without what was found; `None` when that is all of it.
    fn redacted(self) -> Option<String> {
        let untouched = self.found.is_empty() && self.end == self.text.len();
        if untouched && !self.cut {
            return None;
        }
        let mut redacted = String::with_capacity(self.text.len());
        let mut taken_out = false;
        for (at, character) in self.text.char_indices() {
            if at >= self.end {
                break;
            }
            if self.found.get(at).copied().unwrap_or_default() {
                taken_out = true;
                continue;
            }
            if taken_out && character != '…' {
                redacted.push_str(ELLIPSIS);
            }
            taken_out = false;
            redacted.push(character);
        }
        if taken_out || self.cut || self.end < self.text.len() {
            redacted.push_str(ELLIPSIS);
        }
        Some(redacted)
    }
}

fn mark(found: &mut Vec<bool>, length: usize, range: Range<usize>) {
    if found.is_empty() {
        found.resize(length, false);
    }
    if let Some(bytes) = found.get_mut(range) {
        bytes.fill(true);
    }
}

/// For each beginning of the form the longest shorter one that it ends with.
fn borders(form: &[u8]) -> Vec<usize> {
    let mut borders = vec![0];
    let mut matched = 0;
    for byte in form.iter().skip(1) {
        while matched > 0 && form.get(matched) != Some(byte) {
            matched = borders.get(matched - 1).copied().unwrap_or_default();
        }
        if form.get(matched) == Some(byte) {
            matched += 1;
        }
        borders.push(matched);
    }
    borders
}

/// The text on one line, and whether that is all of it; no more than `most`
/// bytes, or a few more.
fn folded(text: &str, most: usize) -> (String, bool) {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let room = up_to(word, most.saturating_sub(line.len()));
        line.push_str(room);
        if room.len() < word.len() {
            return (line, false);
        }
    }
    (line, true)
}

/// The strings in a JSON text, as they are and as they were written.
fn leaves(text: &str, into: &mut Vec<String>) {
    match text.as_bytes().first() {
        Some(b'"') => {
            into.extend(json::text(text).map(Cow::into_owned));
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
    use super::super::cookies::tests::EARLY;
    use super::*;
    use crate::transport::authorization::{any, basic, bearer};
    use crate::transport::proxies::Choice;
    use crate::transport::proxy::Proxy;

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
            EARLY,
        );
        jar.store(
            &hyper::header::HeaderValue::from_static("SID=newer-cookie; Path=/"),
            &url::Url::parse("http://h/").unwrap(),
            &url::Url::parse("http://h/").unwrap(),
            EARLY,
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
            ("no First-TOKEN here, TöKén-1234567", "no … here, …"),
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

    fn with(headers: &[&str]) -> Secrets {
        Secrets::new(
            Arc::default(),
            Arc::default(),
            headers.iter().map(|it| (*it).to_owned()),
            None,
            &Proxies::default(),
        )
    }

    #[test]
    fn what_overlaps_is_taken_out_whole_contract_13() {
        let secrets = with(&["abcdefgh", "efghijkl", "aaaaaaa", "abcdefghijklmnop"]);
        for (text, expected) in [
            ("abcdefgh", "…"),
            ("xabcdefghx", "x…x"),
            ("abcdefghijkl", "…"),
            ("efghijklabcdefgh", "…"),
            ("abcdefgh efghijkl", "… …"),
            ("aaaaaaaaaa aaaaaa", "… aaaaaa"),
            ("abcdefghijklmno", "…mno"),
            ("abcdefghijklmno…", "…"),
            ("abcdef… abcdefghijk… abcde…", "… … abcde…"),
            ("…abcdefgh…", "……"),
            ("é abcdefgh é", "é … é"),
            ("abcdefg", "abcdefg"),
            ("", ""),
        ] {
            assert_eq!(redacted(&secrets, text), expected, "{text}");
        }
    }

    #[test]
    fn white_space_in_a_secret_may_be_any_contract_13() {
        let secrets = with(&[
            "two\u{a0} \twords here",
            " \ta\n\nb\n\ncdefgh ",
            "x     \t    yzabcd",
        ]);
        for (text, expected) in [
            ("two words here", "…"),
            ("two\u{a0} \twords here", "…"),
            ("two words h…", "…"),
            ("so: a b cdefgh.", "so: …."),
            ("x yzabcd", "…"),
            ("two words", "two words"),
        ] {
            assert_eq!(redacted(&secrets, text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_secret_longer_than_the_text_is_found_where_it_is_cut_contract_13() {
        let long = "0123456789".repeat(1_000);
        let secrets = with(&[&long]);
        let begun = &long[..777];
        assert_eq!(redacted(&secrets, &format!("x {begun}…")), "x …");
        assert_eq!(redacted(&secrets, &format!("x {long} y")), "x … y");
        // One that is cut because it is too long itself.
        let pad = "p ".repeat((LONGEST_TEXT - 1_000) / 2);
        let text = redacted(&secrets, &format!("{pad}{long}"));
        assert_eq!(text, format!("{pad}…"));
        let text = redacted(&secrets, &"p ".repeat(LONGEST_TEXT));
        assert_eq!(text.len(), LONGEST_TEXT + ELLIPSIS.len());
    }

    /// A jar as full as a server can make it.
    fn full_jar(value: impl Fn(usize) -> String) -> Secrets {
        let mut jar = Jar::default();
        let url = url::Url::parse("http://h/").unwrap();
        for number in 0..200 {
            let cookie = format!("c{number}={}; Path=/", value(number));
            let header = hyper::header::HeaderValue::from_str(&cookie).unwrap();
            jar.store(&header, &url, &url, EARLY);
        }
        Secrets::new(
            Arc::default(),
            Arc::new(Mutex::new(jar)),
            std::iter::empty(),
            None,
            &Proxies::default(),
        )
    }

    #[test]
    fn limit_cookies_redaction_is_the_same_for_200_cookies() {
        let secrets = full_jar(|number| format!("{number:03}-{}", "v".repeat(1_000)));
        let text = format!("{} 007-vvvv… and 199-v…", "word ".repeat(300));
        let expected = format!("{} … and …", "word ".repeat(300));
        assert_eq!(
            redacted(&secrets, &text),
            expected.replace("and …", "and 199-v…")
        );
        let mut search = Search::new(&text);
        lock(&secrets.cookies).each_value(|it| search.look_for(it));
        assert!(search.suspects <= 4, "{}", search.suspects);
    }

    #[test]
    fn limit_cookies_redaction_of_cookies_that_begin_alike_gives_the_text_up() {
        let secrets = full_jar(|number| format!("{}{number}", "v".repeat(1_000)));
        let text = format!("before {} behind", "v".repeat(900));
        let mut search = Search::new(&text);
        lock(&secrets.cookies).each_value(|it| search.look_for(it));
        assert_eq!(search.redacted().unwrap(), "before …");
        assert_eq!(redacted(&secrets, &text), "before …");
        assert_eq!(redacted(&secrets, "nothing of them"), "nothing of them");
    }
}
