//! What a refusal says, and whether it may pass by itself.

use serde_json::value::RawValue;

use crate::bayeux::error_text::one_line;
use crate::bayeux::{json, ErrorText, Message, Reconnect};
use crate::error::{Error, ErrorKind, Phase};

/// What is shown of a reason that stands in the ext or the data of a reply.
const MAXIMUM_REASON: usize = 300;
/// Where a reason is looked for: in an ext of at most so many bytes, nested so
/// deeply.
const MAXIMUM_EXT: usize = 16 * 1024;
const REASON_DEPTH: usize = 3;

/// The names under which servers put the reason into the ext: Salesforce's
/// `sfdc.failureReason`, and `authentication.failure` by CometD's convention.
const REASON_NAMES: [&str; 5] = ["failureReason", "failure", "reason", "error", "message"];
/// What the protocol's own extensions put there is no reason.
const EXTENSIONS: [&str; 4] = ["ack", "timesync", "replay", "binary"];

/// The error that an unsuccessful reply is, with all that the reply says of it.
pub(super) fn refused(phase: Phase, reply: &Message) -> Error {
    let bayeux = reply.error();
    let name = phase.name();
    let mut message = match &bayeux {
        Some(text) => format!("{name}: the server refused: {}", text.text),
        None => format!("{name}: the server refused without a reason"),
    };
    if let Some(reason) = reason_elsewhere(reply, bayeux.is_none()) {
        message.push_str(match bayeux {
            Some(_) => "; reason: ",
            None => ", but said: ",
        });
        message.push_str(&reason);
    }
    let mut error = Error::new(ErrorKind::Refused, phase, message);
    error.bayeux = bayeux;
    error.reply_ext = ext_of(reply);
    error.reply_error = reply.error_json().map(Into::into);
    // Only responses with this status carry replies.
    error.http_status = 200;
    error
}

/// The ext of a reply for the host; null is none.
pub(super) fn ext_of(reply: &Message) -> Option<Box<str>> {
    reply.ext().filter(|it| *it != "null").map(Into::into)
}

/// A reason that does not stand in the reply's error: one with a name that is
/// known, or, where there is no other word, whatever else there is.
fn reason_elsewhere(reply: &Message, only: bool) -> Option<String> {
    let ext = reply.ext().filter(|it| it.len() <= MAXIMUM_EXT);
    let named = ext.and_then(|it| reason_in(serde_json::from_str(it).ok()?, REASON_DEPTH));
    let named = named.map(|it| one_line(&it, MAXIMUM_REASON));
    if named.is_some() || !only {
        return named.filter(|it| !it.is_empty());
    }
    let rest = [ext, reply.data()].into_iter().flatten();
    let mut rest = rest.filter(|it| !matches!(*it, "null" | "{}"));
    rest.next().map(|it| one_line(it, MAXIMUM_REASON))
}

fn reason_in(object: &RawValue, depth: usize) -> Option<String> {
    let fields = json::fields(object)?;
    let named = REASON_NAMES.iter().find_map(|name| {
        let text = json::string(fields.get(*name)?)?;
        (!text.trim().is_empty()).then_some(text)
    });
    named.or_else(|| {
        let depth = depth.checked_sub(1)?;
        let own = |name: &str| EXTENSIONS.contains(&name);
        let others = fields.iter().filter(|(name, _)| !own(name));
        others.map(|it| *it.1).find_map(|it| reason_in(it, depth))
    })
}

/// What may be expected when the same is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    /// It may be accepted at another time.
    Passes,
    /// It will be refused again.
    Stays,
    /// The refusal does not say.
    Unknown,
}

/// Words by which servers say that something passes, whatever their code:
/// Salesforce refuses what is over a limit with 403, as it does what is denied.
const PASSING: [&str; 17] = [
    "busy",
    "limit",
    "exceeded",
    "too many",
    "try again",
    "later",
    "temporar",
    "unavailable",
    "overload",
    "throttl",
    "quota",
    "timeout",
    "timed out",
    "maintenance",
    "unknown client",
    "unknown_client",
    "session",
];

