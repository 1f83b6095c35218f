//! Whom https trusts, and who the client says it is.

use std::borrow::Cow;
use std::sync::Arc;

use native_tls::{Certificate, Identity, Protocol, TlsConnector};

use super::failures::{chain, without_places, ConnectFailure};
use crate::error::{Error, ErrorKind};
use crate::runtime::{exit, PerProcess};

/// The least version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Tls10,
    Tls11,
    #[default]
    Tls12,
    Tls13,
}

impl Version {
    fn protocol(self) -> Protocol {
        match self {
            Self::Tls10 => Protocol::Tlsv10,
            Self::Tls11 => Protocol::Tlsv11,
            Self::Tls12 => Protocol::Tlsv12,
            Self::Tls13 => Protocol::Tlsv13,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Tls10 => "TLS 1.0 or later",
            Self::Tls11 => "TLS 1.1 or later",
            Self::Tls12 => "TLS 1.2 or later",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

/// What the host wants of TLS: the same for all clients of a builder.
#[derive(Clone, Default)]
pub struct Tls(Arc<Wanted>);

#[derive(Clone, Default)]
struct Wanted {
    authorities: Vec<Certificate>,
    /// The system's trust store does not count.
    only_these: bool,
    /// Anybody may be the server.
    insecure: bool,
    minimum: Version,
    identity: Option<Identity>,
    /// Reading the system's trust store costs a megabyte and some milliseconds,
    /// so the clients of one builder share it.
    made: Arc<PerProcess<Result<TlsConnector, String>>>,
    /// Without the identity.
    made_for_proxies: Arc<PerProcess<Result<TlsConnector, String>>>,
}

impl Tls {
    fn change(&mut self) -> &mut Wanted {
        let wanted = Arc::make_mut(&mut self.0);
        wanted.made = Arc::default();
        wanted.made_for_proxies = Arc::default();
        wanted
    }

    /// Authorities as PEM, to be trusted with those of the system or alone.
    pub fn set_authorities(&mut self, pem: &[u8], with_system: bool) -> Result<(), Error> {
        let authorities = certificates("pem", pem)?;
        let wanted = self.change();
        wanted.authorities = authorities;
        wanted.only_these = !with_system;
        Ok(())
    }

    /// The client's own certificate, those that lead from it to an authority,
    /// and its private key.
    pub fn set_identity(&mut self, chain_pem: &[u8], key: &[u8]) -> Result<(), Error> {
        let chain_pem = &*as_text(chain_pem);
        certificates("pem_chain", chain_pem)?;
        let refuse = |why: String| Err(refusal("pem_key", &why));
        let begin = |what: &str| {
            let what = what.as_bytes();
            key.windows(what.len()).position(|it| it == what)
        };
        // What stands in front, such as the names that OpenSSL writes there, is
        // no part of the key.
        let Some(key) = begin("-----BEGIN PRIVATE KEY-----").and_then(|at| key.get(at..)) else {
            return refuse(
                if begin("-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some() {
                    "is encrypted; it is a private key in PKCS #8 without a password".into()
                } else if begin(" PRIVATE KEY-----").is_some() {
                    "is no PKCS #8; \"openssl pkcs8 -topk8 -nocrypt\" makes it one".into()
                } else {
                    "holds no private key as PEM, in PKCS #8".into()
                },
            );
        };
        let identity = match Identity::from_pkcs8(chain_pem, key) {
            Ok(identity) => identity,
            Err(error) => return refuse(format!("is malformed: {}", told(&error))),
        };
        // Whether both belong together is only found by using them.
        let trial = TlsConnector::builder()
            .disable_built_in_roots(true)
            .identity(identity.clone())
            .build();
        if let Err(error) = trial {
            let why = told(&error);
            return refuse(format!("does not go with pem_chain: {why}"));
        }
        let wanted = self.change();
        wanted.identity = Some(identity);
        Ok(())
    }

    /// No certificate of a server is looked at.
    pub fn set_insecure(&mut self, insecure: bool) {
        let wanted = self.change();
        wanted.insecure = insecure;
    }

    /// Who speaks less is refused.
    pub fn set_minimum(&mut self, version: Version) {
        let wanted = self.change();
        wanted.minimum = version;
    }

    pub fn is_insecure(&self) -> bool {
        self.0.insecure
    }

    pub fn connector(&self) -> Result<TlsConnector, Error> {
        self.made(self.0.identity.as_ref(), &self.0.made)
    }

    /// The same for proxies, which are not told who the client is.
    pub fn connector_to_proxies(&self) -> Result<TlsConnector, Error> {
        match self.0.identity {
            None => self.connector(),
            Some(_) => self.made(None, &self.0.made_for_proxies),
        }
    }

    fn made(
        &self,
        identity: Option<&Identity>,
        made: &PerProcess<Result<TlsConnector, String>>,
    ) -> Result<TlsConnector, Error> {
        static PLAIN: PerProcess<Result<TlsConnector, String>> = PerProcess::new();
        let wanted = &self.0;
        let is_plain = wanted.authorities.is_empty()
            && identity.is_none()
            && wanted.minimum == Version::default()
            && !wanted.insecure;
        let made = if is_plain { &PLAIN } else { made };
        let make = || {
            let made = exit::inside(|| self.make(identity).map_err(|error| told(&error)));
            exit::watch_openssl();
            made.unwrap_or_else(|| Err("the process ends".to_owned()))
        };
        made.get_or_make(make).clone().map_err(|why| {
            Error::call(
                ErrorKind::Tls,
                format!("the system's TLS library could not be set up: {why}"),
            )
        })
    }

    /// How a handshake that failed is told.
    pub fn handshake_failed(&self, server: &str, error: &native_tls::Error) -> ConnectFailure {
        let mut why = told(error);
        let told = why.clone();
        let says = |words: &[&str]| words.iter().any(|it| told.contains(it));
        // The server's alert, and what OpenSSL says of a version that it chose.
        if says(&[
            "alert protocol version",
            "unsupported protocol",
            "wrong ssl version",
        ]) {
            let wanted = self.0.minimum.words();
            why = format!("the server does not speak {wanted}: {why}");
        } else if says(&["legacy sigalg", "no protocols available"]) {
            why = format!("this system does not allow what the server speaks: {why}");
        }
        // What is no TLS at all is mostly an HTTP response to what was no request.
        if says(&[
            "wrong version number",
            "unexpected message",
            "packet length too long",
            "http request",
        ]) {
            why.push_str("; does the server speak plain HTTP on this port?");
        } else if why.ends_with("unexpected EOF") || why.ends_with("unexpected eof while reading") {
            "the server closed the connection in the middle of it".clone_into(&mut why);
        }
        ConnectFailure::new(ErrorKind::Tls, format!("tls with {server}: {why}"))
    }

    fn make(&self, identity: Option<&Identity>) -> Result<TlsConnector, native_tls::Error> {
        let mut builder = TlsConnector::builder();
        builder
            .min_protocol_version(Some(self.0.minimum.protocol()))
            .disable_built_in_roots(self.0.only_these)
            .danger_accept_invalid_certs(self.0.insecure)
            .danger_accept_invalid_hostnames(self.0.insecure);
        for authority in &self.0.authorities {
            builder.add_root_certificate(authority.clone());
        }
        if let Some(identity) = identity {
            builder.identity(identity.clone());
        }
        builder.build()
    }
}

fn refusal(what: &str, why: &str) -> Error {
    Error::call(ErrorKind::InvalidArgument, format!("{what}: {why}"))
}

/// What stands between the blocks is no part of them, and in whatever encoding; but the
/// reader that SChannel has panics at what is not UTF-8.
fn as_text(pem: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(pem) {
        Cow::Borrowed(_) => Cow::Borrowed(pem),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// At least one certificate.
fn certificates(what: &str, pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    match Certificate::stack_from_pem(&as_text(pem)) {
        Ok(certificates) if certificates.is_empty() => {
            Err(refusal(what, "holds no certificate as PEM"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(refusal(what, &format!("is malformed: {}", told(&error)))),
    }
}

fn told(error: &native_tls::Error) -> String {
    without_places(&chain(error))
}
