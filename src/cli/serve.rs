//! `serve`: runs until a signal, and says at start what is served and how to try it.

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

use super::{block_on, commands};
use crate::app::App;
use crate::config::Config;
use crate::ingest::Demo;
use crate::lifecycle::Lifecycle;

pub fn serve(config: Config) -> anyhow::Result<()> {
    config.telemetry.start_logs();
    block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = Lifecycle::new();
        let notes = notes(&config);
        let data = config.app.data.display().to_string();
        let dev = config.auth.is_dev();
        let app = App::start(config, &lifecycle).await?;
        greet(&app, &data, &notes);
        invite(&app, dev);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // Whoever runs it starts it again; what is in hand is finished first.
            () = lifecycle.failed.cancelled() => {}
        }
        eprintln!("Draining; a second signal stops at once.");
        let drain = app.drain();
        tokio::pin!(drain);
        let finished = tokio::select! {
            finished = &mut drain => finished,
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
        };
        if finished {
            if lifecycle.failed.is_cancelled() {
                bail!("stopped because a task that everything depends on was gone; the log says which");
            }
            return Ok(());
        }
        lifecycle.abort.cancel();
        // It is in the queue's file, and comes again at the next start.
        bail!("stopped before the drain was done; nothing that was accepted is lost")
    })
}

/// What an operator should know before anything else.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if config.auth.is_dev() {
        notes.push("Dev tokens: whoever reaches this address can be anybody. Not for production.".to_owned());
    } else if config.ingest.demo == Demo::Open {
        notes.push("The demo endpoints are open to everybody (ingest.demo = \"open\").".to_owned());
    }
    notes.extend(commands::no_keys(config).map(str::to_owned));
    notes
}

fn greet(app: &App, data: &str, notes: &[String]) {
    let address = app.address;
    let adapters: Vec<_> = app
        .adapters
        .iter()
        .map(|(port, adapter)| format!("{port} {adapter}"))
        .collect();
    println!("quick-notify {}", env!("CARGO_PKG_VERSION"));
    println!("  page      http://{address}/");
    println!("  STOMP     ws://{address}/stomp-ws");
    println!("  publish   POST http://{address}/api/notify");
    if let Some(subject) = &app.publish {
        println!("            nats request {subject}");
    }
    match app.metrics {
        Some(metrics) => println!("  metrics   http://{metrics}/metrics"),
        None => println!("  metrics   off"),
    }
    println!("  adapters  {} (data in {data})", adapters.join(", "));
    for note in notes {
        println!("  note      {note}");
    }
}

/// A first notification, ready to paste.
fn invite(app: &App, dev: bool) {
    let (user, key) = if dev {
        ("test1", "")
    } else {
        ("alice", " -H \"X-API-Key: $QN_API_KEY\"")
    };
    println!();
    if dev {
        println!("Open the page, connect as {user}, and send a first notification from another terminal:");
    } else {
        println!(
            "Open the page, connect with a token of {user}'s (quick-notify token --sub {user}, with this configuration),"
        );
        println!("and send a first notification from a terminal that has a producer's key in QN_API_KEY:");
    }
    println!();
    println!(
        "  curl -X POST http://{}/api/notify -H 'Content-Type: application/json'{key} -d '{{\"receiver\":\"{user}\",\"data\":\"Hello from the terminal\"}}'",
        app.address
    );
    println!();
}