/// Whether a refused message may be accepted when it is sent again. The advice
/// decides, then the code, then the words; `handshake` advises of the session
/// and says nothing of the message.
pub(super) fn prospect(advised: Option<Reconnect>, reply: &Message) -> Prospect {
    match advised {
        Some(Reconnect::Retry) => return Prospect::Passes,
        Some(Reconnect::None) => return Prospect::Stays,
        Some(Reconnect::Handshake) | None => {}
    }
    let error = reply.error();
    let reason = reason_elsewhere(reply, false).map(|it| ErrorText::parse(&it));
    let said: Vec<ErrorText> = error.into_iter().chain(reason).collect();
    if said.iter().any(passes) {
        return Prospect::Passes;
    }
    let known = |it: &ErrorText| (400..500).contains(&it.code) && it.code != 401;
    match said.iter().any(known) {
        true => Prospect::Stays,
        false => Prospect::Unknown,
    }
}

fn passes(error: &ErrorText) -> bool {
    let text = error.text.to_lowercase();
    matches!(error.code, 402 | 408 | 425 | 429 | 500..600)
        || PASSING.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::Body;

    fn judged(more: &str, advised: Option<Reconnect>) -> Prospect {
        let text = format!(r#"[{{"channel":"/meta/subscribe","successful":false{more}}}]"#);
        let body = Body::parse(text.into_bytes()).unwrap();
        let reply = body.message(0).unwrap();
        prospect(advised, &reply)
    }

    #[test]
    fn refusals_are_judged_by_advice_then_code_then_words() {
        use Prospect::{Passes, Stays, Unknown};
        for (more, expected) in [
            (r#","error":"503::Server is too busy""#, Passes),
            (r#","error":"500::oops""#, Passes),
            (r#","error":"402::session_unknown""#, Passes),
            (r#","error":"429::slow down""#, Passes),
            (r#","error":"408::late""#, Passes),
            (
                r#","error":"403::Organization total events daily limit exceeded""#,
                Passes,
            ),
            (r#","error":"403::Unknown client""#, Passes),
            (r#","error":"400::Too many subscriptions""#, Passes),
            (
                r#","error":"403:denied_by_security_policy:subscribe_denied","ext":{"sfdc":{"failureReason":"503::Server is too busy. Please try again"}}"#,
                Passes,
            ),
            (r#","error":"403::denied""#, Stays),
            (
                r#","error":"403:denied_by_security_policy:subscribe_denied""#,
                Stays,
            ),
            (r#","error":"404::no such channel""#, Stays),
            (r#","error":"401::Authentication invalid""#, Unknown),
            (r#","error":"boom""#, Unknown),
            (r#","error":{"a":1}"#, Unknown),
            (r#","error":null"#, Unknown),
            ("", Unknown),
        ] {
            assert_eq!(judged(more, None), expected, "{more}");
            assert_eq!(judged(more, Some(Reconnect::Handshake)), expected, "{more}");
            assert_eq!(judged(more, Some(Reconnect::Retry)), Passes, "{more}");
            assert_eq!(judged(more, Some(Reconnect::None)), Stays, "{more}");
        }
    }

    #[test]
    fn a_reason_is_found_wherever_servers_put_it_reason_elsewhere() {
        let said = |more: &str| {
            let text = format!(r#"[{{"channel":"/meta/subscribe","successful":false{more}}}]"#);
            let body = Body::parse(text.into_bytes()).unwrap();
            refused(Phase::Subscribe, &body.message(0).unwrap()).message
        };
        for (more, expected) in [
            ("", "subscribe: the server refused without a reason"),
            (
                r#","error":"403::no","ext":{"sfdc":{"failureReason":"503::busy"}}"#,
                "subscribe: the server refused: 403::no; reason: 503::busy",
            ),
            (
                r#","error":"403::no","ext":{"authentication":{"failure":"expired"}}"#,
                "subscribe: the server refused: 403::no; reason: expired",
            ),
            (
                r#","error":"403::no","ext":{"ack":{"message":"x"},"timesync":{"error":"y"}}"#,
                "subscribe: the server refused: 403::no",
            ),
            (
                r#","ext":{"glide":{"code":7}}"#,
                r#"subscribe: the server refused without a reason, but said: {"glide":{"code":7}}"#,
            ),
            (
                r#","ext":7,"error":"403::no""#,
                "subscribe: the server refused: 403::no",
            ),
            (
                r#","ext":{"a":{"b":{"c":{"d":{"reason":"deep"}}}}},"error":"403::no""#,
                "subscribe: the server refused: 403::no",
            ),
            (
                r#","ext":{"reason":"a\nb\u0007c"},"error":"403::no""#,
                "subscribe: the server refused: 403::no; reason: a b c",
            ),
        ] {
            assert_eq!(said(more), expected, "{more}");
        }
    }
}
