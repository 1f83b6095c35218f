//! What a client is told before it is built. Each setter checks its argument
//! at once, names it in the error, and changes nothing when it refuses it.

mod call;
mod network;
mod refused;
mod resume;
mod transports;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicU8, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue, AUTHORIZATION};
use tokio::sync::Notify;
use url::Url;

use super::arguments::json_error;
use super::board::Board;
use super::extensions::{Extension, Extensions};
use super::handover::Carried;
use super::handshake_provider::HandshakeProvider;
use super::header_provider::HeaderProvider;
use super::name;
use super::opaques::Opaques;
use super::outcomes::Outcomes;
use super::replay::{self, Positions, ReplayStore};
use super::shared::Shared;
use super::statistics::Counters;
use super::token_provider::TokenProvider;
use super::{Client, Unstarted};
use crate::bayeux::json;
use crate::delivery::{Hub, Limits, Overflow};
use crate::error::{Error, ErrorKind};
use crate::runtime::{lock, Process};
use crate::session::{Configuration, ReplayPolicy, Server, Timestamp};
use crate::transport::authorization::{self, Authorization};
use crate::transport::cookies::{self, Jar};
use crate::transport::endpoints::{self, Append, BasePaths, Endpoints};
use crate::transport::headers::{self, Headers};
use crate::transport::http::{LongPolling, Settings};
use crate::transport::leniencies::Leniencies;
use crate::transport::proxies::Choice;
use crate::transport::secrets::Secrets;
use crate::transport::tls::Tls;
use refused::Refused;

pub const DEFAULT_EVENTS: usize = 10_000;
pub const DEFAULT_BYTES: usize = 64 * 1024 * 1024;
pub const DEFAULT_COMMANDS: usize = 10_000;
pub const DEFAULT_RESPONSE: usize = 16 * 1024 * 1024;
/// Offsets into a body are 32 bits wide.
pub const MAXIMUM_RESPONSE: usize = i32::MAX as usize;

/// Servers of one client, at most.
const MAXIMUM_URLS: usize = 16;

/// Smaller requests would not hold what the protocol itself needs.
const MINIMUM_REQUEST: usize = 1024;

#[derive(Clone)]
pub struct Builder {
    url: Url,
    /// To go to when that server fails.
    further_urls: Vec<Url>,
    base_paths: BasePaths,
    append: Append,
    /// The one that is asked for on a WebSocket.
    websocket_protocol: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    jar: Jar,
    headers: HeaderMap,
    /// What each request carries of them: the clients share it, as the following.
    prepared: Headers,
    session: Arc<Configuration>,
    /// Where requests go. Made with the first client after a change.
    servers: OnceLock<Arc<[Arc<Endpoints>]>>,
    limits: Limits,
    commands: usize,
    maximum_response: usize,
    token_provider: Option<Arc<TokenProvider>>,
    handshake_provider: Option<Arc<HandshakeProvider>>,
    header_provider: Option<Arc<HeaderProvider>>,
    extensions: Vec<Extension>,
    own_receiver: bool,
    /// Where channels start; `None`: without the replay extension.
    replay_start: Option<i64>,
    replay_fallback: Option<i64>,
    replay_positions: BTreeMap<String, i64>,
    replay_store: ReplayStore,
    proxy: Choice,
    tls: Tls,
    name: Option<Arc<str>>,
    /// The session that the first client to be built goes on with.
    resume: Arc<Mutex<Option<Box<Carried>>>>,
    refused: Refused,
}

impl Builder {
    pub fn new(url: &str) -> Result<Self, Error> {
        let url = endpoints::parse(url)?;
        let authorization = match endpoints::userinfo(&url)? {
            Some((user, password)) => {
                let value = authorization::basic(&user, password.as_deref());
                Some(value.map_err(|mut error| {
                    error.message = format!("url: {}", error.message);
                    error
                })?)
            }
            None => None,
        };
        let session = Configuration {
            servers: vec![endpoints::host_and_port(&url)],
            ..Configuration::default()
        };
        let builder = Self {
            url,
            further_urls: Vec::new(),
            base_paths: BasePaths::default(),
            append: Append::default(),
            websocket_protocol: None,
            authorization,
            jar: Jar::default(),
            headers: HeaderMap::new(),
            prepared: Headers::default(),
            session: Arc::new(session),
            servers: OnceLock::new(),
            limits: Limits {
                events: DEFAULT_EVENTS,
                bytes: DEFAULT_BYTES,
                overflow: Overflow::Block,
            },
            commands: DEFAULT_COMMANDS,
            maximum_response: DEFAULT_RESPONSE,
            token_provider: None,
            handshake_provider: None,
            header_provider: None,
            extensions: Vec::new(),
            own_receiver: true,
            replay_start: None,
            replay_fallback: Some(crate::bayeux::replay::ALL),
            replay_positions: BTreeMap::new(),
            replay_store: ReplayStore::default(),
            proxy: Choice::default(),
            tls: Tls::default(),
            name: None,
            resume: Arc::default(),
            refused: Refused::default(),
        };
        // Whatever a URL may be wrong for is found here, not at build.
        builder.endpoints(&builder.url)?;
        Ok(builder)
    }

