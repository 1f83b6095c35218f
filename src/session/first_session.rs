//! The end of a client that has never had a session, by option
//! (`Configuration::end_before_first_session`): a program that is started by
//! hand wants to hear at once that the URL is wrong, where a service would wait
//! for as long as it takes.
//!
//! What does not pass by itself:
//!
//! | what failed | because |
//! | --- | --- |
//! | the lookup of the name, for good | there is no such host |
//! | TLS | nobody trusts the certificate, or the port speaks plain HTTP |
//! | HTTP itself | the port speaks TLS, or something else |
//! | a redirect that is not followed | the URL is another one |
//! | HTTP 400, 405, 406, 411, 413, 414, 415, 431, 501, 505 | the server will not have such a request |
//! | HTTP 404, 410 | there is nothing at this URL |
//!
//! All else may pass: a server that is not up yet refuses connections, is slow or
//! answers 403, 429 or 503; a resolver may be out of reach; credentials have
//! rules of their own. Where there are several servers, all of them must have
//! failed so, one after the other.

use super::{Session, State};
use crate::error::{ErrorKind, Failure, Phase};

/// Whether the same request may fare better later, though nobody does anything
/// about it. That a name may be found later is told by
/// [`Failure::temporary`].
pub fn passes_by_itself(kind: ErrorKind, http_status: u16) -> bool {
    match kind {
        ErrorKind::Dns
        | ErrorKind::Tls
        | ErrorKind::MalformedHttp
        | ErrorKind::Redirect
        | ErrorKind::InvalidUrl => false,
        // A page or a text that comes with a status is not what fails.
        ErrorKind::HttpStatus | ErrorKind::Html | ErrorKind::NotJson => !matches!(
            http_status,
            400 | 404 | 405 | 406 | 410 | 411 | 413 | 414 | 415 | 431 | 501 | 505
        ),
        _ => true,
    }
}

impl Session {
    /// A handshake has failed on the way. True when that is the client's end.
    pub(super) fn ends_before_first_session(&mut self, failure: &Failure) -> bool {
        if !self.configuration.end_before_first_session
            || self.sessions > 0
            || self.disconnecting.is_some()
            || self.state == State::Closed
        {
            return false;
        }
        if failure.temporary || passes_by_itself(failure.kind, failure.http_status) {
            self.hopeless_handshakes = 0;
            return false;
        }
        self.hopeless_handshakes += 1;
        if self.hopeless_handshakes < self.servers.count() {
            return false;
        }
        let mut error = failure.to_error(Phase::Handshake);
        error
            .message
            .push_str(" (before the first session, and will not pass by itself)");
        self.close(Some(error));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Command, Configuration, Event, Output, RequestId};

    const ROWS: &[(ErrorKind, u16, bool)] = &[
        (ErrorKind::Dns, 0, false),
        (ErrorKind::Tls, 0, false),
        (ErrorKind::MalformedHttp, 0, false),
        (ErrorKind::Redirect, 302, false),
        (ErrorKind::InvalidUrl, 0, false),
        (ErrorKind::HttpStatus, 400, false),
        (ErrorKind::HttpStatus, 404, false),
        (ErrorKind::Html, 404, false),
        (ErrorKind::NotJson, 404, false),
        (ErrorKind::HttpStatus, 405, false),
        (ErrorKind::HttpStatus, 406, false),
        (ErrorKind::HttpStatus, 410, false),
        (ErrorKind::HttpStatus, 411, false),
        (ErrorKind::HttpStatus, 413, false),
        (ErrorKind::HttpStatus, 414, false),
        (ErrorKind::HttpStatus, 415, false),
        (ErrorKind::HttpStatus, 431, false),
        (ErrorKind::HttpStatus, 501, false),
        (ErrorKind::HttpStatus, 505, false),
        (ErrorKind::HttpStatus, 403, true),
        (ErrorKind::HttpStatus, 408, true),
        (ErrorKind::HttpStatus, 429, true),
        (ErrorKind::HttpStatus, 500, true),
        (ErrorKind::HttpStatus, 502, true),
        (ErrorKind::HttpStatus, 503, true),
        (ErrorKind::HttpStatus, 504, true),
        (ErrorKind::Html, 200, true),
        (ErrorKind::NotJson, 200, true),
        (ErrorKind::Unauthorized, 401, true),
        (ErrorKind::Proxy, 404, true),
        (ErrorKind::Tcp, 0, true),
        (ErrorKind::Timeout, 0, true),
        (ErrorKind::ConnectionLost, 0, true),
        (ErrorKind::System, 0, true),
    ];

