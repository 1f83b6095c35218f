//! The command line.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use lexopt::prelude::{Long, Short, ValueExt};

use crate::bayeux::{Settings, Transports};

pub const USAGE: &str = "\
Usage: cometd_demo_server [OPTION]...
A Bayeux server for the demonstration and the tests of libcometd.

  --address A           listen on this address, :: being all (127.0.0.1)
  --port N              listen on this port; 0: any (8080)
  --timeout-ms N        hold a connect for this long (10000)
  --interval-ms N       have clients pause between connects (0)
  --max-interval-ms N   forget a session after so long without connect (10000)
  --token T             deny handshakes without 'Authorization: Bearer T'
  --basic USER:PASSWORD deny handshakes without this Basic authorization
  --challenge PASSWORD  refuse a handshake with a challenge, until it is answered
                        by ext.authentication.answer 'CHALLENGE:PASSWORD'
  --cookie              bind sessions to a cookie
  --retain N            keep so many events of each /event/ channel for those
                        who ask for them by the replay extension (1000)
  --transports LIST     what clients may come by
                        (long-polling,websocket)
  --tick-ms N           publish to /ticks this often; 0: never (500)
  --forget-every-ms N   forget all sessions this often; 0: never (0)
  --run-ms N            exit after this time; 0: never (0)
  --exit-with-stdin     exit when the standard input ends
  --quiet               print nothing but the READY line
  --help                print this text

When it is ready, the server prints 'READY PORT CONTROLPORT'. A GET request to the
second port makes something happen. So '/fail?status=503&count=2&on=CHANNEL' lets
the next two requests with a message on the channel fail, and with 'on=upgrade'
those that would open a WebSocket.
";

#[derive(Debug)]
pub struct Options {
    pub address: IpAddr,
    pub port: u16,
    pub settings: Settings,
    /// The durations that may be absent are those for which 0 means never.
    pub tick: Option<Duration>,
    pub forget_every: Option<Duration>,
    pub run: Option<Duration>,
    pub exit_with_stdin: bool,
    pub quiet: bool,
    pub help: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 8080,
            settings: Settings {
                timeout: Duration::from_secs(10),
                max_interval: Duration::from_secs(10),
                retain: 1000,
                ..Settings::default()
            },
            tick: Some(Duration::from_millis(500)),
            forget_every: None,
            run: None,
            exit_with_stdin: false,
            quiet: false,
            help: false,
        }
    }
}

impl Options {
    /// Reads the arguments that follow the name of the program.
    pub fn parse(
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            let settings = &mut options.settings;
            match argument {
                Long("address") => options.address = number(&mut parser)?,
                Long("port") => options.port = number(&mut parser)?,
                Long("timeout-ms") => settings.timeout = duration(&mut parser)?,
                Long("interval-ms") => settings.interval = duration(&mut parser)?,
                Long("max-interval-ms") => settings.max_interval = duration(&mut parser)?,
                Long("token") => {
                    let token = parser.value()?.string()?;
                    settings.authorizations.push(format!("Bearer {token}"));
                }
                Long("basic") => {
                    let credentials = BASE64_STANDARD.encode(parser.value()?.string()?);
                    settings.authorizations.push(format!("Basic {credentials}"));
                }
                Long("challenge") => settings.challenge = Some(parser.value()?.string()?),
                Long("cookie") => settings.cookie = true,
                Long("retain") => settings.retain = number(&mut parser)?,
                Long("transports") => {
                    settings.transports = parser.value()?.parse_with(transports)?;
                }
                Long("tick-ms") => options.tick = optional_duration(&mut parser)?,
                Long("forget-every-ms") => options.forget_every = optional_duration(&mut parser)?,
                Long("run-ms") => options.run = optional_duration(&mut parser)?,
                Long("exit-with-stdin") => options.exit_with_stdin = true,
                Long("quiet") => options.quiet = true,
                Long("help") | Short('h') => options.help = true,
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }
}

fn transports(list: &str) -> Result<Transports, String> {
    let mut transports = Transports {
        long_polling: false,
        websocket: false,
    };
    for name in list.split(',') {
        match name {
            "long-polling" => transports.long_polling = true,
            "websocket" => transports.websocket = true,
            _ => return Err(format!("there is no transport {name:?}")),
        }
    }
    Ok(transports)
}

fn number<T>(parser: &mut lexopt::Parser) -> Result<T, lexopt::Error>
where
    T: FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    parser.value()?.parse()
}

fn duration(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    number(parser).map(Duration::from_millis)
}

fn optional_duration(parser: &mut lexopt::Parser) -> Result<Option<Duration>, lexopt::Error> {
    duration(parser).map(|duration| (!duration.is_zero()).then_some(duration))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn defaults() {
        let options = Options::parse([""; 0]).unwrap();
        assert_eq!(options.address, Ipv4Addr::LOCALHOST);
        assert_eq!(options.port, 8080);
        assert_eq!(options.settings.timeout, Duration::from_secs(10));
        assert_eq!(options.tick, Some(Duration::from_millis(500)));
        assert_eq!(options.run, None);
        let transports = options.settings.transports;
        assert!(transports.long_polling && transports.websocket);
    }

    #[test]
    fn values() {
        let options = Options::parse([
            "--address=::",
            "--port=0",
            "--basic",
            "user:pass",
            "--token",
            "T",
            "--tick-ms",
            "0",
            "--run-ms",
            "5",
            "--quiet",
            "--cookie",
        ])
        .unwrap();
        assert_eq!(options.address, Ipv6Addr::UNSPECIFIED);
        assert_eq!(options.port, 0);
        assert_eq!(
            options.settings.authorizations,
            ["Basic dXNlcjpwYXNz", "Bearer T"]
        );
        assert_eq!(options.tick, None);
        assert_eq!(options.run, Some(Duration::from_millis(5)));
        assert!(options.quiet && options.settings.cookie && !options.exit_with_stdin);
    }

    #[test]
    fn transports_are_those_of_the_list() {
        for (list, long_polling, websocket) in [
            ("long-polling", true, false),
            ("websocket", false, true),
            ("websocket,long-polling", true, true),
        ] {
            let options = Options::parse(["--transports", list]).unwrap();
            let expected = Transports {
                long_polling,
                websocket,
            };
            assert_eq!(options.settings.transports, expected, "{list}");
        }
        for list in ["", "websocket,", "callback-polling"] {
            assert!(Options::parse(["--transports", list]).is_err(), "{list}");
        }
    }

    #[test]
    fn errors() {
        assert!(Options::parse(["--address", "localhost"]).is_err());
        assert!(Options::parse(["--port", "99999"]).is_err());
        assert!(Options::parse(["--port"]).is_err());
        assert!(Options::parse(["--unknown"]).is_err());
        assert!(Options::parse(["stray"]).is_err());
    }
}
