//! The connections of browsers: so many at most, and none that only sits there.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at one time; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 512;
/// A connection on which nothing could be sent for so long is closed: a request that never becomes whole, an answer that
/// nobody takes, a client that left. What is live sends more often (see `live`).
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections while there are permits.
pub struct Door {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Door {
    pub fn new(listener: TcpListener) -> Door {
        Door { listener, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.permits.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Connection::new(stream, permit), peer),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection of the page");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it has been silent for [`SILENCE_MAX`].
pub struct Connection {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(stream: TcpStream, permit: Option<OwnedSemaphorePermit>) -> Connection {
        // Small events are on their way at once; without it they are only later.
        let _ = stream.set_nodelay(true);
        Connection { stream, silence: Box::pin(sleep(SILENCE_MAX)), _permit: permit }
    }

    /// Errors: nothing was sent for too long.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.silence.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn pair() -> (Door, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Door::new(listener), client)
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        let (mut door, _client) = pair().await;
        let (mut connection, _) = door.accept().await;
        connection.silence.as_mut().reset(Instant::now());
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn sending_keeps_a_connection_open() {
        let (mut door, mut client) = pair().await;
        let (mut connection, _) = door.accept().await;
        connection.silence.as_mut().reset(Instant::now() + Duration::from_secs(1));
        connection.write_all(b"news").await.unwrap();
        assert!(connection.silence.deadline() > Instant::now() + SILENCE_MAX / 2);
        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn there_are_so_many_connections_and_no_more() {
        let (mut door, _first) = pair().await;
        door.permits = Arc::new(Semaphore::new(1));
        let address = door.local_addr().unwrap();
        let (held, _) = door.accept().await;
        let _second = TcpStream::connect(address).await.unwrap();
        assert!(futures_poll(&mut door).await.is_none(), "no permit is left");
        drop(held);
        door.accept().await;
    }

    /// What `accept` gives at once.
    async fn futures_poll(door: &mut Door) -> Option<(Connection, SocketAddr)> {
        tokio::select! {
            biased;
            accepted = door.accept() => Some(accepted),
            () = tokio::task::yield_now() => None,
        }
    }
}
