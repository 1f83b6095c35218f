//! What curl and browsers take of a server is taken, counted and told; what is
//! sent looks like what they send.

mod scenario;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, Once};

use cometd::client::Client;
use cometd_peer::{Peer, Script};
use scenario::{Host, Run, END, PATIENCE, SESSION};
use tracing::level_filters::LevelFilter;
use tracing::Level;

const OK: &str = r#"[{"channel":"/meta/connect","id":"3","successful":true}]"#;

/// All lines of the log of this process that have this in them.
fn log_lines(about: &str) -> Vec<(Level, String)> {
    static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());
    static SET: Once = Once::new();
    SET.call_once(|| {
        let sink = |level, _: &str, text: &str| {
            LINES.lock().unwrap().push((level, text.to_owned()));
        };
        cometd::log::set(Some(Arc::new(sink)), LevelFilter::DEBUG).unwrap();
    });
    let lines = LINES.lock().unwrap();
    let about = lines.iter().filter(|(_, text)| text.contains(about));
    about.cloned().collect()
}

/// However this connect's answer comes, nobody notices anything.
fn a_connect_answered_well(how: &str) -> Run {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect as odd
        {how}
        expect connect as held
        {END}"
    ))
    .start();
    run.requested("held").disconnect().played();
    assert!(run.host.errors.is_empty(), "{how}: {:?}", run.host.errors);
    assert_eq!(run.host.count("Connected"), 1, "{how}");
    run
}

fn taken(client: &Client, kind: &str) -> u64 {
    let taken = client.statistics().leniencies;
    taken.get(kind).copied().unwrap_or(0)
}

#[test]
fn case_odd_headers_are_passed_over_and_the_response_is_used() {
    for (headers, odd) in [
        (r"Set-Cookie: a=b\x7fc", 1),
        (r"Set-Cookie: a=b\0c", 1),
        (r"X-Trace : 1", 1),
        (r"X-Folded: one\r\n two", 1),
        (r": no name", 1),
        (r"no colon", 1),
        (r"X Trace: 1", 1),
        (r"X-\xff: 1", 1),
        (r"X-Latin: \xe9", 0),
        (r"X-Empty:", 0),
    ] {
        for end in [r"\r\n", r"\n"] {
            let length = OK.len();
            let headers = headers.replace(r"\r\n", end);
            let run = a_connect_answered_well(&format!(
                "send : HTTP/1.1 200 OK{end}{headers}{end}Content-Length: {length}{end}{end}{OK}"
            ));
            assert_eq!(taken(&run.host.client, "header"), odd, "{headers}");
        }
    }
}

