//! Who stands behind a proxy.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address if `peer` is one of the trusted proxies, else `None`.
///
/// Each proxy appends whom it heard, so only the end of the list can be believed: the last entry that is no trusted
/// proxy is the client. What stands before it was written by the client. An entry that is no address is not believed,
/// and the proxy behind it counts as the client.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(&nearest) {
        return None;
    }
    let lists: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().map(|list| list.to_str().unwrap_or("unreadable")).collect();
    for entry in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
        let Some(address) = parse(entry.trim()) else { break };
        nearest = address;
        if !is_trusted(&nearest) {
            break;
        }
    }
    Some(nearest)
}

/// An address, with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_last_entry_that_is_no_trusted_proxy_is_the_client() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].iter().map(|network| network.parse().unwrap()).collect();
        for (peer, lists, client) in [
            ("192.0.2.1", &["198.51.100.7"][..], None),
            ("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("::ffff:10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], Some("198.51.100.7")),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.2.3.4"], Some("198.51.100.7")),
            ("2001:db8::1", &["2001:db9::5"], Some("2001:db9::5")),
            ("10.0.0.1", &["198.51.100.7:4711"], Some("198.51.100.7")),
            ("10.0.0.1", &["[2001:db9::5]:4711"], Some("2001:db9::5")),
            ("10.0.0.1", &["[2001:db9::5]"], Some("2001:db9::5")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.7, nonsense"], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.7, nonsense, 10.9.9.9"], Some("10.9.9.9")),
            ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], Some("10.1.1.1")),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(list));
            }
            let expected = client.map(|client: &str| client.parse().unwrap());
            assert_eq!(super::client(peer.parse().unwrap(), &headers, &trusted), expected, "{lists:?}");
        }
    }
}
