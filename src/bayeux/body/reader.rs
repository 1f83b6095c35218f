//! The door that takes every body, and words every error: serde_json.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::found::{Draft, Field, Finder, Found};
use super::Span;

/// Reads the messages in `text`, of which `json` is the JSON.
pub(super) fn read(text: &str, json: Range<usize>) -> Result<Found, serde_json::Error> {
    let json = text.get(json).unwrap_or_default();
    let read = |way: Way| {
        let mut finder = Finder::new(text, json.len());
        let mut deserializer = serde_json::Deserializer::from_str(json);
        ReadBody(&mut finder, way)
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map(|()| finder.finish())
    };
    // What serde_json calls an error may be JSON all the same: a number beyond
    // all numbers, half a surrogate pair. In an element that is no message.
    read(Way::AtOnce).or_else(|error| read(Way::OneByOne).map_err(|_| error))
}

/// Calls `each` for the elements of an array, or for the one message, as long
/// as it wants more.
pub fn each_element<'t>(json: &'t str, each: impl FnMut(&'t str) -> bool) {
    struct Each<F>(F);
    impl<'de, F: FnMut(&'de str) -> bool> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
            while let Some(element) = elements.next_element::<&RawValue>()? {
                if !(self.0)(element.get()) {
                    break;
                }
            }
            Ok(())
        }
    }
    let mut each = each;
    if json.starts_with('{') {
        each(json);
        return;
    }
    // An error is of what was left unread.
    let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Each(each));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    AtOnce,
    /// Each element is looked at twice, and one that cannot be read does not
    /// cost the others.
    OneByOne,
}

/// The whole body: an array of messages or one message.
struct ReadBody<'r, 't>(&'r mut Finder<'t>, Way);

impl<'de> DeserializeSeed<'de> for ReadBody<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadBody<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of Bayeux messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.1 == Way::AtOnce {
            while elements.next_element_seed(ReadMessage(self.0))?.is_some() {}
            return Ok(());
        }
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let mut alone = serde_json::Deserializer::from_str(element.get());
            if ReadMessage(self.0).deserialize(&mut alone).is_err() {
                self.0.malformed();
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        ReadMessage(self.0).visit_map(map)
    }
}

/// One element of the array. Only an object is a message; anything else is
/// counted and passed over, so that one bad element does not cost the others.
struct ReadMessage<'r, 't>(&'r mut Finder<'t>);

impl<'de> DeserializeSeed<'de> for ReadMessage<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! count_as_malformed {
    ($($method:ident($($argument:ty)?)),* $(,)?) => {
        $(fn $method<E: serde::de::Error>(self $(, _: $argument)?) -> Result<(), E> {
            self.0.malformed();
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for ReadMessage<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Bayeux message")
    }

    count_as_malformed!(
        visit_bool(bool),
        visit_i64(i64),
        visit_u64(u64),
        visit_f64(f64),
        visit_str(&str),
        visit_unit(),
    );

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.malformed();
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let finder = self.0;
        let base = finder.text().as_ptr() as usize;
        let mut draft = Draft::default();
        while let Some(field) = map.next_key_seed(ReadField)? {
            if field == Field::Other {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&'de RawValue>()?.get();
            let at = (value.as_ptr() as usize).wrapping_sub(base);
            finder.field(&mut draft, field, Span::new(at, value.len()));
        }
        finder.message(draft);
        Ok(())
    }
}

struct ReadField;

impl<'de> DeserializeSeed<'de> for ReadField {
    type Value = Field;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        // Not as text, which would refuse half a surrogate pair.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for ReadField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Field, E> {
        Ok(Field::named(name))
    }
}
