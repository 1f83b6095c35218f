//! All options: what they are called, take, mean, and are without a word.
//!
//! README's table is made of it; a line of its own is what a manual needs.

use std::ffi::CStr;
use std::time::Duration;

use super::super::builder::Builder;
use super::kinds::{duration, integer, pair, ClientOption, Kind, INT32};
use crate::bayeux::{replay, ConnectionType};
use crate::delivery::Overflow;
use crate::error::{Error, ErrorKind};
use crate::session::Timestamp;
use crate::transport::endpoints::Append;
use crate::transport::tls::Version;

/// A setter that is given a function, which no text can be: what it is for.
pub const FUNCTIONS: &[(&CStr, &CStr)] = &[
    (
        c"cometd_client_builder_set_token_provider",
        c"Asked for credentials when the server refuses those in use; at most three times without a successful connect in between, 60 seconds each.",
    ),
    (
        c"cometd_client_builder_set_handshake_provider",
        c"Asked before each handshake for the fields of its message; 60 seconds each.",
    ),
    (
        c"cometd_client_builder_set_header_provider",
        c"Asked before each HTTP request, which it sees, for headers of its own: signatures, tracing; 60 seconds each.",
    ),
    (
        c"cometd_client_builder_add_extension",
        c"A function for messages going out, one for those coming in, or both; any number, 60 seconds for each request and response.",
    ),
    (
        c"cometd_client_builder_set_replay_store",
        c"Two functions, which load and save the positions of channels.",
    ),
];

const fn option(
    setter: &'static CStr,
    kind: Kind,
    range: &'static CStr,
    text: &'static CStr,
) -> ClientOption {
    ClientOption {
        setter,
        kind,
        unit: None,
        default: None,
        range,
        text,
        secret: false,
    }
}

const fn secret(option: ClientOption) -> ClientOption {
    ClientOption {
        secret: true,
        ..option
    }
}

/// What it is without a word.
const fn with(default: &'static CStr, option: ClientOption) -> ClientOption {
    ClientOption {
        default: Some(default),
        ..option
    }
}

const fn measured(unit: &'static CStr, option: ClientOption) -> ClientOption {
    ClientOption {
        unit: Some(unit),
        ..option
    }
}

const fn switch(
    setter: &'static CStr,
    default: &'static CStr,
    set: fn(&mut Builder, bool),
    text: &'static CStr,
) -> ClientOption {
    let range = c"true, false";
    with(default, option(setter, Kind::Boolean(set), range, text))
}

const fn path(
    setter: &'static CStr,
    set: fn(&mut Builder, &str) -> Result<(), Error>,
    text: &'static CStr,
) -> ClientOption {
    let range = c"a path on the same server, resolved on the URL; empty: the URL itself";
    // Its query may be a token.
    with(c"", secret(option(setter, Kind::Text(set), range, text)))
}

const fn milliseconds(
    setter: &'static CStr,
    default: &'static CStr,
    set: fn(&mut Builder, Duration),
    text: &'static CStr,
) -> ClientOption {
    let kind = Kind::Milliseconds { minimum: 0, set };
    let option = option(setter, kind, c"0 to 2147483647", text);
    with(default, measured(c"ms", option))
}

const fn sizes(
    minimum: i64,
    maximum: i64,
    set: fn(&mut Builder, i64) -> Result<(), Error>,
) -> Kind {
    let words = &[];
    Kind::Integer {
        minimum,
        maximum,
        words,
        set,
    }
}

fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// As a position of replay.
const POSITIONS: &[(&str, i64)] = &[("new", replay::NEW), ("all", replay::ALL)];

fn position(value: &str) -> Result<i64, Error> {
    let word = POSITIONS.iter().find(|it| it.0 == value);
    word.map_or_else(|| integer(value, replay::ALL, i64::MAX), |it| Ok(it.1))
}

fn set_transports(builder: &mut Builder, names: &[&str]) -> Result<(), Error> {
    let transports = names.iter().filter_map(|it| ConnectionType::named(it));
    builder.set_transports(&transports.collect::<Vec<_>>())
}

fn set_certificate_authorities(builder: &mut Builder, value: &str) -> Result<(), Error> {
    let alone = value.strip_prefix("only,");
    let pem = alone.unwrap_or(value);
    builder.set_certificate_authorities(pem.as_bytes(), alone.is_none())
}

fn set_replay_position(builder: &mut Builder, value: &str) -> Result<(), Error> {
    // The channel may have a query, the position has no '='.
    let (channel, at) = value
        .rsplit_once('=')
        .ok_or_else(|| Error::call(ErrorKind::InvalidArgument, "is not CHANNEL=POSITION"))?;
    builder.set_replay_position(channel, position(at)?)
}

