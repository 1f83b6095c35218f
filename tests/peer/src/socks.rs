//! A SOCKS 5 proxy that answers as a test says, byte for byte, and notes what it
//! was asked.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::server::lock;

/// How it behaves; may be changed at any time.
#[derive(Debug, Clone)]
pub struct SocksRules {
    /// What is chosen of the methods that are offered, or was not offered.
    pub method: u8,
    /// The first byte of each answer that has SOCKS's version there.
    pub version: u8,
    /// The user and password that are the right ones.
    pub credentials: (String, String),
    /// The code of the reply.
    pub reply: u8,
    /// So many requests first are refused with reply 5.
    pub refuse_first: usize,
    /// The address in the reply: its kind, itself, its port.
    pub bound: Vec<u8>,
    /// Each answer comes in pieces of so many bytes, with these pauses.
    pub pieces: Option<(usize, Duration)>,
    /// So many bytes are said, then the connection is closed.
    pub cut: Option<usize>,
    /// So many bytes are said, then nothing more.
    pub stall: Option<usize>,
    /// The port of this machine that all tunnels lead to.
    pub leads_to: u16,
}

impl SocksRules {
    pub fn new(leads_to: u16) -> Self {
        Self {
            method: 0,
            version: 5,
            credentials: (String::new(), String::new()),
            reply: 0,
            refuse_first: 0,
            bound: vec![1, 127, 0, 0, 1, 0, 80],
            pieces: None,
            cut: None,
            stall: None,
            leads_to,
        }
    }
}

/// What clients have said.
#[derive(Debug, Clone, Default)]
pub struct SocksAsked {
    /// The methods that were offered, of each connection.
    pub methods: Vec<Vec<u8>>,
    pub credentials: Vec<(String, String)>,
    /// "name h.example:80", "address 127.0.0.1:80"
    pub targets: Vec<String>,
}

struct Inner {
    rules: Mutex<SocksRules>,
    asked: Mutex<SocksAsked>,
    hung_up: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// A running proxy.
pub struct Socks {
    port: u16,
    inner: Arc<Inner>,
}

impl Socks {
    /// On a free port of 127.0.0.1.
    pub fn start(rules: SocksRules) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let inner = Arc::new(Inner {
            rules: Mutex::new(rules),
            asked: Mutex::default(),
            hung_up: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let shared = inner.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = shared.clone();
                lock(&inner.streams).extend(stream.try_clone());
                thread::spawn(move || {
                    // A client that goes away is no fault of the proxy's.
                    if inner.serve(stream).is_err() {
                        inner.hung_up.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Ok(Self { port, inner })
    }

    /// "127.0.0.1:PORT"
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn rules(&self, change: impl FnOnce(&mut SocksRules)) {
        change(&mut lock(&self.inner.rules));
    }

    pub fn asked(&self) -> SocksAsked {
        lock(&self.inner.asked).clone()
    }

    /// Connections that have come to nothing, and are closed.
    pub fn hung_up(&self) -> usize {
        self.inner.hung_up.load(Ordering::SeqCst)
    }

    /// Breaks all connections.
    pub fn kill(&self) {
        for stream in lock(&self.inner.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What says the answers, and may break off in one.
struct Speaker {
    stream: TcpStream,
    rules: SocksRules,
    said: usize,
}

impl Speaker {
    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let whole = bytes.len();
        let end = [self.rules.cut, self.rules.stall]
            .into_iter()
            .flatten()
            .min();
        let room = end.map_or(whole, |it| it.saturating_sub(self.said).min(whole));
        let (size, pause) = self.rules.pieces.unwrap_or((usize::MAX, Duration::ZERO));
        for piece in bytes.get(..room).unwrap_or_default().chunks(size) {
            self.stream.write_all(piece)?;
            thread::sleep(pause);
        }
        self.said += room;
        if room == whole {
            return Ok(());
        }
        match self.rules.cut {
            Some(_) => self.stream.shutdown(Shutdown::Both)?,
            // Until the client has enough of it.
            None => drop(self.stream.read(&mut [0])),
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.read(1)?.first().copied().unwrap_or_default())
    }

    /// What has its length in front of it.
    fn short(&mut self) -> io::Result<Vec<u8>> {
        let length = self.byte()?;
        self.read(usize::from(length))
    }

    fn text(&mut self) -> io::Result<String> {
        let bytes = self.short()?;
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    fn number(&mut self) -> io::Result<u16> {
        Ok(u16::from(self.byte()?) << 8 | u16::from(self.byte()?))
    }
}

impl Inner {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let rules = lock(&self.rules).clone();
        let version = rules.version;
        let mut client = Speaker {
            stream,
            said: 0,
            rules: rules.clone(),
        };
        expect(client.byte()?, 5)?;
        let methods = client.short()?;
        lock(&self.asked).methods.push(methods);
        client.say(&[version, rules.method])?;
        if rules.method == 2 {
            expect(client.byte()?, 1)?;
            let given = (client.text()?, client.text()?);
            let right = given == rules.credentials;
            lock(&self.asked).credentials.push(given);
            client.say(&[1, u8::from(!right)])?;
        }
        expect(client.byte()?, 5)?;
        expect(client.byte()?, 1)?;
        expect(client.byte()?, 0)?;
        let host = match client.byte()? {
            1 => {
                let address: [u8; 4] = client.read(4)?.try_into().unwrap_or_default();
                format!("address {}", IpAddr::from(address))
            }
            4 => {
                let address: [u8; 16] = client.read(16)?.try_into().unwrap_or_default();
                format!("address [{}]", Ipv6Addr::from(address))
            }
            3 => format!("name {}", client.text()?),
            kind => return Err(io::Error::other(format!("the kind {kind}"))),
        };
        let target = format!("{host}:{}", client.number()?);
        let before = {
            let mut asked = lock(&self.asked);
            asked.targets.push(target);
            asked.targets.len() - 1
        };
        let reply = match before < rules.refuse_first {
            true => 5,
            false => rules.reply,
        };
        let answer = [&[version, reply, 0][..], &rules.bound].concat();
        client.say(&answer)?;
        if reply == 0 {
            return relay(client.stream, rules.leads_to);
        }
        // What is refused is not closed: the client must not wait for that.
        client.stream.read(&mut [0]).map(drop)
    }
}

fn expect(byte: u8, wanted: u8) -> io::Result<()> {
    match byte == wanted {
        true => Ok(()),
        false => Err(io::Error::other(format!("{byte} instead of {wanted}"))),
    }
}

/// Passes all on in both directions.
fn relay(client: TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_nodelay(true)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (client, server);
    let copied = io::copy(&mut from, &mut to).map(drop);
    let _ = to.shutdown(Shutdown::Both);
    copied
}
