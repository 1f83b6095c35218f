//! What the control interface sets up for the next Bayeux requests, and the
//! record of the past ones.

use std::collections::VecDeque;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::StatusCode;
use serde::Serialize;

const RECORDED_REQUESTS: usize = 100;

#[derive(Debug, Default)]
pub struct Script {
    failures: VecDeque<Failure>,
    losses: u64,
    /// How many responses got lost so far.
    pub lost: u64,
    cookie: Option<HeaderValue>,
    requests: VecDeque<Record>,
}

/// The next `count` requests are not handled but answered with `status`. A
/// frame on a WebSocket, which has no answer, ends it instead.
#[derive(Debug, Clone)]
pub struct Failure {
    pub status: StatusCode,
    pub count: u64,
    /// Only requests that hold a message for this channel fail; or, with
    /// `upgrade`, only those that ask for a WebSocket.
    pub on: Option<String>,
    pub retry_after: Option<HeaderValue>,
    pub set_cookie: Option<HeaderValue>,
}

#[derive(Debug, Serialize)]
pub struct Record {
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Record {
    pub fn new(path: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            path: path.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                .collect(),
            body: text(body),
        }
    }
}

impl Script {
    /// Adds a failure to those that are due; one that never happens takes
    /// them all back.
    pub fn add_failure(&mut self, failure: Failure) {
        if failure.count == 0 {
            self.failures.clear();
        } else {
            self.failures.push_back(failure);
        }
    }

    /// The failure that a request meets, if one is due. `channels` are those
    /// of its messages.
    pub fn next_failure(&mut self, channels: &[&str]) -> Option<Failure> {
        let is_due = |failure: &Failure| {
            let on = failure.on.as_deref();
            on.is_none_or(|channel| channels.contains(&channel))
        };
        let index = self.failures.iter().position(is_due)?;
        let failure = &mut self.failures[index];
        failure.count -= 1;
        let due = failure.clone();
        if due.count == 0 {
            self.failures.remove(index);
        }
        Some(due)
    }

    /// The next `count` responses that bring events do not arrive: their
    /// connections break.
    pub fn lose(&mut self, count: u64) {
        self.losses = count;
    }

    /// Whether a response that brings events is to be lost.
    pub fn take_loss(&mut self) -> bool {
        let due = self.losses > 0;
        if due {
            self.losses -= 1;
            self.lost += 1;
        }
        due
    }

    pub fn set_cookie(&mut self, cookie: HeaderValue) {
        self.cookie = Some(cookie);
    }

    /// The cookie for the response that is about to be sent.
    pub fn take_cookie(&mut self) -> Option<HeaderValue> {
        self.cookie.take()
    }

    pub fn record(&mut self, record: Record) {
        if self.requests.len() == RECORDED_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(record);
    }

    /// The recorded requests as JSON, newest last.
    pub fn requests_json(&self) -> String {
        serde_json::to_string(&self.requests).expect("a record holds nothing that JSON cannot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, count: u64, on: Option<&str>) -> Failure {
        Failure {
            status: StatusCode::from_u16(status).unwrap(),
            count,
            on: on.map(Into::into),
            retry_after: None,
            set_cookie: None,
        }
    }

    #[test]
    fn failures_are_counted_and_may_wait_for_a_channel() {
        let mut script = Script::default();
        assert!(script.next_failure(&[]).is_none());
        script.add_failure(failure(503, 2, Some("/meta/connect")));
        script.add_failure(failure(500, 1, None));
        let mut status = |channels| script.next_failure(channels).map(|due| due.status.as_u16());
        assert_eq!(status(&["/a", "/meta/connect"]), Some(503));
        assert_eq!(status(&["/a"]), Some(500));
        assert_eq!(status(&["/a"]), None);
        assert_eq!(status(&["/meta/connect"]), Some(503));
        assert_eq!(status(&["/meta/connect"]), None);
    }

    #[test]
    fn failures_are_taken_back() {
        let mut script = Script::default();
        script.add_failure(failure(503, 2, None));
        script.add_failure(failure(503, 0, None));
        assert!(script.next_failure(&[]).is_none());
    }

    #[test]
    fn responses_get_lost_as_often_as_was_said() {
        let mut script = Script::default();
        assert!(!script.take_loss());
        script.lose(2);
        assert!(script.take_loss() && script.take_loss() && !script.take_loss());
        assert_eq!(script.lost, 2);
    }

    #[test]
    fn the_last_requests_are_kept() {
        let mut script = Script::default();
        for n in 0..=RECORDED_REQUESTS {
            let mut headers = HeaderMap::new();
            headers.insert("host", "x".parse().unwrap());
            script.record(Record::new(&n.to_string(), &headers, b"[]"));
        }
        let json = script.requests_json();
        assert!(json.starts_with(r#"[{"path":"1","headers":[["host","x"]],"body":"[]"}"#));
        assert_eq!(json.matches("path").count(), RECORDED_REQUESTS);
    }
}