#[test]
fn case_odd_headers_120_of_them_and_64_kib_of_heads() {
    let many: String = (0..120)
        .map(|n| format!(r#"header="X-{n}: {n}" "#))
        .collect();
    let run = a_connect_answered_well(&format!(
        r#"answer {many} header="Set-Cookie: a=b; Path=/"
        expect connect cookie="a=b"
        answer"#
    ));
    assert_eq!(taken(&run.host.client, "header"), 1);
    let long = format!(r#"header="X-Long: {}" "#, "x".repeat(6_000));
    let run = a_connect_answered_well(&format!("answer {}", long.repeat(11)));
    assert_eq!(taken(&run.host.client, "header"), 0);
    // Whatever pieces it comes in.
    a_connect_answered_well(&format!("answer {many} pieces=7"));
}

#[test]
fn case_odd_headers_above_the_bound_are_an_error_that_says_so() {
    let long = format!(r#"header="X-Long: {}" "#, "x".repeat(6_000));
    let mut run = Run::quick(format!(
        "expect handshake
        answer {}
        {SESSION}
        expect connect as held
        {END}",
        long.repeat(50)
    ))
    .start();
    run.requested("held").disconnect().played();
    let message = &run.host.error(0).message;
    let told = "handshake: the response's head is larger than 262144 bytes [";
    assert!(message.starts_with(told), "{message}");
}

#[test]
fn case_gzip_tail_transfer_encoding_identity_beside_a_length_is_passed_over() {
    for encoding in ["identity", "Identity ", "identity, identity"] {
        let run = a_connect_answered_well(&format!(
            r#"answer header="Transfer-Encoding: {encoding}"
            expect connect on=used
            answer"#
        ));
        assert_eq!(
            taken(&run.host.client, "transfer_encoding"),
            1,
            "{encoding}"
        );
    }
}

#[test]
fn limit_interim_responses_are_bounded_then_there_is_an_error() {
    // Some are passed over.
    let some = r"HTTP/1.1 102 Processing\r\n\r\n".repeat(200);
    a_connect_answered_well(&format!("send : {some}\nanswer"));
    // Without end they are not.
    let many = r"HTTP/1.1 102 Processing\r\n\r\n".repeat(1_100);
    let mut run = Run::quick(format!(
        "expect handshake as odd
        send : {many}
        closed odd
        {SESSION}
        expect connect as held
        {END}"
    ))
    .start();
    run.requested("held").disconnect().played();
    let error = run.host.error(0);
    assert_eq!(error.kind, cometd::error::ErrorKind::MalformedHttp);
    assert!(
        error.message.contains("1000 interim responses"),
        "{}",
        error.message
    );
}

/// The head of the first request that comes.
fn first_request(configure: impl FnOnce(&mut cometd::client::Builder)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let host = Host::new(&url, configure);
    host.client.connect().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = Vec::new();
    while !text.windows(4).any(|it| it == b"\r\n\r\n") {
        let mut space = [0; 1024];
        let read = stream.read(&mut space).unwrap();
        assert!(read > 0);
        text.extend_from_slice(&space[..read]);
    }
    let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n");
    let text = String::from_utf8(text).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap();
    head.lines().map(str::to_owned).collect()
}

#[test]
fn case_accept_a_request_looks_like_those_of_everybody_else() {
    let head = first_request(|_| {});
    assert!(
        head.contains(&"Accept: application/json, */*;q=0.1".to_owned()),
        "{head:?}"
    );
    let names: Vec<_> = head[1..]
        .iter()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "Accept",
            "Accept-Encoding",
            "Content-Length",
            "Content-Type",
            "Host",
            "User-Agent"
        ]
    );
}

#[test]
fn case_accept_a_hosts_own_takes_its_place() {
    let head = first_request(|builder| {
        builder.add_header("accept", "text/plain").unwrap();
        builder.add_header("X-SFDC-Session", "abc").unwrap();
    });
    let all = head.join("\n");
    assert!(all.contains("\nAccept: text/plain"), "{all}");
    assert_eq!(all.matches("Accept: ").count(), 1, "{all}");
    assert!(all.contains("\nX-Sfdc-Session: abc"), "{all}");
}

#[test]
fn case_json_explanation_of_a_refusal_is_told() {
    for (status, body, told) in [
        (
            401,
            r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
            r#"HTTP 401 Unauthorized ("[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]")"#,
        ),
        (
            403,
            r#"{"status":403,"message":"CSRF token missing"}"#,
            r#"HTTP 403 Forbidden ("{"status":403,"message":"CSRF token missing"}")"#,
        ),
        (
            500,
            r#"{"fault":{"faultstring":"quota"}}"#,
            r#"HTTP 500 Internal Server Error ("{"fault":{"faultstring":"quota"}}")"#,
        ),
        (
            400,
            r#""just a text""#,
            r#"HTTP 400 Bad Request (""just a text"")"#,
        ),
        (
            403,
            r#"[{"channel":"/meta/handshake","successful":false,"error":"403::No"}]"#,
            "HTTP 403 Forbidden (403::No)",
        ),
        (
            200,
            r#"{"error":"x","message":"y"}"#,
            r#"the response holds no Bayeux message; it begins "{"error":"x","message":"y"}""#,
        ),
        (
            200,
            r#"[{"message":"m"},{"channel":5}]"#,
            r#"the response holds no Bayeux message; it begins "[{"message":"m"},{"channel":5}]""#,
        ),
    ] {
        for how in ["", "gzip", "chunked=5"] {
            let mut run = Run::quick(format!(
                "expect handshake
                answer status={status} {how} : {body}
                {SESSION}
                expect connect as held
                {END}"
            ))
            .start();
            run.requested("held").disconnect().played();
            let error = run.host.error(0);
            let told = format!("handshake: {told} [");
            assert!(error.message.starts_with(&told), "{how}: {}", error.message);
            assert_eq!(error.http_status, status);
            assert_eq!(run.host.errors.len(), 1);
        }
    }
}

#[test]
fn case_json_explanation_of_a_publish_ends_it_at_once() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as held
        expect publish /a as p
        answer p : {{"error":"x","message":"y"}}
        {END}"#
    ))
    .start();
    run.requested("held");
    let id = run.publish("/a", "1");
    run.until(&format!("error {id} publish Protocol"));
    run.disconnect().played();
    assert!(run
        .host
        .error(0)
        .message
        .contains(r#"{"error":"x","message":"y"}"#));
}

#[test]
fn case_gzip_tail_and_odd_codings_are_taken() {
    for (how, kind) in [
        (
            r#"answer header="Content-Encoding: utf-8""#,
            "content_encoding",
        ),
        (
            r#"answer header="Content-Encoding: br""#,
            "content_encoding",
        ),
        (
            r#"answer header="Content-Encoding: gzip""#,
            "content_encoding",
        ),
        (
            r#"answer gzip header="Content-Encoding: gzip, gzip""#,
            "content_encoding",
        ),
        (
            r#"answer gzip header="Content-Encoding: gzip, identity""#,
            "",
        ),
    ] {
        let run = a_connect_answered_well(how);
        assert_eq!(
            taken(&run.host.client, kind),
            u64::from(!kind.is_empty()),
            "{how}"
        );
    }
}

#[test]
fn case_odd_headers_are_told_by_name_once_as_a_warning() {
    log_lines("");
    let odd = |number: u32| {
        format!(
            r"send : HTTP/1.1 200 OK\r\nX-Odd-{number}-here: secret\x7f\r\nContent-Length: {}\r\n\r\n{}
            expect connect
            ",
            OK.len(),
            OK.replace("\"3\"", &format!("\"{}\"", number + 2)),
        )
    };
    let (one, two) = (odd(1), odd(2));
    a_connect_answered_well(&format!("{one}{two}answer"));
    let lines = log_lines("X-Odd-");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0].0, Level::WARN);
    assert!(lines[0].1.contains("X-Odd-1-here"), "{lines:?}");
    assert_eq!(lines[1].0, Level::DEBUG);
    assert!(lines[1].1.contains("X-Odd-2-here"), "{lines:?}");
    assert!(lines.iter().all(|(_, text)| !text.contains("secret")));
}

