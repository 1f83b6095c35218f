//! What speaks TLS in front of a server that does not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslMethod, SslStream, SslVerifyMode};

use crate::identity::Identity;

/// Each direction is looked at so often.
const TURN: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    certificates: AtomicUsize,
}

pub struct TlsFront {
    port: u16,
    counts: Arc<Counts>,
}

impl TlsFront {
    /// On a free port of 127.0.0.1, in front of another one. It asks for a
    /// certificate, and does without.
    pub fn start(identity: &Identity, leads_to: u16) -> io::Result<Self> {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
        acceptor.set_certificate(&identity.certificate)?;
        acceptor.set_private_key(&identity.key)?;
        acceptor.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        acceptor.set_session_id_context(b"front")?;
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let counts = Arc::<Counts>::default();
        let shared = counts.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (acceptor, counts) = (acceptor.clone(), shared.clone());
                thread::spawn(move || {
                    let Ok(stream) = acceptor.accept(stream) else {
                        counts.refused.fetch_add(1, Ordering::SeqCst);
                        return;
                    };
                    if stream.ssl().peer_certificate().is_some() {
                        counts.certificates.fetch_add(1, Ordering::SeqCst);
                    }
                    counts.accepted.fetch_add(1, Ordering::SeqCst);
                    // Either side may end it at any time.
                    let _ = relay(stream, leads_to);
                });
            }
        });
        Ok(Self { port, counts })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections over which TLS is spoken …
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// … those whose client showed a certificate …
    pub fn certificates(&self) -> usize {
        self.counts.certificates.load(Ordering::SeqCst)
    }

    /// … and those whose client wanted none of it.
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::SeqCst)
    }
}

fn relay(mut client: SslStream<TcpStream>, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_nodelay(true)?;
    server.set_read_timeout(Some(TURN))?;
    client.get_ref().set_nodelay(true)?;
    client.get_ref().set_read_timeout(Some(TURN))?;
    let mut buffer = [0; 16 * 1024];
    let ended = loop {
        match some(client.read(&mut buffer)) {
            Ok(Some(0)) => break Ok(()),
            Ok(Some(length)) => server.write_all(buffer.get(..length).unwrap_or_default())?,
            Ok(None) => {}
            Err(error) => break Err(error),
        }
        match some(server.read(&mut buffer)) {
            Ok(Some(0)) => break Ok(()),
            Ok(Some(length)) => client.write_all(buffer.get(..length).unwrap_or_default())?,
            Ok(None) => {}
            Err(error) => break Err(error),
        }
    };
    let _ = client.shutdown();
    let _ = client.get_ref().shutdown(Shutdown::Both);
    ended
}

/// `None` when nothing has come.
fn some(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
