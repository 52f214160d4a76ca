//! How tenants' providers are asked. Where they are a tenant says, so that nothing is reached by it that only this machine
//! or its network should reach (CWE-918): the addresses of a host are looked up once, checked, and one of those that were
//! checked is connected to. No redirect is followed, no proxy of the environment is used, an answer is bounded in size and
//! time, and nothing of it goes back to whoever asked but what is parsed from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Request, Response, Uri, header};
use clap::ValueEnum;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use openidconnect::AsyncHttpClient;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer, in bytes. Key sets of providers with many keys have some tens of thousands.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How long an answer may take, from looking up the host to its last byte.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How many of a host's addresses are tried.
const ADDRESSES_MAX: usize = 2;

/// Whether tenants' providers may be in private networks, and without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PrivateNetworks {
    /// They are on the internet, with TLS.
    #[default]
    Off,
    /// For deployments whose tenants are all trusted with what their network can reach.
    On,
}

/// Why there is no answer. Who asked hears none of it, as it would tell what there is in a network.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    #[error("it is no URL to be asked")]
    Url,
    #[error("the host has no address that may be asked")]
    Address,
    #[error("the host could not be looked up, or does not answer")]
    Io(#[from] std::io::Error),
    #[error("the host does not speak HTTP")]
    Http(#[from] hyper::Error),
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes, or broke off")]
    Body,
    #[error("the answer took longer than {ANSWERED_WITHIN:?}")]
    Slow,
}

/// Trusts whom the operating system trusts.
static TLS: LazyLock<TlsConnector> = LazyLock::new(|| {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(tls))
});

/// Asks providers.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    private: PrivateNetworks,
}

impl Outgoing {
    pub fn new(private: PrivateNetworks) -> Self {
        Self { private }
    }

    /// True if it is a URL that may be asked, as far as can be told without looking up its host.
    pub fn may_ask(&self, url: &Uri) -> bool {
        let scheme = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => self.private == PrivateNetworks::On,
            _ => false,
        };
        let host = url.host().map(bare).filter(|host| !host.is_empty());
        let literal = host.and_then(|host| host.parse().ok());
        scheme && host.is_some() && literal.is_none_or(|address| self.may_reach(address))
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        self.private == PrivateNetworks::On || is_global(address)
    }

    /// Sends a request, and hears the answer, whatever its status.
    ///
    /// # Errors
    /// [`OutgoingError`]
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutgoingError> {
        let answer = tokio::time::timeout(ANSWERED_WITHIN, self.exchange(request)).await;
        let answer = answer.unwrap_or(Err(OutgoingError::Slow));
        if let Err(error) = &answer {
            tracing::info!(%error, "a tenant's provider was not reached");
        }
        answer
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutgoingError> {
        let url = request.uri().clone();
        if !self.may_ask(&url) {
            return Err(OutgoingError::Url);
        }
        let host = url.host().map(bare).ok_or(OutgoingError::Url)?.to_owned();
        let is_tls = url.scheme() == Some(&Scheme::HTTPS);
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = self.connect(&host, port).await?;
        if !is_tls {
            return talk(stream, request, &url).await;
        }
        let name = ServerName::try_from(host).map_err(|_| OutgoingError::Url)?;
        talk(TLS.connect(name, stream).await?, request, &url).await
    }

    /// Connects to one of the addresses that were looked up and checked, so that another look-up changes nothing.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, OutgoingError> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        // One that must not be reached makes all of them suspect.
        if found.iter().any(|address| !self.may_reach(address.ip())) {
            return Err(OutgoingError::Address);
        }
        let mut failed = OutgoingError::Address;
        for address in found.into_iter().take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

impl<'c> AsyncHttpClient<'c> for Outgoing {
    type Error = OutgoingError;
    type Future = BoxFuture<'c, Result<Response<Vec<u8>>, OutgoingError>>;

    fn call(&'c self, request: Request<Vec<u8>>) -> Self::Future {
        self.send(request).boxed()
    }
}

/// One request, one answer.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Vec<u8>>,
    url: &Uri,
) -> Result<Response<Vec<u8>>, OutgoingError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let (mut parts, body) = request.into_parts();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse().map_err(|_| OutgoingError::Url)?;
    let authority = url.authority().ok_or(OutgoingError::Url)?.as_str();
    let authority = HeaderValue::try_from(authority).map_err(|_| OutgoingError::Url)?;
    parts.headers.insert(header::HOST, authority);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
    let exchange = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| OutgoingError::Body)?;
        Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
    };
    // The connection works only while the answer is waited for, and is dropped with it.
    tokio::pin!(exchange, connection);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            ended = &mut connection, if open => {
                ended?;
                open = false;
            }
        }
    }
}

