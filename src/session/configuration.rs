//! What a session can be told before it starts.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::bayeux::ConnectionType;

/// Milliseconds since an origin that the caller chooses. The session never
/// looks at a clock.
pub type Millis = u64;

/// How a message says when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7), as CometD's
    /// own clients do.
    Http,
    /// `1994-11-06T08:49:37.12` (Bayeux specification, section 3.4).
    Iso,
}

/// Where subscriptions start, with the replay extension.
#[derive(Debug, Clone, Copy)]
pub struct ReplayPolicy {
    /// Where a channel starts that has no position of its own.
    pub start: i64,
    /// Where it starts anew when the server no longer has the position;
    /// `None`: then the subscribe fails.
    pub fallback: Option<i64>,
}

#[derive(Clone)]
pub struct Configuration {
    /// How many attempts may follow a failure before the session gives up;
    /// `None`: it never does.
    pub number_of_retries: Option<u32>,
    /// How much longer each wait of a row of failures is than the one before.
    pub backoff_increment: Millis,
    pub backoff_maximum: Millis,
    /// The advice that handshakes carry.
    pub timeout: Millis,
    pub interval: Millis,
    /// How long a request may take on top of the time for which the server
    /// holds it.
    pub request_timeout: Millis,
    /// How large the server takes a request, in bytes; `None`: as it comes. A
    /// single message that is larger is not given to the session.
    pub request_capacity: Option<usize>,
    pub handshake_ext: Option<Box<RawValue>>,
    /// The connection types to use, in order of preference; at least one.
    pub transports: Arc<[ConnectionType]>,
    /// After so long without a byte over a WebSocket the server is asked for one;
    /// 0: never.
    pub ping_interval: Millis,
    /// Whether servers are asked to keep events until they are acknowledged.
    pub acknowledgement: bool,
    /// The hosts of the servers, with their ports; at least one.
    pub servers: Vec<String>,
    /// Whether servers may name others to go to.
    pub follow_hosts: bool,
    /// Whether the server's clock is asked for.
    pub timesync: bool,
    /// Whether messages say when they are sent, and how.
    pub timestamp: Option<Timestamp>,
    /// What the calendar says at the session's time 0, in milliseconds since
    /// 1970.
    pub calendar: i64,
    /// Whether a session that the server has ended is followed by a new one.
    pub restart: bool,
    /// Whether the client ends when, before its first session, a handshake
    /// fails of what does not pass by itself.
    pub end_before_first_session: bool,
    /// Whether a client whose credentials are refused waits for new ones, instead
    /// of ending.
    pub await_credentials: bool,
    /// `None`: without the replay extension.
    pub replay: Option<ReplayPolicy>,
    /// Whether somebody can be asked for new credentials.
    pub has_token_provider: bool,
    /// Whether somebody is asked for fields before each handshake.
    pub has_handshake_provider: bool,
    /// Whether requests wait for code of the host's before they are sent: then
    /// `handle_sent` tells when they are.
    pub holds_requests: bool,
    /// Whether somebody is asked for headers before each HTTP request: these wait
    /// likewise, and so does the opening of a socket, until `handle_opening`; but no
    /// frame does.
    pub has_header_provider: bool,
    /// Makes the jitter of the waits repeatable.
    pub seed: u64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            number_of_retries: None,
            backoff_increment: 1_000,
            backoff_maximum: 30_000,
            timeout: 60_000,
            interval: 0,
            request_timeout: 10_000,
            request_capacity: None,
            handshake_ext: None,
            transports: [ConnectionType::LongPolling].into(),
            ping_interval: 20_000,
            acknowledgement: false,
            servers: vec![String::new()],
            follow_hosts: false,
            timesync: false,
            timestamp: None,
            calendar: 0,
            restart: false,
            end_before_first_session: false,
            await_credentials: false,
            replay: None,
            has_token_provider: false,
            has_handshake_provider: false,
            holds_requests: false,
            has_header_provider: false,
            seed: 1,
        }
    }
}
