//! The cookies that servers have set, on their way to another client's jar.

use std::fmt;

use cookie_store::CookieDomain;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Jar, Place};
use crate::clock::Said;
use crate::session::Millis;

/// One of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    name: String,
    value: String,
    domain: String,
    /// It is sent to that host alone.
    host_only: bool,
    path: String,
    secure: bool,
    /// How long it lasts, in milliseconds; `None`: as long as the client.
    left: Option<Millis>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

impl Kept {
    /// As a server says it.
    fn header(&self) -> Option<HeaderValue> {
        let mut text = format!("{}={}; Path={}", self.name, self.value, self.path);
        if !self.host_only {
            text.push_str(&format!("; Domain={}", self.domain));
        }
        if self.secure {
            text.push_str("; Secure");
        }
        if let Some(left) = self.left {
            text.push_str(&format!("; Max-Age={}", left.div_ceil(1_000)));
        }
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }
}

impl Jar {
    /// The cookies that servers have set and that are not over.
    pub fn kept(&self, now: Millis) -> Vec<Kept> {
        let Some(cookies) = &self.0 else {
            return Vec::new();
        };
        let lasting = cookies
            .stored
            .iter_any()
            .filter(|it| cookies.lasts(it, now));
        lasting
            .map(|it| {
                let place = Place::of(it);
                let age = cookies.ages.iter().find(|age| age.place == place);
                Kept {
                    name: place.name,
                    value: it.value().to_owned(),
                    domain: place.domain,
                    host_only: matches!(it.domain, CookieDomain::HostOnly(_)),
                    path: place.path,
                    secure: it.secure() == Some(true),
                    left: age.map(|age| age.until.saturating_sub(now)),
                }
            })
            .collect()
    }

    /// Keeps them as if each were said by the one of these servers that it is of.
    pub fn keep_again(&mut self, kept: &[Kept], ours: &[Url], said: Said) {
        for cookie in kept {
            let Some(header) = cookie.header() else {
                continue;
            };
            let is_from = |url: &&Url| !cookie.host_only || url.host_str() == Some(&cookie.domain);
            for url in ours.iter().filter(is_from) {
                if self.store(&header, url, url, said).is_none() {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn at(now: Millis) -> Said {
        Said {
            now,
            calendar: SystemTime::UNIX_EPOCH,
        }
    }

    fn jar(cookies: &[&str], from: &str) -> Jar {
        let mut jar = Jar::default();
        for cookie in cookies {
            let header = HeaderValue::from_str(cookie).unwrap();
            let said = jar.store(&header, &url(from), &url(from), at(0));
            assert_eq!(said, None, "{cookie}");
        }
        jar
    }

    fn again(kept: &[Kept], ours: &[&str], now: Millis) -> Jar {
        let ours: Vec<Url> = ours.iter().map(|it| url(it)).collect();
        let mut jar = Jar::default();
        jar.keep_again(kept, &ours, at(now));
        jar
    }

    fn sent(jar: &Jar, to: &str, now: Millis) -> String {
        let header = jar.header(&url(to), now);
        header.map_or(String::new(), |it| it.to_str().unwrap().to_owned())
    }

    #[test]
    fn another_jar_sends_them_where_the_first_did_and_as_long() {
        let cookies = [
            "host=1; Path=/",
            "domain=2; Path=/; Domain=h.org",
            "path=3; Path=/elsewhere",
            "secure=4; Path=/; Secure",
            "short=5; Path=/; Max-Age=60",
            "over=6; Path=/; Max-Age=10",
        ];
        let first = jar(&cookies, "https://a.h.org/cometd/");
        let json = serde_json::to_string(&first.kept(20_000)).unwrap();
        let kept: Vec<Kept> = serde_json::from_str(&json).unwrap();
        let second = again(&kept, &["https://b.org/", "https://a.h.org/cometd/"], 7_000);
        for to in [
            "https://a.h.org/cometd/",
            "http://a.h.org/cometd/",
            "https://a.h.org/elsewhere",
            "https://b.h.org/",
            "https://b.org/",
        ] {
            let sorted = |text: String| {
                let mut all: Vec<String> = text.split("; ").map(str::to_owned).collect();
                all.sort();
                all
            };
            for (then, now) in [(20_000, 7_000), (59_000, 46_000), (60_000, 47_000)] {
                assert_eq!(
                    sorted(sent(&second, to, now)),
                    sorted(sent(&first, to, then)),
                    "{to} {then}"
                );
            }
        }
    }

    #[test]
    fn a_text_that_somebody_has_made_does_no_more_than_a_server_could() {
        let mut kept = jar(&["a=1; Path=/"], "http://h/").kept(0);
        let ours = ["http://h/cometd/"];
        let mut try_with = |change: &dyn Fn(&mut Kept)| {
            change(&mut kept[0]);
            let jar = again(&kept, &ours, 0);
            (sent(&jar, "http://h/", 0), sent(&jar, "http://other/", 0))
        };
        assert_eq!(try_with(&|_| {}).0, "a=1");
        let none = (String::new(), String::new());
        assert_eq!(try_with(&|it| it.domain = "other".into()), none);
        assert_eq!(try_with(&|it| it.host_only = false), none);
        assert_eq!(
            try_with(&|it| {
                it.domain = "h".into();
                it.value = "1\r\nX: y".into();
            }),
            none
        );
        assert_eq!(try_with(&|it| it.value = "x".repeat(9_000)), none);
        assert_eq!(format!("{kept:?}"), "[Kept(…)]");
    }
}
