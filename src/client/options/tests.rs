use super::*;

const URL: &str = "http://127.0.0.1:9/cometd";

fn builder() -> Builder {
    Builder::new(URL).unwrap()
}

fn refusal(name: &str, value: &str) -> Error {
    let mut it = builder();
    let error = set(&mut it, name, Ok(value)).unwrap_err();
    assert_eq!(Some(&error), it.error());
    error
}

/// What each kind takes, as far as it can be made of the row alone.
fn good(option: &ClientOption) -> Vec<String> {
    let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    match option.kind {
        Kind::Boolean(_) => texts(&["true", "false", "1", "0", "yes", "no", "on", "off"]),
        Kind::Milliseconds { minimum, .. } => {
            vec![minimum.to_string(), i32::MAX.to_string()]
        }
        Kind::Integer {
            minimum,
            maximum,
            words,
            ..
        } => {
            let words = words.iter().map(|it| it.0.to_owned());
            [minimum.to_string(), maximum.to_string()]
                .into_iter()
                .chain(words)
                .collect()
        }
        Kind::Integers {
            minimum, maximum, ..
        } => vec![
            format!("{minimum},{maximum}"),
            format!("{maximum},{maximum}"),
        ],
        Kind::Choice(words) => words.iter().map(|it| it.0.to_owned()).collect(),
        Kind::Choices { words, .. } => {
            let words: Vec<&str> = words.iter().rev().copied().collect();
            vec![words.join(","), words[0].to_owned()]
        }
        Kind::Text(_) | Kind::Json(_) | Kind::Pem(_) => {
            let good: &[&str] = match option.name() {
                "name" => &["n", "Köln"],
                "url" => &["http://127.0.0.1:8/cometd"],
                "proxy" => &["", "http://u:p@proxy:3128", "proxy"],
                "bearer_token" | "authorization" => &["abc"],
                "basic_auth" => &["user:pass:word", "user:", "user"],
                "cookie" => &["n=v", "n=v=w", "n="],
                "header" => &["X-A: b: c", "X-A:b", "x-a:"],
                "handshake_ext" => &["{\"a\":1}", " {} "],
                "websocket_protocol" => &["", "v1"],
                "resume" => &[""],
                "replay_position" => &["/a=7", "/a?b=c=-1", "/a=new", "/a=all"],
                name if name.ends_with("path") => &["", "a/", "/a"],
                // Certificates have a test of their own.
                _ => &[],
            };
            texts(good)
        }
    }
}

#[test]
fn each_option_takes_what_its_row_says_and_its_default() {
    for option in OPTIONS {
        let default = option.default.map(|it| it.to_str().unwrap().to_owned());
        for value in good(option).into_iter().chain(default) {
            let mut it = builder();
            set(&mut it, option.name(), Ok(&value))
                .unwrap_or_else(|error| panic!("{} = {value}: {error:?}", option.name()));
            assert!(it.build().is_ok(), "{} = {value}", option.name());
        }
    }
}

#[test]
fn rows_say_what_is_so_in_words_that_can_be_printed() {
    for (index, option) in OPTIONS.iter().enumerate() {
        let name = option.name();
        assert!(std::ptr::eq(find(name).unwrap(), option), "{name} twice");
        let setter = option.setter.to_str().unwrap();
        assert!(
            setter.ends_with(&format!("_set_{name}")) || setter.ends_with(&format!("_add_{name}")),
            "{setter}"
        );
        let range = option.range();
        let numbers = |minimum: i64, maximum: i64| {
            let bounds = match maximum {
                i64::MAX => format!("{minimum} or more"),
                maximum => format!("{minimum} to {maximum}"),
            };
            assert!(range.contains(&bounds), "{name}: {range}");
        };
        match option.kind {
            Kind::Milliseconds { minimum, .. } => numbers(minimum, i32::MAX.into()),
            Kind::Integer {
                minimum, maximum, ..
            } if minimum >= 0 => numbers(minimum, maximum),
            Kind::Integers {
                minimum, maximum, ..
            } => numbers(minimum, maximum),
            Kind::Choice(words) => {
                let words: Vec<&str> = words.iter().map(|it| it.0).collect();
                assert_eq!(range, words.join(", "), "{name}");
            }
            Kind::Choices { words, .. } => {
                assert!(words.iter().all(|it| range.contains(it)), "{name}");
            }
            Kind::Boolean(_) => assert_eq!(range, "true, false"),
            _ => assert!(option.unit.is_none(), "{name}"),
        }
        if let Kind::Integer { words, .. } = option.kind {
            assert!(words.iter().all(|it| range.contains(it.0)), "{name}");
        }
        let text = option.text.to_str().unwrap();
        assert!(text.ends_with('.') && !text.contains('|'), "{name}");
        assert!(!range.is_empty() && !range.contains('|'), "{name}");
        assert!(OPTIONS
            .iter()
            .skip(index + 1)
            .all(|it| it.text != option.text));
    }
}

