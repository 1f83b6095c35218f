//! Which requests go through which proxy, and the environment's word on it.

use std::ffi::OsString;
use std::sync::Arc;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::proxy::Proxy;
use crate::error::{Error, ErrorKind};

/// Which proxy the host wants.
#[derive(Clone, Default)]
pub enum Choice {
    /// That of the environment's variables, if any.
    #[default]
    Environment,
    None,
    Always(Arc<Proxy>),
}

impl Choice {
    /// Reads the environment, if that is what counts.
    pub fn proxies(&self) -> Proxies {
        match self {
            Self::Environment => Proxies::from_variables(|name| std::env::var_os(name)),
            Self::None => Proxies::default(),
            Self::Always(proxy) => Proxies::new(Chosen {
                http: Some(Ok(proxy.clone())),
                https: Some(Ok(proxy.clone())),
                exempt: None,
            }),
        }
    }
}

/// A variable that names no proxy counts when a request would need it.
type Found = Option<Result<Arc<Proxy>, Error>>;

/// Which requests go through which proxy.
///
/// Most have none, and each client has this.
#[derive(Default)]
pub struct Proxies(Option<Box<Chosen>>);

struct Chosen {
    http: Found,
    https: Found,
    /// Finds a proxy for all that do not go around it.
    exempt: Option<Matcher>,
}

impl Chosen {
    fn exempts(&self, uri: &Uri) -> bool {
        let exempt = self.exempt.as_ref();
        exempt.is_some_and(|it| it.intercept(uri).is_none())
    }
}

impl Proxies {
    fn new(chosen: Chosen) -> Self {
        Self(Some(Box::new(chosen)))
    }

