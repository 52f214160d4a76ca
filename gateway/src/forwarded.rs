//! Whose address a request comes from, when proxies stand in front: what `X-Forwarded-For` says is believed as far as
//! proxies of ours have written it, and no further (CC-SEC-001).
//!
//! Each proxy adds to the right whom it was asked by. So one reads from the right: the peer of the connection, and, while
//! that is a proxy of ours, whom it names. What stands further left is anybody's claim.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::HeaderMap;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Proxies in a row that are looked through; behind more, the last one stands for all.
const HOPS_MAX: usize = 16;

/// The proxies that are believed. With none a request is its connection's peer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies(Arc<[Block]>);

impl Proxies {
    /// The address that a request comes from. An entry that is no address ends it: then it is the proxy's that wrote it.
    pub fn origin_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let named = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')).map(str::trim);
        for named in named.filter(|named| !named.is_empty()).take(HOPS_MAX) {
            if !self.0.iter().any(|block| block.holds(address)) {
                break;
            }
            let Some(before) = address_of(named) else { break };
            address = before;
        }
        address
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let blocks = text.split(',').map(str::trim).filter(|block| !block.is_empty()).map(Block::from_str);
        Ok(Self(blocks.collect::<Result<_, _>>()?))
    }
}

/// An address as proxies write it: some with a port, some with IPv6 in brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

/// Addresses that begin alike (RFC 4632), such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first: IpAddr,
    /// How many bits are alike.
    prefix: u32,
}

impl Block {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let beyond = u32::MAX.checked_shr(self.prefix).unwrap_or(0);
                first.to_bits() | beyond == address.to_bits() | beyond
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let beyond = u128::MAX.checked_shr(self.prefix).unwrap_or(0);
                first.to_bits() | beyond == address.to_bits() | beyond
            }
            _ => false,
        }
    }

    fn last_bits_are_zero(&self) -> bool {
        match self.first {
            IpAddr::V4(first) => first.to_bits() & u32::MAX.checked_shr(self.prefix).unwrap_or(0) == 0,
            IpAddr::V6(first) => first.to_bits() & u128::MAX.checked_shr(self.prefix).unwrap_or(0) == 0,
        }
    }
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address and no block of addresses, such as 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
        let first: IpAddr = address.parse().map_err(|_| wrong())?;
        if first != first.to_canonical() {
            return Err(format!("{text:?} is an IPv4 address in IPv6: write it as IPv4"));
        }
        let longest = if first.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| wrong())?;
        let block = Self { first, prefix };
        if prefix > longest {
            return Err(wrong());
        }
        if !block.last_bits_are_zero() {
            return Err(format!("{text:?} has an address that goes on beyond its /{prefix}"));
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    const OURS: &str = "10.0.0.0/8, 192.0.2.1,2001:db8::/32";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn origin(proxies: &str, peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        proxies.parse::<Proxies>().unwrap().origin_of(ip(peer), &headers).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_they_are_named() {
        assert_eq!(origin("", "10.0.0.1", &["203.0.113.7"]), "10.0.0.1");
        assert_eq!(origin(OURS, "192.0.2.2", &["203.0.113.7"]), "192.0.2.2");
        assert_eq!(origin(OURS, "192.0.2.1", &["203.0.113.7"]), "203.0.113.7");
    }

    /// CC-SEC-001
    #[test]
    fn the_rightmost_address_that_is_no_proxy_of_ours_is_the_origin() {
        for (lines, wanted) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7", "10.1.1.1,10.1.1.2"], "203.0.113.7"),
            (&["10.9.9.9"], "10.9.9.9"),
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db9::1]:4711"], "2001:db9::1"),
            (&["[2001:db9::1]"], "2001:db9::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1, unknown"], "10.0.0.1"),
            (&["198.51.100.1, 10.1.1.1, _hidden, 2001:db8::7"], "2001:db8::7"),
            (&["198.51.100.1, \u{e4}"], "10.0.0.1"),
        ] {
            assert_eq!(origin(OURS, "10.0.0.1", lines), wanted, "{lines:?}");
            assert_eq!(origin(OURS, "::ffff:10.0.0.1", lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn blocks_that_cannot_be_meant_are_refused() {
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "proxy.example", "::ffff:10.0.0.1"]
        {
            assert!(wrong.parse::<Proxies>().is_err(), "{wrong}");
        }
        for right in ["", " ", "0.0.0.0/0", "10.0.0.1/32", "::1", "::/0", "10.0.0.0/8,"] {
            assert!(right.parse::<Proxies>().is_ok(), "{right}");
        }
        // All of one kind is none of the other.
        assert_eq!(origin("::/0", "10.0.0.1", &["203.0.113.7"]), "10.0.0.1");
        assert_eq!(origin("0.0.0.0/0", "::1", &["203.0.113.7"]), "::1");
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()));
        let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()).to_canonical());
        prop_oneof![v4, v6]
    }

    fn stranger() -> impl Strategy<Value = IpAddr> {
        any_address().prop_filter("is no proxy of ours", |address| {
            !OURS.parse::<Proxies>().unwrap().0.iter().any(|block| block.holds(*address))
        })
    }

    /// A proxy of ours.
    fn ours() -> impl Strategy<Value = IpAddr> {
        any::<u32>().prop_map(|bits| IpAddr::V4(((10 << 24) | (bits >> 8)).into()))
    }

    /// What a stranger may send: other addresses, ours among them, and whatever else fits into a header.
    fn claim() -> impl Strategy<Value = Vec<String>> {
        let address = prop_oneof![any_address(), ours()].prop_map(|address| address.to_string());
        let piece = prop_oneof![address, "[ -~]{0,20}", Just(",".to_owned())];
        let line = proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.join(","));
        proptest::collection::vec(line, 0..4)
    }

    proptest! {
        /// Whatever a stranger sends along, the proxies add whom they were asked by, and it is the stranger.
        #[test]
        fn a_stranger_cannot_pass_for_another(
            claim in claim(),
            stranger in stranger(),
            way in proptest::collection::vec(ours(), 1..HOPS_MAX),
            one_line in any::<bool>(),
        ) {
            let mut lines = claim;
            let mut asked_by = stranger;
            for proxy in &way {
                match lines.last_mut() {
                    Some(last) if one_line => *last = format!("{last}, {asked_by}"),
                    _ => lines.push(asked_by.to_string()),
                }
                asked_by = *proxy;
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(origin(OURS, &asked_by.to_string(), &lines), stranger.to_string());
        }

        /// Whoever comes without a proxy is who they are, whatever they send.
        #[test]
        fn a_stranger_who_comes_directly_is_their_connections_peer(claim in claim(), stranger in stranger()) {
            let lines: Vec<&str> = claim.iter().map(String::as_str).collect();
            prop_assert_eq!(origin(OURS, &stranger.to_string(), &lines), stranger.to_string());
        }

        #[test]
        fn a_block_holds_what_begins_alike(first in any::<u32>(), other in any::<u32>(), prefix in 0_u32..=32) {
            let beyond = u32::MAX.checked_shr(prefix).unwrap_or(0);
            let text = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(first & !beyond));
            let block: Block = text.parse().unwrap();
            let alike = (first ^ other).leading_zeros() >= prefix;
            prop_assert_eq!(block.holds(IpAddr::V4(other.into())), alike);
        }
    }
}
