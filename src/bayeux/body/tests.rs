use std::sync::Arc;

use super::*;
use crate::bayeux::Advice;

fn body(text: &str) -> Body {
    Body::parse(text.as_bytes().to_vec()).unwrap()
}

#[test]
fn an_event_keeps_the_servers_bytes() {
    let body = body(
        r#" [ {"data": { "a" : 1e400, "b":"\u00e9" } ,"channel":"/x","id":"7","ext":{"k":[1, 2]}} , {"id":7,"channel":"/y","data":null}]"#,
    );
    let first = body.message(0).unwrap();
    assert_eq!(first.channel(), Some("/x"));
    assert_eq!(first.data(), Some(r#"{ "a" : 1e400, "b":"\u00e9" }"#));
    assert_eq!(first.ext(), Some(r#"{"k":[1, 2]}"#));
    assert_eq!(first.id_json(), Some(r#""7""#));
    assert_eq!(first.id(), Some("7"));
    let second = body.message(1).unwrap();
    assert_eq!(
        second.data(),
        Some("null"),
        "a falsy datum is still an event"
    );
    assert_eq!(second.id(), Some("7"));
    assert_eq!(second.ext(), None);
    assert!(body.message(2).is_none());
}

#[test]
fn each_text_ends_in_nul() {
    let body =
        body(r#"[{"channel":"/x","data":12345,"id":9,"ext":"e"},{"data":[1],"channel":"\/y"}]"#);
    for message in body.messages() {
        for text in [
            message.channel(),
            message.data(),
            message.id_json(),
            message.ext(),
        ]
        .into_iter()
        .flatten()
        {
            let end = text.as_ptr() as usize + text.len() - body.text.as_ptr() as usize;
            assert_eq!(body.text.as_bytes()[end], 0, "{text}");
        }
    }
    assert_eq!(body.message(1).unwrap().channel(), Some("/y"));
    assert_eq!(body.message(0).unwrap().data(), Some("12345"));
}

#[test]
fn one_message_alone_is_accepted_and_so_is_a_byte_order_mark() {
    let body = body("\u{feff}  {\"channel\":\"/meta/connect\",\"successful\":true}");
    assert_eq!(body.len(), 1);
    assert_eq!(body.message(0).unwrap().successful(), Some(true));
    assert_eq!(body.message(0).unwrap().channel(), Some("/meta/connect"));
}

#[test]
fn reply_fields_are_read_leniently_8_65_159_161() {
    let body = body(
        r#"[{"channel":"/meta/subscribe","id":null,"successful":"yes","clientId":5,"error":{"a":1},
                "advice":3,"subscription":["/a","/b"],"supportedConnectionTypes":[1]},
               {"channel":"/meta/subscribe","subscription":"/c","error":"403::x","clientId":"abc"}]"#,
    );
    let odd = body.message(0).unwrap();
    assert_eq!(odd.id(), None);
    assert_eq!(odd.successful(), None);
    assert_eq!(odd.client_id(), None);
    assert_eq!(odd.error().unwrap().text, r#"{"a":1}"#);
    assert!(odd
        .advice(super::super::LONG_POLLING)
        .is_none_or(|a| a == Advice::default()));
    assert_eq!(odd.subscriptions(), ["/a", "/b"]);
    assert_eq!(odd.supported_connection_types(), None);
    let good = body.message(1).unwrap();
    assert_eq!(good.subscriptions(), ["/c"]);
    assert_eq!(good.error().unwrap().code, 403);
    assert_eq!(good.client_id().as_deref(), Some("abc"));
}

#[test]
fn what_only_replies_say_tells_them_from_events() {
    let parsed = body(
        r#"[{"channel":"/s","data":{"seat":4},"successful":true},
                {"channel":"/s","data":{},"successful":null},
                {"channel":"/s","data":{},"error":{"code" : 403}},
                {"channel":"/s","data":{},"error":null,"subscription":null},
                {"channel":"/s","data":{},"subscription":["/a", "/b"]}]"#,
    );
    let shapes: Vec<_> = parsed.messages().map(|it| it.is_reply_shaped()).collect();
    assert_eq!(shapes, [true, true, true, false, false]);
    let has: Vec<_> = parsed.messages().map(|it| it.has_successful()).collect();
    assert_eq!(has, [true, true, false, false, false]);
    let message = |index| parsed.message(index).unwrap();
    assert_eq!(message(2).error_json(), Some(r#"{"code" : 403}"#));
    assert_eq!(message(3).error_json(), None);
    assert_eq!(message(3).subscription_json(), None);
    assert_eq!(message(4).subscription_json(), Some(r#"["/a", "/b"]"#));
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn a_refused_handshake_keeps_its_whole_text_13() {
    let refused = r#"{"challenge" : {"n":[1]},"channel":"/meta/handshake","id":"1" ,"successful":false,"ext":{"x":"é"} }"#;
    let escaped = r#"{"channel":"\/meta\/handshake","successful":false,"own":"\u0041"}"#;
    let accepted = r#"{"channel":"/meta/handshake","successful":true}"#;
    let bare = r#"{"channel":"/meta/handshake"}"#;
    let text = format!(" [7, {refused} ,{{\"data\":1}},{escaped},{accepted},{bare}] ");
    let parsed = body(&text);
    let refusals: Vec<_> = parsed.messages().map(|it| it.refusal()).collect();
    assert_eq!(refusals, [Some(refused), Some(escaped), None, None]);
    let alone = body(&format!("\u{feff}{refused}\n"));
    assert_eq!(alone.message(0).unwrap().refusal(), Some(refused));
    let many = format!("[{}1]", format!("{escaped},").repeat(30_000));
    assert_eq!(
        body(&many).message(29_999).unwrap().refusal(),
        Some(escaped)
    );
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn bad_channels_and_bad_elements_do_not_cost_the_others_157() {
    let long = "a".repeat(1 << 20);
    let text = format!(
        r#"[1,null,"x",[[]],true,1.5,{{"channel":7}},{{"channel":"/{long}"}},{{"channel":"/a\u0000b"}},
               {{"channel":"no-slash"}},{{"data":1}},{{"channel":"/ok","data":1}}]"#
    );
    let body = body(&text);
    assert_eq!(body.malformed(), 11);
    assert_eq!(body.len(), 1);
    let channels: Vec<_> = body.messages().filter_map(|m| m.channel()).collect();
    assert_eq!(channels, ["/ok"]);
}

#[test]
fn what_is_not_json_is_told_apart_154() {
    let error = |text: &[u8]| Body::parse(text.to_vec()).unwrap_err();
    assert_eq!(error(b""), BodyError::Empty);
    assert_eq!(error(b" \r\n"), BodyError::Empty);
    assert_eq!(error(b"[\"\xff\"]"), BodyError::NotUtf8);
    assert_eq!(
        error(b"<!DOCTYPE html><html><head><title>Sign\n in</title></head></html>"),
        BodyError::Html("Sign in".into())
    );
    assert_eq!(
        error(b"<html><body><h1>503 Service Unavailable</h1></body></html>"),
        BodyError::Html("503 Service Unavailable".into())
    );
    let untitled = error(b"<html><body>Please wait</body></html>");
    assert_eq!(
        untitled.to_string(),
        "the response is an HTML page, not Bayeux messages"
    );
    for text in [
        "[{\"channel\":\"/x\"",
        "[]x",
        "7",
        "<?xml version=\"1.0\"?>",
        "[{]",
        "nil",
    ] {
        assert!(
            matches!(error(text.as_bytes()), BodyError::NotJson { .. }),
            "{text}"
        );
    }
    assert!(Body::parse(b"[]".to_vec()).unwrap().is_empty());
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn deep_nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let parsed = body(&format!(r#"[{{"channel":"/x","data":{deep}}},{deep}]"#));
    assert_eq!(parsed.message(0).unwrap().data().unwrap().len(), 200_000);
    assert_eq!(parsed.malformed(), 1);
    assert!(matches!(
        Body::parse("[".repeat(100_000).into_bytes()),
        Err(BodyError::NotJson { .. })
    ));
}

#[test]
fn cut_at_every_byte_never_panics() {
    let text = r#"[{"channel":"\/a\u00e9","data":{"x":"é"},"id":"1","advice":{"interval":1}},{"successful":true}]"#;
    for end in 0..text.len() {
        let _ = Body::parse(text.as_bytes()[..end].to_vec());
    }
    assert_eq!(body(text).message(0).unwrap().channel(), Some("/aé"));
}

fn bytes(bytes: &[u8]) -> Body {
    Body::parse(bytes.to_vec()).unwrap()
}

#[test]
fn case_surrogates_in_a_body_cost_no_event() {
    let three = |odd: &[u8]| {
        let mut text = br#"[{"channel":"/a","data":1},{"channel":"/b","data":"x"#.to_vec();
        text.extend_from_slice(odd);
        text.extend_from_slice(br#"y"},{"channel":"/c","data":3}]"#);
        text
    };
    for (odd, count) in [
        (&b"\xed\xa0\xbd\xed\xb8\x80"[..], 6),
        (b"\xed\xa0\xbd", 3),
        (b"\xff", 1),
        (b"\xe2\x82", 1),
        ("é😀".as_bytes(), 0),
    ] {
        let parsed = bytes(&three(odd));
        assert_eq!(parsed.replaced(), count, "{odd:?}");
        let data: Vec<_> = parsed.messages().filter_map(|it| it.data()).collect();
        let text = String::from_utf8_lossy(odd);
        assert_eq!(data, ["1", &format!("\"x{text}y\""), "3"]);
    }
    // In places that the library itself reads.
    let parsed =
        bytes(b"[{\"channel\":\"/a\xff\",\"data\":1,\"i\xff\":2},{\"channel\":\"/b\",\"data\":1}]");
    assert_eq!(parsed.message(0).unwrap().channel(), Some("/a\u{fffd}"));
    assert_eq!((parsed.len(), parsed.replaced()), (2, 2));
}

#[test]
fn case_surrogates_as_escapes_refuse_nothing() {
    let parsed = body(
        r#"[{"channel":"/a\ud83d","id":"\u0031","data":"\ude00","\ud83d":{"\ud83d":1}},
            {"channel":"/meta/connect","successful":false,"error":"403::\ud83d","clientId":"c\ud83d",
             "subscription":["/x\udfff"],"ext":{"\ud83d":1,"ack":2}},
            "\ud83d",1e400,{"channel":"/b","data":1}]"#,
    );
    assert_eq!((parsed.len(), parsed.malformed()), (3, 2));
    assert_eq!(parsed.replaced(), 0, "it is as the server wrote it");
    let message = |index| parsed.message(index).unwrap();
    assert_eq!(message(0).channel(), Some("/a\u{fffd}"));
    assert_eq!(message(0).id(), Some("1"));
    assert_eq!(message(0).id_json(), Some(r#""\u0031""#));
    assert_eq!(message(0).data(), Some(r#""\ude00""#));
    assert!(!message(0).is_reply_shaped());
    assert_eq!(message(1).error().unwrap().text, "403::\u{fffd}");
    assert_eq!(message(1).client_id().unwrap(), "c\u{fffd}");
    assert_eq!(message(1).subscriptions(), ["/x\u{fffd}"]);
    assert_eq!(message(1).ext_field("ack").unwrap().get(), "2");
    assert_eq!(message(2).channel(), Some("/b"));
}

#[test]
fn of_a_field_twice_the_last_counts() {
    let parsed = body(
        r#"[{"channel":"\/a","channel":"/b","id":"\u0031","id":"2","data":1,"data":2},
            {"channel":"/b","channel":"\/a","id":"2","id":"\u0031"},{"channel":"/a","channel":7}]"#,
    );
    let seen: Vec<_> = parsed
        .messages()
        .map(|it| (it.channel().unwrap(), it.id().unwrap(), it.data()))
        .collect();
    assert_eq!(seen, [("/b", "2", Some("2")), ("/a", "1", None)]);
    assert_eq!(parsed.malformed(), 1);
}

#[test]
fn case_gzip_tail_nul_and_white_space_around_the_json_are_taken() {
    let json = r#"[{"channel":"/x","data":1}]"#;
    for (before, behind) in [
        ("", "\0"),
        ("", "\0\0\0"),
        ("", " \r\n\0\n"),
        ("\u{feff}", "\t"),
        ("\u{feff}\r\n ", "\0"),
        (" \n", "\u{c}"),
    ] {
        let parsed = body(&format!("{before}{json}{behind}"));
        assert_eq!(parsed.message(0).unwrap().data(), Some("1"));
        assert_eq!(parsed.message(0).unwrap().channel(), Some("/x"));
    }
    for empty in ["\0", "\u{feff}", "\u{feff} \0"] {
        let error = Body::parse(empty.into()).unwrap_err();
        assert_eq!(error, BodyError::Empty, "{empty:?}");
    }
    let error = Body::parse(format!("{json}\0x").into()).unwrap_err();
    assert!(matches!(error, BodyError::NotJson { .. }));
}

/// Each field of a message, absent, null and of each type.
#[test]
fn every_field_of_every_type_is_read_leniently() {
    let types = [
        "",
        "null",
        "true",
        "false",
        "7",
        "-1.5e3",
        "1e999",
        r#""""#,
        r#""7""#,
        r#""text""#,
        "[]",
        r#"["a"]"#,
        r#"[1,"a"]"#,
        "{}",
        r#"{"a":1}"#,
    ];
    for json in types {
        for name in [
            "id",
            "data",
            "ext",
            "successful",
            "clientId",
            "error",
            "advice",
            "subscription",
            "supportedConnectionTypes",
            "x-messages",
        ] {
            let field = match json {
                "" => String::new(),
                _ => format!(r#","{name}":{json}"#),
            };
            let text =
                format!(r#"[{{"channel":"/meta/handshake"{field}}},{{"channel":"/b","data":1}}]"#);
            let parsed = body(&text);
            assert_eq!((parsed.len(), parsed.malformed()), (2, 0), "{text}");
            let message = parsed.message(0).unwrap();
            let there = (!json.is_empty()).then_some(json);
            let not_null = there.filter(|it| *it != "null");
            let is = |it: &str| name == it;
            let of = |it: &str, json: Option<&'static str>| json.filter(|_| is(it));
            let text = json.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            let unquoted = of("id", not_null).map(|it| text.unwrap_or(it));
            assert_eq!(message.id(), unquoted);
            assert_eq!(message.id_json(), of("id", there));
            assert_eq!(message.data(), of("data", there));
            assert_eq!(message.ext(), of("ext", not_null));
            assert_eq!(
                message.ext_field("a").is_some(),
                is("ext") && json.contains(":1")
            );
            assert_eq!(
                message.has_successful(),
                is("successful") && there.is_some()
            );
            let successful = of("successful", there).and_then(|it| it.parse().ok());
            assert_eq!(message.successful(), successful);
            let client_id = text.filter(|_| is("clientId")).map(str::to_owned);
            assert_eq!(message.client_id(), client_id);
            assert_eq!(message.error_json(), of("error", not_null));
            let error = of("error", not_null).map(|it| text.unwrap_or(it).to_owned());
            assert_eq!(message.error().map(|it| it.text), error);
            assert_eq!(message.advice_json(), of("advice", there));
            let advice = message.advice(super::super::LONG_POLLING);
            assert_eq!(advice.is_some(), is("advice") && json.starts_with('{'));
            assert_eq!(message.subscription_json(), of("subscription", not_null));
            assert!(message.subscriptions().len() <= 1);
            let types = message.supported_connection_types();
            let is_list = text.is_some() || matches!(json, "[]" | r#"["a"]"#);
            assert_eq!(
                types.is_some(),
                is("supportedConnectionTypes") && is_list,
                "{json}"
            );
            assert!(is("x-messages") || message.promised_events() == 0);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn limit_lists_of_millions_are_read_only_so_far() {
    let many = format!("[{}\"/last\"]", "\"/a\",".repeat(1 << 16));
    let parsed = body(&format!(
        r#"[{{"channel":"/meta/handshake","subscription":{many},"supportedConnectionTypes":{many},
            "clientId":"{}","x-messages":"{}","error":{many}}}]"#,
        "c".repeat(1 << 16),
        "9".repeat(1 << 16),
    ));
    let message = parsed.message(0).unwrap();
    assert_eq!(message.subscriptions().len(), 64);
    assert_eq!(message.supported_connection_types().unwrap().len(), 64);
    assert_eq!(message.client_id(), None);
    assert_eq!(message.promised_events(), 0);
    assert!(message.error().unwrap().text.len() < 1100);
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn limit_advice_hosts_in_a_large_body_are_looked_at_once() {
    let hosts = "\"host\",".repeat(LARGE / 4);
    let ext = format!(r#"{{"ack":7,"long":"{}","last":[1]}}"#, "x".repeat(LARGE));
    let data = format!(
        r#"{{"x":"{}","event":{{"replayId":9}}}}"#,
        "x".repeat(LARGE)
    );
    let parsed = body(&format!(
        r#"[{{"channel":"/e","data":{data},"ext":{ext}}},{{"channel":"/e","data":{{"event":{{"replayId":3}}}}}},
            {{"channel":"/meta/connect","advice":{{"hosts":[{hosts}7],"reconnect":"none"}},"ext":{ext}}},
            {{"channel":"/meta/connect","advice":{{"interval":5}},"ext":{{"ack":8}}}}]"#
    ));
    let message = |index| parsed.message(index).unwrap();
    assert_eq!(parsed.digests.len(), 2);
    assert!(parsed.digests.iter().all(|it| {
        it.advice.as_ref().is_none_or(|it| it.len() < 500)
            && it.ext.as_ref().is_none_or(|it| it.len() < 500)
    }));
    assert_eq!(message(0).replay_id(), Some(9));
    assert_eq!(message(0).ext(), Some(&*ext));
    assert_eq!(message(1).replay_id(), Some(3));
    let advice = message(2).advice(super::super::LONG_POLLING).unwrap();
    assert_eq!(advice.hosts.len(), 16);
    assert_eq!(advice.reconnect, Some(super::super::Reconnect::None));
    assert!(
        message(2).advice_json().unwrap().len() > LARGE,
        "the host's is whole"
    );
    assert_eq!(message(2).ext(), Some(&*ext));
    let field = |index, name| {
        message(index)
            .ext_field(name)
            .map(|it: &serde_json::value::RawValue| it.get())
    };
    assert_eq!(field(2, "ack"), Some("7"));
    assert_eq!(field(2, "last"), Some("[1]"));
    assert_eq!(field(2, "long"), None);
    assert_eq!(field(3, "ack"), Some("8"));
    let advice = message(3).advice(super::super::LONG_POLLING).unwrap();
    assert_eq!(advice.interval, Some(5));
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn what_a_body_takes_is_counted_and_shared_out() {
    let text = r#"[{"channel":"/x","data":1},{"channel":"/x","data":2},{"channel":"/meta/connect","id":1}]"#;
    let parsed = body(text);
    assert_eq!(parsed.size(), text.len());
    let one = parsed.share();
    assert!((text.len() / 2..=text.len() * 4).contains(&one), "{one}");
    let owned = OwnedMessage::new(Arc::new(parsed), 1);
    assert_eq!(owned.share(), one);
    assert_eq!(owned.get().unwrap().data(), Some("2"));
    assert_eq!(
        format!("{owned:?}"),
        r#"OwnedMessage { channel: Some("/x"), .. }"#
    );
    let long = format!(r#"[{{"channel":"/x","data":"{}"}}]"#, "x".repeat(100_000));
    let long = body(&long);
    assert_eq!(
        long.size(),
        100_000 + r#"[{"channel":"/x","data":""}]"#.len()
    );
    assert!(
        (100_000..250_000).contains(&long.share()),
        "{}",
        long.share()
    );
    // A body without data is whatever it is, as one.
    assert!(body(r#"[{"channel":"/x"}]"#).share() > 18);
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn limit_memory_of_many_small_messages_is_a_few_times_the_body() {
    for message in [
        r#"{"channel":"/"},"#,
        r#"{"channel":"\/","data":1},"#,
        r#"{"channel":"/","error":1},"#,
        r#"{"channel":"/","id":"\u0031"},"#,
        r#"{"":1},"#,
        "1,",
    ] {
        let parsed = body(&format!("[{}1]", message.repeat(50_000)));
        let heap = parsed.text.capacity()
            + parsed.messages.capacity() * size_of::<Fields>()
            + parsed.replies.capacity() * size_of::<ReplyFields>();
        assert!(
            heap < 9 * parsed.size(),
            "{message}: {heap} of {}",
            parsed.size()
        );
    }
}

#[test]
fn a_body_that_is_json_and_no_messages_is_told_as_what_it_is_154() {
    let BodyError::NotJson { why, start } = Body::parse(b"7".to_vec()).unwrap_err() else {
        panic!("it is JSON of another kind");
    };
    assert_eq!(start, "7");
    assert!(
        why.contains("expected an array of Bayeux messages"),
        "{why}"
    );
}
