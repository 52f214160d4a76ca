//! Tenantry as it is shipped, through HTTP: each worker keeps a connection of its own and sends an access token.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Shipped;
use crate::work::{Contender, Wish, flag_key, flag_text};

pub struct Http {
    shipped: Arc<Shipped>,
    authorization: String,
    connections: Vec<Mutex<SendRequest<Full<Bytes>>>>,
}

impl Http {
    pub async fn open(shipped: Arc<Shipped>, workers: usize) -> Result<Self> {
        let authorization = format!("Bearer {}", shipped.token()?);
        let mut connections = Vec::with_capacity(workers);
        for _ in 0..workers {
            let stream = TcpStream::connect(shipped.server.public).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // It ends when its sender is dropped; an error shows in the sender's next request.
            tokio::spawn(connection);
            connections.push(Mutex::new(sender));
        }
        Ok(Self { shipped, authorization, connections })
    }
}

impl Contender for Http {
    async fn carry_out(&self, worker: usize, tenant: Uuid, wish: Wish) -> Result<u64> {
        let Wish::SetFlag(number) = wish else { return self.shipped.carry_out(worker, tenant, wish).await };
        let body = format!(r#"{{"type":"string","value":"{}"}}"#, flag_text(number));
        let request = Request::put(format!("/api/operator/tenants/{tenant}/flags/{}", flag_key(number)))
            .header(header::HOST, "127.0.0.1")
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let mut connection = self.connections[worker % self.connections.len()].lock().await;
        connection.ready().await?;
        let response = connection.send_request(request).await.context("no answer from the server")?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "the server answered {status}: {}", String::from_utf8_lossy(&answer));
        Ok(0)
    }
}