#[test]
fn case_which_client_each_response_is_a_line_without_userinfo_and_query() {
    log_lines("");
    let script = r#"base /cometd
        expect handshake path=/cometd/some.where?key=in-the-query
        answer status=503 : busy
        expect handshake path=/cometd/some.where?key=in-the-query
        answer status=307 header="Location: /cometd/else.where?key=another" :
        expect handshake path=/cometd/else.where?key=another
        answer status=401 : who?"#;
    let peer = Peer::start(Script::parse(script).unwrap()).unwrap();
    let url = peer.url("/cometd/some.where?key=in-the-query");
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let with_user = url.replace("http://", "http://user:in-the-userinfo@");
    let mut host = Host::new(&with_user, |builder| scenario::backoff(builder, 5, 20));
    host.client.connect().unwrap();
    host.until("error handshake Unauthorized 401", || peer.failure());
    let lines = log_lines(&format!("response url=http://{address}/"));
    let shown = |path: &str, status: u16| {
        format!("response url=http://{address}{path} status={status} ms=")
    };
    let places = [
        shown("/cometd/some.where", 503),
        shown("/cometd/some.where", 307),
        shown("/\u{2026} (redirected)", 401),
    ];
    assert_eq!(lines.len(), places.len(), "{lines:?}");
    for ((level, text), shown) in lines.iter().zip(&places) {
        assert_eq!(*level, Level::DEBUG);
        assert!(text.contains(shown), "{text}");
    }
    assert!(lines[0].1.ends_with(" bytes=4"), "{lines:?}");
    let all = log_lines("in-the-");
    assert!(all.is_empty(), "{all:?}");
}

