//! A mail server of a test's own: real SMTP over TCP, an inbox to look at, and refusals on demand.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailin::response::{INTERNAL_ERROR, NO_MAILBOX, OK};
use mailin::{Action, Handler, Response, SessionBuilder};

use crate::feeds::eventually;

/// What came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Everything, headers and parts, as it was sent.
    pub mail: String,
}

/// A server that takes mail, until the test's process ends.
#[derive(Clone, Default)]
pub struct PostOffice {
    inbox: Arc<Mutex<Vec<Received>>>,
    /// Codes that the next letters are answered with; all others are taken.
    refusals: Arc<Mutex<VecDeque<u16>>>,
    port: u16,
    session: Session,
}

/// One connection's letter, as far as it has come in.
#[derive(Clone, Default)]
struct Session {
    to: Vec<String>,
    data: Vec<u8>,
}

impl PostOffice {
    pub fn open() -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    /// At a port that somebody knows already.
    pub fn at(listener: TcpListener) -> Self {
        let port = listener.local_addr().expect("its address").port();
        let office = Self { port, ..Self::default() };
        let serving = office.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let office = serving.clone();
                // A client that hangs up ends its session and nothing else.
                std::thread::spawn(move || office.serve(stream).unwrap_or_default());
            }
        });
        office
    }

    /// One session, until either side ends it.
    fn serve(self, stream: TcpStream) -> std::io::Result<()> {
        let mut session = SessionBuilder::new("mail.test").build(stream.peer_addr()?.ip(), self);
        let (mut lines, mut answers) = (BufReader::new(stream.try_clone()?), stream);
        session.greeting().write_to(&mut answers)?;
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let answer = session.process(&line);
            line.clear();
            answer.write_to(&mut answers)?;
            if answer.action == Action::Close {
                break;
            }
        }
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// The next recipients are answered so: 451 (not now, as greylisting does), 550 (nobody's).
    pub fn refuse(&self, codes: impl IntoIterator<Item = u16>) {
        self.refusals.lock().unwrap().extend(codes);
    }

    /// True once everything was refused that was to be.
    pub fn has_refused(&self) -> bool {
        self.refusals.lock().unwrap().is_empty()
    }

    pub fn received(&self) -> Vec<Received> {
        self.inbox.lock().unwrap().clone()
    }

    /// Waits for letters, and takes them out.
    pub async fn take(&self, count: usize) -> Vec<Received> {
        eventually("the letters arrive", async || self.inbox.lock().unwrap().len() >= count).await;
        std::mem::take(&mut *self.inbox.lock().unwrap())
    }
}

impl Handler for PostOffice {
    fn rcpt(&mut self, _: &str) -> Response {
        match self.refusals.lock().unwrap().pop_front() {
            None => OK,
            Some(451) => INTERNAL_ERROR,
            Some(_) => NO_MAILBOX,
        }
    }

    fn data_start(&mut self, _: &str, _: &str, _: bool, to: &[String]) -> Response {
        self.session = Session { to: to.to_vec(), data: Vec::new() };
        OK
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.session.data.extend_from_slice(bytes);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let Session { to, data } = std::mem::take(&mut self.session);
        let mail = String::from_utf8(data).expect("mails are text on the wire");
        self.inbox.lock().unwrap().push(Received { to, mail });
        OK
    }
}

impl Received {
    pub fn header(&self, name: &str) -> String {
        header(&self.mail, name).unwrap_or_else(|| panic!("no {name}: {}", self.mail))
    }

    /// The part of a type, such as `text/plain`, decoded.
    pub fn part(&self, content_type: &str) -> String {
        part(&self.mail, content_type)
    }
}

/// A header's value, unfolded.
fn header(mail: &str, name: &str) -> Option<String> {
    let head = mail.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
    let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.map(str::to_owned)
}

/// The part of a type, decoded (RFC 2045).
pub fn part(mail: &str, content_type: &str) -> String {
    let kind = header(mail, "Content-Type").expect("it has a type");
    let boundary = kind.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    let boundary = boundary.expect("it has parts");
    let is_it = |part: &&str| header(part, "Content-Type").is_some_and(|kind| kind.starts_with(content_type));
    let delimiter = format!("--{boundary}");
    let part =
        mail.split(&delimiter).skip(1).map(|part| part.trim_start()).find(is_it).expect("the part is there");
    let (_, body) = part.split_once("\r\n\r\n").expect("a part has a body");
    match header(part, "Content-Transfer-Encoding").as_deref() {
        Some("quoted-printable") => unquoted(body),
        Some("base64") => {
            let bytes = STANDARD.decode(body.replace("\r\n", "")).expect("it is base64");
            String::from_utf8(bytes).expect("it is text")
        }
        _ => body.to_owned(),
    }
}

fn unquoted(body: &str) -> String {
    let body = body.replace("=\r\n", "");
    let (mut bytes, mut rest) = (Vec::new(), body.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        if *first == b'=' && more.len() >= 2 {
            bytes.extend(hex::decode(&more[..2]).expect("two hex digits"));
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).expect("it is text")
}
