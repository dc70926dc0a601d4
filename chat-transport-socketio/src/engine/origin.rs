//! Which web pages may connect.
//!
//! Browsers send the page's origin with a WebSocket handshake and leave the decision to the server; without this check any
//! page could open a connection with its visitor's network position. Pure.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// A policy for the `Origin` header. A request without one does not come from a page of another site, and is accepted.
///
/// Origins are listed as browsers write them: `https://example.org`. A slash at the end, or the scheme's own port, does no harm.
///
/// What a request calls the server (`Host`) is under the control of whoever owns that name. A page of `http://evil.example:3000`
/// whose name is made to point at the visitor's own machine (DNS rebinding) is of the same origin as a server on
/// `127.0.0.1:3000` that believes it. So a server that is reached over loopback should choose [`Self::LoopbackAnd`], and one whose
/// public address is known [`Self::Listed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// The server's own origin, whatever it is called by (`Origin` names the same host and port as `Host`), and those listed. The default,
    /// with an empty list. Behind a proxy that changes `Host`, list the public URL.
    SameAnd(Vec<String>),
    /// The server's own origin if it is called `localhost` or by a loopback address, and those listed. For servers that listen on
    /// loopback: behind a proxy, list the public URL.
    LoopbackAnd(Vec<String>),
    /// Those listed and no other; the server's own if it is among them.
    Listed(Vec<String>),
    /// Every page may connect, without the visitor's cookies.
    Any,
}

impl Default for Origins {
    fn default() -> Self {
        Self::SameAnd(Vec::new())
    }
}

impl Origins {
    /// Whether a request with these headers may connect.
    pub(crate) fn allow(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let (own, listed) = match self {
            Self::Any => return true,
            Self::SameAnd(listed) => (host(headers, uri), listed),
            Self::LoopbackAnd(listed) => (host(headers, uri).filter(|host| is_loopback(host)), listed),
            Self::Listed(listed) => (None, listed),
        };
        let Ok(origin) = origin.to_str() else { return false };
        own.is_some_and(|host| same_origin(origin, host))
            || listed.iter().any(|entry| as_browsers_write(entry).eq_ignore_ascii_case(origin))
    }

    /// Whether pages of other origins may send what the browser knows of the visitor. Not where every page is allowed: nobody chose those.
    pub(crate) fn credentials(&self) -> bool {
        !matches!(self, Self::Any)
    }
}

/// Browsers leave out the slash, and the port that the scheme has anyway.
fn as_browsers_write(entry: &str) -> &str {
    let entry = entry.trim_end_matches('/');
    let port = if entry.starts_with("https:") { ":443" } else { ":80" };
    entry.strip_suffix(port).unwrap_or(entry)
}

/// What the request calls the server.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// Whether `host`, with or without a port, is this machine in every browser, whatever a name server says.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// `Host` does not tell the scheme (TLS may end at a proxy), so only host and port are compared.
fn same_origin(origin: &str, host: &str) -> bool {
    let (authority, default_port) = if let Some(rest) = origin.strip_prefix("http://") {
        (rest, ":80")
    } else if let Some(rest) = origin.strip_prefix("https://") {
        (rest, ":443")
    } else {
        return false;
    };
    let without = |name: &str| name.strip_suffix(default_port).unwrap_or(name).to_ascii_lowercase();
    without(authority) == without(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn allowed(origins: &Origins, origin: &str) -> bool {
        allowed_at(origins, "chat.example:8080", origin)
    }

    fn allowed_at(origins: &Origins, host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        origins.allow(&headers, &Uri::from_static("/"))
    }

    #[test]
    fn a_page_of_the_server_itself_may_connect() {
        assert!(allowed(&Origins::default(), "http://chat.example:8080"));
        assert!(allowed(&Origins::default(), "https://CHAT.example:8080"));
        assert!(same_origin("https://chat.example", "chat.example:443"));
        assert!(same_origin("http://chat.example:80", "chat.example"));
    }

    #[test]
    fn a_page_of_another_origin_may_not() {
        for origin in [
            "http://chat.example",
            "http://evil.example:8080",
            "null",
            "http://chat.example:8080.evil.example",
        ] {
            assert!(!allowed(&Origins::default(), origin), "{origin}");
        }
        assert!(allowed(&Origins::Any, "http://evil.example"));
    }

    #[test]
    fn a_listed_page_may_connect() {
        let origins = Origins::SameAnd(vec!["https://app.example/".to_owned()]);
        assert!(allowed(&origins, "https://app.example"));
        assert!(!allowed(&origins, "http://app.example"));
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_the_servers_own() {
        let origins = Origins::LoopbackAnd(vec!["https://chat.example".to_owned()]);
        for own in ["localhost:3000", "LOCALHOST", "127.0.0.1:3000", "127.0.0.2", "[::1]:3000", "[::1]"] {
            assert!(allowed_at(&origins, own, &format!("http://{own}")), "{own}");
        }
        for rebound in
            ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example:3000", "192.168.0.1"]
        {
            assert!(allowed_at(&Origins::default(), rebound, &format!("http://{rebound}")), "{rebound}");
            assert!(!allowed_at(&origins, rebound, &format!("http://{rebound}")), "{rebound}");
        }
        assert!(!allowed_at(&origins, "localhost:3000", "http://localhost:4000"));
        assert!(!allowed_at(&origins, "localhost:3000", "http://evil.example:3000"));
        assert!(allowed_at(&origins, "localhost:3000", "https://chat.example"));
    }

    #[test]
    fn where_the_public_address_is_known_the_name_in_the_request_counts_for_nothing() {
        let origins = Origins::Listed(vec!["https://chat.example".to_owned()]);
        assert!(allowed_at(&origins, "10.0.0.1:3000", "https://chat.example"));
        assert!(!allowed_at(&origins, "evil.example", "http://evil.example"));
        assert!(!allowed_at(&origins, "chat.example", "http://chat.example"));
    }

    #[test]
    fn a_request_without_an_origin_is_accepted() {
        assert!(Origins::default().allow(&HeaderMap::new(), &Uri::from_static("/")));
    }

    #[test]
    fn a_listed_origin_may_name_the_port_of_its_scheme() {
        assert_eq!(as_browsers_write("https://example.org:443/"), "https://example.org");
        assert_eq!(as_browsers_write("http://example.org:80"), "http://example.org");
        assert_eq!(as_browsers_write("https://example.org:80"), "https://example.org:80");
        assert_eq!(as_browsers_write("http://example.org:8080"), "http://example.org:8080");
    }
}
