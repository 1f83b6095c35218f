use super::*;
use crate::delivery::{Event, Notice, Polled};

/// A publish to this channel makes the task panic, in tests.
const PANIC: &str = "/test/panic";

pub(super) fn maybe_panic(command: &Command) {
    if matches!(command, Command::Publish { channel, .. } if channel == PANIC) {
        panic!("a test asked for it");
    }
}

#[test]
fn a_panic_ends_the_client_and_nothing_else_design_2() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    client.connect().unwrap();
    client.publish(PANIC, b"1").unwrap();
    assert_eq!(client.wait(State::Closed, None), Waited::Reached);
    let queue = client.receiver().unwrap();
    let mut fatal = None;
    while let Polled::Event(event) = queue.poll(None) {
        if let Event::Notice(notice) = event {
            if let Notice::Error { error, .. } = &*notice {
                if error.fatal {
                    fatal = Some(error.kind);
                }
            }
        }
    }
    assert_eq!(fatal, Some(ErrorKind::Panic));
    assert_eq!(
        client.publish("/x", b"1").unwrap_err().kind,
        ErrorKind::Closed
    );
}

#[test]
fn an_idle_client_ends_without_a_thread_contract_10() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    let id = client.subscribe(vec!["/a".into(), "/b".into()]).unwrap();
    client.disconnect(Duration::ZERO).unwrap();
    let queue = client.receiver().unwrap();
    let mut failed = Vec::new();
    while let Polled::Event(Event::Notice(notice)) = queue.poll(None) {
        if let Notice::Error { id: of, error } = &*notice {
            assert_eq!(*of, id);
            failed.push(error.channel.clone().unwrap());
        }
    }
    assert_eq!(failed, ["/a", "/b"]);
    assert_eq!(client.connect().unwrap_err().kind, ErrorKind::Closed);
}