#[test]
fn what_is_refused_is_named_with_its_range_and_its_value() {
    use ErrorKind::{InvalidArgument, InvalidHeader, InvalidJson, OutOfRange};
    for (name, value, kind, message) in [
        ("nubmer", "1", InvalidArgument, "set: name: \"nubmer\" is no option"),
        (
            "number_of_retries",
            "five",
            InvalidArgument,
            "number_of_retries: \"five\": is no integer (it is 0 to 4294967294, or forever)",
        ),
        (
            "ping_interval_ms",
            "-1",
            OutOfRange,
            "ping_interval_ms: \"-1\": is out of its range (it is 0 to 2147483647)",
        ),
        (
            "backoff_ms",
            "2,1",
            OutOfRange,
            "backoff_ms: \"2,1\": max: is not less than increment (it is INCREMENT,MAXIMUM, each 0 to 2147483647)",
        ),
        (
            "overflow",
            "BLOCK",
            OutOfRange,
            "overflow: \"BLOCK\": is none of the words (it is block, drop_oldest, drop_newest)",
        ),
        (
            "restart",
            "TRUE",
            InvalidArgument,
            "restart: \"TRUE\": is neither true nor false (it is true, false)",
        ),
        (
            "cookie",
            "very secret",
            InvalidArgument,
            "cookie: is not NAME=VALUE (it is NAME=VALUE, together up to 8192 bytes; any number)",
        ),
    ] {
        let error = refusal(name, value);
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
    }
    for (name, value, kind) in [
        ("backoff_ms", "1000", InvalidArgument),
        ("backoff_ms", "1,2,3", InvalidArgument),
        ("events_capacity", "0,1", OutOfRange),
        ("number_of_retries", "4294967295", OutOfRange),
        ("number_of_retries", "99999999999999999999", OutOfRange),
        ("request_capacity", "1023", OutOfRange),
        ("response_capacity", "2147483648", OutOfRange),
        ("timeout_ms", "10s", InvalidArgument),
        ("timeout_ms", "+1", InvalidArgument),
        ("timeout_ms", " 1", InvalidArgument),
        ("timeout_ms", "", InvalidArgument),
        ("timeout_ms", "-", InvalidArgument),
        ("transports", "websocket,", OutOfRange),
        ("transports", "", OutOfRange),
        ("transports", "websocket,websocket", InvalidArgument),
        ("replay", "-3", OutOfRange),
        ("replay", "newest", InvalidArgument),
        ("replay_position", "/a", InvalidArgument),
        ("replay_position", "/a=x", InvalidArgument),
        ("handshake_ext", "[]", InvalidJson),
        ("header", "a b: c", InvalidHeader),
    ] {
        assert_eq!(refusal(name, value).kind, kind, "{name} = {value}");
    }
}

/// Whatever a file or a command line may say.
#[test]
fn no_value_does_harm_and_no_secret_is_shown_contract_13() {
    let mut random =
        fastrand::Rng::with_seed(std::env::var("COMETD_SEED").map_or(11, |it| it.parse().unwrap()));
    let pieces = [
        "",
        "0",
        "-1",
        "9223372036854775807",
        "1e9",
        "true",
        ",",
        "=",
        ":",
        "\0",
        "\r\n",
        " ",
        "ä",
        "\u{202e}",
        "{\"a\":",
        "}",
        "http://u:p@h:1/",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "only,",
        "secret",
        "/a",
        "*",
        "%ff",
        "websocket",
    ];
    let huge = "x".repeat(1 << 20);
    for option in OPTIONS {
        for turn in 0..300 {
            let mut value: String = match turn {
                0 => huge.clone(),
                _ => (0..random.usize(..6))
                    .map(|_| *random.choice(&pieces).unwrap_or(&""))
                    .collect(),
            };
            if option.secret {
                value.push_str("hidden");
            }
            let mut it = builder();
            let Err(error) = set(&mut it, option.name(), Ok(&value)) else {
                assert!(it.error().is_none());
                continue;
            };
            let message = &error.message;
            assert!(message.starts_with(option.name()), "{message}");
            assert!(
                message.ends_with(&format!("(it is {})", option.range())),
                "{message}"
            );
            assert!(!message.contains(['\n', '\r', '\0']), "{message:?}");
            assert!(message.len() < 700, "{message}");
            assert!(!option.secret || !message.contains("hidden"), "{message}");
            assert_eq!(it.build().err().as_ref(), Some(&error));
            // Nothing of it was taken.
            it.clear_error();
            assert!(it.build().is_ok(), "{value:?}");
        }
    }
}

#[test]
fn nor_what_may_hold_one_contract_13() {
    for (name, value) in [
        ("handshake_base_path", "//other/?token=hidden"),
        ("websocket_path", "/ws?token=hidden\n"),
        ("websocket_protocol", "bearer.hidden\n"),
        (
            "certificate_authorities",
            "-----BEGIN EC PRIVATE KEY-----\nhidden",
        ),
    ] {
        let message = refusal(name, value).message;
        assert!(!message.contains("hidden"), "{message}");
    }
}

#[test]
fn certificates_come_in_one_text_in_whatever_order() {
    let me = cometd_peer::identity("me.example", None);
    let other = cometd_peer::identity("other.example", None);
    let text = |parts: &[Vec<u8>]| String::from_utf8(parts.concat()).unwrap();
    for value in [
        text(&[me.pem(), me.key_pem()]),
        text(&[me.key_pem(), b"and behind it\n".to_vec(), me.pem()]),
        text(&[me.pem(), other.pem(), me.key_pem()]),
    ] {
        let mut it = builder();
        set(&mut it, "client_certificate", Ok(&value)).unwrap();
        let authorities = format!("only,{value}");
        for value in [&value, &authorities] {
            set(&mut it, "certificate_authorities", Ok(value)).unwrap();
            assert!(it.build().is_ok());
        }
    }
    let strangers = text(&[other.pem(), me.key_pem()]);
    for (name, value) in [
        ("client_certificate", strangers),
        ("client_certificate", text(&[me.pem()])),
        ("certificate_authorities", text(&[me.key_pem()])),
        ("certificate_authorities", "only,".into()),
    ] {
        assert_eq!(refusal(name, &value).kind, ErrorKind::InvalidArgument);
    }
}
