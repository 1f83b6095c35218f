//! The Bayeux server on HTTP: long polling, and the requests that become
//! WebSockets.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, ALLOW, AUTHORIZATION, COOKIE, RETRY_AFTER, SET_COOKIE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bayeux::{Bayeux, HeldConnect, Outcome, Replaced, Sender};
use crate::http::{self, Broken, HttpResponse};
use crate::message::{Message, Text};
use crate::script::{Record, Script};
use crate::websocket::{self, Upgrade};

pub const PATH: &str = "/cometd";
const BROWSER: &str = "BAYEUX_BROWSER";
pub const MAXIMUM_BODY: usize = 16 << 20;

/// What all connections share, on the one thread of the server. No borrow is
/// held while something waits.
#[derive(Debug)]
pub struct Shared {
    pub bayeux: RefCell<Bayeux>,
    pub script: RefCell<Script>,
    /// Restarts the server, with the time that it stays down.
    pub restart: mpsc::UnboundedSender<Duration>,
}

/// Accepts connections for ever. Fails only if it cannot listen again after a
/// restart.
pub async fn serve(
    mut listener: TcpListener,
    shared: Rc<Shared>,
    mut restarts: mpsc::UnboundedReceiver<Duration>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    loop {
        let mut connections = JoinSet::new();
        let down = loop {
            tokio::select! {
                stream = http::accept(&listener) => {
                    let shared = Rc::clone(&shared);
                    connections.spawn_local(serve_connection(stream, shared));
                }
                Some(_) = connections.join_next() => {}
                Some(down) = restarts.recv() => break down,
            }
        };
        drop(listener);
        // The sessions go last: held connects shall be cut, not answered.
        connections.shutdown().await;
        shared.bayeux.borrow_mut().forget_all();
        tokio::time::sleep(down).await;
        listener = http::listen(address)?;
    }
}

async fn serve_connection(stream: TcpStream, shared: Rc<Shared>) {
    let upgrade = Rc::new(Cell::new(None));
    http::serve_connection(stream, |request| {
        handle(request, Rc::clone(&shared), Rc::clone(&upgrade))
    })
    .await;
    if let Some(upgrade) = upgrade.take() {
        websocket::serve(upgrade, &shared).await;
    }
}

