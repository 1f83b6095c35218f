//! Names and sockets: from a host and a port to a TCP connection.

use std::error::Error as StdError;
use std::future::{ready, Future, Ready};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, Semaphore};
use tokio::time::Instant;
use tower_service::Service;

use super::failures::{chain, plain, ConnectFailure};
use crate::error::ErrorKind;
use crate::platform::{is_exhausted, resolver_gave_no_answer, set_unacknowledged_limit};
use crate::runtime::{spawn, PerProcess};

/// How many names are looked up at once: getaddrinfo takes a thread each.
const LOOKUPS: usize = 16;

/// A line that has gone dead under a held connect, which is silent for as long
/// as the server likes, is noticed within 30 seconds: the first probe goes out
/// after so much silence, and others follow.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(4);
const KEEP_ALIVE_PROBES: u32 = 3;
/// What was written and not acknowledged for so long has met a dead line too.
/// Linux gives up at the first probe after this, so it is a little less than
/// what the probes take.
const USER_TIMEOUT: Duration = Duration::from_secs(25);

pub type Tcp = TokioIo<TcpStream>;

/// When an attempt to make a connection is given up, over all of its steps.
#[derive(Clone, Copy)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            limit,
        }
    }

    /// What the step gives; `None` when it takes too long.
    pub async fn within<T>(self, step: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.at, step).await.ok()
    }

    /// How that is told.
    pub fn words(self) -> String {
        format!("timed out after {}", in_words(self.limit))
    }

    fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

fn in_words(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    }
}

/// Where the connection leads.
pub struct Place {
    uri: Uri,
    host: String,
    port: u16,
    /// Host and port, as they are told.
    pub name: String,
}

impl Place {
    pub fn new(uri: &Uri) -> Self {
        let host = uri.host().unwrap_or("?");
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        Self {
            name: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            uri: uri.clone(),
        }
    }

    /// Without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn failed(&self, kind: ErrorKind, step: &str, why: &str) -> ConnectFailure {
        ConnectFailure::new(kind, format!("{step} {}: {why}", self.name))
    }
}

/// What the host's name stands for.
pub async fn addresses(place: &Place, deadline: Deadline) -> Result<Vec<IpAddr>, ConnectFailure> {
    if let Ok(address) = place.host.parse() {
        return Ok(vec![address]);
    }
    let looked_up = deadline.within(look_up(place)).await;
    looked_up.unwrap_or_else(|| {
        let failure = place.failed(ErrorKind::Dns, "dns lookup for", &deadline.words());
        Err(ConnectFailure {
            temporary: true,
            ..failure
        })
    })
}

/// Makes a TCP connection.
pub async fn connect(place: &Place, deadline: Deadline) -> Result<Tcp, ConnectFailure> {
    let addresses = addresses(place, deadline).await?;
    let mut connector = connector(addresses);
    // Shared among the addresses, so that a dead one does not keep from the others.
    connector.set_connect_timeout(Some(deadline.left()));
    let late = || place.failed(ErrorKind::Tcp, "tcp connect to", &deadline.words());
    match deadline.within(connector.call(place.uri.clone())).await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) => Err(match cause(&error) {
            Some(io) if io.kind() == io::ErrorKind::TimedOut && io.raw_os_error().is_none() => {
                late()
            }
            // The system's own doing, and not the server's.
            Some(io) if is_exhausted(io) => {
                place.failed(ErrorKind::System, "no socket for", &plain(io))
            }
            Some(io) => place.failed(ErrorKind::Tcp, "tcp connect to", &plain(io)),
            None => place.failed(ErrorKind::Tcp, "tcp connect to", &chain(&error)),
        }),
        None => Err(late()),
    }
}

/// The I/O error that is behind another one.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

/// Addresses that are known already, as a resolver.
#[derive(Clone)]
struct Known(Vec<IpAddr>);

impl Service<Name> for Known {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        // The connector puts the port in.
        let addresses = self.0.iter().map(|it| SocketAddr::new(*it, 0));
        ready(Ok(addresses.collect::<Vec<_>>().into_iter()))
    }
}

/// Tries the addresses, IPv6 and IPv4 at the same time when the first is slow.
fn connector(addresses: Vec<IpAddr>) -> HttpConnector<Known> {
    let mut connector = HttpConnector::new_with_resolver(Known(addresses));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE_IDLE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    set_unacknowledged_limit(&mut connector, USER_TIMEOUT);
    connector
}

