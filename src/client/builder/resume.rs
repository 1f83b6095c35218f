//! The session of another client, to be gone on with.

use std::sync::{Arc, Mutex};

use url::Url;

use super::super::handover::Carried;
use super::super::Client;
use super::Builder;
use crate::clock::{self, Said};
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::transport::cookies::Jar;

impl Builder {
    /// The first client that is built goes on with this session, a text of
    /// [`Client::export`]; "": none does.
    pub fn set_resume(&mut self, text: &str) -> Result<(), Error> {
        let refuse = |why| Error::call(ErrorKind::InvalidArgument, format!("text: {why}"));
        let resume = match text {
            "" => None,
            text => {
                let carried = Carried::of_text(text).map_err(refuse)?;
                if !self.bases()?.iter().any(|it| it.as_str() == carried.url) {
                    return Err(refuse("is of a server that this client does not go to"));
                }
                Some(Box::new(carried))
            }
        };
        // Not that of builders that this one was copied to.
        self.resume = Arc::new(Mutex::new(resume));
        Ok(())
    }

    fn bases(&self) -> Result<Vec<Url>, Error> {
        let servers = self.servers()?;
        Ok(servers.iter().map(|it| it.base().clone()).collect())
    }

    /// The cookies of a client that goes on with this session.
    pub(super) fn jar_with(&self, resumed: Option<&Carried>) -> Result<Jar, Error> {
        let mut jar = self.jar.clone();
        if let Some(carried) = resumed {
            let said = Said {
                now: clock::now(),
                calendar: std::time::SystemTime::now(),
            };
            jar.keep_again(&carried.cookies, &self.bases()?, said);
        }
        Ok(jar)
    }

    /// The client goes on with it, and no other does.
    pub(super) fn resumes(&self, client: &Client, resumed: Option<Box<Carried>>) {
        let Some(carried) = resumed else { return };
        *lock(&self.resume) = None;
        if let Some(positions) = &client.shared.positions {
            positions.resumed(&carried.session.channels());
        }
        if let Some(start) = lock(&client.unstarted).as_deref_mut() {
            start.resumed = Some(Box::new(carried.session));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::handover::MAXIMUM;
    use super::*;

    const URL: &str = "http://127.0.0.1:9/cometd";

    fn carried(url: &str) -> Carried {
        let session = r#"{"client_id":"c1","connection_type":"long-polling","server":0,
            "host":"127.0.0.1:9","interval":0,"timeout":null,"maximum_interval":null,
            "acknowledgement":7,"last_message_id":9,"subscriptions":{"/a":true},
            "replay":false,"positions":{}}"#;
        Carried {
            url: url.to_owned(),
            session: serde_json::from_str(session).unwrap(),
            cookies: Vec::new(),
        }
    }

    fn refused(text: &str) -> String {
        let mut builder = Builder::new(URL).unwrap();
        let error = builder.set_resume(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error:?}");
        error.message
    }

    #[test]
    fn why_a_text_is_refused_is_told_and_nothing_of_it() {
        let text = carried("http://127.0.0.1:9/cometd/").to_text().unwrap();
        assert_eq!(refused("secret"), "text: is not the text of a session");
        assert_eq!(
            refused(&text.replacen('1', "2", 1)),
            "text: is of another version of the library"
        );
        assert_eq!(refused(&text[..text.len() - 3]), "text: is damaged");
        assert_eq!(
            refused(&carried("http://127.0.0.1:8/cometd/").to_text().unwrap()),
            "text: is of a server that this client does not go to"
        );
        let long = "x".repeat(MAXIMUM + 1);
        assert!(refused(&long).contains("longer"));
        assert_eq!(format!("{:?}", carried(URL)), "Carried(…)");
    }

    #[test]
    fn the_first_client_that_is_built_takes_the_session() {
        let mut builder = Builder::new(URL).unwrap();
        let text = carried("http://127.0.0.1:9/cometd/").to_text().unwrap();
        let resumes = |builder: &Builder| {
            let client = builder.build().unwrap();
            let start = lock(&client.unstarted).take().unwrap();
            start.resumed.is_some()
        };
        builder.set_resume(&text).unwrap();
        assert!(resumes(&builder));
        assert!(!resumes(&builder));
        builder.set_resume(&text).unwrap();
        builder.set_resume("").unwrap();
        assert!(!resumes(&builder));
    }
}
