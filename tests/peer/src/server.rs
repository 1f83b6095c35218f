//! Sockets: accepts connections, reads requests, writes exactly the bytes that
//! it is told to.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::websocket::{self, Frame};

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most that is read of one request.
const MAXIMUM_REQUEST: usize = 64 * 1024 * 1024;
/// A client that does not read holds a test up for no longer than this.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Connections are numbered from 1 in the order in which they came.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub arrived: Instant,
    /// A text message on a WebSocket. Target and headers are the upgrade's.
    pub is_frame: bool,
}

impl Request {
    /// The values of a header, in their order.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether it asks for a WebSocket.
    pub fn is_upgrade(&self) -> bool {
        !self.is_frame
            && self
                .header("upgrade")
                .any(|it| it.eq_ignore_ascii_case("websocket"))
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What happens on the sockets.
#[derive(Debug)]
pub enum Event {
    Request(Request, Arc<Connection>),
    /// A ping, a pong or a close frame. Pings and close frames have been
    /// answered, unless the connection swallows.
    Control(Frame, Arc<Connection>),
    /// The client has closed its side, or the connection is broken.
    Gone(usize),
    /// What came is no HTTP request, or no frame that a client may send.
    Garbage(usize, String),
}

type Sink = dyn Fn(Event) + Send + Sync;

/// One connection that a client has opened.
#[derive(Debug)]
pub struct Connection {
    pub number: usize,
    stream: Mutex<Option<Arc<TcpStream>>>,
    upgraded: AtomicBool,
    swallows: AtomicBool,
    closing: AtomicBool,
    reading: Mutex<bool>,
    changed: Condvar,
    /// Held while writing, so that no two frames are mixed.
    cut: Mutex<Option<(usize, Cut)>>,
}

/// What happens behind the last byte that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Close,
    Reset,
    /// The connection stays open, and nothing more is sent.
    Stall,
}

impl Connection {
    fn stream(&self) -> io::Result<Arc<TcpStream>> {
        lock(&self.stream)
            .clone()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut cut = lock(&self.cut);
        let Some((left, how)) = cut.as_mut() else {
            return (&*self.stream()?).write_all(bytes);
        };
        let sent = bytes.get(..*left).unwrap_or(bytes);
        *left -= sent.len();
        (&*self.stream()?).write_all(sent)?;
        match (*left, *how) {
            (0, Cut::Close) => self.close(),
            (0, Cut::Reset) => self.reset(),
            _ => {}
        }
        Ok(())
    }

    /// Sends so many more bytes, and none behind them.
    pub fn cut_after(&self, bytes: usize, how: Cut) {
        *lock(&self.cut) = Some((bytes, how));
    }

