//! A line whose socket leads to a server that says what a test tells it.

use std::future::poll_fn;
use std::sync::mpsc::channel;
use std::sync::Mutex;

use super::*;
use crate::client::{Builder, Client, Extend, Extension};
use crate::runtime::lock;
use crate::transport::websocket::tests::{run, server};

pub(crate) const SOCKET: SocketId = SocketId(1);

/// The line of a client that is not started, with its socket open.
pub(crate) async fn opened(url: &str, extensions: &[Extension]) -> (Client, Line) {
    let mut builder = Builder::new(url).unwrap();
    let transports = crate::bayeux::ConnectionType::WebSocket;
    builder.set_transports(&[transports]).unwrap();
    for extension in extensions {
        builder.add_extension(extension.clone());
    }
    let client = builder.build().unwrap();
    let start = lock(&client.unstarted).take().unwrap();
    let shared = client.shared.clone();
    let mut line = Line::new(
        Arc::new(start.transport),
        start
            .websockets
            .map(|it| Sockets::new(Arc::new(*it), false)),
        Hooks::new(start.extensions, None, None, shared.clone()),
        shared,
        client.process.runtime().unwrap(),
    );
    line.open(SOCKET, Server::Given(0));
    let happened = poll_fn(|context| line.poll(context, true)).await;
    assert!(matches!(happened, Happened::Socket(News::Opened(SOCKET))));
    (client, line)
}

fn frame(id: u64, body: Vec<u8>) -> Request {
    Request {
        id: RequestId(id),
        server: Server::Given(0),
        endpoint: Endpoint::Messages,
        socket: Some(SOCKET),
        body,
    }
}

/// An extension that keeps what it has until the test lets it go.
fn keeps() -> (Arc<Extend>, std::sync::mpsc::Sender<()>) {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let extend: Arc<Extend> = Arc::new(move |_| {
        let _ = lock(&wait).recv();
        Ok(())
    });
    (extend, go)
}

#[test]
fn what_is_given_up_while_an_extension_has_it_takes_no_room_of_the_socket() {
    let (url, server) = server(1, |_, mut peer| {
        peer.open();
        peer.until_end();
    });
    run(async {
        let (keeps, go) = keeps();
        let extension = Extension {
            outgoing: Some(keeps),
            incoming: None,
        };
        let (_client, mut line) = opened(&url, &[extension]).await;
        line.send(frame(1, b"[{}]".to_vec()));
        line.cancel(RequestId(1));
        poll_fn(|context| {
            let _ = line.poll(context, true);
            Poll::Ready(())
        })
        .await;
        assert_eq!(line.sockets().unwrap().written(), Some((SOCKET, 4)));
        drop(go);
    });
    server.join().unwrap();
}
