//! A connection on which nothing but the login is done, for what this tier has no words for.

use super::Redis;
use super::link::{Opener, socket};
use super::settings::{Address, Login, Place};
use crate::store::remote::Fault;
use crate::{Error, Store};
use redis::cmd;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "redis-tls")]
use tokio_rustls::client::TlsStream;

/// No answer to a login is longer.
const LONGEST: usize = 4096;

/// A socket to a Redis server on which the login is done and nothing else: for operators' tools that say there what the
/// library has no call for, such as copying all data.
///
/// What is read and written is Redis's protocol. Dropped, it is closed.
pub struct RawConnection {
    stream: Stream,
    address: Address,
}

enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "redis-tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl Store {
    /// Opens a [`RawConnection`] to the server that takes the store's writes now, found as the store finds it, or to
    /// another one that is named by host and port, such as a replica of it. It logs in, and encrypts, as the store does.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, if it is a cluster (there is more than one server then), or if the server
    /// cannot be found, reached or logged in to.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, the connection is closed.
    pub async fn raw_connection(&self, server: Option<(&str, u16)>) -> Result<RawConnection, Error> {
        let (_, redis) = self.parts()?;
        redis.open_raw(server).await.map_err(|why| match why {
            Why::Cluster => Error::config(CLUSTER.to_owned()),
            Why::Fault(fault) => Error::unseen(redis.why(fault)),
            Why::Socket(address, error) => Error::unseen(format!("cannot connect to Redis at {address}: {error}")),
        })
    }
}

const CLUSTER: &str = "REDIS_CLUSTER_NODES names a cluster, in which no one server has everything; expected one of \
    REDIS_URL, REDIS_HOST, REDIS_SENTINELS";

enum Why {
    Cluster,
    Fault(Fault),
    Socket(Address, io::Error),
}

impl Redis {
    async fn open_raw(&self, server: Option<(&str, u16)>) -> Result<RawConnection, Why> {
        let settings = self.connector.settings();
        if matches!(settings.place, Place::Cluster(_)) {
            return Err(Why::Cluster);
        }
        let address = match server {
            Some((host, port)) => Address { host: host.to_owned(), port },
            None => (*self.pools().control.link().await.map_err(Why::Fault)?.address).clone(),
        };
        let opened = tokio::time::timeout(settings.socket_timeout, open(self.connector.opener(), &address));
        let opened = opened.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long")));
        let mut connection = match opened {
            Ok(stream) => RawConnection { stream, address },
            Err(error) => return Err(Why::Socket(address, error)),
        };
        let login = tokio::time::timeout(settings.socket_timeout, connection.log_in(&settings.login)).await;
        match login.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the login takes too long"))) {
            Ok(()) => Ok(connection),
            Err(error) => Err(Why::Socket(connection.address, error)),
        }
    }
}

#[cfg_attr(not(feature = "redis-tls"), expect(unused_variables, reason = "there is one way to open it"))]
async fn open(opener: &Opener, address: &Address) -> io::Result<Stream> {
    let stream = socket(address).await?;
    #[cfg(feature = "redis-tls")]
    if let Some(tls) = &opener.tls {
        return Ok(Stream::Tls(Box::new(tls.wrap(&address.host, stream).await?)));
    }
    Ok(Stream::Plain(stream))
}

impl RawConnection {
    /// Where it leads: host and port.
    pub fn server(&self) -> String {
        self.address.to_string()
    }

    async fn log_in(&mut self, login: &Login) -> io::Result<()> {
        let Some(password) = &login.password else { return Ok(()) };
        let mut auth = cmd("AUTH");
        auth.arg(login.username.as_deref()).arg(password.expose());
        self.write_all(&auth.get_packed_command()).await?;
        self.flush().await?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() == LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not answer as Redis does"));
            }
            line.push(self.read_u8().await?);
        }
        if line == b"+OK\r\n" {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, line.trim_ascii().escape_ascii().to_string()))
    }
}

impl fmt::Debug for RawConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawConnection").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whatever it is, as what can be polled.
macro_rules! on {
    ($this:expr, $stream:ident => $call:expr) => {
        match &mut $this.get_mut().stream {
            Stream::Plain($stream) => $call,
            #[cfg(feature = "redis-tls")]
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for RawConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for RawConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