    /// Of these variables curl's rules hold. HTTP_PROXY does not count, as in a
    /// CGI program it is a header of whoever sent the request.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).filter(|it| !it.is_empty())?;
                Some((*name, value))
            })
        };
        let proxy = |names: &[&'static str]| {
            let (name, value) = first(names).or_else(|| first(&["all_proxy", "ALL_PROXY"]))?;
            let parsed = match value.to_str() {
                Some(text) => Proxy::parse(text).map(Arc::new),
                None => Err(Error::call(ErrorKind::InvalidUrl, "url: is not UTF-8")),
            };
            Some(parsed.map_err(|mut error| {
                let why = error.message.trim_start_matches("url: ");
                error.message = format!("the environment's {name}: {why}");
                error.kind = ErrorKind::InvalidUrl;
                error
            }))
        };
        let (http, https) = (
            proxy(&["http_proxy"]),
            proxy(&["https_proxy", "HTTPS_PROXY"]),
        );
        if http.is_none() && https.is_none() {
            return Self::default();
        }
        let mut exempt = None;
        if let Some((_, list)) = first(&["no_proxy", "NO_PROXY"]) {
            let list = list.to_string_lossy();
            let entries: Vec<&str> = list
                .split(|c: char| c == ',' || c.is_whitespace())
                .map(|it| it.trim_matches(['[', ']']))
                .collect();
            // The matcher takes the star for names only.
            if entries.contains(&"*") {
                return Self::default();
            }
            let matcher = Matcher::builder().all("http://any").no(entries.join(","));
            exempt = Some(matcher.build());
        }
        Self::new(Chosen {
            http,
            https,
            exempt,
        })
    }

    /// The proxy that a request goes through.
    pub fn of(&self, uri: &Uri) -> Result<Option<&Arc<Proxy>>, &Error> {
        let Some(chosen) = &self.0 else {
            return Ok(None);
        };
        let found = match uri.scheme_str() {
            Some("https") => &chosen.https,
            _ => &chosen.http,
        };
        match found {
            None => Ok(None),
            Some(_) if chosen.exempts(uri) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(error)) => Err(error),
        }
    }

    /// What must not be read anywhere.
    pub fn secrets(&self) -> Vec<String> {
        self.all().flat_map(|it| it.secrets()).collect()
    }

    /// Whether one of them is spoken to over TLS.
    pub fn are_over_tls(&self) -> bool {
        self.all().any(|it| it.is_over_tls())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Proxy>> {
        let chosen = self.0.iter().flat_map(|it| [&it.http, &it.https]);
        chosen.flatten().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            let found = variables.iter().find(|it| it.0 == name);
            found.map(|it| it.1.into())
        })
    }

    /// The proxy's host and port, "" for none, or the error.
    fn of(proxies: &Proxies, uri: &str) -> String {
        match proxies.of(&uri.parse().unwrap()) {
            Ok(None) => String::new(),
            Ok(Some(proxy)) => proxy.name().to_owned(),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::InvalidUrl);
                error.message.clone()
            }
        }
    }

    #[test]
    fn the_environment_is_read_as_curl_reads_it_204() {
        let (http, https) = ("http://h/cometd", "https://h/cometd");
        for (variables, at_http, at_https) in [
            (&[][..], "", ""),
            (&[("http_proxy", "a:1")], "a:1", ""),
            (&[("HTTP_PROXY", "a:1")], "", ""),
            (&[("https_proxy", "a:1")], "", "a:1"),
            (&[("HTTPS_PROXY", "a:1")], "", "a:1"),
            (&[("https_proxy", "a:1"), ("HTTPS_PROXY", "b:1")], "", "a:1"),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "b:1")], "", "b:1"),
            (&[("all_proxy", "a:1")], "a:1", "a:1"),
            (&[("ALL_PROXY", "a:1")], "a:1", "a:1"),
            (&[("ALL_PROXY", "a:1"), ("http_proxy", "b:1")], "b:1", "a:1"),
            (&[("http_proxy", "a:1"), ("no_proxy", "h")], "", ""),
            (&[("http_proxy", "a:1"), ("NO_PROXY", "*")], "", ""),
            (&[("ALL_PROXY", "socks5h://a")], "a:1080", "a:1080"),
            (&[("https_proxy", "https://a")], "", "a:443"),
            (&[("http_proxy", "socks5://a"), ("no_proxy", "h")], "", ""),
        ] {
            let proxies = proxies(variables);
            assert_eq!(of(&proxies, http), at_http, "{variables:?}");
            assert_eq!(of(&proxies, https), at_https, "{variables:?}");
        }
    }

    #[test]
    fn what_no_proxy_names_goes_directly_204() {
        let list = "example.com .inner.net,10.0.0.0/8, 127.0.0.1  [::1] *.star.org";
        let proxies = proxies(&[("all_proxy", "p:1"), ("no_proxy", list)]);
        for direct in [
            "http://example.com/",
            "https://EXAMPLE.com:8443/",
            "http://www.example.com/",
            "http://inner.net/",
            "http://a.inner.net/",
            "http://10.1.2.3/",
            "http://127.0.0.1:8080/",
            "http://[::1]:8080/",
        ] {
            assert_eq!(of(&proxies, direct), "", "{direct}");
        }
        for through in [
            "http://notexample.com/",
            "http://example.com.org/",
            "http://11.1.2.3/",
            "http://localhost/",
            "http://[::2]/",
            "http://a.star.org/",
        ] {
            assert_eq!(of(&proxies, through), "p:1", "{through}");
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_told_where_it_would_count_204() {
        let variables = [
            ("http_proxy", "p:1"),
            ("ALL_PROXY", "socks4://user:secret@p:1"),
            ("no_proxy", "direct"),
        ];
        let proxies = proxies(&variables);
        assert_eq!(of(&proxies, "http://h/"), "p:1");
        assert_eq!(of(&proxies, "https://direct/"), "");
        let told = of(&proxies, "https://h/");
        assert!(
            told.starts_with("the environment's ALL_PROXY: is of SOCKS 4"),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
    }
}
