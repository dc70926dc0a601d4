//! Which web pages may connect.
//!
//! Browsers send the page's origin with a WebSocket handshake and leave the decision to the server; without this check any
//! page could open a connection with its visitor's network position. Pure.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// A policy for the `Origin` header. A request without one does not come from a page of another site, and is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// The server's own origin (`Origin` names the same host and port as `Host`), and those listed: `https://example.org`, as browsers
    /// write it. The default, with an empty list. Behind a proxy that changes `Host`, list the public URL.
    SameAnd(Vec<String>),
    /// Every page may connect.
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
        match self {
            Self::Any => true,
            Self::SameAnd(listed) => {
                let Ok(origin) = origin.to_str() else { return false };
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
                host.is_some_and(|host| same_origin(origin, host))
                    || listed.iter().any(|entry| entry.trim_end_matches('/').eq_ignore_ascii_case(origin))
            }
        }
    }
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
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("chat.example:8080"));
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
    fn a_request_without_an_origin_is_accepted() {
        assert!(Origins::default().allow(&HeaderMap::new(), &Uri::from_static("/")));
    }
}
