//! Memory is taken as bytes come, and for want of it a request fails and not the
//! process. Alone in its program: it limits what that has.

mod scenario;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use cometd::client::MAXIMUM_RESPONSE;
use cometd::error::ErrorKind;
use scenario::{backoff, Host};

/// What the process has of address space, and so many more bytes.
fn limit_address_space(more: u64) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let limit = libc::rlimit {
        rlim_cur: pages * 4096 + more,
        rlim_max: libc::RLIM_INFINITY,
    };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

#[test]
fn limit_memory_announced_and_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for turn in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut space = [0; 4096];
            let mut request = Vec::new();
            while !request.ends_with(b"}]") {
                let read = stream.read(&mut space).unwrap();
                request.extend_from_slice(&space[..read]);
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n";
            match turn {
                0 => {
                    // Nothing comes of what is announced.
                    stream.write_all(head.as_bytes()).unwrap();
                    let _ = stream.read(&mut space);
                }
                1 => {
                    stream.write_all(head.as_bytes()).unwrap();
                    while stream.write_all(&[b' '; 65_536]).is_ok() {}
                }
                _ => stream
                    .write_all(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
                    .unwrap(),
            }
        }
    });
    let mut host = Host::new(&url, |builder| {
        backoff(builder, 5, 20);
        builder.set_request_timeout(Duration::from_secs(5));
        builder.set_response_capacity(MAXIMUM_RESPONSE).unwrap();
    });
    limit_address_space(200 << 20);
    host.client.connect().unwrap();
    host.until("error handshake Timeout", || None);
    host.until("error handshake System", || None);
    let error = host.errors.last().unwrap();
    assert_eq!(error.kind, ErrorKind::System);
    assert!(error.message.contains("no memory"), "{}", error.message);
    host.until("error handshake HttpStatus 400", || None);
    server.join().unwrap();
}
