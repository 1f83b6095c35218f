//! A session as a text, from one client to the next.

use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::delivery::{Exported, Notice};
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::{Handover, OperationId};
use crate::transport::cookies::kept::Kept;

const NAME: &str = "cometd";
const VERSION: &str = "1";
/// A session has ended when it turns out to be longer: no real one is.
pub(super) const MAXIMUM: usize = 16 * 1024 * 1024;
const SUM: usize = 20;

/// What a session is gone on with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Carried {
    /// The URL of the host's server that it is of.
    pub url: String,
    pub session: Handover,
    /// Those that servers have set.
    pub cookies: Vec<Kept>,
}

impl fmt::Debug for Carried {
    /// All of it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried(…)")
    }
}

impl Carried {
    /// One line of ASCII.
    pub fn to_text(&self) -> Result<String, &'static str> {
        let json = serde_json::to_vec(self).map_err(|_| "it cannot be written")?;
        let mut bytes = Sha1::digest(&json).to_vec();
        bytes.extend(json);
        let text = format!("{NAME}{VERSION}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        if text.len() > MAXIMUM {
            return Err("it is too long");
        }
        Ok(text)
    }

    /// What such a text says. It says nothing of what it holds where it refuses it.
    pub fn of_text(text: &str) -> Result<Self, &'static str> {
        let foreign = "is not the text of a session";
        if text.len() > MAXIMUM {
            return Err("is longer than the text of any session");
        }
        let (version, encoded) = text
            .strip_prefix(NAME)
            .and_then(|it| it.split_once('.'))
            .ok_or(foreign)?;
        if version.is_empty() || !version.bytes().all(|it| it.is_ascii_digit()) {
            return Err(foreign);
        }
        if version != VERSION {
            return Err("is of another version of the library");
        }
        let damaged = "is damaged";
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| damaged)?;
        let (sum, json) = bytes.split_at_checked(SUM).ok_or(damaged)?;
        if Sha1::digest(json)[..] != *sum {
            return Err(damaged);
        }
        let carried: Self = serde_json::from_slice(json).map_err(|_| damaged)?;
        carried.session.check().map_err(|_| damaged)?;
        Ok(carried)
    }
}

/// Where the answer of a client's task comes for whoever has asked for its session.
#[derive(Default)]
pub(super) struct Outbox {
    /// Kept: who has asked may not have waited long enough.
    pub given: OnceLock<Result<CString, &'static str>>,
    /// How often there was no session.
    pub refusals: Mutex<u64>,
    pub came: Condvar,
    pub asked: Mutex<Asked>,
}

#[derive(Default)]
pub(super) struct Asked {
    /// Questions on their way to the session.
    pub under_way: usize,
    /// Those to whom an event tells: the id, and the host's value.
    pub calls: Vec<(OperationId, usize)>,
}

impl Outbox {
    pub fn answer(&self, given: Option<Result<String, &'static str>>) {
        let mut refusals = lock(&self.refusals);
        match given {
            Some(given) => {
                let text = |it| CString::new(it).map_err(|_| "it cannot be written");
                let _ = self.given.set(given.and_then(text));
            }
            None => *refusals = refusals.saturating_add(1),
        }
        drop(refusals);
        self.came.notify_all();
    }

    /// A question goes to the session.
    pub fn asks(&self) {
        let mut asked = lock(&self.asked);
        asked.under_way = asked.under_way.saturating_add(1);
    }

    /// Tells those to whom an event does, how it was answered.
    pub fn answered(&self, client: &Arc<str>, is_given: bool) -> Vec<Notice> {
        let mut asked = lock(&self.asked);
        asked.under_way = asked.under_way.saturating_sub(1);
        if asked.under_way > 0 && !is_given {
            // A later question may find a session, and who has asked it is then not
            // to be told that there was none: all wait for the last answer.
            return Vec::new();
        }
        drop(asked);
        let given = self.given.get().filter(|_| is_given);
        self.tell(|| match given {
            Some(Ok(text)) => Ok(Exported(text.clone())),
            Some(Err(why)) => {
                let why = format!("client: {why}");
                Err(Error::call(ErrorKind::TooLarge, why).of(client))
            }
            None => Err(no_session().of(client)),
        })
    }

