//! A proxy before PostgreSQL that loses the journal's connection where it hurts most: around a commit.
//!
//! An append is one statement that commits by itself, so its COMMIT is the `Sync` behind its `Execute`. The proxy
//! understands just enough of the protocol (PostgreSQL's manual, "Message Formats") to find that place.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cluster::ConnectInfo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

/// What becomes of the next append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The client's connection breaks before the server has read anything.
    Unsent,
    /// The server gets it, and both connections break at once: it may commit or not.
    Sent,
    /// The server carries it out, and the connection breaks before the client hears of it.
    Answered,
    /// The client's connection breaks while the server has not read it; it is let through when the test says so.
    Held,
    /// The same, but the client's connection only goes silent.
    Silent,
}

/// The strike has struck.
#[derive(Debug)]
pub struct Struck {
    /// Of [`Strike::Held`] and [`Strike::Silent`]: the append that nobody has read yet.
    pub held: Option<Held>,
}

/// An append that the server has not read yet.
#[derive(Debug)]
pub struct Held {
    /// Kept open if the client is to believe that all is well.
    _client: Option<UnixStream>,
    server: Answers,
    append: Vec<u8>,
}

impl Held {
    /// Lets it through; the SQLSTATE if the server refuses it. The client hears nothing of it.
    pub async fn let_through(&mut self) -> Result<(), String> {
        self.server.stream.write_all(&self.append).await.expect("the server still listens");
        self.server.owed += 1;
        self.server.last().await.expect("the server answers")
    }
}

type Strikes = Arc<Mutex<VecDeque<(Strike, oneshot::Sender<Struck>)>>>;

/// Listens at a socket of its own for as long as it lives.
pub struct Proxy {
    directory: TempDir,
    strikes: Strikes,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    pub fn before(server: &ConnectInfo) -> Self {
        let directory = tempfile::tempdir().expect("a directory is made");
        let strikes = Strikes::default();
        let place = ConnectInfo { socket_dir: directory.path().to_owned(), ..server.clone() };
        let listener = UnixListener::bind(place.socket()).expect("it can be listened at");
        let accepting = tokio::spawn(accept(listener, server.socket(), strikes.clone()));
        Self { directory, strikes, accepting }
    }

    /// The same database and role, reached through the proxy.
    pub fn way_to(&self, server: &ConnectInfo) -> ConnectInfo {
        ConnectInfo { socket_dir: self.directory.path().to_owned(), ..server.clone() }
    }

    /// Strikes the next append, once. The answer comes when it has struck.
    pub fn strike(&self, strike: Strike) -> oneshot::Receiver<Struck> {
        let (tell, struck) = oneshot::channel();
        self.strikes.lock().expect("nobody panicked").push_back((strike, tell));
        struck
    }
}

async fn accept(listener: UnixListener, server: PathBuf, strikes: Strikes) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        // No server: the client's connection ends, as it would without us.
        if let Ok(server) = UnixStream::connect(&server).await {
            tokio::spawn(relay(client, server, strikes.clone()));
        }
    }
}

/// What is known of one connection.
#[derive(Default)]
struct Session {
    /// True once the client has said who it is.
    begun: bool,
    /// True if it is a journal's append connection.
    is_journal: bool,
    /// The names of the prepared statements that append.
    appends: HashSet<Vec<u8>>,
    /// What was read of the client and belongs to the group that the next `Sync` ends.
    group: Vec<u8>,
    is_append: bool,
}

async fn relay(mut client: UnixStream, server: UnixStream, strikes: Strikes) -> io::Result<()> {
    let mut session = Session::default();
    let mut server = Answers { stream: server, unread: Vec::new(), owed: 0 };
    let (mut up, mut down) = (Vec::new(), vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read_buf(&mut up) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = next_message(&mut up, session.begun) {
                    let asks = !session.begun || matches!(message[0], b'S' | b'Q');
                    if !session.take(&message) {
                        continue;
                    }
                    let group = std::mem::take(&mut session.group);
                    let strikes_now = std::mem::take(&mut session.is_append) && session.is_journal;
                    let strike = if strikes_now { strikes.lock().expect("nobody panicked").pop_front() } else { None };
                    match strike {
                        Some((strike, tell)) => return carry_out(strike, tell, client, server, group).await,
                        None => {
                            server.owed += usize::from(asks);
                            server.stream.write_all(&group).await?;
                        }
                    }
                }
            }
            read = server.stream.read(&mut down) => match read? {
                0 => return Ok(()),
                read => {
                    client.write_all(&down[..read]).await?;
                    server.unread.extend_from_slice(&down[..read]);
                    while server.next().is_some() {}
                }
            }
        }
    }
}

