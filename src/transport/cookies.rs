//! One client's cookies: those that the host gave, and a jar (RFC 6265) for
//! those that the server sets.

pub mod kept;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::SystemTime;

use cookie_store::{Cookie, CookieError, CookieExpiration, CookieStore, StoreAction};
use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

use super::dates::calendar;
use super::leniencies::{Leniencies, Leniency};
use crate::bayeux::error_text::one_line;
use crate::clock::{self, Said};
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::Millis;

/// What a server may leave with a client. RFC 6265, section 6.1, asks for at
/// least 50 cookies of at least 4096 bytes for each host.
const MAXIMUM_COOKIES: usize = 200;
const MAXIMUM_COOKIE: usize = 8192;
/// All together: each request carries them, and servers take far less.
const MAXIMUM_STORED: usize = 256 * 1024;

/// Empty, as most are, it takes no room.
#[derive(Clone, Default)]
pub struct Jar(Option<Box<Cookies>>);

#[derive(Clone, Default)]
struct Cookies {
    /// Sent to the host's server until that sets a cookie of the same name.
    given: Vec<(String, String)>,
    stored: CookieStore,
    /// When those that do not last as long as the client are over. The store
    /// knows the calendar only, which people set, and which is the server's own.
    ages: Vec<Age>,
    /// Values that were replaced; a server may still name them in an error.
    past: VecDeque<String>,
}

/// So many values that were replaced are still known.
const PAST: usize = 8;

/// Until when a cookie is sent, by this machine's clock.
#[derive(Clone)]
struct Age {
    place: Place,
    until: Millis,
}

/// Where the store has a cookie: one of a host alone and one of its domain take
/// the place of each other.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    domain: String,
    path: String,
    name: String,
}

impl Place {
    fn of(cookie: &Cookie) -> Self {
        Self {
            domain: String::from(&cookie.domain),
            path: String::from(&cookie.path),
            name: cookie.name().to_owned(),
        }
    }

    fn remove_from(&self, stored: &mut CookieStore) {
        stored.remove(&self.domain, &self.path, &self.name);
    }
}

/// How long a cookie lasts from when it came; `None`: as long as the client. Its
/// `Max-Age` counts first (RFC 6265, section 5.3), and its `Expires` by the
/// calendar of who has set it.
fn lifetime(cookie: &Cookie, calendar: SystemTime) -> Option<Millis> {
    if let Some(age) = cookie.max_age() {
        let age = age.whole_milliseconds().max(0);
        return Some(Millis::try_from(age).unwrap_or(Millis::MAX));
    }
    let CookieExpiration::AtUtc(at) = &cookie.expires else {
        return None;
    };
    let now = calendar.duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |it| i128::try_from(it.as_millis()).unwrap_or(i128::MAX));
    let at = i128::from(at.unix_timestamp()).saturating_mul(1_000);
    let left = at.saturating_sub(now).max(0);
    Some(Millis::try_from(left).unwrap_or(Millis::MAX))
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jar(…)")
    }
}

/// A cookie's name is a token, its value free of what would end it (RFC 6265,
/// section 4.1.1).
pub fn check(name: &str, value: &str) -> Result<(), Error> {
    let is_token = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(Error::call(
            ErrorKind::InvalidHeader,
            "name: a cookie's name is made of visible ASCII without separators",
        ));
    }
    if value.chars().any(|c| c.is_control() || c == ';') {
        return Err(Error::call(
            ErrorKind::InvalidHeader,
            "value: a cookie's value holds no ';' and no CR, LF, NUL or other control character",
        ));
    }
    if name.len() + value.len() > MAXIMUM_COOKIE {
        return Err(Error::call(
            ErrorKind::OutOfRange,
            format!("value: a cookie is at most {MAXIMUM_COOKIE} bytes long"),
        ));
    }
    Ok(())
}

/// The name of a `Set-Cookie` for the log, behind a space. What has no '=' is a
/// value, and shown to nobody.
fn shown_name(header: &HeaderValue) -> String {
    let pair = header.as_bytes().split(|it| *it == b';').next();
    let mut parts = pair.unwrap_or_default().splitn(2, |it| *it == b'=');
    match (parts.next(), parts.next()) {
        (Some(name), Some(_)) => {
            let name = one_line(&String::from_utf8_lossy(name), 40);
            format!(" \"{name}\"")
        }
        _ => String::new(),
    }
}