/// Each header that the client reads, as servers write it. Where curl and the
/// browsers take it, the response is used, and the connection goes on where
/// they would use it again.
#[test]
fn headers_are_read_as_curl_and_browsers_read_them() {
    let length = OK.len();
    let chunked = format!(r"{length:X};x=y\r\n{OK}\r\n0\r\nTrailer: t\r\n\r\n");
    let plain = OK.to_owned();
    let until_closed = "close";
    for (status, headers, body, then) in [
        ("1.1 200 OK", "Content-Length: SIZE", &plain, "used"),
        ("1.1 200", "content-length:SIZE", &plain, "used"),
        (
            "1.1 200 Fine, thanks",
            "CONTENT-LENGTH:  SIZE ",
            &plain,
            "used",
        ),
        (
            r"1.1 200 \xe9\xff",
            "Content-Length: 00SIZE",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nContent-Length: SIZE",
            &plain,
            "used",
        ),
        ("1.1 200 OK", "Content-Length: SIZE, SIZE", &plain, "used"),
        ("1.1 200 OK", "Content-Length : SIZE", &plain, "used"),
        ("1.1 200 OK", r"Content-Length:\r\n SIZE", &plain, "used"),
        ("1.1 200 OK", "Transfer-Encoding: chunked", &chunked, "used"),
        ("1.1 200 OK", "transfer-encoding:Chunked", &chunked, "used"),
        (
            "1.1 200 OK",
            "Transfer-Encoding: identity, chunked",
            &chunked,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Transfer-Encoding: chunked\r\nContent-Length: 3",
            &chunked,
            "used",
        ),
        ("1.0 200 OK", "Transfer-Encoding: chunked", &chunked, "new"),
        ("1.0 200 OK", "Content-Length: SIZE", &plain, "new"),
        (
            "1.0 200 OK",
            r"Content-Length: SIZE\r\nConnection: Keep-Alive",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nConnection: Close",
            &plain,
            "new",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nConnection: x, close",
            &plain,
            "new",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nConnection: keep-alive, x",
            &plain,
            "used",
        ),
        ("1.1 200 OK", "X: y", &plain, until_closed),
        (
            "1.1 200 OK",
            "Transfer-Encoding: identity",
            &plain,
            until_closed,
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nContent-Type: text/html",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nContent-Type: ;;;",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nContent-Type: application/json; charset=iso-8859-1",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nContent-Encoding:",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nLocation: /other",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nRetry-After: 9999",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nSet-Cookie: ;",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nKeep-Alive: timeout=x",
            &plain,
            "used",
        ),
        (
            "1.1 200 OK",
            r"Content-Length: SIZE\r\nUpgrade: h2c",
            &plain,
            "used",
        ),
    ] {
        let headers = headers.replace("SIZE", &length.to_string());
        let (close, on) = if then == until_closed {
            ("close odd", "new")
        } else {
            ("", then)
        };
        let how = format!(
            r"send : HTTP/{status}\r\n{headers}\r\n\r\n{body}
            {close}
            expect connect on={on}
            answer"
        );
        a_connect_answered_well(&how);
    }
}

