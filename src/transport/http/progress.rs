//! How far a response has come, for who waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Filled by the transport and read by the task while the request is under way.
#[derive(Debug)]
pub struct Progress {
    /// The clock that the session lives by, in milliseconds.
    clock: fn() -> u64,
    /// When the response began; 0 before.
    since: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub fn new(clock: fn() -> u64) -> Self {
        Self {
            clock,
            since: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The response's head is there. Behind a redirect there is another one.
    pub(super) fn begun(&self) {
        self.since.store((self.clock)(), Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// So much more of its body is there.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// When the response began, and how many bytes of its body have come so far.
    pub fn so_far(&self) -> (u64, u64) {
        let since = self.since.load(Ordering::Relaxed);
        (since, self.bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::session::{Endpoint, Server};
    use crate::transport::endpoints::{parse, Append, BasePaths, Endpoints};
    use crate::transport::headers::Headers;
    use crate::transport::http::{LongPolling, Settings};

    fn clock() -> u64 {
        7_000
    }

    #[test]
    fn case_slow_line_what_has_come_is_known_while_the_rest_is_awaited() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/cometd", listener.local_addr().unwrap());
        let endpoints = Endpoints::new(
            &parse(&url).unwrap(),
            &BasePaths::default(),
            Append::default(),
        );
        let transport = LongPolling::new(Settings {
            servers: [Arc::new(endpoints.unwrap())].into(),
            authorization: Arc::default(),
            cookies: Arc::default(),
            headers: Headers::default(),
            maximum_response: 1_000,
            connect_timeout: Duration::from_secs(20),
            proxies: Arc::default(),
            tls: crate::transport::tls::Tls::default(),
            leniencies: Arc::default(),
        })
        .unwrap();
        let progress = Arc::new(Progress::new(clock));
        let seen = progress.clone();
        let (go, may_go) = channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut space = [0; 4096];
            let _ = stream.read(&mut space).unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n[{\"cha";
            stream.write_all(head).unwrap();
            may_go.recv().unwrap();
            stream.write_all(b"nn\"").unwrap();
            may_go.recv().unwrap();
        });
        let watcher = std::thread::spawn(move || {
            let wait = |bytes: u64| {
                let deadline = Instant::now() + Duration::from_secs(20);
                while seen.so_far() != (7_000, bytes) {
                    assert!(Instant::now() < deadline, "{:?}", seen.so_far());
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            wait(6);
            go.send(()).unwrap();
            wait(9);
            go.send(()).unwrap();
        });
        assert_eq!(progress.so_far(), (0, 0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let server_index = Server::Given(0);
        let sent = transport.exchange(
            server_index,
            Endpoint::Connect,
            b"[{}]".to_vec(),
            None,
            &progress,
        );
        let failure = runtime.block_on(sent).unwrap_err();
        assert_eq!(failure.kind, crate::error::ErrorKind::ConnectionLost);
        server.join().unwrap();
        watcher.join().unwrap();
    }
}
