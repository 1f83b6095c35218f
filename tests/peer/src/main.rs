//! Plays a script file for a CometD client.

use std::fs;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use cometd_peer::{play, Script};

const HELP: &str = concat!(
    "cometd_peer: an HTTP and WebSocket server that plays a script, to test a CometD client\n\n",
    "usage: cometd_peer SCRIPT [--port N]\n\n",
    "SCRIPT is a file, or - for standard input. When the port is open, one line\n",
    "goes to standard output: READY PORT. It listens on 127.0.0.1 only; without\n",
    "--port on any free port. Exit status: 0 when all was played, 1 when something\n",
    "else came than the script expects (the difference goes to standard error),\n",
    "2 when it could not begin.\n\n",
    include_str!("../FORMAT.txt")
);

struct Arguments {
    script: String,
    port: u16,
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut script = None;
    let mut port = 0;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--port" => {
                let value = words.next().ok_or("--port needs a number")?;
                port = value
                    .parse()
                    .map_err(|_| format!("--port: {value:?} is no port"))?;
            }
            _ if word.starts_with("--") => return Err(format!("there is no option {word}")),
            _ if script.is_some() => return Err("one script at a time".into()),
            _ => script = Some(word),
        }
    }
    match script {
        Some(script) => Ok(Some(Arguments { script, port })),
        None => Err("which script? (--help)".into()),
    }
}

fn read(path: &str) -> io::Result<String> {
    if path == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}

fn run() -> Result<Result<(), String>, String> {
    let Some(arguments) = arguments()? else {
        print(HELP);
        return Ok(Ok(()));
    };
    let path = &arguments.script;
    let text = read(path).map_err(|error| format!("{path}: {error}"))?;
    let script = Script::parse(&text).map_err(|error| format!("{path}: {error}"))?;
    play(script, arguments.port, |port| {
        print(&format!("READY {port}\n"));
    })
    .map(|outcome| outcome.map_err(|why| format!("{path}: {why}")))
    .map_err(|error| format!("port {}: {error}", arguments.port))
}

fn print(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn main() -> ExitCode {
    match run() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(difference)) => {
            eprintln!("{difference}");
            ExitCode::from(1)
        }
        Err(why) => {
            eprintln!("cometd_peer: {why}");
            ExitCode::from(2)
        }
    }
}
