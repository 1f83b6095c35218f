//! Where the host's code comes in between the session and the transport: its
//! extensions and its providers of handshakes' fields and requests' headers, run by
//! the client's worker.

use std::io;
use std::task::{Context, Poll};

use hyper::header::HeaderMap;
use std::sync::Arc;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::arrivals::Origin;
use super::extensions::{Extensions, Outgoing};
use super::handshake_provider::{Fields, Handshake, HandshakeProvider};
use super::header_provider::{HeaderProvider, OutgoingRequest};
use super::question::Answer;
use super::shared::Shared;
use super::worker::{Job, Worker};
use crate::bayeux::Body;
use crate::clock;
use crate::error::{ErrorKind, Failure};
use crate::session::{HandshakeQuestion, Millis, RequestId, SocketId, HOST_LIMIT};

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
        answer: Answer<Fields>,
    },
}

/// The headers that were asked for.
pub(super) type AskedHeaders = oneshot::Receiver<Result<Box<HeaderMap>, Failure>>;

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
        let (send, until) = (self.send.clone(), limit());
        let job = move || {
            let mut outgoing = extensions.outgoing(body, &mut |why| {
                shared.extension_failed("outgoing", why);
            });
            if let Some(ext) = &outgoing.handshake_ext {
                shared.secrets.remember(ext);
            }
            // Before the client learns of it: they may be the last ones.
            drop(extensions);
            let body = outgoing.body.take();
            let done = move |body, headers| {
                outgoing.body = body;
                let _ = send.send(Done::Outgoing {
                    request,
                    outgoing,
                    headers,
                });
            };
            match (body, asked.zip(provider)) {
                (Some(body), Some((asked, provider))) => {
                    asked.ask(provider, body, &shared, until, move |body, headers| {
                        done(Some(body), headers.map(Some));
                    });
                }
                (body, provider) => {
                    drop(provider);
                    done(body, Ok(None));
                }
            }
        };
        let origin = Origin::Request(request);
        self.submit(Some(origin), Box::new(job), move |why| Done::Incoming {
            origin,
            reply: Err(Failure::new(ErrorKind::System, why)),
        });
    }

    /// Asks for the headers of the request that opens a socket; `None` without a
    /// provider. No answer means that the question was given up.
    pub(super) fn headers(&self, socket: SocketId, asked: OutgoingRequest) -> Option<AskedHeaders> {
        let provider = self.header_provider.clone()?;
        let shared = self.shared.clone();
        let (send, receive) = oneshot::channel();
        let until = limit();
        let job = move || {
            asked.ask(provider, Vec::new(), &shared, until, move |_, headers| {
                let _ = send.send(headers);
            });
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
        let (number, until) = (question.number, limit());
        let job = move || {
            let done = move |answer| {
                let _ = send.send(Done::Fields {
                    question: number,
                    answer,
                });
            };
            Handshake::new(question, until, &shared, done).ask(provider);
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

/// Until when an answer to what is asked now is waited for.
fn limit() -> Millis {
    clock::now().saturating_add(HOST_LIMIT)
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