/// Keeps what the response from `url` sets, whatever its status; `ours` is the
/// host's own server.
pub fn keep(jar: &Mutex<Jar>, headers: &HeaderMap, url: &Url, ours: &Url, leniencies: &Leniencies) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let said = Said {
        now: clock::now(),
        calendar: calendar(headers),
    };
    let mut passed_over = Vec::new();
    let mut jar = lock(jar);
    for value in headers.get_all(SET_COOKIE) {
        if let Some(why) = jar.store(value, url, ours, said) {
            passed_over.push((value, why));
        }
    }
    // What is told is looked through for cookies.
    drop(jar);
    for (value, why) in passed_over {
        let name = shown_name(value);
        let text = format!("the cookie{name} of a response was passed over: {why}");
        leniencies.took(Leniency::Cookie, text);
    }
}

impl Jar {
    fn cookies(&mut self) -> &mut Cookies {
        self.0.get_or_insert_default()
    }

    /// Adds one of the host's; the last one of a name is the one sent.
    pub fn give(&mut self, name: &str, value: &str) {
        let given = &mut self.cookies().given;
        given.retain(|(other, _)| other != name);
        given.push((name.into(), value.into()));
    }

    /// Keeps what a `Set-Cookie` in a response from `url` says. Of one that
    /// cannot be used nothing is kept, as RFC 6265, section 5.2, wants it; what
    /// comes back says why. The server's newest value wins over the host's,
    /// where it is sent to `ours`.
    pub fn store(
        &mut self,
        header: &HeaderValue,
        url: &Url,
        ours: &Url,
        said: Said,
    ) -> Option<&'static str> {
        self.cookies().keep(header, url, ours, said).err()
    }

    /// Calls `each` with the values of all cookies, those of the last ones
    /// replaced included.
    pub fn each_value(&self, each: impl FnMut(&str)) {
        if let Some(cookies) = &self.0 {
            cookies.each_value(each);
        }
    }

    /// The `Cookie` header for a URL of the host's server.
    pub fn header(&self, url: &Url, now: Millis) -> Option<HeaderValue> {
        self.0.as_ref()?.header(url, now)
    }
}

