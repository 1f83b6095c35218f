//! The advice of replies to connects: most servers say the same with each.

use crate::bayeux::{Advice, ConnectionType, Message};

/// Longer ones are not remembered; a usual one has some 50 bytes.
const LONGEST: usize = 256;

/// The last advice as it came, and what it says over a connection type.
#[derive(Default)]
pub(super) struct LastAdvice(Option<Box<(String, ConnectionType, Advice)>>);

impl LastAdvice {
    /// What the reply advises, read only if it is not what the last one said.
    pub(super) fn of(&mut self, reply: &Message, over: ConnectionType) -> Option<Advice> {
        let json = reply.advice_json()?;
        let last = self.0.as_deref();
        if let Some((.., advice)) = last.filter(|it| it.0 == json && it.1 == over) {
            return Some(advice.clone());
        }
        let advice = reply.advice(over.name())?;
        let is_short = json.len() <= LONGEST;
        self.0 = is_short.then(|| Box::new((json.to_owned(), over, advice.clone())));
        Some(advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::Body;

    const OVER: ConnectionType = ConnectionType::LongPolling;

    #[test]
    fn each_advice_is_what_it_says_whatever_the_last_one_said() {
        let mut last = LastAdvice::default();
        let long = format!(
            r#"{{"interval":4,"hosts":["{}"]}}"#,
            r#"host",""#.repeat(100)
        );
        for (json, interval) in [
            (r#"{"interval":1}"#, Some(Some(1))),
            (r#"{"interval":1}"#, Some(Some(1))),
            (r#"{"interval":2}"#, Some(Some(2))),
            ("7", None),
            ("null", None),
            (r#"{"interval":2}"#, Some(Some(2))),
            ("{}", Some(None)),
            (&long, Some(Some(4))),
            (&long, Some(Some(4))),
            (r#"{"interval":2}"#, Some(Some(2))),
        ] {
            let text = format!(r#"[{{"channel":"/meta/connect","advice":{json}}}]"#);
            let body = Body::parse(text.into_bytes()).unwrap();
            let reply = body.message(0).unwrap();
            let advice = last.of(&reply, OVER);
            assert_eq!(advice, reply.advice(OVER.name()), "{json}");
            assert_eq!(advice.map(|it| it.interval), interval, "{json}");
            let kept = last.0.as_deref().map_or(0, |it| it.0.len());
            assert!(kept <= LONGEST, "{json}");
        }
        let body = Body::parse(br#"[{"channel":"/meta/connect"}]"#.to_vec()).unwrap();
        assert_eq!(last.of(&body.message(0).unwrap(), OVER), None);
    }
}
