//! The edges of what is taken: the last value that is, and the first that is not.

use std::sync::Arc;

use super::body::OwnedMessage;
use super::{advice::Advice, channel, error_text, json, replay, Body, Reconnect};

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn a_servers_channel_may_hold_a_space_and_is_bounded() {
    let longest = format!("/{}", "a".repeat(channel::MAXIMUM_LENGTH - 1));
    for good in ["/a b", "/ ", "/a~", "/é", "/", &longest] {
        assert!(channel::is_deliverable(good), "{good:?}");
    }
    for bad in [
        "",
        "a",
        " /a",
        "/a\x1f",
        "/a\x7f",
        "/a\0",
        &format!("{longest}a"),
    ] {
        assert!(!channel::is_deliverable(bad), "{bad:?}");
    }
    assert_eq!(channel::check_subscription(&longest), Ok(()));
}

/// Where the other one would match, if nothing were checked.
#[test]
fn one_channel_that_is_none_matches_nothing() {
    for (pattern, name) in [
        ("/a/**", "/a//b"),
        ("/a/**", "/a/b\n"),
        ("/a/*", "/a/b\x01"),
        ("a/**", "a/b"),
        ("/a//**", "/a//b"),
        ("/a\n/**", "/a\n/b"),
        ("/a//b", "/a//b"),
        ("", ""),
        ("/a/b", ""),
        ("", "/a/b"),
    ] {
        assert!(!channel::matches(pattern, name), "{pattern:?} {name:?}");
    }
    // A wildcard covers meta channels only where it names them.
    assert!(channel::matches("/meta/*", "/meta/connect"));
    assert!(!channel::matches("/**", "/meta/connect"));
}

fn events(count: usize, bytes: usize) -> Body {
    let event = format!(
        r#"{{"channel":"/a","data":"{}"}}"#,
        "x".repeat(bytes.saturating_sub(28))
    );
    let text = format!("[{}]", vec![event; count].join(","));
    Body::parse(text.into_bytes()).unwrap()
}

/// The bound of the queue in bytes is made of these.
#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn a_body_tells_its_size_and_what_each_message_keeps() {
    let one = Arc::new(events(1, 10_000));
    assert!((9_900..10_100).contains(&one.size()), "{}", one.size());
    // Text and a few fields, and the room that both grew into.
    assert!((9_900..22_000).contains(&one.share()), "{}", one.share());
    assert_eq!(OwnedMessage::new(one.clone(), 0).share(), one.share());

    let many = events(100, 10_000);
    assert!((990_000..1_010_000).contains(&many.size()));
    assert!((9_900..22_000).contains(&many.share()), "{}", many.share());

    // Small ones keep their fields as well: more than twice their text.
    let small = events(1_000, 0);
    assert!((60..1_000).contains(&small.share()), "{}", small.share());
    // Where no message has data, it is the whole.
    let reply = r#"{"channel":"/meta/connect","successful":true},"#.repeat(1_000);
    let text = format!("[{}]", reply.trim_end_matches(','));
    let length = text.len();
    let replies = Body::parse(text.into_bytes()).unwrap();
    assert!(replies.share() > 2 * length, "{}", replies.share());
}

#[test]
fn a_body_without_a_usable_message_is_empty() {
    for (text, malformed) in [("[]", 0), (" [ ]\n", 0), ("[{}]", 1), ("[null,7]", 2)] {
        let body = Body::parse(text.into()).unwrap();
        assert!(body.is_empty(), "{text}");
        assert_eq!(body.len(), 0, "{text}");
        assert_eq!(body.malformed(), malformed, "{text}");
        assert!(body.message(0).is_none(), "{text}");
    }
    let body = events(1, 40);
    assert!(!body.is_empty());
    assert_eq!(body.malformed(), 0);
    assert!(body.message(0).is_some() && body.message(1).is_none());
    assert_eq!(body.messages().count(), body.len());
}

