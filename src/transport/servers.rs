//! The servers of a client: those that the host gave, and the one that advice
//! has led to.

use std::sync::{Arc, Mutex};

use super::endpoints::Endpoints;
use crate::error::{ErrorKind, Failure};
use crate::runtime::lock;
use crate::session::Server;

pub struct Servers {
    given: Arc<[Arc<Endpoints>]>,
    advised: Mutex<Option<(Arc<str>, Arc<Endpoints>)>>,
}

impl Servers {
    pub fn new(given: Arc<[Arc<Endpoints>]>) -> Self {
        Self {
            given,
            advised: Mutex::default(),
        }
    }

    /// The places of a server.
    pub fn endpoints(&self, server: Server) -> Result<Arc<Endpoints>, Failure> {
        let refuse = |why| Failure::new(ErrorKind::InvalidUrl, why);
        let given = |index| self.given.get(index).cloned();
        match server {
            Server::Given(index) => {
                given(index).ok_or_else(|| refuse("there is no such server".into()))
            }
            Server::Advised(host) => {
                let mut advised = lock(&self.advised);
                if let Some((_, endpoints)) = advised.as_ref().filter(|it| it.0 == host) {
                    return Ok(endpoints.clone());
                }
                let endpoints = given(0).and_then(|it| it.at_host(&host)).ok_or_else(|| {
                    refuse(format!("the server advises the host {host}, which is none"))
                })?;
                let endpoints = Arc::new(endpoints);
                *advised = Some((host, endpoints.clone()));
                Ok(endpoints)
            }
        }
    }
}