    /// Answers an upgrade; from here on frames are read.
    pub fn upgrade(&self, response: &[u8]) -> io::Result<()> {
        self.upgraded.store(true, Ordering::SeqCst);
        self.write(response)
    }

    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::SeqCst)
    }

    pub fn frame(&self, frame: &Frame) -> io::Result<()> {
        if frame.opcode == websocket::CLOSE {
            self.closing.store(true, Ordering::SeqCst);
        }
        self.write(&frame.to_bytes())
    }

    /// Whether frames are read and not told, nor answered.
    pub fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Whether anything is read.
    pub fn read(&self, reads: bool) {
        *lock(&self.reading) = reads;
        self.changed.notify_all();
    }

    /// Lets a write wait for ever for a client that does not read.
    pub fn wait_for_reader(&self) {
        if let Ok(stream) = self.stream() {
            let _ = stream.set_write_timeout(None);
        }
    }

    pub fn is_open(&self) -> bool {
        lock(&self.stream).is_some()
    }

    fn wait_to_read(&self) {
        let mut reading = lock(&self.reading);
        while !*reading && self.is_open() {
            reading = self
                .changed
                .wait(reading)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take_stream(&self) -> Option<Arc<TcpStream>> {
        let stream = lock(&self.stream).take();
        // A reader that is about to wait has looked, or sees that it is gone.
        drop(lock(&self.reading));
        self.changed.notify_all();
        stream
    }

    /// Says that no more bytes come; what the client says is still read.
    pub fn half_close(&self) {
        if let Ok(stream) = self.stream() {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    pub fn close(&self) {
        if let Some(stream) = self.take_stream() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Breaks the connection with a RST.
    pub fn reset(&self) {
        let Some(stream) = self.take_stream() else {
            return;
        };
        let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        // Wakes the reader. The RST goes out with the last holder.
        let _ = stream.shutdown(Shutdown::Read);
        let patience = Instant::now() + Duration::from_secs(1);
        while Arc::strong_count(&stream) > 1 && Instant::now() < patience {
            thread::yield_now();
        }
    }
}

struct Inner {
    address: SocketAddr,
    sink: Box<Sink>,
    connections: Mutex<BTreeMap<usize, Arc<Connection>>>,
    opened: AtomicUsize,
    ended: AtomicBool,
}

/// A listening server. Dropping it closes every connection.
pub struct Server {
    inner: Arc<Inner>,
    /// Holds the port while nobody listens on it.
    _holder: Socket,
    accepting: Mutex<Option<Accepting>>,
}

struct Accepting {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Server {
    /// Listens on a port of 127.0.0.1, 0 for any free one. The sink is called
    /// on the connection's own thread.
    pub fn start(port: u16, sink: impl Fn(Event) + Send + Sync + 'static) -> io::Result<Self> {
        let holder = bind((Ipv4Addr::LOCALHOST, port).into())?;
        let address = holder
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let server = Self {
            inner: Arc::new(Inner {
                address,
                sink: Box::new(sink),
                connections: Mutex::default(),
                opened: AtomicUsize::new(0),
                ended: AtomicBool::new(false),
            }),
            _holder: holder,
            accepting: Mutex::new(None),
        };
        server.up()?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.inner.address.port()
    }

    /// Listens again.
    pub fn up(&self) -> io::Result<()> {
        let mut accepting = lock(&self.accepting);
        if accepting.is_some() {
            return Ok(());
        }
        let socket = bind(self.inner.address)?;
        socket.listen(1024)?;
        let listener = TcpListener::from(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let inner = self.inner.clone();
        let stopped = stop.clone();
        let thread = thread::Builder::new().spawn(move || accept(&inner, &listener, &stopped))?;
        *accepting = Some(Accepting { stop, thread });
        Ok(())
    }

    /// Closes every connection and refuses new ones.
    pub fn down(&self) {
        if let Some(Accepting { stop, thread }) = lock(&self.accepting).take() {
            stop.store(true, Ordering::SeqCst);
            // Wakes the accepting thread.
            let _ = TcpStream::connect(self.inner.address);
            let _ = thread.join();
        }
        for connection in self.connections() {
            connection.close();
        }
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        lock(&self.inner.connections).values().cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        self.down();
    }
}

fn accept(inner: &Arc<Inner>, listener: &TcpListener, stop: &AtomicBool) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if stop.load(Ordering::SeqCst) => return,
            // For instance too many open files: the client shall wait.
            Err(_) => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
        };
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(WRITE_LIMIT));
        let stream = Arc::new(stream);
        let number = inner.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let connection = Arc::new(Connection {
            number,
            stream: Mutex::new(Some(stream.clone())),
            upgraded: AtomicBool::new(false),
            swallows: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            reading: Mutex::new(true),
            changed: Condvar::new(),
            cut: Mutex::new(None),
        });
        lock(&inner.connections).insert(number, connection.clone());
        let inner = inner.clone();
        let spawned = thread::Builder::new().spawn(move || {
            serve(&inner, stream, &connection);
            lock(&inner.connections).remove(&number);
        });
        drop(spawned);
    }
}

/// Reads one request after the other, also while the one before is unanswered.
fn serve(inner: &Inner, stream: Arc<TcpStream>, connection: &Arc<Connection>) {
    let number = connection.number;
    let mut reader = Reader {
        stream: &stream,
        connection,
        buffer: Vec::new(),
    };
    let mut upgrade = None;
    let tell = |event| {
        if !inner.ended.load(Ordering::SeqCst) {
            (inner.sink)(event);
        }
    };
    let garbage = loop {
        // A client sends frames only after the answer to its upgrade.
        if reader.buffer.is_empty() && !reader.more() {
            break None;
        }
        if connection.is_upgraded() {
            match reader.frame() {
                Ok(Some(frame)) => {
                    if !connection.swallows.load(Ordering::SeqCst) {
                        receive(connection, frame, upgrade.as_ref(), &tell);
                    }
                }
                Ok(None) => break None,
                Err(why) => break Some(why),
            }
            continue;
        }
        match reader.request(number) {
            Ok(Some(request)) => {
                if request.is_upgrade() {
                    upgrade = Some(request.clone());
                }
                tell(Event::Request(request, connection.clone()));
            }
            Ok(None) => break None,
            Err(why) => break Some(why),
        }
    };
    drop(stream);
    if let Some(why) = garbage {
        tell(Event::Garbage(number, why));
    }
    tell(Event::Gone(number));
    // What was not closed by the script is closed with the client's side, but
    // only then: a reset must not become an orderly end.
    drop(lock(&connection.stream).take());
}

/// Tells a frame, and answers it as far as any server would.
fn receive(
    connection: &Arc<Connection>,
    frame: Frame,
    upgrade: Option<&Request>,
    tell: &dyn Fn(Event),
) {
    match (frame.opcode, upgrade) {
        (websocket::TEXT, Some(upgrade)) => {
            let request = Request {
                body: frame.payload,
                arrived: Instant::now(),
                is_frame: true,
                ..upgrade.clone()
            };
            tell(Event::Request(request, connection.clone()));
        }
        (websocket::PING, _) => {
            let _ = connection.frame(&Frame::pong(frame.payload.clone()));
            tell(Event::Control(frame, connection.clone()));
        }
        (websocket::CLOSE, _) => {
            if !connection.closing.load(Ordering::SeqCst) {
                let _ = connection.frame(&Frame::new(websocket::CLOSE, frame.payload.clone()));
            }
            tell(Event::Control(frame, connection.clone()));
            connection.close();
        }
        _ => tell(Event::Control(frame, connection.clone())),
    }
}

struct Reader<'a> {
    stream: &'a TcpStream,
    connection: &'a Connection,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// More bytes; false at the end of the stream.
    fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        self.connection.wait_to_read();
        match self.stream.read(&mut chunk) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer
                    .extend_from_slice(chunk.get(..count).unwrap_or_default());
                true
            }
        }
    }

    /// `None` when the connection ends before there is a whole one.
    fn frame(&mut self) -> Result<Option<Frame>, String> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer)? {
                return match frame.objection() {
                    None => Ok(Some(frame)),
                    Some(why) => Err(why),
                };
            }
            if !self.more() {
                return Ok(None);
            }
        }
    }

    /// Up to and without `end`, which is taken away.
    fn until(&mut self, end: &[u8]) -> Result<Option<Vec<u8>>, String> {
        loop {
            let found = self.buffer.windows(end.len()).position(|it| it == end);
            if let Some(at) = found {
                let rest = self.buffer.split_off(at + end.len());
                let mut taken = std::mem::replace(&mut self.buffer, rest);
                taken.truncate(at);
                return Ok(Some(taken));
            }
            if self.buffer.len() > MAXIMUM_REQUEST {
                return Err("a request without end".into());
            }
            if !self.more() {
                return Ok(None);
            }
        }
    }

    fn exactly(&mut self, count: usize) -> Result<Option<Vec<u8>>, String> {
        if count > MAXIMUM_REQUEST {
            return Err(format!("a request of {count} bytes"));
        }
        while self.buffer.len() < count {
            if !self.more() {
                return Ok(None);
            }
        }
        let rest = self.buffer.split_off(count);
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    /// `None` when the connection ends before there is a whole one.
    fn request(&mut self, connection: usize) -> Result<Option<Request>, String> {
        let Some(head) = self.until(b"\r\n\r\n")? else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("no HTTP request: {first:?}"));
        };
        let mut headers = Vec::new();
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                return Err(format!("no HTTP header: {line:?}"));
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Request {
            connection,
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
            arrived: Instant::now(),
            is_frame: false,
        };
        let is_chunked = request
            .header("transfer-encoding")
            .any(|it| it.eq_ignore_ascii_case("chunked"));
        let body = if is_chunked {
            self.chunks()?
        } else {
            let length = match request.header("content-length").next() {
                None => 0,
                Some(text) => text
                    .parse()
                    .map_err(|_| format!("the Content-Length {text:?}"))?,
            };
            self.exactly(length)?
        };
        let Some(body) = body else { return Ok(None) };
        request.body = body;
        request.arrived = Instant::now();
        Ok(Some(request))
    }

    fn chunks(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut body = Vec::new();
        loop {
            let Some(size) = self.until(b"\r\n")? else {
                return Ok(None);
            };
            let size = String::from_utf8_lossy(&size).into_owned();
            let count = usize::from_str_radix(size.trim(), 16)
                .map_err(|_| format!("the chunk size {size:?}"))?;
            let Some(chunk) = self.exactly(count)? else {
                return Ok(None);
            };
            body.extend(chunk);
            if self.until(b"\r\n")?.is_none() {
                return Ok(None);
            }
            if count == 0 {
                return Ok(Some(body));
            }
        }
    }
}
