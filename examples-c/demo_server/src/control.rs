//! The control interface: plain GET requests by which tests make things
//! happen in the server and see what it has received.

use std::fmt::Display;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::channel;
use crate::http::{self, HttpResponse};
use crate::script::Failure;
use crate::server::Shared;

const TEXT: &str = "text/plain;charset=UTF-8";
const JSON: &str = "application/json;charset=UTF-8";

pub async fn serve(listener: TcpListener, shared: Rc<Shared>) {
    loop {
        let stream = http::accept(&listener).await;
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(http::serve_connection(stream, move |request| {
            let response = respond(&request, &shared);
            async { Ok(response) }
        }));
    }
}

fn respond<B>(request: &Request<B>, shared: &Shared) -> HttpResponse {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET");
    }
    let query = Query(request.uri().query().unwrap_or_default());
    match command(request.uri().path(), query, shared) {
        Ok(Answer::Text(answer)) => text(StatusCode::OK, answer),
        Ok(Answer::Json(answer)) => http::respond(StatusCode::OK, JSON, answer),
        Err(Refusal::UnknownCommand) => text(StatusCode::NOT_FOUND, "unknown command"),
        Err(Refusal::Parameter(problem)) => text(StatusCode::BAD_REQUEST, problem),
    }
}

fn text(status: StatusCode, answer: impl Into<Bytes>) -> HttpResponse {
    http::respond(status, TEXT, answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Text(String),
    Json(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    UnknownCommand,
    Parameter(String),
}

fn command(path: &str, query: Query, shared: &Shared) -> Result<Answer, Refusal> {
    let bayeux = &shared.bayeux;
    let script = &shared.script;
    let answer = match path {
        "/publish" => {
            let channel: String = query.require("channel")?;
            let count = query.get_or("count", 1)?;
            publish(&channel, count, query.get_or("size", 0)?, shared)?;
            format!("published {count}")
        }
        "/disconnect" => format!("disconnected {}", bayeux.borrow_mut().disconnect_all()),
        "/forget" => format!("forgotten {}", bayeux.borrow_mut().forget_all()),
        "/sessions" => bayeux.borrow().session_count().to_string(),
        "/restart" => {
            let down = Duration::from_millis(query.get_or("down_ms", 0)?);
            // The receiver lives as long as the server.
            let _ = shared.restart.send(down);
            "restarting".to_owned()
        }
        "/fail" => {
            let failure = Failure {
                status: query.require("status")?,
                count: query.get_or("count", 1)?,
                on: query.get("on")?,
                retry_after: query.get("retry_after")?,
                set_cookie: None,
            };
            let answer = format!("failing {}", failure.count);
            script.borrow_mut().add_failure(failure);
            answer
        }
        "/lose" => {
            let count = query.get_or("count", 1)?;
            script.borrow_mut().lose(count);
            format!("losing {count}")
        }
        "/lost" => script.borrow().lost.to_string(),
        "/set-cookie" => {
            let cookie: HeaderValue = query.require("value")?;
            if let Some(status) = query.get("status")? {
                script.borrow_mut().add_failure(Failure {
                    status,
                    count: 1,
                    on: None,
                    retry_after: None,
                    set_cookie: Some(cookie),
                });
            } else {
                script.borrow_mut().set_cookie(cookie);
            }
            "set".to_owned()
        }
        "/stats" => {
            let stats = serde_json::to_string(&bayeux.borrow().stats);
            return Ok(Answer::Json(stats.expect("numbers are JSON")));
        }
        "/headers" => return Ok(Answer::Json(script.borrow().requests_json())),
        _ => return Err(Refusal::UnknownCommand),
    };
    Ok(Answer::Text(answer))
}

/// Publishes `{"n":0,"pad":"xxx…"}`, `{"n":1,…` and so on.
fn publish(name: &str, count: u64, size: usize, shared: &Shared) -> Result<(), Refusal> {
    #[derive(Serialize)]
    struct Data<'a> {
        n: u64,
        pad: &'a str,
    }
    if !channel::is_valid(name) || channel::is_wild(name) || channel::is_meta(name) {
        return Err(Refusal::Parameter(format!(
            "channel: cannot publish to '{name}'"
        )));
    }
    let pad = "x".repeat(size);
    let mut bayeux = shared.bayeux.borrow_mut();
    for n in 0..count {
        let data = Data { n, pad: &pad };
        let data: Box<RawValue> =
            serde_json::value::to_raw_value(&data).expect("a number and a text are JSON");
        bayeux.broadcast(name, &data);
    }
    Ok(())
}

/// The query of a request, percent-encoded as in a form.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get<T>(self, name: &str) -> Result<Option<T>, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        form_urlencoded::parse(self.0.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.parse())
            .transpose()
            .map_err(|error| Refusal::Parameter(format!("{name}: {error}")))
    }

    fn get_or<T>(self, name: &str, default: T) -> Result<T, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        Ok(self.get(name)?.unwrap_or(default))
    }

    fn require<T>(self, name: &str) -> Result<T, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        self.get(name)?.ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::Parameter(format!("{name}: missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::sync::mpsc;

    fn run(shared: &Shared, target: &str) -> Result<Answer, Refusal> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        command(path, Query(query), shared)
    }

    fn shared() -> (Shared, mpsc::UnboundedReceiver<Duration>) {
        let (restart, restarts) = mpsc::unbounded_channel();
        let shared = Shared {
            bayeux: RefCell::default(),
            script: RefCell::default(),
            restart,
        };
        (shared, restarts)
    }

    #[test]
    fn commands() {
        let (shared, mut restarts) = shared();
        for (target, answer) in [
            ("/publish?channel=%2Fx&count=3&size=2", "published 3"),
            ("/disconnect", "disconnected 0"),
            ("/forget", "forgotten 0"),
            ("/sessions", "0"),
            ("/restart?down_ms=5", "restarting"),
            ("/fail?status=503&count=2&on=/meta/connect", "failing 2"),
            ("/lose?count=2", "losing 2"),
            ("/lost", "0"),
            ("/set-cookie?value=a%3D1%3B%20Path%3D%2F", "set"),
        ] {
            let expected = Ok(Answer::Text(answer.to_owned()));
            assert_eq!(run(&shared, target), expected, "{target}");
        }
        assert_eq!(restarts.try_recv(), Ok(Duration::from_millis(5)));
        let cookie = shared.script.borrow_mut().take_cookie();
        assert_eq!(cookie.unwrap(), "a=1; Path=/");
        assert_eq!(run(&shared, "/headers"), Ok(Answer::Json("[]".to_owned())));
    }

    #[test]
    fn refusals() {
        let (shared, _restarts) = shared();
        assert_eq!(run(&shared, "/x"), Err(Refusal::UnknownCommand));
        for target in [
            "/publish",
            "/publish?channel=x",
            "/publish?channel=/x&count=-1",
            "/fail",
            "/fail?status=9",
            "/set-cookie?value=a%0Ab",
        ] {
            let refused = matches!(run(&shared, target), Err(Refusal::Parameter(_)));
            assert!(refused, "{target}");
        }
    }
}
