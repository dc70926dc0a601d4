//! The HTTP side: opens sessions and carries requests to the task of the session they belong to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::{Buf, BufMut};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::application::{Application, Opening};
use super::handle::{self, Handle};
use super::handshake::{Asked, Refusal, Transport};
use super::link::Link;
use super::polling::PollingLink;
use super::registry::{Node, On, Registration, Registry, Shared, Sid};
use super::session::Session;
use super::settings::Settings;
use super::text::Text;
use super::websocket::WebSocketLink;

/// Engine.IO connections, each with an [`Application`] of its own. Cloning is a reference count.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    start: Arc<Start>,
}

type Start = dyn Fn(Registration, Option<SocketAddr>, FirstLink) + Send + Sync;

/// What a session begins on.
enum FirstLink {
    Polling(PollingLink),
    WebSocket(OnUpgrade),
}

impl Engine {
    /// Connections of `settings`; `open` makes the application of each.
    pub fn new<A: Application>(
        settings: Settings,
        open: impl Fn(Opening) -> A + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { settings, registry: Registry::default(), node: Node::random() });
        let open = Arc::new(open);
        let start = move |place: Registration, peer: Option<SocketAddr>, first: FirstLink| {
            let open = open.clone();
            let begin = move |place: Registration, link| {
                let application = open(Opening { handle: place.handle.clone(), peer });
                Session::new(place, application, link)
            };
            match first {
                FirstLink::Polling(link) => {
                    tokio::spawn(begin(place, Link::Polling(Box::new(link))));
                }
                FirstLink::WebSocket(upgrade) => {
                    let shared = place.shared.clone();
                    tokio::spawn(async move {
                        // The box is gone before the session begins: it would live as long.
                        let session = match upgraded(upgrade, &shared.settings).await {
                            Some(link) => begin(place, Link::WebSocket(*link)),
                            None => return,
                        };
                        session.await;
                    });
                }
            }
        };
        Self { shared, start: Arc::new(start) }
    }

    /// What a host mounts: `Router::new().nest_service("/engine.io", engine.router())`. Paths below its own are answered 404, and may be
    /// given routes of the host's own.
    pub fn router(&self) -> Router {
        let engine = self.clone();
        Router::new().fallback(move |request: Request<Body>| {
            let engine = engine.clone();
            async move { engine.answer(request).await }
        })
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.registry.len()
    }

    /// Takes no more connections and closes the open ones: work in progress may end and what is due is handed out, within the close
    /// timeout. True: all are gone within `patience`. The clients come back by themselves, here or elsewhere.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        self.shared.registry.shut(patience).await
    }

    fn register(&self, on: On) -> Result<Registration, Refusal> {
        let sid = Sid::random(self.shared.node);
        let handle = Arc::new(Handle::new());
        let shared = self.shared.clone();
        shared
            .registry
            .insert(sid, handle.clone(), on, shared.settings.connections_max)
            .map_err(|_| Refusal::Full)?;
        Ok(Registration { shared, sid, handle })
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let settings = &self.shared.settings;
        if !matches!(request.uri().path(), "" | "/") {
            let mut response = Response::new(Body::from("not found"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        if !settings.origins.allow(request.headers(), request.uri()) {
            // Whoever has put a proxy in front of the server finds here why its page stays offline.
            let (origin, host) = (request.headers().get(header::ORIGIN), request.headers().get(header::HOST));
            tracing::info!(
                ?origin,
                ?host,
                "a page was refused: its origin is not the server's own and not listed"
            );
            return Refusal::Forbidden.response();
        }
        let cors = Cors::of(request.headers(), settings.origins.credentials());
        let response = if request.method() == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        } else {
            self.dispatch(request).await.unwrap_or_else(Refusal::response)
        };
        cors.add_to(response)
    }

    async fn dispatch(&self, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let settings = &self.shared.settings;
        let asked = Asked::read(request.method(), request.uri(), request.headers(), settings.transports)?;
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let Some(session) = asked.session else {
            return match asked.transport {
                Transport::Polling => {
                    let (answer, data) = oneshot::channel();
                    let mut link = PollingLink::default();
                    link.poll(answer).expect("a new session has no GET yet");
                    (self.start)(self.register(On::Polling)?, peer, FirstLink::Polling(link));
                    polled(data).await
                }
                Transport::WebSocket => {
                    let response = switching_protocols(&request)?;
                    let upgrade = hyper::upgrade::on(&mut request);
                    (self.start)(self.register(On::WebSocket)?, peer, FirstLink::WebSocket(upgrade));
                    Ok(response)
                }
            };
        };
        let known = session.0.and_then(|sid| self.shared.registry.get(sid));
        let Some((handle, on)) = known.filter(|(_, on)| *on != On::Nothing) else {
            let is_ours = session.0.is_none_or(|sid| sid.is_of(self.shared.node));
            return Err(if is_ours { Refusal::UnknownSession } else { Refusal::SessionElsewhere });
        };
        match (asked.transport, request.method() == Method::POST) {
            (Transport::WebSocket, true) => Err(Refusal::BadRequest),
            (Transport::WebSocket, false) => {
                let response = switching_protocols(&request)?;
                let upgrade = hyper::upgrade::on(&mut request);
                if settings.transports.upgrade() && on == On::Polling {
                    let shared = self.shared.clone();
                    tokio::spawn(async move {
                        if let Some(link) = upgraded(upgrade, &shared.settings).await {
                            handle.request(handle::Request::Upgrade(link));
                        }
                    });
                }
                // A session that is on a WebSocket already: the new one is accepted and dropped, as by the reference.
                Ok(response)
            }
            (Transport::Polling, _) if on == On::WebSocket => Err(Refusal::BadRequest),
            (Transport::Polling, false) => {
                let (answer, data) = oneshot::channel();
                handle.request(handle::Request::Poll(answer));
                polled(data).await
            }
            (Transport::Polling, true) => self.posted(&handle, request).await,
        }
    }

    async fn posted(&self, handle: &Handle, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let settings = &self.shared.settings;
        let binary = HeaderValue::from_static("application/octet-stream");
        if request.headers().get(header::CONTENT_TYPE) == Some(&binary) {
            handle.close(super::CloseReason::Malformed);
            return Err(Refusal::BadRequest);
        }
        let body = Limited::new(request.into_body(), settings.max_payload).collect();
        let body = match tokio::time::timeout(settings.body_timeout, body).await {
            // A buffer of its own, and no larger than the body: what has come in one piece shares hyper's.
            Ok(Ok(body)) => body.aggregate(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge),
            Ok(Err(_)) => {
                handle.close(super::CloseReason::TransportClosed);
                return Err(Refusal::BadRequest);
            }
            Err(_) => return Err(Refusal::TooSlow),
        };
        let mut own = Vec::with_capacity(body.remaining());
        own.put(body);
        let Ok(body) = Text::from_bytes(own.into()) else {
            handle.close(super::CloseReason::Malformed);
            return Err(Refusal::BadRequest);
        };
        let (taken, done) = oneshot::channel();
        handle.request(handle::Request::Post { body, taken });
        done.await.map_err(|_| Refusal::BadRequest)?;
        Ok(plain("ok".into()))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Waits for a session's data; refused if the session ends without.
async fn polled(data: oneshot::Receiver<bytes::Bytes>) -> Result<Response<Body>, Refusal> {
    data.await.map(|bytes| plain(bytes.into())).map_err(|_| Refusal::BadRequest)
}

fn plain(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn switching_protocols(request: &Request<Body>) -> Result<Response<Body>, Refusal> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::BadRequest)?;
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&HeaderValue::from_static("13")) {
        return Err(Refusal::BadRequest);
    }
    let accept =
        HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Refusal::BadRequest)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

async fn upgraded(upgrade: OnUpgrade, settings: &Settings) -> Option<Box<WebSocketLink>> {
    let upgraded = tokio::time::timeout(settings.body_timeout, upgrade).await.ok()?.ok()?;
    Some(Box::new(WebSocketLink::new(upgraded, settings)))
}

/// What a browser must be told so that a page of an allowed other origin can read the answer.
struct Cors {
    origin: Option<HeaderValue>,
    credentials: bool,
    headers: Option<HeaderValue>,
}

impl Cors {
    fn of(headers: &HeaderMap, credentials: bool) -> Self {
        Self {
            origin: headers.get(header::ORIGIN).cloned(),
            credentials,
            headers: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
        }
    }

    fn add_to(self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        let Some(origin) = self.origin else { return response };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(requested) = self.headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested);
        }
        response
    }
}
