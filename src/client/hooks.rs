//! Where the host's code comes in between the session and the transport: its
//! extensions and its providers of handshakes' fields and requests' headers, run by
//! the client's worker.

use std::io;
use std::task::{Context, Poll};

use hyper::header::HeaderMap;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::arguments::json_error;
use super::arrivals::Origin;
use super::extensions::{Extensions, Outgoing};
use super::header_provider::{HeaderProvider, OutgoingRequest};
use super::shared::Shared;
use super::worker::{Job, Worker};
use crate::bayeux::{json, Body};
use crate::delivery::HostCode;
use crate::error::{Error, ErrorKind, Failure};
use crate::session::{HandshakeQuestion, RequestId, SocketId};

/// Sets the fields of a handshake, or says why it cannot.
pub type HandshakeProvider = dyn Fn(&mut Handshake) -> Result<(), String> + Send + Sync;

/// A handshake before it is made.
pub struct Handshake {
    attempt: u32,
    /// With a NUL at the end.
    refusal: Option<String>,
    fields: Option<Box<RawValue>>,
}

impl Handshake {
    fn new(question: HandshakeQuestion) -> Self {
        Self {
            attempt: question.attempt,
            refusal: question.refusal.map(|it| it + "\0"),
            fields: None,
        }
    }

    /// 1 for the first attempt since the last session that worked.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The reply, JSON, that refused the handshake before. Behind it is a NUL.
    pub fn refusal(&self) -> Option<&str> {
        let text = self.refusal.as_deref()?;
        Some(text.strip_suffix('\0').unwrap_or(text))
    }

    /// An object; the last call counts.
    pub fn set_fields(&mut self, fields: &[u8]) -> Result<(), Error> {
        self.fields = Some(handshake_fields(fields)?);
        Ok(())
    }
}

/// The fields that a handshake provider gives.
fn handshake_fields(json: &[u8]) -> Result<Box<RawValue>, Error> {
    let fields = json::parse_object(json).map_err(|error| json_error("json", &error))?;
    let is_object = |it: &RawValue| it.get().starts_with('{');
    if !json::field(&fields, "ext").is_none_or(is_object) {
        return Err(Error::call(
            ErrorKind::InvalidJson,
            "json: its ext is not a JSON object",
        ));
    }
    Ok(fields)
}

/// What came of a call of the host's code.
pub(super) enum Done {
    Outgoing {
        request: RequestId,
        outgoing: Outgoing,
        headers: Result<Option<Box<HeaderMap>>, Failure>,
    },
    Incoming {
        origin: Origin,
        reply: Result<Body, Failure>,
    },
    Fields {
        question: u64,
        answer: Result<Option<Box<RawValue>>, String>,
    },
}

pub(super) struct Hooks {
    extensions: Extensions,
    provider: Option<Arc<HandshakeProvider>>,
    header_provider: Option<Arc<HeaderProvider>>,
    shared: Arc<Shared>,
    worker: Worker,
    send: UnboundedSender<Done>,
    /// In the order of the calls. There are never more than requests under way
    /// and questions.
    done: UnboundedReceiver<Done>,
}

impl Hooks {
    /// `None` when the host has none of them.
    pub(super) fn new(
        extensions: Extensions,
        provider: Option<Arc<HandshakeProvider>>,
        header_provider: Option<Arc<HeaderProvider>>,
        shared: Arc<Shared>,
    ) -> Option<Self> {
        let has_provider = provider.is_some() || header_provider.is_some();
        if !extensions.has_outgoing() && !extensions.has_incoming() && !has_provider {
            return None;
        }
        let (send, done) = unbounded_channel();
        Some(Self {
            extensions,
            provider,
            header_provider,
            worker: Worker::new(shared.name.clone()),
            shared,
            send,
            done,
        })
    }

    pub(super) fn has_outgoing(&self) -> bool {
        self.extensions.has_outgoing()
    }

    pub(super) fn has_incoming(&self) -> bool {
        self.extensions.has_incoming()
    }

    pub(super) fn has_header_provider(&self) -> bool {
        self.header_provider.is_some()
    }

