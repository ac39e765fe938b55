//! A line between a node and a server behind it, which the test holds: it can be cut, and it can fall silent.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::servers::free_port;

/// What a line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Open,
    /// Connections end, and new ones end at once.
    Cut,
    /// Connections stay, and nothing comes through: what a lost network looks like.
    Silent,
}

pub struct Link {
    port: u16,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

impl Link {
    /// A line to the server at this address of this machine.
    pub async fn to(address: String) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port that was free");
        let (line, watched) = watch::channel(Line::Open);
        Self {
            port,
            line,
            task: tokio::spawn(accept(listener, address, watched)),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, address: String, line: watch::Receiver<Line>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection(client, address.clone(), line.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, address: String, mut line: watch::Receiver<Line>) {
    let Ok(()) = let_through(&mut line).await else { return };
    let connecting = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address)).await;
    let Ok(Ok(server)) = connecting else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // When one direction ends, so does the other: nobody here half-closes.
    tokio::select! {
        () = carry(from_client, to_server, line.clone()) => {}
        () = carry(from_server, to_client, line) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let mut octets = vec![0; 64 * 1024];
    while let_through(&mut line).await.is_ok() {
        let length = tokio::select! {
            read = from.read(&mut octets) => match read {
                Ok(length) if length > 0 => length,
                _ => return,
            },
            _ = line.changed() => continue,
        };
        // What was read before the line fell silent waits.
        if let_through(&mut line).await.is_err() || to.write_all(&octets[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits while the line is silent; an error when it is cut.
async fn let_through(line: &mut watch::Receiver<Line>) -> Result<(), ()> {
    let state = line.wait_for(|line| *line != Line::Silent).await.map_err(drop)?;
    (*state == Line::Open).then_some(()).ok_or(())
}
