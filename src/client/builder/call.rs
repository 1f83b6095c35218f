//! Setters as the host calls them: what they refuse is kept, and told again by build.

use super::refused::Refused;
use super::Builder;
use crate::error::Error;

impl Builder {
    /// Calls a setter, and keeps its error.
    pub fn call(
        &mut self,
        setter: &'static str,
        set: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.change(setter, |it| {
            set(it).map_err(|mut error| {
                error.message = format!("{setter}: {}", error.message);
                error
            })
        })
    }

    /// As [`Self::call`], of an error that names what was refused.
    pub(in crate::client) fn change(
        &mut self,
        setter: &'static str,
        set: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let result = set(self);
        self.refused.note(setter, &result);
        result
    }

    /// The first thing that was refused and not made up for: no client is built.
    pub fn error(&self) -> Option<&Error> {
        self.refused.first()
    }

    /// Goes on without what was refused.
    pub fn clear_error(&mut self) {
        self.refused = Refused::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::ConnectionType;
    use crate::client::options;
    use crate::error::ErrorKind;
    use crate::session::Endpoint;
    use crate::transport::authorization::basic;

    fn builder() -> Builder {
        Builder::new("http://127.0.0.1:9/cometd").unwrap()
    }

    fn message(builder: &Builder) -> Option<&str> {
        builder.error().map(|it| it.message.as_str())
    }

    #[test]
    fn the_first_error_stays_until_its_setter_succeeds() {
        let mut it = builder();
        let name = |it: &mut Builder, name| it.call("set_name", |it| it.set_name(name));
        let commands = |it: &mut Builder, n| {
            it.call("set_commands_capacity", |it| it.set_commands_capacity(n))
        };
        assert!(it.build().is_ok());
        name(&mut it, "").unwrap_err();
        commands(&mut it, 0).unwrap_err();
        name(&mut it, "a\nb").unwrap_err();
        assert_eq!(message(&it), Some("set_name: name: is empty"));
        let refused = it.build().err().unwrap();
        assert_eq!(Some(&refused), it.error());
        assert_eq!(refused.kind, ErrorKind::InvalidArgument);
        name(&mut it, "good").unwrap();
        assert_eq!(
            message(&it),
            Some("set_commands_capacity: commands: is at least 1")
        );
        assert_eq!(it.build().err().unwrap().kind, ErrorKind::OutOfRange);
        commands(&mut it, 1).unwrap();
        assert!(it.build().is_ok());
    }

    #[test]
    fn what_was_to_be_added_and_was_refused_is_missing_whatever_else_is_added() {
        let mut it = builder();
        let add = |it: &mut Builder, name| it.call("add_cookie", |it| it.add_cookie(name, "v"));
        add(&mut it, "a b").unwrap_err();
        add(&mut it, "a").unwrap();
        assert_eq!(it.build().err().unwrap().kind, ErrorKind::InvalidHeader);
        it.clear_error();
        assert_eq!(message(&it), None);
        assert!(it.build().is_ok());
    }

    #[test]
    fn a_copy_of_a_builder_goes_its_own_way() {
        let mut it = builder();
        it.call("set_name", |it| it.set_name("")).unwrap_err();
        let mut copy = it.clone();
        copy.clear_error();
        assert!(copy.build().is_ok());
        assert!(it.build().is_err());
    }

    #[test]
    fn texts_come_to_their_setters_whole() {
        let mut it = builder();
        for (name, value) in [
            ("basic_auth", "user:pass:word"),
            ("transports", "websocket,long-polling"),
            ("replay", "all"),
            ("replay_position", "/a?q=x=7"),
            ("backoff_ms", "5,6"),
            ("number_of_retries", "3"),
        ] {
            options::set(&mut it, name, Ok(value)).unwrap();
        }
        assert_eq!(it.authorization, basic("user", Some("pass:word")).ok());
        assert_eq!(
            it.session.transports[..],
            [ConnectionType::WebSocket, ConnectionType::LongPolling]
        );
        assert_eq!(it.replay_start, Some(-2));
        assert_eq!(it.replay_positions["/a"], 7);
        assert_eq!(it.session.backoff_increment, 5);
        assert_eq!(it.session.backoff_maximum, 6);
        assert_eq!(it.session.number_of_retries, Some(3));
        options::set(&mut it, "number_of_retries", Ok("forever")).unwrap();
        assert_eq!(it.session.number_of_retries, None);
    }

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_builder() {
        let told = |it: &Builder| {
            let its = &it.session;
            let times = (its.timeout, its.interval, its.request_timeout);
            let waits = (
                its.ping_interval,
                its.backoff_increment,
                its.backoff_maximum,
            );
            let ways = (its.number_of_retries, &its.transports, its.timestamp);
            let switches = [
                its.acknowledgement,
                its.timesync,
                its.restart,
                its.follow_hosts,
                its.await_credentials,
                its.end_before_first_session,
            ];
            let session = format!("{times:?} {waits:?} {ways:?} {switches:?}");
            let servers = it.servers().unwrap();
            let urls = [Endpoint::Handshake, Endpoint::Messages, Endpoint::Connect]
                .map(|endpoint| servers[0].target(endpoint).shown());
            let limits = (it.limits.events, it.limits.bytes, it.limits.overflow);
            let others = (it.commands, it.maximum_response, it.own_receiver);
            let others = (others, it.replay_start, it.replay_fallback);
            format!("{session} {urls:?} {limits:?} {others:?}")
        };
        for option in options::OPTIONS {
            let Some(default) = option.default else {
                continue;
            };
            let mut it = builder();
            options::set(
                &mut it,
                option.name(),
                default.to_str().map_err(|_| unreachable!()),
            )
            .unwrap();
            assert_eq!(told(&it), told(&builder()), "{}", option.name());
        }
    }
}