/// Asks the system's resolver, on a thread of its own: it blocks. A system that
/// refuses the thread is told, where tokio's own pool would panic.
async fn look_up(place: &Place) -> Result<Vec<IpAddr>, ConnectFailure> {
    static UNDER_WAY: PerProcess<Arc<Semaphore>> = PerProcess::new();
    let under_way = UNDER_WAY.get_or_make(|| Arc::new(Semaphore::new(LOOKUPS)));
    // It is never closed; and with nothing to hold, the lookup goes on all the same.
    let permit = under_way.clone().acquire_owned().await.ok();
    let (send, found) = oneshot::channel();
    let host = place.host.clone();
    spawn("cometd-dns", move || {
        // Nobody may wait any more.
        let _ = send.send((host.as_str(), 0).to_socket_addrs());
        drop(permit);
    })
    .map_err(|error| {
        let why = format!("no thread could be started: {}", plain(&error));
        place.failed(ErrorKind::System, "dns lookup for", &why)
    })?;
    let failed = |why: &str, temporary| {
        let failure = place.failed(ErrorKind::Dns, "dns lookup for", why);
        Err(ConnectFailure {
            temporary,
            ..failure
        })
    };
    match found.await {
        Ok(Ok(addresses)) => Ok(addresses.map(|it| it.ip()).collect()),
        Ok(Err(error)) if is_exhausted(&error) => {
            Err(place.failed(ErrorKind::System, "dns lookup for", &plain(&error)))
        }
        Ok(Err(error)) => failed(&resolvers_words(&error), resolver_gave_no_answer(&error)),
        Err(_) => failed("it ended without an answer", true),
    }
}

/// "failed to lookup address information: Name or service not known", less what
/// was said already.
fn resolvers_words(error: &io::Error) -> String {
    let text = plain(error);
    let text = text.trim_start_matches("failed to lookup address information: ");
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "it gave no reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::platform::testing::{in_a_child, keep_nobody_waiting, refuse_descriptors, DeadLine};

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let result = runtime.block_on(future);
        runtime.shutdown_background();
        result
    }

    #[test]
    fn case_dead_line_every_socket_probes_its_peer_and_gives_up_within_30_s() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let uri: Uri = format!("http://{host}:{port}/").parse().unwrap();
            let deadline = Duration::from_secs(30);
            let stream = run(async {
                let deadline = Deadline::after(deadline);
                let stream = connect(&Place::new(&uri), deadline).await.unwrap();
                stream.into_inner().into_std().unwrap()
            });
            let line = DeadLine::of(&stream);
            assert!(line.probes && line.sends_at_once, "{line:?}");
            assert!(line.idle + line.interval * line.count < 30, "{line:?}");
            let Some(unacknowledged) = line.unacknowledged else {
                continue;
            };
            assert!((20_000..30_000).contains(&unacknowledged));
            // Linux looks at it when a probe is due, and at no other time.
            let probe = (0..).map(|nth| line.idle + line.interval * nth);
            let noticed = probe.map(|at| at * 1000).find(|at| *at > unacknowledged);
            assert!(noticed.unwrap() < 30_000);
        }
    }

    #[test]
    fn case_words_of_time() {
        let deadline = |millis| Deadline::after(Duration::from_millis(millis)).words();
        assert_eq!(deadline(10_000), "timed out after 10 s");
        assert_eq!(deadline(2_400), "timed out after 2400 ms");
    }

    #[test]
    fn case_words_of_an_address_that_does_not_answer() {
        // A backlog that is full: the kernel answers nobody any more.
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        keep_nobody_waiting(&server);
        let address = server.local_addr().unwrap();
        let uri: Uri = format!("http://{address}/").parse().unwrap();
        let failure = run(async {
            let mut accepted = Vec::new();
            loop {
                let deadline = Deadline::after(Duration::from_millis(300));
                match connect(&Place::new(&uri), deadline).await {
                    Ok(stream) => accepted.push(stream),
                    Err(failure) => return failure,
                }
            }
        });
        assert_eq!(failure.kind, ErrorKind::Tcp);
        assert_eq!(
            failure.text,
            format!("tcp connect to {address}: timed out after 300 ms")
        );
    }

    #[test]
    fn case_words_of_a_name_that_is_not_known() {
        let uri: Uri = "http://does-not-exist.invalid/".parse().unwrap();
        let deadline = Duration::from_secs(60);
        let connecting = async { connect(&Place::new(&uri), Deadline::after(deadline)).await };
        let failure = run(connecting).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Dns);
        let start = "dns lookup for does-not-exist.invalid:80: ";
        let why = failure.text.strip_prefix(start).unwrap();
        assert!(why.starts_with(char::is_lowercase), "{why}");
        assert!(!why.contains("lookup"), "{why}");
    }

    /// Fills the process's table of files, and so needs a process of its own.
    #[test]
    fn limit_no_descriptors_is_told_as_the_systems_own_doing() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = server.local_addr().unwrap();
        let uri: Uri = format!("http://{address}/").parse().unwrap();
        in_a_child(|| {
            let failure = run(async {
                refuse_descriptors();
                connect(&Place::new(&uri), Deadline::after(Duration::from_secs(9))).await
            });
            let told = format!("no socket for {address}: too many open files");
            matches!(failure, Err(it) if it.kind == ErrorKind::System && it.text == told)
        });
    }
}
