//! The two extensions that speak of time: timestamps, and timesync, by which a
//! client learns what the server's clock says.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;

use super::flights::Flight;
use super::{Millis, Output, Session, Timestamp};
use crate::bayeux::outgoing::Messages;
use crate::bayeux::{channel, json, Body, Message};

/// The name of the extension's field in `ext`.
const FIELD: &str = "timesync";

/// Of so many replies the mean is taken.
const SAMPLES: usize = 10;

/// What the server's clock says, as far as it is known.
#[derive(Debug)]
pub(super) struct Timesync {
    wanted: bool,
    /// What this client's clock says at the session's time 0. It is not set
    /// again: only differences count.
    origin: i64,
    /// Of each reply: how long a message is on its way, and how far the
    /// server's clock is ahead.
    samples: VecDeque<(i64, i64)>,
}

impl Timesync {
    pub(super) fn new(wanted: bool, origin: i64) -> Self {
        Self {
            wanted,
            origin,
            samples: VecDeque::new(),
        }
    }

    fn clock(&self, now: Millis) -> i64 {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.origin.saturating_add(now)
    }

    /// Lag and offset, 0 while nothing is known.
    fn means(&self) -> (i64, i64) {
        let count = self.samples.len().max(1) as i128;
        let mean = |of: fn(&(i64, i64)) -> i64| {
            let sum: i128 = self.samples.iter().map(|it| i128::from(of(it))).sum();
            i64::try_from(sum / count).unwrap_or(0)
        };
        (mean(|it| it.0), mean(|it| it.1))
    }

    /// What each message to a meta channel says.
    pub(super) fn for_meta(&self, now: Millis) -> Option<(&'static str, String)> {
        self.wanted.then(|| {
            let (lag, offset) = self.means();
            let clock = self.clock(now);
            (FIELD, format!(r#"{{"tc":{clock},"l":{lag},"o":{offset}}}"#))
        })
    }

    /// The server's answer: the time that the message said, the time at which
    /// it came, and how long its reply took there. Servers leave it out when
    /// they find the client's idea of their clock good enough. What the host's
    /// code takes, before the request is sent and with the response, is no part
    /// of the way.
    fn replied(&mut self, now: Millis, flight: Option<&Flight>, answer: &RawValue) -> Option<i64> {
        let number = |name| json::field(answer, name).and_then(json::lenient_integer);
        let (sent, came, took) = (number("tc")?, number("ts")?, number("p").unwrap_or(0));
        let sent = match flight {
            Some(flight) if sent == self.clock(flight.made) => self.clock(flight.sent),
            _ => sent,
        };
        let now = flight.and_then(|it| it.arrived).unwrap_or(now);
        let there_and_back = self.clock(now).checked_sub(sent)?.checked_sub(took)?;
        if there_and_back < 0 || took < 0 {
            // A clock that went back, or a reply that makes no sense.
            return None;
        }
        let lag = there_and_back / 2;
        let offset = came.checked_sub(sent)?.checked_sub(lag)?;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((lag, offset));
        Some(self.origin.saturating_add(self.means().1))
    }
}

impl Session {
    /// A new request, which says when it is sent if that is wanted.
    pub(super) fn messages(&self, now: Millis) -> Messages {
        let Some(format) = self.configuration.timestamp else {
            return Messages::new();
        };
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let since_1970 = u64::try_from(self.calendar.saturating_add(now)).unwrap_or(0);
        Messages::at(timestamp(format, since_1970))
    }

    /// The ext of a message to a meta channel, with one field more if there is one.
    pub(super) fn meta_ext(
        &self,
        now: Millis,
        field: Option<(&'static str, String)>,
    ) -> Option<Box<RawValue>> {
        let fields: Vec<_> = field
            .into_iter()
            .chain(self.timesync.for_meta(now))
            .collect();
        json::with_fields(None, &fields)
    }

    /// What the replies of a response say of the server's clock.
    pub(super) fn measure_time(&mut self, now: Millis, flight: Option<&Flight>, body: &Body) {
        if !self.timesync.wanted {
            return;
        }
        let is_meta = |it: &Message| it.channel().is_some_and(channel::is_meta);
        for reply in body.messages().filter(is_meta) {
            let answer = reply.ext_field(FIELD);
            let ahead = answer.and_then(|it| self.timesync.replied(now, flight, it));
            self.outputs.extend(ahead.map(Output::ServerClock));
        }
    }
}

/// The last second that both formats can write, of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

fn timestamp(format: Timestamp, since_1970: Millis) -> Option<String> {
    let seconds = (since_1970 / 1_000).min(LAST_SECOND);
    let http = httpdate::HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    match format {
        Timestamp::Http => Some(http.to_string()),
        Timestamp::Iso => {
            let http = http.to_string();
            // "Sun, 06 Nov 1994 08:49:37 GMT"
            let mut words = http.split(' ').skip(1);
            let (day, month, year, time) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            let month = 1 + MONTHS.iter().position(|it| *it == month)?;
            let hundredths = since_1970 % 1_000 / 10;
            Some(format!("{year}-{month:02}-{day}T{time}.{hundredths:02}"))
        }
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
