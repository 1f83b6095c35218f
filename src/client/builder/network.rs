//! What is between client and server: a proxy, and TLS.

use std::sync::Arc;

use super::Builder;
use crate::error::Error;
use crate::transport::proxies::Choice;
use crate::transport::proxy::Proxy;
use crate::transport::tls::Version;

impl Builder {
    /// The proxy of all requests; "": none. Without a call the environment decides.
    pub fn set_proxy(&mut self, url: &str) -> Result<(), Error> {
        self.proxy = match url {
            "" => Choice::None,
            url => Choice::Always(Arc::new(Proxy::parse(url)?)),
        };
        Ok(())
    }

    /// Who signs the certificates of servers, beside or instead of those that the
    /// system trusts.
    pub fn set_certificate_authorities(
        &mut self,
        pem: &[u8],
        with_system: bool,
    ) -> Result<(), Error> {
        self.tls.set_authorities(pem, with_system)
    }

    /// Who the client is to servers that ask for a certificate.
    pub fn set_client_certificate(&mut self, chain: &[u8], key: &[u8]) -> Result<(), Error> {
        self.tls.set_identity(chain, key)
    }

    /// Whether certificates of servers count for nothing.
    pub fn set_insecure(&mut self, insecure: bool) {
        self.tls.set_insecure(insecure);
    }

    /// The least version of TLS that is spoken.
    pub fn set_minimum_tls_version(&mut self, version: Version) {
        self.tls.set_minimum(version);
    }
}