    fn endpoints(&self, url: &Url) -> Result<Endpoints, Error> {
        Endpoints::new(url, &self.base_paths, self.append)
    }

    /// The places of each server.
    fn servers(&self) -> Result<Arc<[Arc<Endpoints>]>, Error> {
        if let Some(servers) = self.servers.get() {
            return Ok(servers.clone());
        }
        let servers = self.urls().map(|url| Ok(Arc::new(self.endpoints(url)?)));
        let servers = servers.collect::<Result<_, Error>>()?;
        Ok(self.servers.get_or_init(|| servers).clone())
    }

    /// What the sessions are told, to be changed. Clients that were built have
    /// what it was before.
    fn session(&mut self) -> &mut Configuration {
        Arc::make_mut(&mut self.session)
    }

    fn urls(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.url).chain(&self.further_urls)
    }

    /// What the clients are called in errors and log lines.
    pub fn set_name(&mut self, name: &str) -> Result<(), Error> {
        self.name = Some(name::check(name)?);
        Ok(())
    }

    /// Adds a server to go to when those before it fail.
    pub fn add_url(&mut self, url: &str) -> Result<(), Error> {
        let refuse = |kind, why: String| Err(Error::call(kind, format!("url: {why}")));
        let url = endpoints::parse(url)?;
        if url.scheme() != self.url.scheme() {
            let why = format!("is {}, unlike the first one", url.scheme());
            return refuse(ErrorKind::InvalidUrl, why);
        }
        if endpoints::userinfo(&url)?.is_some() {
            let why = "only the first one may hold a user and a password".into();
            return refuse(ErrorKind::InvalidUrl, why);
        }
        if self.further_urls.len() + 1 >= MAXIMUM_URLS {
            return refuse(
                ErrorKind::OutOfRange,
                format!("there are at most {MAXIMUM_URLS}"),
            );
        }
        self.endpoints(&url)?;
        self.session().servers.push(endpoints::host_and_port(&url));
        self.further_urls.push(url);
        self.servers.take();
        Ok(())
    }

    /// Whether servers may name others to go to.
    pub fn set_follow_hosts(&mut self, enabled: bool) {
        self.session().follow_hosts = enabled;
    }

    fn base_path(&self, path: &str) -> Result<Option<String>, Error> {
        for url in self.urls() {
            endpoints::check_base_path(url, path)?;
        }
        Ok((!path.is_empty()).then(|| path.to_owned()))
    }

    pub fn set_handshake_base_path(&mut self, path: &str) -> Result<(), Error> {
        self.base_paths.handshake = self.base_path(path)?;
        self.servers.take();
        Ok(())
    }

    pub fn set_subscribe_base_path(&mut self, path: &str) -> Result<(), Error> {
        self.base_paths.subscribe = self.base_path(path)?;
        self.servers.take();
        Ok(())
    }

    pub fn set_connect_base_path(&mut self, path: &str) -> Result<(), Error> {
        self.base_paths.connect = self.base_path(path)?;
        self.servers.take();
        Ok(())
    }

    pub fn set_disconnect_base_path(&mut self, path: &str) -> Result<(), Error> {
        self.base_paths.disconnect = self.base_path(path)?;
        self.servers.take();
        Ok(())
    }

    pub fn set_append_message_type(&mut self, append: Append) {
        self.append = append;
        self.servers.take();
    }

    pub fn set_bearer_token(&mut self, token: &str) -> Result<(), Error> {
        self.authorization = Some(authorization::bearer(token)?);
        Ok(())
    }

    pub fn set_basic_auth(&mut self, user: &str, password: Option<&str>) -> Result<(), Error> {
        self.authorization = Some(authorization::basic(user, password)?);
        Ok(())
    }

    pub fn set_authorization(&mut self, value: &str) -> Result<(), Error> {
        self.authorization = Some(authorization::any(value)?);
        Ok(())
    }

    pub fn set_token_provider(&mut self, provider: Option<Arc<TokenProvider>>) {
        self.session().has_token_provider = provider.is_some();
        self.token_provider = provider;
    }

    pub fn set_handshake_provider(&mut self, provider: Option<Arc<HandshakeProvider>>) {
        self.session().has_handshake_provider = provider.is_some();
        self.handshake_provider = provider;
    }

    pub fn set_header_provider(&mut self, provider: Option<Arc<HeaderProvider>>) {
        self.session().has_header_provider = provider.is_some();
        self.header_provider = provider;
    }

    /// Incoming messages meet extensions in the order in which they were added,
    /// outgoing ones in the reverse order.
    pub fn add_extension(&mut self, extension: Extension) {
        self.session().holds_requests |= extension.outgoing.is_some();
        self.extensions.push(extension);
    }

    pub fn add_cookie(&mut self, name: &str, value: &str) -> Result<(), Error> {
        cookies::check(name, value)?;
        self.jar.give(name, value);
        Ok(())
    }

    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = headers::check(name, value)?;
        if name == AUTHORIZATION {
            self.authorization = Some(value);
            return Ok(());
        }
        headers::check_number(self.headers.len())?;
        self.headers.append(name, value);
        self.prepared = Headers::new(&self.headers);
        Ok(())
    }

    pub fn set_handshake_ext(&mut self, ext: &[u8]) -> Result<(), Error> {
        let ext = json::parse_object(ext).map_err(|error| json_error("json", &error))?;
        self.session().handshake_ext = Some(ext);
        Ok(())
    }

    pub fn set_timeout(&mut self, timeout: Duration) {
        self.session().timeout = millis(timeout);
    }

    pub fn set_interval(&mut self, interval: Duration) {
        self.session().interval = millis(interval);
    }

    pub fn set_request_timeout(&mut self, timeout: Duration) {
        self.session().request_timeout = millis(timeout).max(1);
    }

    /// Whether a client whose credentials are refused waits for new ones.
    pub fn set_await_credentials(&mut self, enabled: bool) {
        self.session().await_credentials = enabled;
    }

    /// `None`: for ever.
    pub fn set_number_of_retries(&mut self, retries: Option<u32>) {
        self.session().number_of_retries = retries;
    }

    pub fn set_backoff(&mut self, increment: Duration, maximum: Duration) -> Result<(), Error> {
        if maximum < increment {
            return Err(Error::call(
                ErrorKind::OutOfRange,
                "max: is not less than increment",
            ));
        }
        self.session().backoff_increment = millis(increment);
        self.session().backoff_maximum = millis(maximum);
        Ok(())
    }

    pub fn set_events_capacity(&mut self, events: usize, bytes: usize) -> Result<(), Error> {
        for (what, value) in [("events", events), ("bytes", bytes)] {
            if value == 0 {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    format!("{what}: is at least 1"),
                ));
            }
        }
        self.limits.events = events;
        self.limits.bytes = bytes;
        Ok(())
    }

    pub fn set_commands_capacity(&mut self, commands: usize) -> Result<(), Error> {
        if commands == 0 {
            return Err(Error::call(
                ErrorKind::OutOfRange,
                "commands: is at least 1",
            ));
        }
        self.commands = commands;
        Ok(())
    }

    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.limits.overflow = overflow;
    }

    pub fn set_response_capacity(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes == 0 || bytes > MAXIMUM_RESPONSE {
            return Err(Error::call(
                ErrorKind::OutOfRange,
                format!("bytes: is 1 to {MAXIMUM_RESPONSE}"),
            ));
        }
        self.maximum_response = bytes;
        Ok(())
    }

    /// How large a request the server takes.
    pub fn set_request_capacity(&mut self, bytes: usize) -> Result<(), Error> {
        if !(MINIMUM_REQUEST..=MAXIMUM_RESPONSE).contains(&bytes) {
            return Err(Error::call(
                ErrorKind::OutOfRange,
                format!("bytes: is {MINIMUM_REQUEST} to {MAXIMUM_RESPONSE}"),
            ));
        }
        self.session().request_capacity = Some(bytes);
        Ok(())
    }

    /// Whether servers are asked to keep events until they are acknowledged.
    pub fn set_acknowledgement(&mut self, enabled: bool) {
        self.session().acknowledgement = enabled;
    }

    /// Whether the server's clock is asked for.
    pub fn set_timesync(&mut self, enabled: bool) {
        self.session().timesync = enabled;
    }

    /// Whether messages say when they are sent, and how.
    pub fn set_timestamp(&mut self, format: Option<Timestamp>) {
        self.session().timestamp = format;
    }

    /// Whether a session that the server has ended is followed by a new one.
    pub fn set_restart(&mut self, enabled: bool) {
        self.session().restart = enabled;
    }

    /// Whether a client ends before its first session when what fails does not
    /// pass by itself.
    pub fn set_fail_fast(&mut self, enabled: bool) {
        self.session().end_before_first_session = enabled;
    }

    /// Whether the client itself is a receiver of its events.
    pub fn set_own_receiver(&mut self, own: bool) {
        self.own_receiver = own;
    }

    /// Asks servers for the events after a position; channels that have none
    /// of their own start here.
    pub fn set_replay(&mut self, start: i64) -> Result<(), Error> {
        replay::check_position("start", start)?;
        self.replay_start = Some(start);
        self.set_replay_policy();
        Ok(())
    }

    pub fn set_replay_position(&mut self, channel: &str, position: i64) -> Result<(), Error> {
        replay::give(&mut self.replay_positions, channel, position)
    }

    /// `None`: without one, a subscribe whose position is refused fails.
    pub fn set_replay_fallback(&mut self, position: Option<i64>) {
        self.replay_fallback = position;
        self.set_replay_policy();
    }

    fn set_replay_policy(&mut self) {
        let fallback = self.replay_fallback;
        let policy = |start| ReplayPolicy { start, fallback };
        self.session().replay = self.replay_start.map(policy);
    }

    pub fn set_replay_store(&mut self, store: ReplayStore) {
        self.replay_store = store;
    }

    /// Where a new client's channels start, if it takes part in replay.
    fn positions(&self, name: &Arc<str>) -> Option<Positions> {
        self.replay_start.map(|_| {
            Positions::new(
                self.replay_positions.clone(),
                self.replay_store.clone(),
                name,
            )
        })
    }

    /// Builds a client; the builder can build more.
    pub fn build(&self) -> Result<Client, Error> {
        if let Some(error) = self.refused.first() {
            return Err(error.clone());
        }
        let authorization = Arc::new(Authorization::new(self.authorization.clone()));
        let resumed = lock(&self.resume).clone();
        let cookies = Arc::new(Mutex::new(self.jar_with(resumed.as_deref())?));
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let proxies = Arc::new(self.proxy.proxies());
        for url in self.urls() {
            proxies.of(&endpoints::uri_of(url)?).map_err(Error::clone)?;
        }
        let secrets = Arc::new(Secrets::new(
            authorization.clone(),
            cookies.clone(),
            self.headers.values().map(text),
            self.session.handshake_ext.as_ref().map(|it| it.get()),
            &proxies,
        ));
        let told = secrets.clone();
        let request_timeout = Duration::from_millis(self.session.request_timeout);
        let settings = Settings {
            servers: self.servers()?,
            authorization,
            cookies,
            headers: self.prepared.clone(),
            maximum_response: self.maximum_response,
            // Less than a request has, so that it can say what failed.
            connect_timeout: request_timeout.mul_f32(0.8),
            proxies,
            tls: self.tls.clone(),
            leniencies: Arc::new(Leniencies::new(move |text| told.redact(text))),
        };
        let client = self.client(settings, secrets)?;
        self.resumes(&client, resumed);
        if self.tls.is_insecure() {
            let name = &client.shared.name;
            tracing::warn!(target: "cometd::client", "{name}: the certificates of servers are not checked: anybody may be the server");
        }
        Ok(client)
    }

    fn client(&self, settings: Settings, secrets: Arc<Secrets>) -> Result<Client, Error> {
        let name = self.name.clone().unwrap_or_else(name::next);
        let hub = Hub::new(self.limits, name.clone());
        let positions = self.positions(&name);
        let tracker = positions.as_ref().and_then(Positions::tracker);
        let own = self.own_receiver.then(|| hub.add_tracked(tracker));
        let authorization = settings.authorization.clone();
        let leniencies = settings.leniencies.clone();
        let websockets = self.websockets(&settings)?;
        let transport = LongPolling::new(settings)?;
        let first = Server::Given(0);
        let places = transport.places(first.clone()).ok_or_else(|| {
            Error::call(ErrorKind::InvalidUrl, "url: there is no server to go to")
        })?;
        let shared = Arc::new(Shared {
            name,
            server: Mutex::new((first, places)),
            session_id: Mutex::default(),
            last_error: Mutex::default(),
            hub,
            board: Board::new(),
            authorization,
            secrets,
            mailbox: Mutex::default(),
            commands_came: Notify::new(),
            is_freed: AtomicBool::new(false),
            outstanding: AtomicUsize::new(0),
            outcomes: Outcomes::default(),
            opaques: Opaques::default(),
            commands_capacity: self.commands,
            last_operation: AtomicU64::new(0),
            counters: Counters::default(),
            transport: AtomicU8::new(0),
            leniencies,
            outbox: OnceLock::new(),
            positions: positions.map(Box::new),
        });
        Ok(Client {
            shared,
            own,
            unstarted: Mutex::new(Some(Box::new(Unstarted {
                configuration: self.session.clone(),
                transport,
                websockets,
                token_provider: self.token_provider.clone(),
                extensions: Extensions::new(self.extensions.clone()),
                handshake_provider: self.handshake_provider.clone(),
                header_provider: self.header_provider.clone(),
                resumed: None,
            }))),
            request_capacity: self.session.request_capacity,
            process: Process::current(),
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
