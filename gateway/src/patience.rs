//! The patience with a connection: one that asks nothing, or takes nothing of its answer, for too long is ended.
//!
//! hyper bounds the time of a head that was begun. It bounds neither the first bytes, from which it finds out which
//! HTTP is spoken, nor an HTTP/2 connection that asks nothing, nor a client that never reads.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream that ends itself when its client's time is over.
pub struct Patient<S> {
    stream: S,
    requests: Requests,
    /// How long it may be without a request.
    idle_max: Duration,
    /// How long the client may take nothing while there is something for it.
    stalled_max: Duration,
    idle: Pin<Box<Sleep>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub fn new(stream: S, idle_max: Duration, stalled_max: Duration) -> Self {
        let requests = Requests::default();
        let idle = Box::pin(tokio::time::sleep_until(requests.lock().idle_since + idle_max));
        Self { stream, requests, idle_max, stalled_max, idle, stalled: None }
    }

    /// The requests that go over it.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    fn idled_out(&mut self, context: &mut Context<'_>) -> bool {
        let Idle { under_way, idle_since } = *self.requests.lock();
        // While an answer waits for its client, the time of that is what counts.
        if under_way > 0 || self.stalled.is_some() {
            return false;
        }
        let end = idle_since + self.idle_max;
        if self.idle.deadline() != end {
            self.idle.as_mut().reset(end);
        }
        self.idle.as_mut().poll(context).is_ready()
    }

    fn written<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            if self.stalled.take().is_some() {
                self.requests.lock().idle_since = Instant::now();
            }
            return result;
        }
        let max = self.stalled_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(max)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(over("the client takes nothing of its answer"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn over(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Asked before reading: pings come in all the time and are no requests.
        if self.idled_out(context) {
            return Poll::Ready(Err(over("the client asks nothing")));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The requests of one connection. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<Idle>>);

#[derive(Clone, Copy, Debug)]
struct Idle {
    under_way: usize,
    /// When the last one ended, or the connection began.
    idle_since: Instant,
}

impl Default for Idle {
    fn default() -> Self {
        Self { under_way: 0, idle_since: Instant::now() }
    }
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; it is under way until what is returned is dropped.
    pub fn begin(&self) -> UnderWay {
        self.lock().under_way += 1;
        UnderWay(self.clone())
    }
}

/// One request under way.
#[derive(Debug)]
pub struct UnderWay(Requests);

impl UnderWay {
    /// The same, until the answer has been handed over to its end.
    pub fn until_end_of(self, body: Body) -> Body {
        Body::new(Answer { body, _under_way: self })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut idle = self.0.lock();
        idle.under_way -= 1;
        idle.idle_since = Instant::now();
    }
}

struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    fn pair(idle_max: Duration, stalled_max: Duration) -> (DuplexStream, Patient<DuplexStream>) {
        let (client, server) = tokio::io::duplex(8);
        (client, Patient::new(server, idle_max, stalled_max))
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_let_go_and_so_is_one_that_says_much_and_asks_nothing() {
        let (_client, mut silent) = pair(SHORT, LONG);
        assert_eq!(silent.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (mut client, mut chatty) = pair(SHORT, LONG);
        let error = loop {
            client.write_u8(0).await.unwrap();
            if let Err(error) = chatty.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_request_may_take_longer_than_silence() {
        let (mut client, mut stream) = pair(SHORT, LONG);
        let begun = Instant::now();
        let answer = stream.requests().begin().until_end_of(Body::empty());
        // Bytes come and go while it is under way, for longer than silence is borne.
        while begun.elapsed() < SHORT * 2 {
            client.write_u8(7).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 7);
        }
        drop(answer);
        let ended = Instant::now();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(ended.elapsed() >= SHORT, "counted from the end of the answer");
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_let_go() {
        let (_client, mut stream) = pair(LONG, SHORT);
        assert_eq!(stream.write_all(&[0; 64]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
