//! Where the system sets a limit: servers that stall, threads that are refused,
//! a process that ends.

mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cometd::client::{Builder, Waited};
use cometd::error::ErrorKind;
use cometd::session::State;
use tls::{build, client_with, identity, next_error, wait_until, Server, LIMIT};

/// Stands before a server, and passes the first connection on to it. Further
/// ones are accepted, and nothing is said on them.
#[derive(Clone)]
struct Stalling {
    port: u16,
    accepted: Arc<AtomicUsize>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Stalling {
    fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stalling = Self {
            port: listener.local_addr().unwrap().port(),
            accepted: Arc::default(),
            held: Arc::default(),
        };
        let shared = stalling.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.accepted.fetch_add(1, Ordering::SeqCst) == 0 {
                    let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                    // So slow that requests meet each other.
                    let pause = Duration::from_millis(20);
                    relay(
                        stream.try_clone().unwrap(),
                        server.try_clone().unwrap(),
                        pause,
                    );
                    relay(server, stream, Duration::ZERO);
                } else {
                    stream.set_nonblocking(true).unwrap();
                    shared.held.lock().unwrap().push(stream);
                }
            }
        });
        stalling
    }

    /// How many of those that stall the client has not closed.
    fn open(&self) -> usize {
        let mut held = self.held.lock().unwrap();
        held.retain_mut(|stream| loop {
            match stream.read(&mut [0; 4096]) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        held.len()
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            thread::sleep(pause);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[test]
fn limit_tls_stall_connections_that_stall_are_few_and_are_closed() {
    let identity = identity("127.0.0.1", None);
    let server = Server::new(&identity);
    let stalling = Stalling::new(server.port);
    let url = format!("https://127.0.0.1:{}/cometd", stalling.port);
    let trusting = |builder: &mut Builder| {
        builder
            .set_certificate_authorities(&identity.pem(), false)
            .unwrap();
    };
    // Another one keeps the I/O thread going, and what is left behind on it.
    let other = client_with(&server.url, None, trusting);
    let client = client_with(&url, None, |builder| {
        trusting(builder);
        // Longer than the test: what is closed was not closed by its own limit.
        builder.set_request_timeout(Duration::from_secs(100));
    });
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
    let mut most = 0;
    wait_until("an attempt", || {
        let _ = client.publish("/a", b"1");
        stalling.open() > 0
    });
    for _ in 0..100 {
        most = most.max(stalling.open());
        let _ = client.publish("/a", b"1");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(most <= 2, "{most} stay open");
    drop(client);
    wait_until("all are closed", || stalling.open() == 0);
    drop(other);
}

#[test]
fn limit_tls_stall_a_handshake_that_stalls_is_told_with_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = client_with(&format!("https://{address}/cometd"), None, |builder| {
        builder.set_request_timeout(Duration::from_millis(2500));
    });
    let error = next_error(&client);
    let told = format!("handshake: tls with {address}: timed out after 2 s [");
    assert!(error.message.starts_with(&told), "{}", error.message);
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(!error.fatal && error.retry_in.is_some());
}

#[test]
fn case_words_of_a_server_that_speaks_no_tls_on_this_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = client_with(&format!("https://{address}/cometd"), None, |_| {});
    let (mut stream, _) = listener.accept().unwrap();
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap();
    let told = next_error(&client).message;
    let start = format!("handshake: tls with {address}: wrong version number; ");
    assert!(told.starts_with(&start), "{told}");
    let hint = "does the server speak plain HTTP on this port? [";
    assert!(told.contains(hint), "{told}");
    // And of one that hangs up.
    loop {
        drop(listener.accept().unwrap());
        let told = next_error(&client).message;
        if told.contains("tls with") && !told.contains("wrong version") {
            let words = [
                "closed the connection in the middle of it",
                "connection reset by peer",
            ];
            assert!(words.iter().any(|it| told.contains(it)), "{told}");
            break;
        }
    }
}

/// Runs the body in a process of its own, so often; that is to end well.
fn alone(test: &str, times: u32, body: impl FnOnce()) {
    const INSIDE: &str = "COMETD_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some_and(|it| it == *test) {
        return body();
    }
    for _ in 0..times {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--test-threads=1", "--nocapture"]);
        let output = command.env(INSIDE, test).output().unwrap();
        assert!(
            output.status.success(),
            "{:?} {:?} {}",
            output.status.code(),
            output.status.signal(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// So many threads more; `None`: as many as it likes.
fn limit_threads(more: Option<usize>) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &mut limit), 0);
        limit.rlim_cur = match more {
            Some(more) => (threads("") + more) as libc::rlim_t,
            None => limit.rlim_max,
        };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
    }
}

/// The limit is for users, and not for root.
fn become_a_user(id: libc::uid_t) {
    unsafe {
        if libc::getuid() == 0 {
            assert_eq!(libc::setresuid(id, id, id), 0);
        }
    }
}

/// How many threads of this process have a name that begins so.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| {
        let path = task.unwrap().path().join("comm");
        std::fs::read_to_string(path).ok()
    });
    names.filter(|it| it.starts_with(name)).count()
}

