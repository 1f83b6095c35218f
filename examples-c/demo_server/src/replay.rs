//! The replay extension, as Salesforce has it: each event of an `/event/…`
//! channel gets an id, the last ones are kept, and a subscribe may ask for those
//! after an id.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::value::RawValue;

use crate::message::{self, Message, Text};

/// Only new events.
const NEW: i64 = -1;
/// All that are kept.
const ALL: i64 = -2;

/// What was published to the `/event/…` channels.
#[derive(Debug)]
pub struct Replay {
    /// How many events of each channel are kept.
    retain: usize,
    channels: HashMap<String, Events>,
}

#[derive(Debug, Default)]
struct Events {
    last_id: i64,
    /// The newest, up to `last_id`.
    kept: VecDeque<Text>,
}

/// The channel without the filter that a subscription may have behind it.
pub fn topic(channel: &str) -> &str {
    match channel.split_once('?') {
        Some((topic, _)) if topic.starts_with("/event/") => topic,
        _ => channel,
    }
}

impl Replay {
    pub fn new(retain: usize) -> Self {
        Self {
            retain,
            channels: HashMap::new(),
        }
    }

    /// The event that subscribers receive: with an id, and kept, if its channel
    /// is one of those.
    pub fn event(&mut self, channel: &str, data: &RawValue) -> Text {
        if !channel.starts_with("/event/") {
            return message::event(channel, data);
        }
        let events = self.channels.entry(channel.to_owned()).or_default();
        events.last_id += 1;
        let event = message::event(channel, &with_id(data, events.last_id));
        events.kept.push_back(event.clone());
        if events.kept.len() > self.retain {
            events.kept.pop_front();
        }
        event
    }

    /// The events that a subscribe to `channel` asks for, or the Bayeux error.
    pub fn ask(&self, channel: &str, message: &Message) -> Result<Vec<Text>, String> {
        let topic = topic(channel);
        let Some(after) = message.replay_from(topic) else {
            return Ok(Vec::new());
        };
        let nothing = Events::default();
        let events = self.channels.get(topic).unwrap_or(&nothing);
        let oldest = events.last_id - events.kept.len() as i64;
        let skip = match after {
            NEW => events.kept.len(),
            ALL => 0,
            _ if after >= oldest && after <= events.last_id => (after - oldest) as usize,
            _ => {
                return Err(format!(
                    "400::The replayId {{{after}}} you provided was invalid.  Please provide a \
                     valid ID, -2 to replay all events, or -1 to replay only new events."
                ))
            }
        };
        Ok(events.kept.iter().skip(skip).cloned().collect())
    }
}

/// The data with its id: in an object as one more field, all else as payload.
fn with_id(data: &RawValue, id: i64) -> Box<RawValue> {
    let event = serde_json::value::to_raw_value(&serde_json::json!({ "replayId": id }));
    let event = event.expect("a number is JSON");
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(data.get())
        .unwrap_or_else(|_| BTreeMap::from([("payload".to_owned(), data.to_owned())]));
    fields.insert("event".to_owned(), event);
    serde_json::value::to_raw_value(&fields).expect("what was JSON is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn publish(replay: &mut Replay, channel: &str, data: Value) -> Value {
        let data = serde_json::value::to_raw_value(&data).unwrap();
        serde_json::from_str(&replay.event(channel, &data)).unwrap()
    }

    fn ask(replay: &Replay, channel: &str, after: Value) -> Result<Vec<i64>, String> {
        let subscribe = json!({"ext": {"replay": {topic(channel): after}}}).to_string();
        let message = Message::parse_all(subscribe.as_bytes()).unwrap().remove(0);
        let id = |event: &Text| {
            let event: Value = serde_json::from_str(event).unwrap();
            event["data"]["event"]["replayId"].as_i64().unwrap()
        };
        Ok(replay.ask(channel, &message)?.iter().map(id).collect())
    }

    #[test]
    fn ids_count_for_each_channel() {
        let mut replay = Replay::new(10);
        for (channel, data, expected) in [
            (
                "/event/a",
                json!({"n": 1}),
                json!({"n": 1, "event": {"replayId": 1}}),
            ),
            (
                "/event/a",
                json!(7),
                json!({"payload": 7, "event": {"replayId": 2}}),
            ),
            (
                "/event/b",
                json!([]),
                json!({"payload": [], "event": {"replayId": 1}}),
            ),
            ("/a", json!({"n": 1}), json!({"n": 1})),
        ] {
            assert_eq!(publish(&mut replay, channel, data)["data"], expected);
        }
    }

    #[test]
    fn the_last_ones_can_be_asked_for() {
        let mut replay = Replay::new(3);
        for n in 0..5 {
            publish(&mut replay, "/event/a", json!({ "n": n }));
        }
        for (after, expected) in [
            (json!(-1), vec![]),
            (json!(-2), vec![3, 4, 5]),
            (json!(2), vec![3, 4, 5]),
            (json!(4), vec![5]),
            (json!(5), vec![]),
            (json!("no number"), vec![]),
        ] {
            assert_eq!(ask(&replay, "/event/a?b=c", after), Ok(expected));
        }
        for invalid in [0, 1, 6, -3, i64::MAX, i64::MIN] {
            let error = ask(&replay, "/event/a", json!(invalid)).unwrap_err();
            let start = format!("400::The replayId {{{invalid}}} you provided was invalid.");
            assert!(error.starts_with(&start), "{error}");
        }
        assert_eq!(ask(&replay, "/event/none", json!(0)), Ok(vec![]));
        assert!(ask(&replay, "/event/none", json!(1)).is_err());
        assert_eq!(ask(&replay, "/a", json!(-2)), Ok(vec![]));
    }
}
