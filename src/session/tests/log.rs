//! What the session writes to the log.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::*;

/// Log lines of one thread, each with its level and its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Those that are written meanwhile.
    fn of(what: impl FnOnce()) -> Vec<String> {
        let lines = Self::default();
        tracing::subscriber::with_default(lines.clone(), what);
        let mut written = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *written)
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("cometd::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                let _ = write!(self.0, " {}={value:?}", field.name());
            }
        }
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn another_client_id_in_a_connects_reply_changes_nothing_and_is_logged_40() {
    for successful in [true, false] {
        let (mut world, held) = World::subscribed(&["/a"]);
        let others = r#","clientId":"other-secret""#;
        let reply = match successful {
            true => connect_ok(others),
            false => connect_refused(&format!(r#"{others},"error":"503::busy""#)),
        };
        let lines = Lines::of(|| world.answer(&held, &reply));
        let line = "the reply to a connect has another client's id, which is ignored";
        let written = lines.iter().filter(|it| it.contains(line)).count();
        assert_eq!(written, 1, "{lines:?}");
        // Whoever knows it may speak for that client.
        assert!(!lines.concat().contains("other-secret"), "{lines:?}");

        // The reply is used, and the session's own id goes on.
        let (_, connect) = world.next_request(Endpoint::Connect);
        assert_eq!(connect.client_id(), "c1");
        assert_eq!(connect.at_once(), !successful);
        world.publish(9, "/x", "1");
        let publish = world.request(Endpoint::Messages);
        assert_eq!(publish.client_id(), "c1");
        world.accept(&publish);
        world.disconnect(1_000);
        assert_eq!(world.request(Endpoint::Disconnect).client_id(), "c1");
    }
}

#[test]
fn the_clients_own_id_in_a_connects_reply_or_none_is_not_worth_a_line_40() {
    for own in ["", r#","clientId":"c1""#, r#","clientId":null"#] {
        let (mut world, held) = World::connected();
        let lines = Lines::of(|| world.answer(&held, &connect_ok(own)));
        assert_eq!(lines, [""; 0]);
        assert_eq!(world.request(Endpoint::Connect).client_id(), "c1");
    }
}