#[test]
fn positions_end_at_all_and_an_offer_is_taken_by_true_or_an_object() {
    for (position, is_one) in [
        (-3, false),
        (-2, true),
        (-1, true),
        (0, true),
        (i64::MAX, true),
    ] {
        assert_eq!(replay::is_position(position), is_one, "{position}");
    }
    for (answer, takes_it) in [
        ("true", true),
        ("{}", true),
        (r#"{"/a":-1}"#, true),
        ("false", false),
        ("null", false),
        ("1", false),
        ("[]", false),
        (r#""true""#, false),
    ] {
        let answer = json::parse(answer.as_bytes()).unwrap();
        assert_eq!(replay::is_accepted(&answer), takes_it, "{answer}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn a_text_as_long_as_it_may_be_is_not_cut() {
    assert_eq!(error_text::one_line("four", 4), "four");
    assert_eq!(error_text::one_line("fives", 4), "five…");
    // A character is there or not.
    assert_eq!(error_text::one_line("abé", 4), "abé");
    assert_eq!(error_text::one_line("abcé", 4), "abc…");
}

#[test]
fn objects_are_made_and_merged_field_by_field() {
    assert_eq!(json::object([]), "{}");
    assert_eq!(
        json::object([("a\"", "1"), ("b", "[]"), ("c", "null")]),
        r#"{"a\"":1,"b":[],"c":null}"#
    );
    let parse = |text: &str| json::parse(text.as_bytes()).unwrap();
    let (base, over) = (parse(r#"{"a":1,"b":2}"#), parse(r#"{"b":3,"c":4}"#));
    let merged = json::merged(Some(&base), Some(&over)).unwrap();
    assert_eq!(merged.get(), r#"{"a":1,"b":3,"c":4}"#);
    assert_eq!(json::merged(Some(&base), None).unwrap().get(), base.get());
    assert_eq!(json::merged(None, Some(&over)).unwrap().get(), over.get());
    assert!(json::merged(None, None).is_none());
    let added = [("b", "7".to_owned()), ("d", "[8]".to_owned())];
    let with = json::with_fields(Some(&base), &added).unwrap();
    assert_eq!(with.get(), r#"{"a":1,"b":7,"d":[8]}"#);
    assert_eq!(
        json::with_fields(Some(&base), &[]).unwrap().get(),
        base.get()
    );
}

#[test]
fn advice_that_says_a_thing_twice_is_read_field_by_field() {
    let advice = |text: &str| Advice::parse(text, super::LONG_POLLING);
    // What the section leaves out, the fields beside it say.
    let both = advice(
        r#"{"reconnect":"none","interval":1,"timeout":2,"maxInterval":3,"multiple-clients":true,
            "long-polling":{"reconnect":"retry","interval":"-1","timeout":{},"multiple-clients":1}}"#,
    )
    .unwrap();
    assert_eq!(both.reconnect, Some(Reconnect::Retry));
    assert_eq!(both.interval, Some(-1));
    assert_eq!(both.timeout, Some(2));
    assert_eq!(both.maximum_interval, Some(3));
    assert!(!both.multiple_clients);
    assert_eq!(advice(r#"{"long-polling":7}"#), Some(Advice::default()));
    for none in ["7", "null", r#""retry""#, "[]"] {
        let read = advice(none);
        assert!(read.is_none() || read == Some(Advice::default()), "{none}");
    }
}

/// What is kept of a large ext: fields of 4 KiB, 64 KiB of them.
#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn limit_fields_are_short_up_to_a_bound_and_so_are_all_of_them_together() {
    let field = |name: char, takes: usize| {
        let text = "x".repeat(takes - 1 - 4 - 2);
        format!(r#""{name}":"{text}""#)
    };
    let of = |fields: &[String]| json::short_fields(&format!("{{{}}}", fields.join(",")));
    let long = 4 * 1024;
    let kept = [field('b', 10), field('c', long)].join(",");
    let given = [field('a', long + 1), field('b', 10), field('c', long)];
    assert_eq!(of(&given).unwrap(), format!("{{{kept}}}"));
    // What does not fit any more is left out, and something smaller taken.
    let mut many: Vec<String> = ('a'..'p').map(|it| field(it, long)).collect();
    assert_eq!(many.len(), 15);
    many.push(field('p', long - 10));
    let fitting = [field('r', 10)];
    let kept = format!("{{{}}}", [&many[..], &fitting].concat().join(","));
    many.push(field('q', 11));
    many.extend(fitting);
    many.push(field('s', 10));
    assert_eq!(of(&many).unwrap(), kept);
    assert_eq!(json::short_fields("[]"), None);
}

/// A reply may have data, and has an ext that the library reads.
#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn limit_the_ext_of_a_large_reply_is_looked_into_once_with_data_too() {
    let large = "x".repeat(300_000);
    for (more, is_found) in [
        (r#","data":1,"successful":true"#, false),
        (r#","data":1"#, true),
    ] {
        let text =
            format!(r#"[{{"channel":"/service/x"{more},"ext":{{"long":"{large}","ack":7}}}}]"#);
        let body = Body::parse(text.into_bytes()).unwrap();
        let message = body.message(0).unwrap();
        assert_eq!(message.ext_field("ack").unwrap().get(), "7");
        assert_eq!(message.ext_field("long").is_some(), is_found, "{more}");
    }
}