    /// The client has ended without an answer.
    pub fn unanswered(&self, client: &Arc<str>) -> Vec<Notice> {
        self.tell(|| {
            let why = "client: it has ended without giving its session";
            Err(Error::call(ErrorKind::Aborted, why).of(client))
        })
    }

    fn tell(&self, answer: impl Fn() -> Result<Exported, Error>) -> Vec<Notice> {
        let asked = std::mem::take(&mut lock(&self.asked).calls);
        let notice = |(id, opaque)| Notice::Exported {
            id,
            opaque,
            session: answer(),
        };
        asked.into_iter().map(notice).collect()
    }

    /// The client has ended. Taking the lock, it comes before a wait or ends it.
    pub fn ended(&self) {
        drop(lock(&self.refusals));
        self.came.notify_all();
    }
}

pub(super) fn no_session() -> Error {
    Error::call(ErrorKind::InvalidState, "client: there is no session")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_no_session_while_a_later_question_may_find_one() {
        let outbox = Outbox::default();
        let client: Arc<str> = "a test".into();
        let ask = |id| {
            outbox.asks();
            lock(&outbox.asked).calls.push((id, 0));
        };
        let answered = |given: Option<&str>| -> Vec<_> {
            outbox.answer(given.map(|it| Ok(it.to_owned())));
            let notices = outbox.answered(&client, given.is_some());
            let told = notices.iter().map(|it| match it {
                Notice::Exported { id, session, .. } => (*id, session.is_ok()),
                other => panic!("{other:?}"),
            });
            told.collect()
        };
        ask(1);
        ask(2);
        assert_eq!(answered(None), []);
        assert_eq!(answered(None), [(1, false), (2, false)]);
        // One that waits asks as well.
        outbox.asks();
        ask(3);
        assert_eq!(answered(None), []);
        ask(4);
        assert_eq!(answered(Some("session")), [(3, true), (4, true)]);
    }

    fn carried(url: &str) -> Carried {
        let session = r#"{"client_id":"c1","connection_type":"long-polling","server":0,
            "host":"127.0.0.1:9","interval":0,"timeout":null,"maximum_interval":null,
            "acknowledgement":7,"last_message_id":9,"subscriptions":{"/a":true},
            "replay":false,"positions":{}}"#;
        Carried {
            url: url.to_owned(),
            session: serde_json::from_str(session).unwrap(),
            cookies: Vec::new(),
        }
    }

    #[test]
    fn a_text_says_what_was_written() {
        let carried = carried("http://127.0.0.1:9/cometd/");
        let text = carried.to_text().unwrap();
        assert!(text.bytes().all(|it| it.is_ascii_graphic()));
        assert!(Carried::of_text(&text) == Ok(carried));
    }

    #[test]
    fn a_text_that_was_changed_or_cut_is_refused() {
        let text = carried("http://127.0.0.1:9/cometd/").to_text().unwrap();
        for length in 0..text.len() {
            assert!(Carried::of_text(&text[..length]).is_err(), "{length}");
            for with in ["A", "B", ".", "\n", "~"] {
                let mut changed = text.clone();
                changed.replace_range(length..length + 1, with);
                if changed != text {
                    assert!(Carried::of_text(&changed).is_err(), "{length} {with:?}");
                }
            }
        }
        assert!(Carried::of_text(&format!("{text}A")).is_err());
    }

    #[test]
    fn what_no_session_has_is_refused_though_its_sum_is_right() {
        let right = serde_json::to_string(&carried("u")).unwrap();
        for (from, to) in [
            (r#""client_id":"c1""#, r#""client_id":"""#),
            (
                r#""last_message_id":9"#,
                r#""last_message_id":18446744073709551615"#,
            ),
            (r#""interval":0"#, r#""interval":18446744073709551615"#),
            (r#"{"/a":true}"#, r#"{"a":true}"#),
            (r#""url""#, r#""more":1,"url""#),
        ] {
            let json = right.replacen(from, to, 1);
            assert_ne!(json, right, "{from}");
            let mut bytes = Sha1::digest(&json).to_vec();
            bytes.extend(json.bytes());
            let text = format!("cometd1.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
            assert!(Carried::of_text(&text).is_err(), "{to}");
        }
    }
}
