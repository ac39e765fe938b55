//! One POST over HTTP or HTTPS, on a connection of its own. Follows no redirect: what is signed is for one receiver.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub struct Post {
    url: Uri,
    host: String,
    /// `None`: plain HTTP.
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl Post {
    pub fn to(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        // The URL may hold a secret: no error says it.
        let url: Uri = url.parse().ok().context("WEBHOOK_URL is no URL")?;
        let host = url.host().context("WEBHOOK_URL has no host")?.to_owned();
        let tls = match url.scheme_str() {
            Some("https") => Some(TlsConnector::from(Arc::new(trusting()?))),
            Some("http") => None,
            _ => bail!("WEBHOOK_URL begins with https:// or http://"),
        };
        Ok(Self {
            url,
            host,
            tls,
            timeout,
        })
    }

    /// The status of the answer, or in a few words why there is none.
    pub async fn send(&self, headers: &[(&str, String)], body: Bytes) -> Result<StatusCode, String> {
        match tokio::time::timeout(self.timeout, self.connect_and_send(headers, body)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn connect_and_send(&self, headers: &[(&str, String)], body: Bytes) -> anyhow::Result<StatusCode> {
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header("host", authority.rsplit('@').next().unwrap_or(authority))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body))?;
        let port = self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), port)).await?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned())?;
                exchange(tls.connect(name, stream).await?, request).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<StatusCode> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::select! {
        answered = sender.send_request(request) => Ok(answered?.status()),
        ended = connection => {
            ended?;
            bail!("the connection was closed")
        }
    }
}

/// Whom browsers trust.
fn trusting() -> anyhow::Result<ClientConfig> {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