/// The host of a URL, of an IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// True for addresses of the internet: neither this machine's, nor a private network's, nor for a special purpose
/// (RFC 6890 and the IANA registries of special-purpose addresses).
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_global_v4(address),
            None => is_global_v6(address),
        },
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, ..)
        | (169, 254, _)
        | (192, 168, _)
        // IETF protocol assignments, documentation, and the way to former 6to4 relays.
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 51, 100)
        | (203, 0, 113) => true,
        (172, b, _) => (16..32).contains(&b),
        // Shared by carriers' customers (RFC 6598).
        (100, b, _) => (64..128).contains(&b),
        // Benchmarks (RFC 2544).
        (198, b, _) => (18..20).contains(&b),
        // Multicast, reserved, broadcast.
        _ => a >= 224,
    };
    !special
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = match (a, b) {
        // IETF protocol assignments, Teredo among them; documentation.
        (0x2001, b) => b < 0x0200 || b == 0x0db8,
        // 6to4 leads to any IPv4 address.
        (0x2002, _) => true,
        // Documentation (RFC 9637).
        (0x3fff, b) => b < 0x1000,
        _ => false,
    };
    // Nothing else is assigned to the internet: not ::1, fc00::/7, fe80::/10, ff00::/8, 64:ff9b::/96.
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(text: &str) -> bool {
        is_global(text.parse().unwrap())
    }

    /// CC-SEC-001
    #[test]
    fn only_addresses_of_the_internet_are_reached() {
        for inside in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!global(inside), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
            "::ffff:1.1.1.1",
        ] {
            assert!(global(outside), "{outside}");
        }
    }

    #[test]
    fn only_https_is_asked_and_no_address_of_a_private_network() {
        let may = |private, url: &str| Outgoing::new(private).may_ask(&url.parse().unwrap());
        for url in ["https://id.acme.example/a", "https://id.acme.example:8443", "https://[2606:4700::1111]/"]
        {
            assert!(may(PrivateNetworks::Off, url), "{url}");
        }
        for url in [
            "http://id.acme.example",
            "https://127.0.0.1",
            "https://[::1]:443/",
            "https://[::ffff:10.0.0.1]",
            "ftp://id.acme.example",
            "/path",
        ] {
            assert!(!may(PrivateNetworks::Off, url), "{url}");
        }
        assert!(may(PrivateNetworks::On, "http://127.0.0.1:9400/a"));
        assert!(!may(PrivateNetworks::On, "ftp://127.0.0.1"));
    }

    /// A name that leads inside is refused where it leads, and however it is written.
    #[tokio::test]
    async fn a_name_of_this_machine_is_not_connected_to() {
        let outgoing = Outgoing::new(PrivateNetworks::Off);
        for host in ["localhost", "127.1", "2130706433"] {
            let refused = outgoing.connect(host, 9).await;
            assert!(
                matches!(refused, Err(OutgoingError::Address | OutgoingError::Io(_))),
                "{host}: {refused:?}"
            );
        }
        assert!(matches!(outgoing.connect("localhost", 9).await, Err(OutgoingError::Address)));
    }
}
