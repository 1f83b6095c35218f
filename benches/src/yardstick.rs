//! What receiving events costs at best: hyper on one thread reads the body, or
//! tokio-tungstenite as it comes reads the frame, serde_json splits it into raw
//! messages, and nothing else is done.
//!
//! `cometd_yardstick URL [-s SECONDS] [-w WARM-UP SECONDS] [-n EVENTS] [-b collect|reserve]
//! [-t long-polling|websocket]`
//!
//! `-b` is how the body is read: `collect` by http-body-util, which keeps all
//! frames and then copies them (the default), or `reserve` into a buffer of the
//! length that the response names, which costs less for large bodies. Over
//! WebSocket each frame answers a connect, or, if the URL's path begins with
//! `/pushed/`, all come after the first one.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

type Failure = Box<dyn Error + Send + Sync>;

static EVENTS: AtomicU64 = AtomicU64::new(0);
static RESPONSES: AtomicU64 = AtomicU64::new(0);
/// A reading is wanted, at the end of the response that is under way: in the
/// midst of one there would be cost without events.
static WANTED: AtomicBool = AtomicBool::new(false);

struct Options {
    url: String,
    seconds: f64,
    warm_up: f64,
    /// Until so many events, instead of seconds.
    events: Option<u64>,
    reserve: bool,
    websocket: bool,
}

fn options() -> Result<Options, Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: cometd_yardstick URL …")?;
    let mut options = Options {
        url,
        seconds: 1.0,
        warm_up: 0.2,
        events: None,
        reserve: false,
        websocket: false,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("an option has no value")?;
        match name.as_str() {
            "-s" => options.seconds = value.parse()?,
            "-w" => options.warm_up = value.parse()?,
            "-b" => options.reserve = value == "reserve",
            "-t" => options.websocket = value == "websocket",
            "-n" => options.events = Some(value.parse()?),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let (url, reserve, websocket) = (options.url.clone(), options.reserve, options.websocket);
    let (give, readings) = mpsc::channel();
    // This thread only sleeps and measures, as the consumer's does.
    std::thread::spawn(move || {
        let received = if websocket {
            receive_frames(&url, &give)
        } else {
            receive(&url, reserve, &give)
        };
        if let Err(error) = received {
            eprintln!("cometd_yardstick: {error}");
            std::process::exit(1);
        }
    });
    std::thread::sleep(Duration::from_secs_f64(options.warm_up));
    let begin = Reading::wanted(&readings)?;
    match options.events {
        Some(events) => {
            while EVENTS.load(Ordering::Relaxed) - begin.events < events {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        None => std::thread::sleep(Duration::from_secs_f64(options.seconds)),
    }
    let end = Reading::wanted(&readings)?;
    let events = end.events - begin.events;
    if events == 0 {
        return Err("no events came".into());
    }
    let cpu = end.cpu - begin.cpu;
    println!(
        "program={} events={events} responses={} seconds={:.3} cpu_us={cpu:.0} us_per_event={:.4} switches={} received={}",
        if options.reserve { "reserve" } else { "yardstick" },
        end.responses - begin.responses,
        (end.at - begin.at).as_secs_f64(),
        cpu / events as f64,
        end.switches - begin.switches,
        EVENTS.load(Ordering::Relaxed),
    );
    Ok(())
}

/// What has been used and received up to a moment, by all threads.
struct Reading {
    at: Instant,
    events: u64,
    responses: u64,
    /// Microseconds, user and system.
    cpu: f64,
    switches: i64,
}

impl Reading {
    fn wanted(readings: &mpsc::Receiver<Self>) -> Result<Self, Failure> {
        WANTED.store(true, Ordering::Relaxed);
        Ok(readings.recv()?)
    }

    fn now() -> Result<Self, Failure> {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the call writes all of `usage` when it returns 0.
        let usage = unsafe {
            if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
                return Err(std::io::Error::last_os_error().into());
            }
            usage.assume_init()
        };
        let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
        Ok(Self {
            at: Instant::now(),
            events: EVENTS.load(Ordering::Relaxed),
            responses: RESPONSES.load(Ordering::Relaxed),
            cpu: micros(usage.ru_utime) + micros(usage.ru_stime),
            switches: usage.ru_nvcsw + usage.ru_nivcsw,
        })
    }
}

/// Counts the events, and gives a reading if one is wanted.
fn take(events: usize, give: &mpsc::Sender<Reading>) -> Result<(), Failure> {
    EVENTS.fetch_add(events as u64, Ordering::Relaxed);
    RESPONSES.fetch_add(1, Ordering::Relaxed);
    if WANTED.swap(false, Ordering::Relaxed) {
        give.send(Reading::now()?)?;
    }
    Ok(())
}

fn receive_frames(url: &str, give: &mpsc::Sender<Reading>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(async {
            let url: Uri = url.replacen("http://", "ws://", 1).parse()?;
            let authority = url.authority().ok_or("the URL has no host")?.as_str();
            let stream = TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            let pushed = url.path().starts_with("/pushed/");
            let (mut socket, _) = tokio_tungstenite::client_async(&url, stream).await?;
            let connect = Message::text(
                r#"[{"channel":"/meta/connect","id":"1000","clientId":"Un1q31d3nt1f13r0123456789ab","connectionType":"websocket"}]"#,
            );
            loop {
                socket.send(connect.clone()).await?;
                loop {
                    let frame = socket.next().await.ok_or("the server has gone away")??;
                    let messages: Vec<&RawValue> = serde_json::from_str(frame.to_text()?)?;
                    if pushed {
                        take(messages.len(), give)?;
                        continue;
                    }
                    // All but the reply to the connect.
                    take(messages.len().saturating_sub(1), give)?;
                    break;
                }
            }
        })
}

fn receive(url: &str, reserve: bool, give: &mpsc::Sender<Reading>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(async {
            let url: Uri = format!("{}/connect", url.trim_end_matches('/')).parse()?;
            let authority = url.authority().ok_or("the URL has no host")?.as_str();
            let stream = TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                    .await?;
            tokio::spawn(connection);
            let body = Bytes::from_static(
                br#"[{"channel":"/meta/connect","id":"1000","clientId":"Un1q31d3nt1f13r0123456789ab","connectionType":"long-polling"}]"#,
            );
            loop {
                let request = Request::builder()
                    .method(Method::POST)
                    .uri(url.path())
                    .header(CONTENT_TYPE, "application/json;charset=UTF-8")
                    .header(ACCEPT_ENCODING, "gzip")
                    .header(USER_AGENT, "libcometd/0.1.0")
                    .header(HOST, authority)
                    .body(Full::new(body.clone()))?;
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                if !response.status().is_success() {
                    return Err(format!("HTTP {}", response.status()).into());
                }
                let mut incoming = response.into_body();
                let bytes = if reserve {
                    let length = usize::try_from(incoming.size_hint().lower())?;
                    let mut bytes = Vec::with_capacity(length);
                    while let Some(frame) = incoming.frame().await {
                        if let Some(data) = frame?.data_ref() {
                            bytes.extend_from_slice(data);
                        }
                    }
                    Bytes::from(bytes)
                } else {
                    incoming.collect().await?.to_bytes()
                };
                let messages: Vec<&RawValue> = serde_json::from_slice(&bytes)?;
                // All but the reply to the connect.
                take(messages.len().saturating_sub(1), give)?;
            }
        })
}
