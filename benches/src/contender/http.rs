//! Tenantry as it is shipped, through HTTP: each worker keeps a connection of its own and sends an access token.
//!
//! The client is as light as it can be: it shares the cores with what is measured. It writes a request as one text and reads
//! the answer as far as its head says.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Shipped;
use crate::work::{Contender, Wish, flag_key, flag_text};

/// Header fields of an answer, at most.
const FIELDS_MAX: usize = 32;

pub struct Http {
    shipped: Arc<Shipped>,
    token: String,
    connections: Vec<Mutex<Connection>>,
}

impl Http {
    pub async fn open(shipped: Arc<Shipped>, workers: usize) -> Result<Self> {
        let token = shipped.token()?;
        let mut connections = Vec::with_capacity(workers);
        for _ in 0..workers {
            let stream = TcpStream::connect(shipped.server.public).await?;
            stream.set_nodelay(true)?;
            connections.push(Mutex::new(Connection { stream, answer: Vec::new() }));
        }
        Ok(Self { shipped, token, connections })
    }
}

impl Contender for Http {
    async fn carry_out(&self, worker: usize, tenant: Uuid, wish: Wish) -> Result<u64> {
        let Wish::SetFlag(number) = wish else { return self.shipped.carry_out(worker, tenant, wish).await };
        let body = format!(r#"{{"type":"string","value":"{}"}}"#, flag_text(number));
        let request = format!(
            "PUT /api/operator/tenants/{tenant}/flags/{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            flag_key(number),
            self.token,
            body.len()
        );
        let mut connection = self.connections[worker % self.connections.len()].lock().await;
        let (status, answer) = connection.exchange(&request).await.context("no answer from the server")?;
        ensure!(
            (200..300).contains(&status),
            "the server answered {status}: {}",
            String::from_utf8_lossy(answer)
        );
        Ok(0)
    }
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Sends a request, and returns status and body of its answer.
    async fn exchange(&mut self, request: &str) -> Result<(u16, &[u8])> {
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the connection has ended");
            let Some((status, head, length)) = head(&self.answer)? else { continue };
            if self.answer.len() >= head + length {
                return Ok((status, &self.answer[head..head + length]));
            }
        }
    }
}

/// Status, length of the head, and length of the body, once the head is there.
fn head(answer: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(answer)? else { return Ok(None) };
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("an answer does not say how long it is")?;
    let length = std::str::from_utf8(length.value)?.parse()?;
    Ok(Some((response.code.unwrap_or_default(), head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_its_head_says() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
        assert_eq!(head(whole).unwrap(), Some((200, 38, 2)));
        assert_eq!(head(&whole[..30]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head(b"no HTTP at all\r\n\r\n").is_err());
    }
}
