//! The time synchronization extension: from its answers a client learns how far
//! the server's clock is from its own. All times are milliseconds since 1970.

use std::time::SystemTime;

use serde::Serialize;

use crate::message::Message;

/// A client whose guess is so near gets no more answers.
const ACCURATE: i64 = 25;

/// What a message asks, and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    client_time: i64,
    lag: i64,
    offset: i64,
    received: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The client's time, as it came.
    tc: i64,
    /// When the message came.
    ts: i64,
    /// How long it took to answer; of a connect that was held, the hold.
    p: i64,
    /// By how much the client was wrong.
    a: i64,
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX))
}

impl Question {
    pub fn of(message: &Message, received: i64) -> Option<Self> {
        let asked = message.ext.as_ref()?.get("timesync")?;
        let number = |name: &str| asked.get(name).and_then(serde_json::Value::as_i64);
        Some(Self {
            client_time: number("tc")?,
            lag: number("l").unwrap_or(0),
            offset: number("o").unwrap_or(0),
            received,
        })
    }

    pub fn answer(self, now: i64) -> Option<Answer> {
        let guess = self.client_time.saturating_add(self.offset);
        let accuracy = guess.saturating_add(self.lag).saturating_sub(self.received);
        let needed = self.lag == 0 || accuracy.unsigned_abs() >= ACCURATE.unsigned_abs();
        needed.then(|| Answer {
            tc: self.client_time,
            ts: self.received,
            p: now.saturating_sub(self.received),
            a: accuracy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(timesync: &str) -> Option<Answer> {
        let text = format!(r#"{{"ext":{{"timesync":{timesync}}}}}"#);
        let message = Message::parse_all(text.as_bytes()).unwrap().remove(0);
        Question::of(&message, 10_000)?.answer(30_000)
    }

    #[test]
    fn the_hold_is_told_apart_from_the_way() {
        assert_eq!(
            ask(r#"{"tc":4000,"l":0,"o":0}"#),
            Some(Answer {
                tc: 4_000,
                ts: 10_000,
                p: 20_000,
                a: -6_000,
            })
        );
    }

    #[test]
    fn who_knows_the_time_gets_no_answer() {
        assert_eq!(ask(r#"{"tc":4000,"l":20,"o":6000}"#), None);
        let answer = ask(r#"{"tc":4000,"l":20,"o":6005}"#);
        assert_eq!(answer.map(|it| it.a), Some(25));
    }

    #[test]
    fn what_is_no_question_is_ignored() {
        for bad in ["{}", "7", "null", r#"{"tc":"1"}"#] {
            assert_eq!(ask(bad), None, "{bad}");
        }
        let extreme = r#"{"tc":9223372036854775807,"l":9223372036854775807,"o":1}"#;
        assert!(ask(extreme).is_some());
    }
}