#[test]
fn limit_no_threads_a_name_that_cannot_be_looked_up_is_tried_again() {
    const NAME: &str = "limit_no_threads_a_name_that_cannot_be_looked_up_is_tried_again";
    let identity = identity("localhost", None);
    let server = Server::new(&identity);
    alone(NAME, 1, || {
        let trusting = |builder: &mut Builder| {
            builder
                .set_certificate_authorities(&identity.pem(), false)
                .unwrap();
        };
        // It starts the I/O thread, and looks nothing up.
        let other = client_with("http://127.0.0.1:9/cometd", None, |_| {});
        assert_eq!(next_error(&other).kind, ErrorKind::Tcp);
        become_a_user(43210);
        limit_threads(Some(0));
        let url = format!("https://localhost:{}/cometd", server.port);
        let client = build(&url, None, trusting);
        client.connect().unwrap();
        for _ in 0..3 {
            let error = next_error(&client);
            let told = format!(
                "handshake: dns lookup for localhost:{}: no thread could be started: ",
                server.port
            );
            assert!(error.message.starts_with(&told), "{}", error.message);
            assert_eq!(error.kind, ErrorKind::System);
            assert!(!error.fatal && error.retry_in.is_some());
        }
        limit_threads(None);
        assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
    });
}

#[test]
fn limit_no_threads_io_threads_that_are_refused_are_told() {
    const NAME: &str = "limit_no_threads_io_threads_that_are_refused_are_told";
    alone(NAME, 1, || {
        become_a_user(43211);
        for (threads_wanted, allowed) in [(1, 0), (3, 0), (3, 1), (3, 2), (3, 3)] {
            cometd::runtime::set_threads(threads_wanted);
            let client = build("http://127.0.0.1:9/cometd", None, |_| {});
            limit_threads(Some(allowed));
            assert_eq!(client.connect().unwrap_err().kind, ErrorKind::System);
            wait_until("no thread is left", || threads("cometd-") == 0);
            limit_threads(None);
            client.connect().unwrap();
            assert_eq!(next_error(&client).kind, ErrorKind::Tcp);
            drop(client);
            wait_until("no thread is left", || threads("cometd-") == 0);
        }
    });
}

/// The host has initialised OpenSSL itself, which then cleans up at the end.
#[test]
fn limit_exit_openssl_a_process_ends_well_in_the_middle_of_tls_handshakes() {
    const NAME: &str = "limit_exit_openssl_a_process_ends_well_in_the_middle_of_tls_handshakes";
    const URL: &str = "COMETD_TEST_URL";
    extern "C" {
        fn OPENSSL_init_ssl(options: u64, settings: *const std::ffi::c_void) -> std::ffi::c_int;
    }
    let of_the_parent = std::env::var(URL).ok();
    if of_the_parent.is_none() {
        let server = Server::new(&identity("127.0.0.1", None));
        std::env::set_var(URL, &server.url);
    }
    alone(NAME, 30, || {
        assert_eq!(unsafe { OPENSSL_init_ssl(0, std::ptr::null()) }, 1);
        let url = of_the_parent.unwrap();
        // With one I/O thread, and with more.
        cometd::runtime::set_threads(1 + std::process::id() as usize % 3);
        // Nobody trusts the certificate: one handshake after the other.
        let clients: Vec<_> = (0..4)
            .map(|_| {
                client_with(&url, None, |builder| {
                    let short = Duration::from_millis(1);
                    builder.set_backoff(short, short).unwrap();
                })
            })
            .collect();
        for client in &clients {
            assert_eq!(next_error(client).kind, ErrorKind::Tls);
        }
        // As when main returns.
        unsafe { libc::exit(0) };
    });
}
