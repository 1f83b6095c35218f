//! A small Bayeux server with long polling and WebSocket. It shows the library at work
//! (`make demo`) and is the peer of its C tests, which can make it fail in
//! several ways over a control interface; `--help` lists the options,
//! `control.rs` the commands, `service.rs` what clients can call.

mod bayeux;
mod channel;
mod control;
mod http;
mod message;
mod options;
mod replay;
mod script;
mod server;
mod service;
mod session;
mod timesync;
mod websocket;

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::{spawn_local, LocalSet};
use tokio::time::MissedTickBehavior;

use crate::bayeux::Bayeux;
use crate::options::{Options, USAGE};
use crate::script::Script;
use crate::server::Shared;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cometd_demo_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args_os().skip(1))?;
    if options.help {
        print!("{USAGE}");
        return Ok(());
    }
    if options.exit_with_stdin {
        std::thread::spawn(exit_with_stdin);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(options))?;
    Ok(())
}

/// Ends the process with the standard input: whoever started it with a pipe
/// is gone then.
fn exit_with_stdin() {
    let mut buffer = [0; 256];
    while matches!(io::stdin().read(&mut buffer), Ok(1..)) {}
    std::process::exit(0);
}

async fn run(options: Options) -> io::Result<()> {
    let listener = http::listen((options.address, options.port).into())?;
    let control = http::listen((Ipv4Addr::LOCALHOST, 0).into())?;
    announce(
        listener.local_addr()?,
        control.local_addr()?.port(),
        options.quiet,
    )?;

    let sweep_every = options.settings.max_interval / 10;
    let (restart, restarts) = mpsc::unbounded_channel();
    let shared = Rc::new(Shared {
        bayeux: RefCell::new(Bayeux::new(options.settings)),
        script: RefCell::new(Script::default()),
        restart,
    });
    spawn_local(control::serve(control, Rc::clone(&shared)));

    let sweep_every = sweep_every.clamp(Duration::from_millis(10), Duration::from_secs(1));
    repeat(sweep_every, &shared, |bayeux| bayeux.sweep(Instant::now()));
    if let Some(period) = options.tick {
        let mut count = 0;
        repeat(period, &shared, move |bayeux| {
            count += 1;
            tick(bayeux, count);
        });
    }
    if let Some(period) = options.forget_every {
        repeat(period, &shared, |bayeux| {
            bayeux.forget_all();
        });
    }

    let serving = server::serve(listener, shared, restarts);
    match options.run {
        // Over time is as good as an end.
        Some(time) => tokio::time::timeout(time, serving).await.unwrap_or(Ok(())),
        None => serving.await,
    }
}

/// Tells that connections are accepted from now on, and where.
fn announce(address: SocketAddr, control_port: u16, quiet: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "READY {} {control_port}", address.port())?;
    if !quiet {
        writeln!(stdout, "listening on http://{address}/cometd")?;
    }
    stdout.flush()
}

/// Does something with the Bayeux server once in each period.
fn repeat(period: Duration, shared: &Rc<Shared>, mut action: impl FnMut(&mut Bayeux) + 'static) {
    let shared = Rc::clone(shared);
    spawn_local(async move {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one completes at once.
        interval.tick().await;
        loop {
            interval.tick().await;
            action(&mut shared.bayeux.borrow_mut());
        }
    });
}

fn tick(bayeux: &mut Bayeux, count: u64) {
    #[derive(Serialize)]
    struct Tick {
        tick: u64,
        time: String,
    }
    let time = httpdate::fmt_http_date(SystemTime::now());
    let data = serde_json::value::to_raw_value(&Tick { tick: count, time })
        .expect("a number and a text are JSON");
    bayeux.broadcast("/ticks", &data);
}