async fn handle(
    mut request: Request<Incoming>,
    shared: Rc<Shared>,
    upgrade: Rc<Cell<Option<Upgrade>>>,
) -> Result<HttpResponse, Broken> {
    if websocket::is_asked_for(request.headers()) {
        let mut response = open(&mut request, &shared, &upgrade);
        if let Some(cookie) = shared.script.borrow_mut().take_cookie() {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        return Ok(response);
    }
    if !request.uri().path().starts_with(PATH) {
        return Ok(http::error_page(StatusCode::NOT_FOUND));
    }
    if request.method() != Method::POST {
        let mut response = http::error_page(StatusCode::METHOD_NOT_ALLOWED);
        let allowed = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let mut response = receive(request, &shared).await?;
    if let Some(cookie) = shared.script.borrow_mut().take_cookie() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Answers a request for a WebSocket, which begins when the response is sent.
fn open(
    request: &mut Request<Incoming>,
    shared: &Shared,
    upgrade: &Cell<Option<Upgrade>>,
) -> HttpResponse {
    let mut script = shared.script.borrow_mut();
    script.record(Record::new(request.uri().path(), request.headers(), b""));
    if let Some(response) = scripted_response(&mut script, &["upgrade"]) {
        return response;
    }
    let mut bayeux = shared.bayeux.borrow_mut();
    let is_offered = bayeux.transports().websocket;
    // CometD refuses what it does not offer, and all paths that are not the
    // URL itself, with the same status.
    if !is_offered || request.uri().path() != PATH || request.method() != Method::GET {
        return http::error_page(StatusCode::BAD_REQUEST);
    }
    let Some(response) = websocket::response(request.headers()) else {
        return http::error_page(StatusCode::BAD_REQUEST);
    };
    bayeux.stats.upgrades += 1;
    upgrade.set(Some(Upgrade::new(request)));
    response
}

async fn receive(request: Request<Incoming>, shared: &Shared) -> Result<HttpResponse, Broken> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAXIMUM_BODY).collect().await else {
        return Ok(http::error_page(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes();
    let messages = Message::parse_all(&body);

    shared.bayeux.borrow_mut().stats.requests += 1;
    let scripted = {
        let mut script = shared.script.borrow_mut();
        script.record(Record::new(head.uri.path(), &head.headers, &body));
        let channels: Vec<&str> = messages
            .iter()
            .flatten()
            .filter_map(|message| message.channel.as_deref())
            .collect();
        scripted_response(&mut script, &channels)
    };
    if let Some(response) = scripted {
        return Ok(response);
    }
    if !shared.bayeux.borrow().transports().long_polling {
        return Ok(http::error_page(StatusCode::BAD_REQUEST));
    }
    let Ok(messages) = messages else {
        return Ok(http::error_page(StatusCode::BAD_REQUEST));
    };

    let sender = sender(&head.headers);
    let outcome = shared.bayeux.borrow_mut().receive(&messages, &sender);
    // A response with events holds more messages than the request.
    let deliver = |answers: &[Text]| {
        let brings_events = answers.len() > messages.len();
        if brings_events && shared.script.borrow_mut().take_loss() {
            return Err(Broken);
        }
        Ok(messages_response(answers))
    };
    Ok(match outcome {
        Ok(Outcome::Answer(answer)) => {
            let mut response = deliver(&answer.messages)?;
            let cookie = answer.browser.and_then(|value| {
                HeaderValue::from_str(&format!("{BROWSER}={value}; Path=/")).ok()
            });
            if let Some(cookie) = cookie {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            response
        }
        Ok(Outcome::Hold(held)) => match hold(held, &shared.bayeux).await {
            Ok(messages) => deliver(&messages)?,
            Err(Replaced) => http::error_page(StatusCode::REQUEST_TIMEOUT),
        },
        // The status with which CometD refuses it.
        Err(_) => http::error_page(StatusCode::INTERNAL_SERVER_ERROR),
    })
}

/// The response that the control interface has asked for instead of the
/// regular one.
fn scripted_response(script: &mut Script, channels: &[&str]) -> Option<HttpResponse> {
    let failure = script.next_failure(channels)?;
    let mut response = http::error_page(failure.status);
    let fields = [
        (RETRY_AFTER, failure.retry_after),
        (SET_COOKIE, failure.set_cookie),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    Some(response)
}

/// Waits until there is a reason to answer. If the client goes away, hyper
/// drops this future, and with it the receiver by which the session knows.
async fn hold(mut held: HeldConnect, bayeux: &RefCell<Bayeux>) -> Result<Vec<Text>, Replaced> {
    held.wait().await;
    bayeux.borrow_mut().finish(&held)
}

fn messages_response(messages: &[Text]) -> HttpResponse {
    let body = format!("[{}]", messages.join(","));
    http::respond(StatusCode::OK, "application/json;charset=UTF-8", body)
}

pub fn sender(headers: &HeaderMap) -> Sender {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    Sender {
        authorization: headers.get(AUTHORIZATION).and_then(text),
        browser: headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(|value| cookie_value(value, BROWSER)),
        socket: None,
    }
}

fn cookie_value(header: &str, name: &str) -> Option<String> {
    header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        let header = "a=1; BAYEUX_BROWSER=xy=z;b=2";
        assert_eq!(cookie_value(header, BROWSER).as_deref(), Some("xy=z"));
        assert_eq!(cookie_value(header, "b").as_deref(), Some("2"));
        assert_eq!(cookie_value("X_BAYEUX_BROWSER=1", BROWSER), None);
    }
}
