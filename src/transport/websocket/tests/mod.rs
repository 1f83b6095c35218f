//! A server that says what a test tells it, and clients of it.

mod socket;
mod upgrade;

use std::future::{poll_fn, Future};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use sha1::{Digest, Sha1};
use tokio::time::timeout;

use super::*;
use crate::transport::endpoints::{parse, Append, BasePaths, Endpoints};

/// This long only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, future).await.unwrap() })
}

/// The server's side of a connection, when a request has come.
pub(crate) struct Peer<S = TcpStream> {
    stream: S,
    request: String,
}

impl<S: Read + Write> Peer<S> {
    fn new(mut stream: S) -> Self {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                break;
            }
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        Self { stream, request }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn accept(&self) -> String {
        let key = self.header("sec-websocket-key").unwrap();
        assert_eq!(BASE64_STANDARD.decode(key).unwrap().len(), 16);
        let all = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        BASE64_STANDARD.encode(Sha1::digest(all))
    }

    fn switching(&self) -> String {
        let accept = self.accept();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }

    pub(crate) fn open(&mut self) {
        let switching = self.switching();
        self.say(switching);
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // The client may have ended it.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// What the client's next frame begins with, and what it holds; `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).ok()?;
        assert_eq!(header[1] & 0x80, 0x80, "masked");
        let length = match header[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                self.stream.read_exact(&mut long).ok()?;
                u64::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                self.stream.read_exact(&mut long).ok()?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Some((header[0], payload))
    }

    /// Reads to the end, so that nothing that was said is lost in a reset.
    pub(crate) fn until_end(&mut self) {
        while self.frame().is_some() {}
    }
}

/// A server's frame.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..=125 => bytes.push(short as u8),
        long @ ..=65_535 => {
            bytes.push(126);
            bytes.extend((long as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x81, payload)
}

pub(crate) fn close_frame(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x88, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A server that plays so with each of its connections; `connections` of them.
pub(crate) fn server(
    connections: usize,
    mut play: impl FnMut(usize, Peer) + Send + 'static,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        for index in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            play(index, Peer::new(stream));
        }
    });
    (url, thread)
}

fn settings(url: &str) -> Settings {
    let url = parse(url).unwrap();
    let endpoints = Endpoints::new(&url, &BasePaths::default(), Append::default());
    Settings {
        servers: [Arc::new(endpoints.unwrap())].into(),
        protocol: None,
        authorization: Arc::default(),
        cookies: Arc::default(),
        headers: Arc::default(),
        maximum_message: 2_000_000,
        connect_timeout: PATIENCE,
        proxies: Arc::default(),
        tls: Tls::default(),
        leniencies: Arc::default(),
    }
}

fn client(settings: Settings) -> WebSockets {
    WebSockets::new(settings).unwrap()
}

async fn open(client: &WebSockets) -> Result<Socket, Unopened> {
    client.open(Server::Given(0), None).await
}

async fn opened(url: &str) -> Socket {
    let opened = open(&client(settings(url))).await;
    opened.map_err(|it| it.failure.text).unwrap()
}

/// Why there is none, and whether WebSocket was refused.
async fn unopened(client: &WebSockets) -> (Failure, bool) {
    match open(client).await {
        Ok(_) => panic!("it was opened"),
        Err(unopened) => (unopened.failure, unopened.refused),
    }
}

async fn message(socket: &mut Socket) -> Result<String, Failure> {
    let text = poll_fn(|context| socket.poll_text(context)).await;
    text.map(|it| it.as_str().to_owned())
}

async fn flushed(socket: &mut Socket) {
    poll_fn(|context| socket.poll_flush(context)).await.unwrap();
}
