//! Advice: what a server asks of its clients (Bayeux specification, section 3.2).

use serde_json::value::RawValue;

use super::{json, LONG_POLLING, WEBSOCKET};

/// What to do after a message, `advice.reconnect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    Retry,
    Handshake,
    None,
}

/// One advice as it came. Fields that are absent, of the wrong type or of a
/// value nobody knows are `None`: the defaults depend on the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    pub reconnect: Option<Reconnect>,
    /// Milliseconds to wait before the next connect; negative: none may follow.
    pub interval: Option<i64>,
    /// Milliseconds that the server holds a connect.
    pub timeout: Option<i64>,
    /// Milliseconds, after `timeout` and `interval`, for which the server
    /// keeps a session that does not connect.
    pub maximum_interval: Option<i64>,
    pub multiple_clients: bool,
    /// Hosts to handshake with instead, the first of them.
    pub hosts: Vec<String>,
}

/// Of a list of hosts so many are taken, and none that is longer.
const HOSTS: json::Wanted = json::Wanted {
    most: 16,
    longest: 255,
    usable: is_host,
    strings_only: false,
};

/// Whether this may be a host, with or without a port; what it is exactly, the
/// transport finds out.
fn is_host(text: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_one)
}

#[derive(Default)]
struct Fields<'a> {
    reconnect: Option<&'a RawValue>,
    interval: Option<&'a RawValue>,
    timeout: Option<&'a RawValue>,
    maximum_interval: Option<&'a RawValue>,
    multiple_clients: Option<&'a RawValue>,
    hosts: Option<&'a RawValue>,
    long_polling: Option<&'a RawValue>,
    websocket: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Of one name the last counts.
    fn of(advice: &'a str) -> Option<Self> {
        let mut fields = Self::default();
        let is_object = json::each_field(advice, |name, value| {
            let field = match &*name {
                "reconnect" => &mut fields.reconnect,
                "interval" => &mut fields.interval,
                "timeout" => &mut fields.timeout,
                "maxInterval" => &mut fields.maximum_interval,
                "multiple-clients" => &mut fields.multiple_clients,
                "hosts" => &mut fields.hosts,
                LONG_POLLING => &mut fields.long_polling,
                WEBSOCKET => &mut fields.websocket,
                _ => return,
            };
            *field = Some(value);
        });
        is_object.then_some(fields)
    }

    /// What is said for one connection type only.
    fn section(&self, connection_type: &str) -> Option<Fields<'a>> {
        let section = match connection_type {
            LONG_POLLING => self.long_polling,
            WEBSOCKET => self.websocket,
            _ => None,
        };
        Fields::of(section?.get())
    }

    fn hosts(&self) -> Option<Vec<String>> {
        json::strings(self.hosts?.get(), &HOSTS)
    }
}

/// An advice of these fields only, each as short as what is read of it.
pub fn shortened(advice: &str) -> Option<String> {
    let fields = Fields::of(advice)?;
    // A section has none inside: there may be a million, one in the other.
    let sections = [LONG_POLLING, WEBSOCKET].map(|connection_type| {
        let section = fields.section(connection_type)?;
        Some(short_fields(&section, [None, None]))
    });
    Some(short_fields(&fields, sections))
}

fn short_fields(fields: &Fields, sections: [Option<String>; 2]) -> String {
    let [long_polling, websocket] = sections;
    let hosts = fields
        .hosts()
        .and_then(|it| serde_json::to_string(&it).ok());
    let short = |raw: Option<&'_ RawValue>| {
        let text = raw?.get();
        (text.len() <= LONGEST_FIELD).then(|| text.to_owned())
    };
    let fields = [
        ("reconnect", short(fields.reconnect)),
        ("interval", short(fields.interval)),
        ("timeout", short(fields.timeout)),
        ("maxInterval", short(fields.maximum_interval)),
        ("multiple-clients", short(fields.multiple_clients)),
        ("hosts", hosts),
        (LONG_POLLING, long_polling),
        (WEBSOCKET, websocket),
    ];
    let given = fields.iter();
    json::object(given.filter_map(|(name, value)| Some((*name, value.as_deref()?))))
}

/// A number or a word that is written longer is none.
const LONGEST_FIELD: usize = 1024;