impl Cookies {
    fn keep(
        &mut self,
        header: &HeaderValue,
        url: &Url,
        ours: &Url,
        said: Said,
    ) -> Result<(), &'static str> {
        let text = std::str::from_utf8(header.as_bytes()).map_err(|_| "it is not UTF-8")?;
        if text.len() > MAXIMUM_COOKIE {
            return Err("it is too long");
        }
        let mut cookie = Cookie::parse(text.to_owned(), url).map_err(|error| match error {
            CookieError::DomainMismatch => "it is for another server",
            _ => "it cannot be read",
        })?;
        let place = Place::of(&cookie);
        let replaces_given = cookie.matches(ours);
        let before = self.stored.get_any(&place.domain, &place.path, &place.name);
        let before = before.map(|it| it.value().to_owned());
        let lifetime = lifetime(&cookie, said.calendar);
        cookie.expires = CookieExpiration::SessionEnd;
        let stored = self.stored.insert(cookie.into_owned(), url);
        let action = stored.map_err(|_| "it is for another server")?;
        self.ages.retain(|it| it.place != place);
        self.ages.extend(lifetime.map(|lifetime| Age {
            place: place.clone(),
            until: said.now.saturating_add(lifetime),
        }));
        if let Some(before) = before {
            if self.past.len() == PAST {
                self.past.pop_front();
            }
            self.past.push_back(before);
        }
        let is_new = action == StoreAction::Inserted;
        // It may have been over before it came: so servers take one back.
        if lifetime == Some(0) || !self.has_room(is_new) {
            self.forget_expired(said.now);
            if !self.has_room(is_new) {
                place.remove_from(&mut self.stored);
                self.ages.retain(|it| it.place != place);
                return Err("there are too many");
            }
        }
        if replaces_given {
            self.given.retain(|(other, _)| *other != place.name);
        }
        Ok(())
    }

    /// Whether what has come in last may stay.
    fn has_room(&self, is_new: bool) -> bool {
        let all = self.stored.iter_any();
        let (count, length) = all.fold((0, 0), |(count, length), it| {
            (count + 1, length + it.name().len() + it.value().len())
        });
        length <= MAXIMUM_STORED && (count <= MAXIMUM_COOKIES || !is_new)
    }

    /// The store itself keeps them for ever. One by one: a copy of a full jar
    /// for each cookie that finds it full would be the server's way to keep the
    /// I/O thread busy.
    fn forget_expired(&mut self, now: Millis) {
        let Self { ages, stored, .. } = self;
        ages.retain(|age| {
            let lasts = age.until > now;
            if !lasts {
                age.place.remove_from(stored);
            }
            lasts
        });
    }

    fn lasts(&self, cookie: &Cookie, now: Millis) -> bool {
        let place = Place::of(cookie);
        let age = self.ages.iter().find(|it| it.place == place);
        age.is_none_or(|it| it.until > now)
    }

    fn each_value(&self, mut each: impl FnMut(&str)) {
        self.given.iter().for_each(|(_, value)| each(value));
        self.stored.iter_any().for_each(|it| each(it.value()));
        self.past.iter().for_each(|it| each(it));
    }

    fn header(&self, url: &Url, now: Millis) -> Option<HeaderValue> {
        let mut text = String::new();
        let mut add = |name: &str, value: &str| {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        };
        for (name, value) in &self.given {
            add(name, value);
        }
        for cookie in self.stored.matches(url) {
            if self.lasts(cookie, now) {
                add(cookie.name(), cookie.value());
            }
        }
        if text.is_empty() {
            return None;
        }
        let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const EARLY: Said = Said {
        now: 0,
        calendar: SystemTime::UNIX_EPOCH,
    };

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn stored(jar: &mut Jar, cookie: &str) -> Option<&'static str> {
        jar.store(
            &HeaderValue::from_bytes(cookie.as_bytes()).unwrap(),
            &url("http://h/cometd/handshake"),
            &url("http://h/cometd/"),
            EARLY,
        )
    }

    fn set(jar: &mut Jar, cookie: &str) {
        stored(jar, cookie);
    }

    fn sent(jar: &Jar, to: &str) -> String {
        let header = jar.header(&url(to), 0);
        let mut cookies: Vec<_> = header
            .as_ref()
            .map(|value| value.to_str().unwrap().split("; ").collect())
            .unwrap_or_default();
        cookies.sort_unstable();
        cookies.join("; ")
    }

    #[test]
    fn cookies_are_kept_and_sent_back_127_129() {
        let mut jar = Jar::default();
        assert_eq!(sent(&jar, "http://h/cometd/connect"), "");
        set(&mut jar, "BAYEUX_BROWSER=x=y; Path=/; HttpOnly");
        set(&mut jar, "quoted=\"a b\"; Path=/");
        assert_eq!(
            sent(&jar, "http://h/cometd/connect"),
            "BAYEUX_BROWSER=x=y; quoted=\"a b\""
        );
        assert_eq!(sent(&jar, "http://other/cometd/connect"), "");
    }

    #[test]
    fn what_is_taken_of_a_set_cookie_and_what_is_not() {
        for (cookie, sent_back) in [
            ("a=1", "a=1"),
            ("a=1;", "a=1"),
            (" a = 1 ; Path=/ ", "a=1"),
            ("a=", "a="),
            ("a=1=2; Unknown; Other=x; Path=/", "a=1=2"),
            ("a=1; Expires=0; Path=/", "a=1"),
            ("a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "a=1"),
            ("a=1; Expires=Thu, 01-Jan-2099 00:00:00 GMT", "a=1"),
            ("a=1; Max-Age=soon", "a=1"),
            ("a=1; Domain=; Path=", "a=1"),
            ("a=1; Domain=.h", "a=1"),
            ("a=1; SameSite=Sometimes; HttpOnly=no; Partitioned", "a=1"),
            ("a=\u{e9}", "a=\u{e9}"),
            ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", ""),
            ("a=1; Expires=Thursday, 01-Jan-70 00:00:00 GMT", ""),
        ] {
            let mut jar = Jar::default();
            assert_eq!(stored(&mut jar, cookie), None, "{cookie}");
            let header = jar.header(&url("http://h/cometd/connect"), 0);
            let sent = header.as_ref().map_or(&b""[..], |it| it.as_bytes());
            assert_eq!(sent, sent_back.as_bytes(), "{cookie}");
        }
        let long = format!("a={}", "x".repeat(9_000));
        for cookie in ["", "a", "=1", "a=1; Domain=evil.com", long.as_str()] {
            assert!(stored(&mut Jar::default(), cookie).is_some(), "{cookie}");
        }
        for (cookie, name) in [("a=1; b=2", " \"a\""), ("secret; Path=/", ""), ("", "")] {
            assert_eq!(shown_name(&HeaderValue::from_static(cookie)), name);
        }
        let header = HeaderValue::from_bytes(b"a=\xff").unwrap();
        let h = url("http://h/");
        assert!(Jar::default().store(&header, &h, &h, EARLY).is_some());
    }

    #[test]
    fn domain_path_secure_and_expiry_count() {
        let mut jar = Jar::default();
        set(&mut jar, "a=1; Path=/elsewhere");
        set(&mut jar, "b=1; Secure; Path=/");
        set(&mut jar, "c=1; Path=/; Max-Age=0");
        set(&mut jar, "d=1; Domain=evil.com");
        set(&mut jar, "e=1");
        assert_eq!(sent(&jar, "http://h/cometd/"), "e=1");
        assert_eq!(sent(&jar, "http://h/elsewhere"), "a=1");
        set(&mut jar, "e=2; Path=/cometd");
        assert_eq!(sent(&jar, "http://h/cometd/"), "e=2");
        set(&mut jar, "e=; Path=/cometd; Max-Age=0");
        assert_eq!(sent(&jar, "http://h/cometd/"), "");
    }

    #[test]
    fn the_servers_newest_value_wins() {
        let mut jar = Jar::default();
        jar.give("a", "host");
        jar.give("a", "host2");
        jar.give("b", "host");
        assert_eq!(sent(&jar, "http://h/cometd/"), "a=host2; b=host");
        set(&mut jar, "a=server; Path=/");
        assert_eq!(sent(&jar, "http://h/cometd/"), "a=server; b=host");
    }

    #[test]
    fn a_server_cannot_fill_the_memory_168() {
        let mut jar = Jar::default();
        for n in 0..10_000 {
            set(&mut jar, &format!("c{n}=1; Path=/"));
        }
        set(&mut jar, &format!("big={}; Path=/", "x".repeat(20_000)));
        let header = jar.header(&url("http://h/"), 0).unwrap();
        assert_eq!(
            header.to_str().unwrap().split("; ").count(),
            MAXIMUM_COOKIES
        );
    }

    #[test]
    fn a_full_jar_still_takes_new_values_and_forgets_the_expired_168() {
        let mut jar = Jar::default();
        for n in 0..MAXIMUM_COOKIES {
            set(&mut jar, &format!("c{n}=1; Path=/"));
        }
        set(&mut jar, "c7=new; Path=/");
        assert!(sent(&jar, "http://h/").contains("c7=new"));
        set(&mut jar, "late=1; Path=/");
        assert!(!sent(&jar, "http://h/").contains("late"));
        set(&mut jar, "c8=; Path=/; Max-Age=0");
        set(&mut jar, "late=1; Path=/");
        assert!(sent(&jar, "http://h/").contains("late=1"));
        for n in 0..1_000 {
            set(&mut jar, &format!("short{n}=1; Path=/"));
            set(&mut jar, &format!("short{n}=; Path=/; Max-Age=0"));
        }
        assert!(jar.cookies().stored.iter_any().count() <= MAXIMUM_COOKIES + 1);
    }

    #[test]
    fn limit_cookies_all_together_are_bounded() {
        let mut jar = Jar::default();
        for round in 0..2 {
            for n in 0..MAXIMUM_COOKIES {
                set(&mut jar, &format!("c{n}={round}; Path=/"));
                set(&mut jar, &format!("c{n}={}; Path=/", "x".repeat(8_000)));
            }
            let sent = sent(&jar, "http://h/");
            assert!((200_000..MAXIMUM_STORED + 1_000).contains(&sent.len()));
        }
        // 50 of 4096 bytes are what RFC 6265 asks for.
        let mut jar = Jar::default();
        for n in 0..50 {
            set(&mut jar, &format!("c{n}={}; Path=/", "x".repeat(4_096)));
        }
        assert_eq!(sent(&jar, "http://h/").split("; ").count(), 50);
    }

    #[test]
    fn a_cookie_for_elsewhere_does_not_replace_the_hosts() {
        let mut jar = Jar::default();
        jar.give("a", "host");
        set(&mut jar, "a=admin; Path=/admin");
        assert_eq!(sent(&jar, "http://h/cometd/"), "a=host");
    }

    #[test]
    fn what_would_break_out_of_the_header_is_refused_contract_13() {
        for (name, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a=b", "v"),
            ("a", "x;y"),
            ("a", "x\r\ny"),
            ("a", "\0"),
        ] {
            assert!(check(name, value).is_err(), "{name:?} {value:?}");
        }
        assert!(check("a", "").is_ok());
        assert!(check("a", "x=y \"z\"").is_ok());
    }

    fn at(now: Millis, date: &str) -> Said {
        Said {
            now,
            calendar: httpdate::parse_http_date(date).unwrap(),
        }
    }

    /// Stored when this is said; up to which time it is sent.
    fn sent_until(cookie: &str, said: Said) -> Option<Millis> {
        let mut jar = Jar::default();
        let h = url("http://h/");
        jar.store(&HeaderValue::from_str(cookie).unwrap(), &h, &h, said);
        let is_sent = |now| jar.header(&h, now).is_some();
        let times = (0..200_000).step_by(1_000);
        let last = times.take_while(|now| is_sent(said.now + now)).last();
        last.map(|it| it + 1_000)
    }

    #[test]
    fn a_cookie_expires_by_the_servers_clock() {
        // A server that lives in another year than this machine.
        let said = at(5_000, "Sun, 06 Nov 1994 08:49:37 GMT");
        let until = |at: &str| sent_until(&format!("a=b; Expires={at}"), said);
        assert_eq!(until("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000));
        assert_eq!(until("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60_000));
        assert_eq!(until("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(until("Thu, 01 Jan 1970 00:00:00 GMT"), None);
        assert_eq!(until("Fri, 31 Dec 9999 23:59:59 GMT"), Some(200_000));
        assert_eq!(until("soon"), Some(200_000), "as long as the client");
    }

    #[test]
    fn a_clock_that_is_set_expires_no_cookie() {
        // Nothing but the time that has passed ends it.
        for date in [
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Sat, 06 Nov 2094 08:49:37 GMT",
        ] {
            let until = |more: &str| sent_until(&format!("a=b; {more}"), at(7_000, date));
            assert_eq!(until("Max-Age=60"), Some(60_000));
            assert_eq!(
                until("Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60"),
                Some(60_000)
            );
            assert_eq!(until("Max-Age=0"), None);
            assert_eq!(until("Max-Age=-5"), None);
            assert_eq!(until("Max-Age=99999999999999999999"), Some(200_000));
            assert_eq!(until(""), Some(200_000));
        }
    }

    #[test]
    fn a_cookie_that_is_over_is_taken_back_and_may_come_again() {
        let mut jar = Jar::default();
        set(&mut jar, "a=1; Path=/; Max-Age=60");
        set(&mut jar, "b=2; Path=/");
        set(&mut jar, "a=; Path=/; Max-Age=0");
        assert_eq!(sent(&jar, "http://h/"), "b=2");
        set(&mut jar, "a=3; Path=/");
        assert_eq!(sent(&jar, "http://h/"), "a=3; b=2");
        assert!(jar.cookies().ages.is_empty());
        assert_eq!(jar.cookies().stored.iter_any().count(), 2);
    }

    #[test]
    fn a_cookie_that_is_not_kept_leaves_nothing_behind() {
        let mut jar = Jar::default();
        for number in 0..3 * MAXIMUM_COOKIES {
            stored(&mut jar, &format!("c{number}=v; Path=/; Max-Age=60"));
        }
        assert_eq!(jar.cookies().stored.iter_any().count(), MAXIMUM_COOKIES);
        assert_eq!(jar.cookies().ages.len(), MAXIMUM_COOKIES);
    }

    #[test]
    fn a_cookie_outlives_the_age_of_the_one_that_it_replaces() {
        let mut jar = Jar::default();
        let h = url("http://h/");
        let mut store = |cookie: &str, now| {
            let said = Said { now, ..EARLY };
            jar.store(&HeaderValue::from_str(cookie).unwrap(), &h, &h, said)
        };
        // With its own server as its domain it takes the place of the one without.
        assert_eq!(store("a=1; Path=/; Max-Age=1", 0), None);
        assert_eq!(store("a=2; Path=/; Domain=h", 0), None);
        assert_eq!(store("b=; Path=/; Max-Age=0", 5_000), None);
        let header = jar.header(&h, 5_000);
        assert_eq!(header, Some(HeaderValue::from_static("a=2")));
    }
}