    /// Runs what is to be sent through the extensions; `asked` is the request whose
    /// headers are then asked for, if any.
    pub(super) fn outgoing(
        &self,
        request: RequestId,
        body: Vec<u8>,
        asked: Option<OutgoingRequest>,
    ) {
        let (extensions, shared) = (self.extensions.clone(), self.shared.clone());
        let provider = self.header_provider.clone();
        let send = self.send.clone();
        let job = move || {
            let mut outgoing = extensions.outgoing(body, &mut |why| {
                shared.extension_failed("outgoing", why);
            });
            if let Some(ext) = &outgoing.handshake_ext {
                shared.secrets.remember(ext);
            }
            let asked = asked.zip(provider.as_deref()).zip(outgoing.body.as_mut());
            let headers = asked.map(|((asked, provider), body)| asked.ask(provider, body));
            let headers = headers.transpose();
            if let Ok(Some(headers)) = &headers {
                shared.secrets.remember_headers(headers);
            }
            // Before the client learns of it: they may be the last ones.
            drop((extensions, provider));
            let _ = send.send(Done::Outgoing {
                request,
                outgoing,
                headers,
            });
        };
        let origin = Origin::Request(request);
        self.submit(Some(origin), Box::new(job), move |why| Done::Incoming {
            origin,
            reply: Err(Failure::new(ErrorKind::System, why)),
        });
    }

    /// Asks for the headers of the request that opens a socket; `None` without a
    /// provider. No answer means that the question was given up.
    #[allow(dead_code)] // Until upgrades ask for headers.
    pub(super) fn headers(
        &self,
        socket: SocketId,
        asked: OutgoingRequest,
    ) -> Option<oneshot::Receiver<Result<Box<HeaderMap>, Failure>>> {
        let provider = self.header_provider.clone()?;
        let shared = self.shared.clone();
        let (send, receive) = oneshot::channel();
        let job = move || {
            let headers = asked.ask(&*provider, &mut Vec::new());
            if let Ok(headers) = &headers {
                shared.secrets.remember_headers(headers);
            }
            drop(provider);
            let _ = send.send(headers);
        };
        let origin = Some(Origin::Socket(socket));
        if let Err(error) = self.worker.submit(origin, Box::new(job)) {
            let (send, receive) = oneshot::channel();
            let failure = Failure::new(ErrorKind::System, no_thread(&error));
            let _ = send.send(Err(failure));
            return Some(receive);
        }
        Some(receive)
    }

    pub(super) fn incoming(&self, origin: Origin, body: Vec<u8>) {
        let (extensions, shared) = (self.extensions.clone(), self.shared.clone());
        let send = self.send.clone();
        let job = move || {
            let body = extensions.incoming(body, &mut |why| {
                shared.extension_failed("incoming", why);
            });
            drop(extensions);
            let reply = origin.parse(body);
            let _ = send.send(Done::Incoming { origin, reply });
        };
        self.submit(Some(origin), Box::new(job), move |why| Done::Incoming {
            origin,
            reply: Err(Failure::new(ErrorKind::System, why)),
        });
    }

    pub(super) fn ask(&self, question: HandshakeQuestion) {
        let Some(provider) = self.provider.clone() else {
            return;
        };
        // The questions before it got no answer in time. While the provider hangs
        // they must not pile up, and afterwards nobody needs their answers.
        self.worker.cancel(None);
        let shared = self.shared.clone();
        let send = self.send.clone();
        let number = question.number;
        let job = move || {
            let mut handshake = Handshake::new(question);
            let result = {
                let _host = HostCode::enter();
                provider(&mut handshake)
            };
            drop(provider);
            if let Some(fields) = &handshake.fields {
                shared.secrets.remember(fields.get());
            }
            let answer = result.map(|()| handshake.fields);
            let _ = send.send(Done::Fields {
                question: number,
                answer,
            });
        };
        self.submit(None, Box::new(job), move |why| Done::Fields {
            question: number,
            answer: Err(why),
        });
    }

    fn submit(&self, origin: Option<Origin>, job: Job, failed: impl FnOnce(String) -> Done) {
        if let Err(error) = self.worker.submit(origin, job) {
            let _ = self.send.send(failed(no_thread(&error)));
        }
    }

    pub(super) fn cancel(&self, origin: Origin) {
        self.worker.cancel(Some(origin));
    }

    pub(super) fn poll_done(&mut self, context: &mut Context) -> Poll<Done> {
        match self.done.poll_recv(context) {
            Poll::Ready(Some(done)) => Poll::Ready(done),
            // It holds a sender itself: the channel never ends.
            _ => Poll::Pending,
        }
    }
}

fn no_thread(error: &io::Error) -> String {
    format!("no thread could be started for the host's code: {error}")
}

impl Drop for Hooks {
    fn drop(&mut self) {
        let extensions = std::mem::take(&mut self.extensions);
        let provider = self.provider.take();
        let header_provider = self.header_provider.take();
        let is_last = extensions.is_last_owner()
            || provider
                .as_ref()
                .is_some_and(|it| Arc::strong_count(it) == 1)
            || header_provider
                .as_ref()
                .is_some_and(|it| Arc::strong_count(it) == 1);
        // What frees the host's data is the host's code, and not for this thread.
        if is_last || self.worker.has_thread() {
            self.worker.end(Box::new(move || {
                drop((extensions, provider, header_provider))
            }));
        }
    }
}