impl Advice {
    /// Reads an advice; anything but an object is no advice.
    ///
    /// A section named after the connection type in use overrides the fields
    /// beside it (Bayeux specification, section 3.2: advice for a transport).
    pub fn parse(advice: &str, connection_type: &str) -> Option<Self> {
        let mut read = Self::default();
        let fields = Fields::of(advice)?;
        read.read(&fields);
        if let Some(section) = fields.section(connection_type) {
            read.read(&section);
        }
        Some(read)
    }

    fn read(&mut self, fields: &Fields) {
        if let Some(raw) = fields.reconnect {
            self.reconnect = match raw.get() {
                r#""retry""# => Some(Reconnect::Retry),
                r#""handshake""# => Some(Reconnect::Handshake),
                r#""none""# => Some(Reconnect::None),
                _ => None,
            };
        }
        for (from, to) in [
            (fields.interval, &mut self.interval),
            (fields.timeout, &mut self.timeout),
            (fields.maximum_interval, &mut self.maximum_interval),
        ] {
            if let Some(number) = from.and_then(json::lenient_integer) {
                *to = Some(number);
            }
        }
        if let Some(raw) = fields.multiple_clients {
            self.multiple_clients = raw.get() == "true";
        }
        if let Some(hosts) = fields.hosts() {
            self.hosts = hosts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(text: &str) -> Option<Advice> {
        Advice::parse(text, LONG_POLLING)
    }

    #[test]
    fn numbers_may_be_strings_54() {
        let advice = advice(r#"{"timeout":"30000","interval":"100","maxInterval":5}"#).unwrap();
        assert_eq!(advice.timeout, Some(30_000));
        assert_eq!(advice.interval, Some(100));
        assert_eq!(advice.maximum_interval, Some(5));
        assert_eq!(advice.reconnect, None);
    }

    #[test]
    fn a_section_for_the_transport_overrides_55() {
        let advice = advice(
            r#"{"interval":0,"reconnect":"retry","long-polling":{"interval":1500,"reconnect":"handshake"},
                "websocket":{"interval":7}}"#,
        )
        .unwrap();
        assert_eq!(advice.interval, Some(1500));
        assert_eq!(advice.reconnect, Some(Reconnect::Handshake));
    }

    #[test]
    fn unknown_and_malformed_advice_is_no_advice_51_161() {
        assert_eq!(advice(r#"{"reconnect":"banana"}"#).unwrap().reconnect, None);
        let odd = advice(r#"{"reconnect":7,"interval":[],"timeout":{},"hosts":3}"#).unwrap();
        assert_eq!(odd, Advice::default());
        for text in ["null", "7", "\"retry\"", "[]"] {
            assert!(
                advice(text).is_none_or(|a| a == Advice::default()),
                "{text}"
            );
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take too long")]
    fn limit_advice_hosts_the_first_are_taken_and_no_more_is_built() {
        let long = format!("\"{}\"", "x".repeat(HOSTS.longest + 1));
        let many = format!(
            "[{long},7,null,\"no host\",{}\"last\"]",
            "\"h\",".repeat(1_000)
        );
        let text = format!(
            r#"{{"hosts":{many},"interval":"7","reconnect":"none","x":[1],"long-polling":{{"hosts":["a","b"]}}}}"#
        );
        let read = advice(&text).unwrap();
        assert_eq!(read.hosts, ["a", "b"]);
        let outer = text.replace("long-polling", "websocket");
        let hosts = advice(&outer).unwrap().hosts;
        assert_eq!(hosts, ["h"; 16]);
        for text in [text, outer] {
            let short = shortened(&text).unwrap();
            assert!(short.len() < 300, "{short}");
            assert_eq!(advice(&short), advice(&text));
        }
        assert_eq!(advice(r#"{"hosts":"only"}"#).unwrap().hosts, ["only"]);
        assert_eq!(shortened("7"), None);
    }

    #[test]
    fn a_field_twice_or_with_an_odd_name_costs_no_other() {
        let odd = advice(r#"{"interval":1,"\ud83d":2,"interval":3,"time\u006fut":4}"#).unwrap();
        assert_eq!((odd.interval, odd.timeout), (Some(3), Some(4)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take too long")]
    fn sections_inside_one_another_cost_no_more_than_one() {
        const DEEP: usize = 200_000;
        let open = r#"{"interval":7,"long-polling":"#;
        let advice = format!("{}1{}", open.repeat(DEEP), "}".repeat(DEEP));
        let short = shortened(&advice).unwrap();
        assert_eq!(short, r#"{"interval":7,"long-polling":{"interval":7}}"#);
    }
}
