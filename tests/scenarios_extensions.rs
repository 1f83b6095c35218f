//! Code of the host's in the messages' way: extensions, and the handshake
//! provider, over sockets.

mod scenario;

use std::sync::{Arc, Mutex};

use cometd::client::{Builder, Extension};
use scenario::{Run, END, SESSION};

/// Puts a field behind the last one of each message that has this text.
fn adding(part: &'static str, field: &'static str) -> Extension {
    let extend: Arc<cometd::client::Extend> = Arc::new(move |message| {
        let json = message.json().to_owned();
        if json.contains(part) {
            let longer = format!("{},{field}}}", json.strip_suffix('}').unwrap());
            message.replace(longer.as_bytes()).unwrap();
        }
        Ok(())
    });
    Extension {
        outgoing: Some(extend.clone()),
        incoming: Some(extend),
    }
}

/// Drops each outgoing message that has this text.
fn dropping(part: &'static str) -> Extension {
    Extension {
        outgoing: Some(Arc::new(move |message| {
            if message.json().contains(part) {
                message.delete();
            }
            Ok(())
        })),
        incoming: None,
    }
}

fn quick(script: String, configure: impl FnOnce(&mut Builder)) -> Run {
    Run::with(script, |builder| {
        scenario::backoff(builder, 5, 20);
        configure(builder);
    })
    .start()
}

