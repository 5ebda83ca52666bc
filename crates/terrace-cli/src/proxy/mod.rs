//! `terrace proxy`: the cache as a reverse proxy, for services that are not written in Rust.
//!
//! ```text
//! client ─ server ─ front ─ cache ─ origin ─ connect ─ the origin
//!            │        ├─ target, headers: what the request is about, what must not pass
//!            │        ├─ upgrade: WebSocket, around the cache
//!            │        └─ access: the log
//!          admin: /healthz, /metrics, /terrace/ on a port of their own
//! ```
//!
//! `headers`, `target`, `networks` and `options` decide without I/O. `cache` is the only room that knows the library,
//! `metrics` the only one that knows how numbers become text.

mod access;
pub(crate) mod admin;
mod body;
pub(crate) mod cache;
pub(crate) mod connect;
mod front;
mod headers;
mod idle;
pub(crate) mod log;
mod metrics;
mod networks;
pub(crate) mod options;
pub(crate) mod origin;
mod reply;
pub(crate) mod server;
mod target;
mod trace;
mod upgrade;
mod watched;

pub(crate) use options::Options;

use crate::failure::Failure;
use access::AccessLines;
use admin::Admin;
use front::Front;
use log::AccessLog;
use origin::Origin;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::{Limits, Shutdown};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs the proxy until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start.
pub(crate) fn main(options: Options) -> Result<(), Failure> {
    let _guards = log::start(options.access_log, AccessLog::Json).map_err(Failure::usage)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::runtime)?;
    let result = runtime.block_on(run(options));
    // What is still running was given its time.
    runtime.shutdown_background();
    result
}

async fn run(options: Options) -> Result<(), Failure> {
    raise_descriptor_limit();
    let shutdown = shutdown().map_err(Failure::runtime)?;
    let metrics = metrics::install().map_err(Failure::runtime)?;
    let front = Arc::new(front(&options).await?);
    let (listener, address) = bind("--listen", &options.listen).await?;
    let limits = limits(&options);
    let admin = match &options.admin {
        options::Admin::At(address) => {
            let routes = admin::routes(&front.store, cache::rules(options.rules))?;
            Some((bind("--admin", address).await?, routes))
        }
        options::Admin::Off => None,
    };
    say(format_args!("listening on http://{address}"));
    if let Some(((listener, address), routes)) = admin {
        say(format_args!("admin on http://{address}"));
        let admin = Admin { metrics, shutdown: shutdown.clone(), routes: Some(routes) };
        tokio::spawn(serve_admin(listener, limits.clone(), admin));
    }
    let drain = options.drain_timeout;
    let left = server::run(listener, limits, drain, shutdown, |peer| front.client(peer)).await;
    if left > 0 {
        tracing::warn!(event = "proxy_drain_timeout", left, "proxy_drain_timeout: connections closed");
    }
    Ok(())
}

async fn front(options: &Options) -> Result<Front, Failure> {
    let store = cache::open().await?;
    let connector = connect::connector(options.connect_timeout).map_err(Failure::runtime)?;
    let origin = Origin::new(
        options.origin.clone(),
        connector,
        options.first_byte_timeout,
        options.idle_timeout,
        options.rewrite_host,
    );
    Ok(Front {
        cache: cache::wrap(origin.clone(), &store, options.rules),
        origin,
        store,
        purge_allow: options.purge_allow.clone(),
        trust_forwarded: options.trust_forwarded.clone(),
        default_host: options.origin.authority().clone(),
        max_request_body: options.max_request_body,
        idle_timeout: options.idle_timeout,
        access: access_lines(options),
    })
}

fn access_lines(options: &Options) -> AccessLines {
    match options.access_log {
        AccessLog::Off => AccessLines::Off,
        _ if options.access_log_query => AccessLines::WithQuery,
        _ => AccessLines::WithoutQuery,
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        header_timeout: options.header_timeout,
        write_timeout: options.idle_timeout,
        max_header_size: options.max_header_size,
        max_connections: options.max_connections,
    }
}

/// Serves for as long as the process lives, so that draining can be watched.
pub(crate) async fn serve_admin(listener: TcpListener, limits: Limits, admin: Admin) {
    let (_never, forever) = watch::channel(false);
    server::run(listener, limits, Duration::ZERO, forever, |peer| {
        let (admin, address) = (admin.clone(), peer.address);
        hyper::service::service_fn(move |request| {
            let admin = admin.clone();
            async move { Ok::<_, Infallible>(admin.answer(request, address).await) }
        })
    })
    .await;
}

/// Takes the address that a flag names.
///
/// # Errors
///
/// When it cannot be taken.
pub(crate) async fn bind(flag: &str, address: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        io::Result::Ok((listener, address))
    };
    bound.await.map_err(|error| {
        Failure::runtime(format_args!(
            "cannot listen on {flag} {address}: {error}; expected an address of this machine and a free port"
        ))
    })
}

/// Each request may need two sockets; the usual soft limit of 1024 is far below `--max-connections`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    // Failing that, connections are refused at the old limit, which is logged.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Prints a line. Nobody reading is no reason not to serve.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Turns true at SIGTERM and SIGINT, which from now on do nothing else.
///
/// # Errors
///
/// When the operating system does not allow it.
pub(crate) fn shutdown() -> io::Result<Shutdown> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let (told, shutdown) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.send_replace(true);
        // The receivers wait for a value; the channel must outlive them.
        told.closed().await;
    });
    Ok(shutdown)
}
