//! Where a request comes from. Behind a proxy that is the proxy's word, in `X-Forwarded-For`: each proxy adds the address
//! that it was called from at the right end, and what stands further left may be anybody's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr as _;
use std::sync::Once;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use tracing::warn;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word counts: their addresses, or the networks that they are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// The text names no proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Neither an address nor a network.
    #[error("`{0}` is no address of a proxy: give one such as `10.0.0.7`, or a network such as `10.0.0.0/24`")]
    Unreadable(String),
    /// Whoever is not trusted ends the search for the client; where there is nobody left, the client names itself.
    #[error(
        "`{0}` holds all addresses there are: clients could say that they are anybody; name the network of the proxies"
    )]
    Everybody(String),
}

impl TrustedProxies {
    /// Reads addresses and networks.
    pub fn parse<S: AsRef<str>>(proxies: &[S]) -> Result<Self, InvalidProxy> {
        let network = |text: &str| {
            let network = IpNet::from_str(text).or_else(|_| IpAddr::from_str(text).map(|ip| ip.to_canonical().into()));
            match network {
                Ok(network) if network.prefix_len() == 0 => Err(InvalidProxy::Everybody(text.to_owned())),
                // Addresses of IPv4 are compared as such, so a network of them in the clothes of IPv6 holds nobody.
                Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => {
                    Err(InvalidProxy::Unreadable(text.to_owned()))
                }
                Ok(network) => Ok(network),
                Err(_) => Err(InvalidProxy::Unreadable(text.to_owned())),
            }
        };
        proxies.iter().map(|text| network(text.as_ref().trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the address of the client: of the connection, or where that is a proxy's, the last one that no trusted proxy
    /// has. What cannot be read is the word of the proxy that passed it on, and counts as that.
    pub(super) fn client(&self, request: &HttpRequest) -> IpAddr {
        // None is no connection over TCP; those are counted together.
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
        self.client_behind(peer, request.headers())
    }

    fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trust(peer) {
            tell_once_of_a_proxy(peer, headers);
        }
        let mut client = peer;
        // Several headers are one list, in their order. Each address is read by itself: what a client has put to the left, be
        // it no text at all, takes nothing from what a proxy has put to the right of it.
        let lines: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).map(HeaderValue::as_bytes).collect();
        let mut hops = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).rev().map(address);
        while self.trust(client) {
            match hops.next() {
                Some(Some(hop)) => client = hop,
                Some(None) | None => break,
            }
        }
        client
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An operator who has put a proxy before the server and not named it learns it from the log, and not from users who are
/// kept out by strangers.
fn tell_once_of_a_proxy(peer: IpAddr, headers: &HeaderMap) {
    static TOLD: Once = Once::new();
    // From anywhere else it would be anybody's word, and a line that strangers can provoke.
    if peer.is_loopback() && headers.contains_key(X_FORWARDED_FOR) {
        TOLD.call_once(|| {
            warn!(
                "there is a proxy at {peer}, and all its clients count as one when logins fail; `--trusted-proxy {peer}` \
                 counts each of them by itself"
            );
        });
    }
}

/// Reads an address as proxies write it: some add the port, and brackets around IPv6.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(bytes).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        TrustedProxies::parse(trusted).unwrap().client_behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn of_a_trusted_proxy_it_is_whom_that_was_called_by() {
        assert_eq!(client(&["127.0.0.1"], "127.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", &["203.0.113.7:4711"]), "203.0.113.7");
        assert_eq!(client(&["fd00::/8"], "fd00::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client(&["fd00::/8"], "fd00::1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(client(&["::1"], "::1", &["::ffff:203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn what_a_client_adds_itself_is_not_looked_at() {
        let forged = ["198.51.100.1, 203.0.113.7"];
        assert_eq!(client(&["127.0.0.1"], "127.0.0.1", &forged), "203.0.113.7");
        assert_eq!(client(&["127.0.0.1"], "127.0.0.1", &["198.51.100.1", "203.0.113.7"]), "203.0.113.7", "two headers");
        assert_eq!(client(&["127.0.0.1"], "127.0.0.1", &["\u{fc}, 203.0.113.7"]), "203.0.113.7", "no text");
        assert_eq!(
            client(&["127.0.0.1"], "127.0.0.1", &["127.0.0.1, 203.0.113.7"]),
            "203.0.113.7",
            "a trusted address"
        );
    }

    #[test]
    fn of_anybody_else_the_header_is_not_looked_at() {
        assert_eq!(client(&[], "127.0.0.1", &["203.0.113.7"]), "127.0.0.1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.2", &["203.0.113.7"]), "10.0.0.2");
        assert_eq!(client(&["10.0.0.1"], "203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn through_several_proxies_it_is_the_last_that_is_none_of_them() {
        let chain = ["198.51.100.1, 203.0.113.7, 10.0.0.9", "10.0.0.8"];
        assert_eq!(client(&["127.0.0.1", "10.0.0.0/24"], "127.0.0.1", &chain), "203.0.113.7");
        assert_eq!(client(&["127.0.0.1"], "127.0.0.1", &chain), "10.0.0.8", "one of them is not named");
        assert_eq!(
            client(&["127.0.0.1", "10.0.0.0/24"], "127.0.0.1", &["10.0.0.9, 10.0.0.8"]),
            "10.0.0.9",
            "none is left"
        );
    }

    #[test]
    fn what_cannot_be_read_counts_as_the_proxy_that_said_it() {
        for line in ["", "unknown", "203.0.113.7, unknown", "203.0.113.7,", "_hidden", "203.0.113.7:", "[::1", "1.2.3"]
        {
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[line]), "10.0.0.1", "{line}");
        }
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["203.0.113.7", "\u{fc}"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0", "fd00::/129", "10.0.0.1:80", "::ffff:10.0.0.0/104"] {
            assert_eq!(TrustedProxies::parse(&[text]), Err(InvalidProxy::Unreadable(text.to_owned())));
        }
        for text in ["0.0.0.0/0", "::/0"] {
            assert_eq!(TrustedProxies::parse(&[text]), Err(InvalidProxy::Everybody(text.to_owned())));
        }
    }

    proptest! {
        /// Whatever is sent: only a trusted peer is believed, and only what trusted proxies have added.
        #[test]
        fn nothing_left_of_a_stranger_is_believed(line in "[0-9a-f:., \\[\\]\u{80}-\u{ff}]{0,40}", peer in any::<[u8; 4]>()) {
            let peer = IpAddr::from(peer);
            prop_assume!(peer != IpAddr::from([10, 0, 0, 1]));
            let stranger = "203.0.113.7";
            prop_assert_eq!(client(&["10.0.0.1"], &peer.to_string(), &[&line]), peer.to_string());
            prop_assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &[&format!("{line},{stranger}")]), stranger);
        }
    }
}