#[test]
fn of_three_publishes_an_extension_deletes_one_and_the_others_are_sent_104() {
    let script = [
        SESSION,
        "expect connect as held
        ",
        r#"expect messages as two : [{"channel":"/a","id":"$*","clientId":"$client","data":1},{"channel":"/c","id":"$*","clientId":"$client","data":3}]
        answer two
        "#,
        END,
    ]
    .concat();
    let mut run = quick(script, |it| it.add_extension(dropping(r#""channel":"/b""#)));
    run.requested("held");
    run.host.client.begin_batch().unwrap();
    let [a, b, c] = [("/a", "1"), ("/b", "2"), ("/c", "3")].map(|it| run.publish(it.0, it.1));
    run.host.client.end_batch().unwrap();
    run.until(&format!("error {b} publish MessageDeleted"));
    run.until(&format!("published {a} /a"))
        .until(&format!("published {c} /c"));
    run.disconnect().played();
    let error = run.host.error(0);
    assert_eq!(error.bayeux.as_ref().unwrap().code, 404);
    assert_eq!(error.channel.as_deref(), Some("/b"));
    assert_eq!(run.host.errors.len(), 1);
}

#[test]
fn outgoing_extensions_run_in_reverse_and_change_no_id_220() {
    let script = [
        SESSION,
        "expect connect as held
        ",
        r#"expect messages as p : [{"channel":"/x","id":"$*","clientId":"$client","data":1,"order":"ba"}]
        answer p : [{"channel":"/seen","data":"-"},$ok]
        "#,
        END,
    ]
    .concat();
    let letter = |letter: &'static str| {
        let extend: Arc<cometd::client::Extend> = Arc::new(move |message| {
            let json = message.json().to_owned();
            let changed = if json.contains(r#""order":""#) {
                json.replace(r#""order":""#, &format!(r#""order":"{letter}"#))
            } else if json.contains("/seen") {
                json.replace(r#""data":"-"#, &format!(r#""data":"-{letter}"#))
            } else {
                return Ok(());
            };
            let identity = r#"{"id":"1000","clientId":"other","channel":"/y""#;
            let changed = match json.contains("clientId") {
                true => changed.replacen('{', &format!("{identity},"), 1),
                false => changed,
            };
            message.replace(changed.as_bytes()).unwrap();
            Ok(())
        });
        Extension {
            outgoing: Some(extend.clone()),
            incoming: Some(extend),
        }
    };
    let mut run = quick(script, |it| {
        it.add_extension(letter("b"));
        it.add_extension(letter("a"));
        // Added last, it is the first to see what goes out.
        it.add_extension(adding(r#""/x""#, r#""order":"""#));
    });
    run.requested("held");
    let id = run.publish("/x", "1");
    run.until("message /seen \"-ab\"")
        .until(&format!("published {id} /x"));
    run.disconnect().played();
    assert_eq!(run.host.errors, []);
}

#[test]
fn a_challenge_is_answered_by_a_handshake_provider_13_14() {
    let script = [
        r#"expect messages : [{"channel":"/meta/handshake","id":"$*","version":"1.0","clientId":"$absent","ext":{"user":"me"},"...":1}]
        answer : [$no{"advice":{"reconnect":"handshake"},"ext":{"challenge":"c-1"}}]
        expect messages : [{"channel":"/meta/handshake","id":"$*","version":"1.0","clientId":"$absent","ext":{"user":"me","answer":"c-1/2"},"...":1}]
        answer : [$no{"advice":{"reconnect":"handshake"},"ext":{"challenge":"c-2"}}]
        expect messages as third : [{"channel":"/meta/handshake","id":"$*","version":"1.0","clientId":"$absent","ext":{"user":"me","answer":"c-2/3"},"...":1}]
        answer third
        expect connect at-once
        answer
        expect connect as held
        "#,
        END,
    ]
    .concat();
    let mut run = quick(script, |it| {
        it.set_handshake_ext(br#"{"user":"me"}"#).unwrap();
        it.set_handshake_provider(Some(Arc::new(|handshake| {
            if let Some(refusal) = handshake.refusal() {
                let refusal: serde_json::Value = serde_json::from_str(refusal).unwrap();
                let challenge = refusal["ext"]["challenge"].as_str().unwrap();
                let answer = format!(
                    r#"{{"ext":{{"answer":"{challenge}/{}"}}}}"#,
                    handshake.attempt()
                );
                handshake.set_fields(answer.as_bytes()).unwrap();
            }
            Ok(())
        })));
    });
    run.requested("held").disconnect().played();
    assert_eq!(run.host.errors.len(), 2);
    assert!(run.host.errors.iter().all(|it| !it.fatal));
}

#[test]
fn an_extension_can_answer_a_challenge_too_13() {
    let script = [
        r#"expect handshake
        answer : [$no{"advice":{"reconnect":"handshake"},"ext":{"challenge":"c-1"}}]
        expect messages as second : [{"channel":"/meta/handshake","id":"$*","ext":{"answer":"c-1!"},"...":1}]
        answer second
        expect connect at-once
        answer
        expect connect as held
        "#,
        END,
    ]
    .concat();
    let challenge = Arc::new(Mutex::new(None::<String>));
    let (to, from) = (challenge.clone(), challenge);
    let answering = Extension {
        incoming: Some(Arc::new(move |message| {
            let message: serde_json::Value = serde_json::from_str(message.json()).unwrap();
            if let Some(challenge) = message["ext"]["challenge"].as_str() {
                *to.lock().unwrap() = Some(challenge.to_owned());
            }
            Ok(())
        })),
        outgoing: Some(Arc::new(move |message| {
            if let Some(challenge) = from.lock().unwrap().take() {
                let json = message.json().strip_suffix('}').unwrap();
                let json = format!(r#"{json},"ext":{{"answer":"{challenge}!"}}}}"#);
                message.replace(json.as_bytes()).unwrap();
            }
            Ok(())
        })),
    };
    let mut run = quick(script, |it| it.add_extension(answering));
    run.requested("held").disconnect().played();
}

#[test]
fn the_protocols_own_handshake_fields_win_and_the_others_are_sent_2() {
    let script = [
        r#"expect messages as h : [{"channel":"/meta/handshake","id":"1","version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"advice":{"timeout":60000,"interval":0},"clientId":"$absent","com.acme":{"a":1}}]
        answer h
        expect connect at-once
        answer
        expect connect as held
        "#,
        END,
    ]
    .concat();
    let mut run = quick(script, |it| {
        it.set_handshake_provider(Some(Arc::new(|handshake| {
            let fields =
                br#"{"id":"9","channel":"/x","version":"9","com.acme":{"a":1},"clientId":"c"}"#;
            handshake.set_fields(fields).unwrap();
            Ok(())
        })));
    });
    run.requested("held").disconnect().played();
    assert_eq!(run.host.errors, []);
}

#[test]
fn a_panic_of_an_extension_costs_nothing_210() {
    let script = [
        SESSION,
        "expect connect as held
        expect publish /x : 1
        answer
        ",
        END,
    ]
    .concat();
    let mut run = quick(script, |it| {
        let extend: Arc<cometd::client::Extend> = Arc::new(|_| panic!("a test asked for it"));
        it.add_extension(Extension {
            outgoing: Some(extend.clone()),
            incoming: Some(extend),
        });
    });
    run.requested("held");
    let id = run.publish("/x", "1");
    run.until(&format!("published {id} /x"));
    run.disconnect().played();
    assert_eq!(run.host.errors, []);
    assert!(run.host.client.statistics().failures["extension"] >= 8);
}