/// Each status that is not 200 is a failure of its request, told by its number,
/// with backoff; a redirect is told as one.
#[test]
fn statuses_other_than_200_are_failures() {
    for (status, kind) in [
        (101, "HttpStatus"),
        (204, "HttpStatus"),
        (205, "HttpStatus"),
        (206, "HttpStatus"),
        (226, "HttpStatus"),
        (300, "Redirect"),
        (304, "HttpStatus"),
        (305, "Redirect"),
        (308, "Redirect"),
        (400, "HttpStatus"),
        (402, "HttpStatus"),
        (407, "Unauthorized"),
        (413, "HttpStatus"),
        (418, "HttpStatus"),
        (451, "HttpStatus"),
        (499, "HttpStatus"),
        (501, "HttpStatus"),
        (505, "HttpStatus"),
        (520, "HttpStatus"),
        (599, "HttpStatus"),
        (999, "HttpStatus"),
    ] {
        let mut run = Run::quick(format!(
            r"{SESSION}
            expect connect as odd
            send : HTTP/1.1 {status} \r\nConnection: close\r\n\r\n
            close odd
            expect connect at-once after=5..
            answer
            expect connect as held
            {END}"
        ))
        .start();
        run.requested("held").disconnect().played();
        let told = format!("error connect {kind} {status}");
        assert_eq!(run.host.count(&told), 1, "{status}: {:?}", run.host.seen);
    }
}

#[test]
fn a_location_is_read_as_browsers_read_it() {
    for (location, path) in [
        ("/cometd/\u{e9}", "/cometd/%C3%A9"),
        ("  /cometd/x  ", "/cometd/x"),
        ("/cometd/a b", "/cometd/a%20b"),
        ("x", "/cometd/x"),
        ("?q", "/cometd/handshake?q"),
        ("../x", "/x"),
    ] {
        let mut run = Run::quick(format!(
            r#"expect handshake
            answer status=307 header="Location: {location}" :
            expect messages path={path} : [{{"channel":"/meta/handshake","id":"$h","...":""}}]
            answer client=client-1
            expect connect at-once
            answer
            expect connect as held
            {END}"#
        ))
        .start();
        run.requested("held").disconnect().played();
        assert!(
            run.host.errors.is_empty(),
            "{location}: {:?}",
            run.host.errors
        );
    }
}

#[test]
fn retry_after_counts_where_curl_tries_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let mut run = Run::quick(format!(
            r#"{SESSION}
            expect connect
            answer status={status} header="Retry-After: 1" : later
            expect connect at-once after=1000..
            answer
            expect connect as held
            {END}"#
        ))
        .start();
        run.requested("held").disconnect().played();
    }
}

#[test]
fn cookies_that_cannot_be_kept_are_told_by_name() {
    log_lines("");
    let run = a_connect_answered_well(
        r#"answer header="Set-Cookie: elsewhere=secret-value; Domain=example.com" header="Set-Cookie: secret-value; Path=/"
        expect connect no-header=Cookie
        answer"#,
    );
    assert_eq!(taken(&run.host.client, "cookie"), 2);
    let lines = log_lines("\"elsewhere\"");
    assert!(
        lines.iter().any(|(level, _)| *level == Level::WARN),
        "{lines:?}"
    );
    assert!(log_lines("secret-value").is_empty());
}

#[test]
fn what_the_log_tells_of_responses_holds_no_secret_contract_13() {
    log_lines("");
    let script = r#"base /cometd
        expect handshake
        answer status=307 header="Location: /cometd/Bearer-s3cr3t-token" :
        expect handshake path=/cometd/Bearer-s3cr3t-token
        answer status=500 header="X-Odd s3cr3t-token: 1" header="X-Odd s3cr3t-token too: 1" header="Set-Cookie: s3cr3t-token=1; Domain=other.example" header="Content-Encoding: s3cr3t-token" : []
        "#;
    let peer = Peer::start(Script::parse(script).unwrap()).unwrap();
    let url = peer.url("/cometd");
    let mut host = Host::new(&url, |builder| {
        builder.set_bearer_token("s3cr3t-token").unwrap();
    });
    host.client.connect().unwrap();
    host.until("error handshake HttpStatus 500", || peer.failure());
    assert_eq!(taken(&host.client, "header"), 2);
    assert_eq!(taken(&host.client, "cookie"), 1);
    assert_eq!(taken(&host.client, "content_encoding"), 1);
    assert!(!log_lines("X-Odd \u{2026}").is_empty());
    let all = log_lines("s3cr3t-token");
    assert!(all.is_empty(), "{all:?}");
}