    fn started(configuration: Configuration) -> Session {
        let mut session = Session::new(configuration);
        session.handle_command(0, Command::Connect);
        session
    }

    fn asking(end_before_first_session: bool) -> Configuration {
        Configuration {
            end_before_first_session,
            ..Configuration::default()
        }
    }

    /// The request of the next attempt, and the time of it.
    fn attempt(session: &mut Session, mut now: u64) -> (u64, RequestId) {
        loop {
            while let Some(output) = session.poll_output() {
                if let Output::Send(request) = output {
                    return (now, request.id);
                }
            }
            now = session.poll_timeout().unwrap();
            session.handle_timeout(now);
        }
    }

    fn fail(session: &mut Session, now: u64, failure: &Failure) -> u64 {
        let (now, request) = attempt(session, now);
        session.handle_failure(now, request, failure);
        now
    }

    #[test]
    fn case_never_works_each_row_of_what_passes_by_itself() {
        for &(kind, status, passes) in ROWS {
            assert_eq!(passes_by_itself(kind, status), passes, "{kind:?} {status}");
            for option in [false, true] {
                let mut session = started(asking(option));
                let failure = Failure::new(kind, "it failed").with_status(status);
                fail(&mut session, 0, &failure);
                let ended = session.state() == State::Closed;
                assert_eq!(ended, option && !passes, "{kind:?} {status} {option}");
                if !ended {
                    attempt(&mut session, 0);
                }
            }
        }
    }

    #[test]
    fn case_never_works_the_end_is_told_as_one_fatal_error() {
        let mut session = started(asking(true));
        let failure = Failure::new(ErrorKind::HttpStatus, "HTTP 404 Not Found").with_status(404);
        fail(&mut session, 0, &failure);
        let mut told = Vec::new();
        while let Some(output) = session.poll_output() {
            match output {
                Output::Event(Event::Error { id: 0, error }) => {
                    assert!(error.fatal && error.retry_in.is_none());
                    assert_eq!((error.kind, error.http_status), (failure.kind, 404));
                    assert!(error.message.starts_with("handshake: HTTP 404 Not Found ("));
                    told.push("error");
                }
                Output::Event(Event::Closed) => told.push("closed"),
                _ => {}
            }
        }
        assert_eq!(told, ["error", "closed"]);
    }

    #[test]
    fn case_never_works_a_lookup_that_may_succeed_later_is_no_end() {
        let mut session = started(asking(true));
        let mut failure = Failure::new(ErrorKind::Dns, "try again");
        failure.temporary = true;
        let now = fail(&mut session, 0, &failure);
        assert_eq!(session.state(), State::Handshaking);
        failure.temporary = false;
        fail(&mut session, now, &failure);
        assert_eq!(session.state(), State::Closed);
    }

    #[test]
    fn case_never_works_every_server_must_have_failed_so() {
        let mut session = started(Configuration {
            servers: vec!["a".into(), "b".into()],
            ..asking(true)
        });
        let gone = Failure::new(ErrorKind::HttpStatus, "HTTP 404").with_status(404);
        let busy = Failure::new(ErrorKind::HttpStatus, "HTTP 503").with_status(503);
        let mut now = 0;
        for failure in [&gone, &busy, &gone] {
            now = fail(&mut session, now, failure);
            assert_eq!(session.state(), State::Handshaking);
        }
        fail(&mut session, now, &gone);
        assert_eq!(session.state(), State::Closed);
    }

    #[test]
    fn case_never_works_a_client_that_had_a_session_goes_on() {
        let mut session = started(asking(true));
        session.sessions = 1;
        let failure = Failure::new(ErrorKind::HttpStatus, "HTTP 404").with_status(404);
        fail(&mut session, 0, &failure);
        assert_eq!(session.state(), State::Handshaking);
    }
}
