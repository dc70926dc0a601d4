//! What an HTTP request asks of the engine, and how it is told that it cannot have it. Pure.

use http::{HeaderMap, Method, Response, StatusCode, Uri, header};

use axum::body::Body;

use super::registry::Sid;
use super::settings::Transports;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
}

/// A request in the protocol's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) transport: Transport,
    pub(crate) session: Option<Session>,
}

/// The session that a request names; none if that is no session id at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) Option<Sid>);

/// The protocol's error codes, as the reference server numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownTransport,
    UnknownSession,
    /// It is of another process, or of an earlier one.
    SessionElsewhere,
    BadHandshakeMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    TooLarge,
    TooSlow,
    Full,
}

impl Refusal {
    pub(crate) fn response(self) -> Response<Body> {
        let (status, code, message) = match self {
            Self::UnknownTransport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Self::UnknownSession | Self::SessionElsewhere => {
                (StatusCode::BAD_REQUEST, 1, "Session ID unknown")
            }
            Self::BadHandshakeMethod => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Self::Forbidden => (StatusCode::FORBIDDEN, 4, "Pages of this origin may not connect"),
            Self::UnsupportedVersion => (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "The body is larger than maxPayload"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, 3, "The body did not arrive in time"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, 3, "The server takes no more connections"),
        };
        let hint = match self {
            Self::SessionElsewhere => {
                r#","hint":"this session is of another server, or of one that was restarted; behind a load balancer long-polling needs sticky sessions, WebSocket does not""#
            }
            _ => "",
        };
        let mut response =
            Response::new(Body::from(format!(r#"{{"code":{code},"message":"{message}"{hint}}}"#)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        response
    }
}

impl Asked {
    pub(crate) fn read(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        transports: Transports,
    ) -> Result<Self, Refusal> {
        let transport = match parameter(uri, "transport") {
            Some("polling") if transports.polling() => Transport::Polling,
            Some("websocket") if transports.websocket() => Transport::WebSocket,
            _ => return Err(Refusal::UnknownTransport),
        };
        let session = parameter(uri, "sid").filter(|sid| !sid.is_empty()).map(|sid| Session(Sid::parse(sid)));
        let version = parameter(uri, "EIO");
        let wants_upgrade = is_websocket_upgrade(headers);
        if session.is_none() {
            if method != Method::GET {
                return Err(Refusal::BadHandshakeMethod);
            }
            if version != Some("4") {
                return Err(Refusal::UnsupportedVersion);
            }
        } else if version != Some("4") || (method != Method::GET && method != Method::POST) {
            return Err(Refusal::BadRequest);
        }
        if wants_upgrade != (transport == Transport::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        Ok(Self { transport, session })
    }
}

fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    let names = |name: header::HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket")
}

/// A query parameter; the protocol's own never need escapes.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, uri: &'static str) -> Result<Asked, Refusal> {
        Asked::read(&method, &Uri::from_static(uri), &HeaderMap::new(), Transports::All)
    }

    #[test]
    fn each_bad_handshake_has_the_code_of_the_reference() {
        let cases = [
            (Method::GET, "/?EIO=4", Refusal::UnknownTransport),
            (Method::GET, "/?EIO=4&transport=abc", Refusal::UnknownTransport),
            (Method::GET, "/?transport=polling", Refusal::UnsupportedVersion),
            (Method::GET, "/?EIO=3&transport=polling", Refusal::UnsupportedVersion),
            (Method::POST, "/?EIO=4&transport=polling", Refusal::BadHandshakeMethod),
            (Method::PUT, "/?EIO=4&transport=polling", Refusal::BadHandshakeMethod),
            (Method::GET, "/?EIO=4&transport=websocket", Refusal::BadRequest),
        ];
        for (method, uri, refusal) in cases {
            assert_eq!(read(method.clone(), uri), Err(refusal), "{method} {uri}");
        }
    }

    #[test]
    fn a_handshake_and_a_known_session_are_told_apart() {
        assert_eq!(
            read(Method::GET, "/?EIO=4&transport=polling&t=x"),
            Ok(Asked { transport: Transport::Polling, session: None })
        );
        let asked = read(Method::POST, "/?EIO=4&transport=polling&sid=nonsense");
        assert_eq!(asked, Ok(Asked { transport: Transport::Polling, session: Some(Session(None)) }));
    }
}
