//! The services that the protocol's public test suite asks for, to try this folder without STOMP. They take anybody's connections: never in a release
//! build.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tokio_util::task::TaskTracker;

use super::{Options, Refusal, Service, mount};
use crate::edge::Config;
use crate::edge::transport::{Received, Transport};

/// `/echo`, `/disabled_websocket_echo`, `/cookie_needed_echo` and `/close`.
pub fn routes(config: &Config) -> Router {
    let options = |base| {
        let mut options = Options::new(base, config);
        options.bounds.response = 4_096;
        if options.client_url.is_empty() {
            options.client_url = "/sockjs.min.js".to_owned();
        }
        options
    };
    let disabled = Options {
        websocket: false,
        ..options("/disabled_websocket_echo")
    };
    let cookie = Options {
        cookie_needed: true,
        ..options("/cookie_needed_echo")
    };
    Router::new()
        .merge(mount(options("/echo"), Arc::<Echo<false>>::default()))
        .merge(mount(disabled, Arc::<Echo<false>>::default()))
        .merge(mount(cookie, Arc::<Echo<false>>::default()))
        .merge(mount(options("/close"), Arc::<Echo<true>>::default()))
}

/// Sends back what it gets, or closes at once.
#[derive(Default)]
struct Echo<const CLOSES: bool>(TaskTracker);

impl<const CLOSES: bool> Service for Echo<CLOSES> {
    type Pass = ();

    fn allows_origin(&self, _: &HeaderMap) -> bool {
        true
    }

    fn frame_ancestors(&self) -> String {
        "*".to_owned()
    }

    fn let_in(&self, _: &Parts, _: &'static str) -> Result<(), Refusal> {
        Ok(())
    }

    fn subprotocol(&self, _: &HeaderMap) -> Option<&'static str> {
        None
    }

    async fn serve(self: Arc<Self>, (): (), mut transport: impl Transport + 'static) {
        transport.established();
        if CLOSES {
            return transport.close(3000, "Go away!").await;
        }
        loop {
            match transport.receive().await {
                Received::Message(message) => {
                    if transport.write(message).await.is_err() || transport.flush().await.is_err() {
                        return;
                    }
                }
                Received::TooLarge(_) => return transport.close(1009, "too large").await,
                Received::Malformed(_) => return transport.close(1002, "malformed").await,
                Received::Closed => return,
            }
        }
    }

    fn tasks(&self) -> &TaskTracker {
        &self.0
    }
}
