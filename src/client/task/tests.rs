//! A task that is woken as a test wants it, beside a server that says what it is told.

use super::*;
use crate::bayeux::ConnectionType;
use crate::client::line::tests::{opened, SOCKET};
use crate::client::Extension;
use crate::delivery::{Event as Told, Notice, Polled};
use crate::session::Command;
use crate::transport::websocket::tests::{run, server, text};

fn body(text: &str) -> Arc<Body> {
    Arc::new(Body::parse(text.as_bytes().to_vec()).unwrap())
}

/// The replies to the publishes of these ids.
fn replies(ids: Range<u64>) -> String {
    let reply = |id| format!(r#"{{"channel":"/x","id":"{id}","successful":true}}"#);
    format!("[{}]", ids.map(reply).collect::<Vec<_>>().join(","))
}

/// A session of a while ago, whose requests may take a millisecond: connected, with
/// publishes of the ids from 4 on under way.
fn session(publishes: u64) -> Session {
    let mut session = Session::new(Configuration {
        transports: [ConnectionType::WebSocket].into(),
        request_timeout: 1,
        ping_interval: 0,
        ..Configuration::default()
    });
    let then = clock::now().saturating_sub(100);
    session.handle_command(then, Command::Connect);
    session.handle_opened(then, SOCKET);
    for reply in [
        r#"[{"channel":"/meta/handshake","id":"1","successful":true,"clientId":"c",
             "supportedConnectionTypes":["websocket"]}]"#,
        r#"[{"channel":"/meta/connect","id":"2","successful":true}]"#,
    ] {
        session.handle_frame(then, SOCKET, &body(reply));
    }
    let publish = |id| Command::Publish {
        id,
        channel: "/x".into(),
        data: serde_json::from_str("1").unwrap(),
    };
    let publishes = (1..=publishes).map(publish).collect();
    session.handle_command(then, Command::Batch(publishes));
    while session.poll_output().is_some() {}
    session
}

#[test]
fn what_has_come_counts_however_late_it_is_looked_at() {
    let looks = Extension {
        outgoing: None,
        incoming: Some(Arc::new(|_| Ok(()))),
    };
    for extensions in [&[][..], &[looks]] {
        let (url, server) = server(1, |_, mut peer| {
            peer.open();
            peer.say([text(replies(4..20)), text(replies(20..24))].concat());
            peer.until_end();
        });
        run(async {
            let (client, line) = opened(&url, extensions).await;
            let mut task = Task {
                session: session(20),
                line,
                shared: client.shared.clone(),
                token_provider: None,
                timestamps: false,
            };
            let mut ended = Vec::new();
            while ended.len() < 20 {
                let happened = poll_fn(|context| task.line.poll(context, true)).await;
                task.woken(&mut None, Wake::Happened(happened));
                task.perform(&mut None).await;
                while let Polled::Event(event) =
                    client.receiver().unwrap().poll(Some(Duration::ZERO))
                {
                    if let Told::Notice(notice) = event {
                        match &*notice {
                            Notice::Published { id, .. } => ended.push(*id),
                            Notice::Error { error, .. } => panic!("{error:?}"),
                            _ => {}
                        }
                    }
                }
            }
            assert_eq!(ended, (1..=20).collect::<Vec<_>>());
        });
        server.join().unwrap();
    }
}