/// In groups, as people look for them.
pub static OPTIONS: &[ClientOption] = &[
    option(
        c"cometd_client_builder_set_name",
        Kind::Text(Builder::set_name),
        c"1 to 128 bytes without control characters",
        c"What the client is called in errors and log lines; by default by its number in the process, as in \"client 3\".",
    ),
    // Where requests go.
    secret(option(
        c"cometd_client_builder_add_url",
        Kind::Text(Builder::add_url),
        c"a URL of the scheme of the first, without user and password; up to 15",
        c"A further server, to go to when those before it fail.",
    )),
    switch(
        c"cometd_client_builder_set_follow_hosts",
        c"false",
        Builder::set_follow_hosts,
        c"Whether a server may send the client to other hosts; only for servers that are trusted with the credentials.",
    ),
    path(
        c"cometd_client_builder_set_handshake_base_path",
        Builder::set_handshake_base_path,
        c"Where handshakes go.",
    ),
    path(
        c"cometd_client_builder_set_subscribe_base_path",
        Builder::set_subscribe_base_path,
        c"Where subscribe, unsubscribe and publish go.",
    ),
    path(
        c"cometd_client_builder_set_connect_base_path",
        Builder::set_connect_base_path,
        c"Where connects go.",
    ),
    path(
        c"cometd_client_builder_set_disconnect_base_path",
        Builder::set_disconnect_base_path,
        c"Where disconnects go.",
    ),
    with(
        c"auto",
        option(
            c"cometd_client_builder_set_append_message_type",
            Kind::Choice(&[
                ("auto", |it| it.set_append_message_type(Append::Auto)),
                ("always", |it| it.set_append_message_type(Append::Always)),
                ("never", |it| it.set_append_message_type(Append::Never)),
            ]),
            c"auto, always, never",
            c"Whether handshake, connect and disconnect are appended to the URL; auto does unless it has a query or a dot in its last segment.",
        ),
    ),
    secret(option(
        c"cometd_client_builder_set_proxy",
        Kind::Text(Builder::set_proxy),
        c"http, https, socks5h or socks5 as in socks5h://USER:PASSWORD@HOST:PORT; empty: none",
        c"The proxy of all requests; by default the environment's http_proxy, https_proxy, all_proxy and no_proxy decide.",
    )),
    // What is given by mistake may be a key.
    secret(option(
        c"cometd_client_builder_set_certificate_authorities",
        Kind::Pem(set_certificate_authorities),
        c"certificates as PEM; behind \"only,\" the system's authorities do not count",
        c"Whose certificates of servers are trusted; by default those of the system.",
    )),
    secret(option(
        c"cometd_client_builder_set_client_certificate",
        Kind::Pem(|it, pem| it.set_client_certificate(pem.as_bytes(), pem.as_bytes())),
        c"certificates and a key in PKCS #8 without a password, as PEM",
        c"The certificate that is shown to servers that ask for one, those above it, and its private key.",
    )),
    switch(
        c"cometd_client_builder_set_insecure",
        c"false",
        Builder::set_insecure,
        c"Whether the certificates of servers count for nothing, so that anybody may be the server; only for tests.",
    ),
    with(
        c"1.2",
        option(
            c"cometd_client_builder_set_minimum_tls_version",
            Kind::Choice(&[
                ("1.0", |it| it.set_minimum_tls_version(Version::Tls10)),
                ("1.1", |it| it.set_minimum_tls_version(Version::Tls11)),
                ("1.2", |it| it.set_minimum_tls_version(Version::Tls12)),
                ("1.3", |it| it.set_minimum_tls_version(Version::Tls13)),
            ]),
            c"1.0, 1.1, 1.2, 1.3",
            c"The least version of TLS that is spoken.",
        ),
    ),
    // What requests show.
    secret(option(
        c"cometd_client_builder_set_bearer_token",
        Kind::Text(Builder::set_bearer_token),
        c"text without spaces",
        c"Authorizes requests by a bearer token. Of bearer_token, basic_auth and authorization the last one set is in force.",
    )),
    secret(option(
        c"cometd_client_builder_set_basic_auth",
        Kind::Text(|it, value| match value.split_once(':') {
            Some((user, password)) => it.set_basic_auth(user, Some(password)),
            None => it.set_basic_auth(value, None),
        }),
        c"USER:PASSWORD, or USER",
        c"Authorizes requests by user and password; by default those in the URL, if any.",
    )),
    secret(option(
        c"cometd_client_builder_set_authorization",
        Kind::Text(Builder::set_authorization),
        c"the whole value of the header",
        c"Authorizes requests by any other scheme.",
    )),
    secret(option(
        c"cometd_client_builder_add_cookie",
        Kind::Text(|it, value| {
            let (name, value) = pair(value, '=', "NAME=VALUE")?;
            it.add_cookie(name, value)
        }),
        c"NAME=VALUE, together up to 8192 bytes; any number",
        c"A cookie for the server.",
    )),
    secret(option(
        c"cometd_client_builder_add_header",
        Kind::Text(|it, value| {
            let (name, value) = pair(value, ':', "NAME: VALUE")?;
            it.add_header(name, value.trim_start_matches(' '))
        }),
        c"NAME: VALUE, a value up to 65536 bytes; up to 100",
        c"A header of each request; none that belongs to the transport.",
    )),
    secret(option(
        c"cometd_client_builder_set_handshake_ext",
        Kind::Json(|it, value| it.set_handshake_ext(value.as_bytes())),
        c"a JSON object, up to 128 levels deep",
        c"The ext of each handshake, where many servers want credentials.",
    )),
    // Over what messages travel.
    with(
        c"long-polling",
        option(
            c"cometd_client_builder_set_transports",
            Kind::Choices {
                words: &["websocket", "long-polling"],
                set: set_transports,
            },
            c"websocket, long-polling, or both with a comma between them",
            c"Over what messages travel, in order of preference.",
        ),
    ),
    path(
        c"cometd_client_builder_set_websocket_path",
        Builder::set_websocket_path,
        c"Where WebSockets are opened.",
    ),
    with(
        c"",
        // Some servers take credentials there.
        secret(option(
            c"cometd_client_builder_set_websocket_protocol",
            Kind::Text(Builder::set_websocket_protocol),
            c"a token up to 4096 bytes; empty: none",
            c"The protocol that the server of a WebSocket has to choose.",
        )),
    ),
    milliseconds(
        c"cometd_client_builder_set_ping_interval_ms",
        c"20000",
        Builder::set_ping_interval,
        c"After so long without a byte over a WebSocket the server is asked for one; 0: never.",
    ),
    // Times, and what is tried again.
    milliseconds(
        c"cometd_client_builder_set_timeout_ms",
        c"60000",
        Builder::set_timeout,
        c"How long the server is asked to hold a connect.",
    ),
    milliseconds(
        c"cometd_client_builder_set_interval_ms",
        c"0",
        Builder::set_interval,
        c"The pause between connects that is suggested to the server.",
    ),
    with(
        c"10000",
        measured(
            c"ms",
            option(
                c"cometd_client_builder_set_request_timeout_ms",
                Kind::Milliseconds {
                    minimum: 1,
                    set: Builder::set_request_timeout,
                },
                c"1 to 2147483647",
                c"How long a request may take, on top of the time for which the server holds it.",
            ),
        ),
    ),
    with(
        c"forever",
        option(
            c"cometd_client_builder_set_number_of_retries",
            Kind::Integer {
                minimum: 0,
                maximum: u32::MAX as i64 - 1,
                words: &[("forever", -1)],
                set: |it, number| {
                    it.set_number_of_retries(u32::try_from(number).ok());
                    Ok(())
                },
            },
            c"0 to 4294967294, or forever",
            c"Failures in a row after which the client still tries again.",
        ),
    ),
    with(
        c"1000,30000",
        measured(
            c"ms",
            option(
                c"cometd_client_builder_set_backoff_ms",
                Kind::Integers {
                    minimum: 0,
                    maximum: INT32,
                    set: |it, (increment, maximum)| {
                        it.set_backoff(duration(increment), duration(maximum))
                    },
                },
                c"INCREMENT,MAXIMUM, each 0 to 2147483647",
                c"The increment of the waits between attempts, and their maximum, which is not less.",
            ),
        ),
    ),
    switch(
        c"cometd_client_builder_set_fail_fast",
        c"false",
        Builder::set_fail_fast,
        c"Whether the client ends when, before its first session, something fails that does not pass by itself: no such host, TLS, 404 and the like.",
    ),
    switch(
        c"cometd_client_builder_set_await_credentials",
        c"false",
        Builder::set_await_credentials,
        c"Whether a client whose credentials are refused waits for new ones instead of ending.",
    ),
    // How much there may be.
    with(
        c"10000,67108864",
        measured(
            c"events,bytes",
            option(
                c"cometd_client_builder_set_events_capacity",
                Kind::Integers {
                    minimum: 1,
                    maximum: i64::MAX,
                    set: |it, (events, bytes)| it.set_events_capacity(size(events), size(bytes)),
                },
                c"EVENTS,BYTES, each 1 or more",
                c"The bounds of each receiver's queue.",
            ),
        ),
    ),
    with(
        c"block",
        option(
            c"cometd_client_builder_set_overflow",
            Kind::Choice(&[
                ("block", |it| it.set_overflow(Overflow::Block)),
                ("drop_oldest", |it| it.set_overflow(Overflow::DropOldest)),
                ("drop_newest", |it| it.set_overflow(Overflow::DropNewest)),
            ]),
            c"block, drop_oldest, drop_newest",
            c"What happens when a receiver's queue is full: nothing more is sent, or messages are dropped.",
        ),
    ),
    with(
        c"10000",
        measured(
            c"messages",
            option(
                c"cometd_client_builder_set_commands_capacity",
                sizes(1, i64::MAX, |it, number| {
                    it.set_commands_capacity(size(number))
                }),
                c"1 or more",
                c"So many messages may wait for their outcome, or for the program to read it.",
            ),
        ),
    ),
    with(
        c"16777216",
        measured(
            c"bytes",
            option(
                c"cometd_client_builder_set_response_capacity",
                sizes(1, INT32, |it, number| {
                    it.set_response_capacity(size(number))
                }),
                c"1 to 2147483647",
                c"The largest response after decompression, or message over a WebSocket.",
            ),
        ),
    ),
    measured(
        c"bytes",
        option(
            c"cometd_client_builder_set_request_capacity",
            sizes(1024, INT32, |it, number| {
                it.set_request_capacity(size(number))
            }),
            c"1024 to 2147483647",
            c"The largest request, or frame over a WebSocket, that the server takes; a larger publish is refused at once. By default there is no limit.",
        ),
    ),
    switch(
        c"cometd_client_builder_set_own_receiver",
        c"true",
        Builder::set_own_receiver,
        c"Whether the client is itself a receiver of its events; false: it is read only through those of cometd_receiver_new.",
    ),
    // Sessions.
    switch(
        c"cometd_client_builder_set_acknowledgement",
        c"false",
        Builder::set_acknowledgement,
        c"Whether the server keeps events until they are acknowledged, if it can.",
    ),
    switch(
        c"cometd_client_builder_set_restart",
        c"false",
        Builder::set_restart,
        c"Whether a session that the server ends by itself is followed by a new one, and is not the client's end.",
    ),
    switch(
        c"cometd_client_builder_set_timesync",
        c"false",
        Builder::set_timesync,
        c"Whether the server is asked for its clock, see cometd_client_server_time.",
    ),
    with(
        c"none",
        option(
            c"cometd_client_builder_set_timestamp",
            Kind::Choice(&[
                ("none", |it| it.set_timestamp(None)),
                ("http", |it| it.set_timestamp(Some(Timestamp::Http))),
                ("iso", |it| it.set_timestamp(Some(Timestamp::Iso))),
            ]),
            c"none, http, iso",
            c"Whether messages say when they are sent, and in which form.",
        ),
    ),
    secret(option(
        c"cometd_client_builder_set_resume",
        Kind::Text(Builder::set_resume),
        c"a text of cometd_client_export; empty: none",
        c"The session of another client, which the first client to be built goes on with.",
    )),
    option(
        c"cometd_client_builder_set_replay",
        Kind::Integer {
            minimum: replay::ALL,
            maximum: i64::MAX,
            words: POSITIONS,
            set: |it, start| it.set_replay(start),
        },
        c"new (-1), all (-2), or the id of an event, 0 or more",
        c"Turns the replay extension on; where channels start that have no position of their own. By default it is off.",
    ),
    option(
        c"cometd_client_builder_set_replay_position",
        Kind::Text(set_replay_position),
        c"CHANNEL=POSITION, a position as for replay; up to 10000 channels",
        c"Where the first subscribe to a channel starts.",
    ),
    with(
        c"all",
        option(
            c"cometd_client_builder_set_replay_fallback",
            Kind::Choice(&[
                ("new", |it| it.set_replay_fallback(Some(replay::NEW))),
                ("all", |it| it.set_replay_fallback(Some(replay::ALL))),
                ("fail", |it| it.set_replay_fallback(None)),
            ]),
            c"new, all, fail",
            c"Where a subscribe starts when the server no longer has its position; fail: that is its end.",
        ),
    ),
];
