//! `/metrics`, `/livez` and `/readyz`, by HTTP.

use super::Observed;
use crate::config::Properties;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ottla_net::{Task, task};
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;

const TEXT: &str = "text/plain; charset=utf-8";
/// What Prometheus asks for first.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long whoever has connected may take to ask.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// Connections that are served at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// The setting that says where to listen.
const SETTING: &str = "http.listener";

/// Why there is nothing to listen on.
#[derive(Debug, Error)]
#[error("http.listener={address}: {reason}; name another host:port, or leave it empty to serve no metrics")]
pub struct HttpUnavailable {
    address: String,
    reason: io::Error,
}

/// Listens where `http.listener` says; `None` when that is nowhere, or when the default is taken: several nodes on one
/// machine are no mistake.
///
/// # Errors
/// When it says a place that cannot be had.
pub fn bind(properties: &Properties) -> Result<Option<TcpListener>, HttpUnavailable> {
    let Some(address) = properties.text(SETTING).filter(|_| !properties.is_blank(SETTING)) else {
        return Ok(None);
    };
    match TcpListener::bind(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if properties.written(SETTING).is_none() => {
            tracing::info!(address, %error, "no metrics are served; set http.listener to another place");
            Ok(None)
        }
        Err(reason) => Err(HttpUnavailable { address: address.to_owned(), reason }),
    }
}

/// Answers whoever connects to `listener`, for as long as the task is kept.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, observed: Arc<Observed>) -> io::Result<Task> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(task::spawn("http", accept(listener, observed)))
}

async fn accept(listener: tokio::net::TcpListener, observed: Arc<Observed>) {
    const PAUSE: Duration = Duration::from_millis(100);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections: Vec<Task> = Vec::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "nobody accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let observed = observed.clone();
        connections.retain(|connection| !connection.is_finished());
        connections.push(task::spawn("http connection", async move {
            let answers = service_fn(move |request| answer(observed.clone(), request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
            // Whoever asked may have gone, or was no HTTP client.
            let _ = http.serve_connection(TokioIo::new(stream), answers).await;
            drop(place);
        }));
    }
}

async fn answer(
    observed: Arc<Observed>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".to_owned()));
    }
    Ok(match request.uri().path() {
        "/metrics" => match observed.text().await {
            Ok(page) => typed(StatusCode::OK, OPEN_METRICS, page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/livez" if observed.is_live() => text(StatusCode::OK, "ok\n".to_owned()),
        "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "the log directory failed\n".to_owned()),
        "/readyz" => match observed.unready() {
            None => text(StatusCode::OK, "ok\n".to_owned()),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        path => text(StatusCode::NOT_FOUND, format!("{path}: there are /metrics, /livez and /readyz\n")),
    })
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type.parse().expect("a valid header"));
    response
}