async fn carry_out(
    strike: Strike,
    tell: oneshot::Sender<Struck>,
    client: UnixStream,
    mut server: Answers,
    append: Vec<u8>,
) -> io::Result<()> {
    let mut held = None;
    match strike {
        Strike::Unsent => drop(client),
        Strike::Sent => {
            server.stream.write_all(&append).await?;
            drop((client, server));
        }
        Strike::Answered => {
            server.stream.write_all(&append).await?;
            server.owed += 1;
            // A refusal is an answer too, and is lost like one.
            let _lost = server.last().await?;
            drop(client);
        }
        Strike::Held => {
            drop(client);
            held = Some(Held { _client: None, server, append });
        }
        Strike::Silent => held = Some(Held { _client: Some(client), server, append }),
    }
    // A test that has ended asks for nothing more.
    let _ = tell.send(Struck { held });
    Ok(())
}

impl Session {
    /// Takes a message of the client; true if what was taken so far is to go on.
    fn take(&mut self, message: &[u8]) -> bool {
        self.group.extend_from_slice(message);
        if !self.begun {
            self.begun = true;
            let name = b"tenantry journal";
            self.is_journal = message.windows(name.len()).any(|part| part == name);
            return true;
        }
        let mut words = message[5..].split(|byte| *byte == 0);
        let mut word = || words.next().unwrap_or_default();
        match message[0] {
            // Parse: the statement's name and text.
            b'P' => {
                let (name, text) = (word().to_vec(), String::from_utf8_lossy(word()).into_owned());
                if text.contains("journal_advance") {
                    self.appends.insert(name);
                } else {
                    self.appends.remove(&name);
                }
                false
            }
            // Bind: the portal's and the statement's name.
            b'B' => {
                let (_portal, name) = (word(), word());
                self.is_append |= self.appends.contains(name);
                false
            }
            // Describe, Execute, Close: more follows.
            b'D' | b'E' | b'C' => false,
            _ => true,
        }
    }
}

/// Takes a whole message off the front. The first one of a connection has no type.
fn next_message(buffer: &mut Vec<u8>, begun: bool) -> Option<Vec<u8>> {
    let type_length = usize::from(begun);
    let length = buffer.get(type_length..type_length + 4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize + type_length;
    (buffer.len() >= length).then(|| buffer.drain(..length).collect())
}

/// The server's side of a connection.
#[derive(Debug)]
struct Answers {
    stream: UnixStream,
    /// The part of a message that has come so far.
    unread: Vec<u8>,
    /// How often it is still to say that it is ready: clients don't wait for the answer to everything.
    owed: usize,
}

impl Answers {
    /// The next whole message that has come; the SQLSTATE if it is an error.
    fn next(&mut self) -> Option<Result<(), String>> {
        let message = next_message(&mut self.unread, true)?;
        match message[0] {
            b'Z' => self.owed = self.owed.saturating_sub(1),
            b'E' => {
                let code = message[5..].split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
                return Some(Err(String::from_utf8_lossy(code.unwrap_or_default()).into_owned()));
            }
            _ => {}
        }
        Some(Ok(()))
    }

    /// Reads to the end of the last answer that is owed; the SQLSTATE if that is an error.
    async fn last(&mut self) -> io::Result<Result<(), String>> {
        let mut answer = Ok(());
        while self.owed > 0 {
            match self.next() {
                Some(Err(code)) => answer = Err(code),
                Some(Ok(())) => {}
                None if self.stream.read_buf(&mut self.unread).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
        Ok(answer)
    }
}
