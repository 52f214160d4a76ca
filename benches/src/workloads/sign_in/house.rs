//! A server as it is shipped, with people who have passwords, and connections to it.

use aggregates::membership::{self, Membership, MembershipCommand};
use aggregates::{Application, ApplicationCommand, Tenant, TenantCommand, User, UserCommand};
use anyhow::{Context, Result, ensure};
use engine::command::CommandContext;
use futures::stream::{self, StreamExt, TryStreamExt};
use gateway::api_key::ApiKey;
use gateway::passwords::Password;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use kernel::{ApplicationId, KeyId, PersonId, PositionToken, TenantId};
use schemas::values::{Environment, MembershipKind, PasswordHash, Role, Scope};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{PASSWORD, PEOPLE};
use crate::bench::Bench;
use crate::contender::Shipped;
use crate::work::{Contender, Wish};

/// One server with one algorithm, and the people who sign in to it.
pub struct House {
    pub shipped: Shipped,
    pub tenant: Uuid,
    pub people: Vec<Uuid>,
}

impl House {
    /// With people of one tenant. What their hash is made of is the same; to verify it costs what another's does.
    pub async fn open(bench: &Bench, algorithm: &str) -> Result<Self> {
        bench.progress.now(&format!("{PEOPLE} people, {algorithm}"));
        let shipped =
            Shipped::open(&bench.server, super::DATABASE, &["--token-algorithm", algorithm]).await?;
        let tenant = shipped.server.state.ids.fresh();
        shipped.carry_out(0, tenant, Wish::Provision).await?;
        let hash = shipped.server.state.sign_in.hasher.hash(&Password::new(PASSWORD.to_owned())?).await?;
        let mut house = Self { shipped, tenant, people: Vec::new() };
        let joining = stream::iter(0..PEOPLE).map(|number| house.join(number, hash.clone()));
        let joined: Vec<(Uuid, Option<PositionToken>)> = joining.buffered(64).try_collect().await?;
        house.quiet().await?;
        house.people = joined.into_iter().map(|(person, _)| person).collect();
        Ok(house)
    }

    /// A person with a password, who is a member; and since when.
    async fn join(&self, number: usize, hash: PasswordHash) -> Result<(Uuid, Option<PositionToken>)> {
        let state = &self.shipped.server.state;
        let person = PersonId(state.ids.fresh());
        let context = || CommandContext::new(Wish::Provision.metadata(self.tenant));
        let register = UserCommand::Register {
            person,
            email: email(number).parse()?,
            first_name: None,
            last_name: None,
            verified: true,
        };
        let accept = UserCommand::AcceptInvitation { hash: Some(hash), first_name: None, last_name: None };
        for command in [register, accept] {
            state.engine.dispatch::<User>(person.0, command, context()).await?;
        }
        let tenant = TenantId(self.tenant);
        let membership = membership::id_of(tenant, person);
        let now = state.clock.now();
        let invite = MembershipCommand::Invite {
            tenant,
            person,
            role: Role::User,
            kind: MembershipKind::Staff,
            expires_at: None,
            token_hash: None,
            now,
        };
        let mut last = None;
        for command in [invite, MembershipCommand::Accept { token_hash: None, now }] {
            last = state.engine.dispatch::<Membership>(membership.0, command, context()).await?.position;
        }
        Ok((person.0, last))
    }

    /// A key of an application that the tenant is connected to, good for its flags.
    pub async fn application_key(&self) -> Result<ApiKey> {
        let state = &self.shipped.server.state;
        let context = || CommandContext::new(Wish::Provision.metadata(self.tenant));
        let application = ApplicationId(state.ids.fresh());
        let register = ApplicationCommand::Register {
            application,
            name: "bench".parse()?,
            owner: PersonId(self.people[0]).into(),
            environment: Environment::Production,
            redirect_uris: [].into(),
        };
        let key = ApiKey::new(KeyId(state.ids.fresh()), &[7; 32]);
        let issue = ApplicationCommand::IssueKey {
            key: key.id,
            hash: key.hash(),
            prefix: key.prefix(),
            scopes: [Scope::FlagRead].into(),
            expires_at: None,
            now: state.clock.now(),
        };
        for command in [register, issue] {
            state.engine.dispatch::<Application>(application.0, command, context()).await?;
        }
        let connect = TenantCommand::ConnectApplication { application };
        let connected = state.engine.dispatch::<Tenant>(self.tenant, connect, context()).await?;
        self.known(connected.position).await?;
        Ok(key)
    }

    /// Waits until nobody who follows the journal has anything left to do for those who joined: what is measured then is
    /// theirs who sign in.
    async fn quiet(&self) -> Result<()> {
        let client = self.shipped.server.state.pool.get().await?;
        let sql = "SELECT bool_and(position = (SELECT last_position FROM journal_shard)) \
                   FROM (SELECT position FROM projection_checkpoint WHERE feed = 'journal' \
                         UNION ALL SELECT position FROM process_checkpoint) AS followers";
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let quiet = async {
            while !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
                tick.tick().await;
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(120), quiet).await?
    }

    /// Waits until access is decided by it.
    async fn known(&self, position: Option<PositionToken>) -> Result<()> {
        if let Some(position) = position {
            self.shipped.server.state.access.handle.wait_for(position, Duration::from_secs(10)).await?;
        }
        Ok(())
    }
}

pub fn email(number: usize) -> String {
    format!("person-{number}@bench.example")
}

/// A kept connection.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub async fn open(shipped: &Shipped) -> Result<Self> {
        let stream = TcpStream::connect(shipped.server.public).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends when its sender is dropped; an error shows in the sender's next request.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        Ok(serde_json::from_slice(&self.send(request).await?)?)
    }

    /// With credentials; the answer's body is read, and not looked at.
    pub async fn get(&mut self, path: &str, credentials: &str) -> Result<()> {
        let request = Request::get(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::AUTHORIZATION, format!("Bearer {credentials}"))
            .body(Full::default())?;
        self.send(request).await.map(drop)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        let path = request.uri().path().to_owned();
        self.0.ready().await?;
        let response = self.0.send_request(request).await.context("no answer from the server")?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path} answered {status}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }
}
