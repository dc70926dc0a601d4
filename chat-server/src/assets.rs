//! The files the server hands out: the page, and the official Socket.IO client.
//!
//! All of them are part of the binary; `build.rs` builds and gathers them. A browser asks each time whether its copy of the page is still
//! good, so that a new version of the server never meets an old page; the files the page names are named by their content, and are kept.
//! What the page does is in `page/`.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

struct Asset {
    path: &'static str,
    content_type: &'static str,
    /// The `Cache-Control` of it.
    caching: &'static str,
    plain: Body,
    gzip: Option<Body>,
}

struct Body {
    /// With its quotation marks.
    etag: &'static str,
    bytes: &'static [u8],
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const PAGE: &str = "/";
/// Where applications look for the official client.
const CLIENT: &str = "/socket.io/socket.io.js";

const MISSING: &str = "This chat-server was built without its page and without the official Socket.IO client. \
To get them: install Node.js (20.19 or newer) with npm on the machine that builds the server, then run `cargo build --release -p chat-server` again. \
Other Socket.IO clients work as they are.\n";

/// Scripts, styles and connections of this server only, and nothing written into the page itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A router with one route per file.
pub(crate) fn router() -> Router {
    let mut router = Router::new();
    for asset in ASSETS {
        router =
            router.route(asset.path, get(move |request: HeaderMap| async move { answer(asset, &request) }));
    }
    if !has_page() {
        router = router.route(PAGE, get(async || explain())).route(CLIENT, get(async || explain()));
    }
    router
}

/// Whether the page, and with it the official client, was built with the server.
pub(crate) fn has_page() -> bool {
    ASSETS.iter().any(|asset| asset.path == PAGE)
}

fn answer(asset: &Asset, request: &HeaderMap) -> Response {
    let gzip = asset.gzip.as_ref().filter(|_| takes_gzip(request));
    let body = gzip.unwrap_or(&asset.plain);
    let headers = [
        (header::ETAG, HeaderValue::from_static(body.etag)),
        (header::CACHE_CONTROL, HeaderValue::from_static(asset.caching)),
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let mut response = if knows(request, body.etag) {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, body.bytes).into_response()
    };
    if asset.gzip.is_some() {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if gzip.is_some() && response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn explain() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, plain(), MISSING).into_response()
}

fn plain() -> [(HeaderName, &'static str); 2] {
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")]
}

/// Whether the browser already has the version named by `etag`. A proxy that compresses marks the tag as weak: still the same version.
fn knows(request: &HeaderMap, etag: &str) -> bool {
    listed(request, header::IF_NONE_MATCH)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether the browser reads gzip. Who says nothing of it is sent what everybody reads.
fn takes_gzip(request: &HeaderMap) -> bool {
    listed(request, header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| 0.0 < weight)
    })
}

/// The elements of a header that is a list.
fn listed(request: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    request
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSET: Asset = Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        caching: "no-cache",
        plain: Body { etag: "\"plain\"", bytes: b"plain" },
        gzip: Some(Body { etag: "\"small\"", bytes: b"small" }),
    };

    fn asking(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_browser_that_has_the_page_is_not_sent_it_again() {
        for known in ["\"plain\"", "W/\"plain\"", "\"older\", \"plain\"", "*"] {
            let response = answer(&ASSET, &asking(header::IF_NONE_MATCH, known));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(response.headers()[header::ETAG], "\"plain\"");
        }
    }

    #[test]
    fn a_browser_with_an_older_page_is_sent_the_new_one() {
        let response = answer(&ASSET, &asking(header::IF_NONE_MATCH, "\"older\""));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
    }

    #[test]
    fn only_who_reads_gzip_is_sent_it() {
        for (accepted, etag) in [
            ("gzip, deflate, br", "\"small\""),
            ("br;q=1.0, GZIP;q=0.5", "\"small\""),
            ("br", "\"plain\""),
            ("gzip;q=0", "\"plain\""),
            ("gzip;q=lots", "\"plain\""),
        ] {
            let response = answer(&ASSET, &asking(header::ACCEPT_ENCODING, accepted));
            assert_eq!(response.headers()[header::ETAG], etag, "{accepted}");
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), etag == "\"small\"");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
    }

    #[test]
    fn the_page_and_the_official_client_are_complete_or_absent() {
        let count = ASSETS.iter().filter(|asset| asset.path.starts_with("/socket.io/")).count();
        assert_eq!(count, if has_page() { 6 } else { 0 });
    }

    #[test]
    fn without_the_page_the_server_says_what_to_do() {
        let response = explain();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(MISSING.contains("install Node.js"));
    }

    #[test]
    fn every_file_the_page_names_is_handed_out_and_kept() {
        let Some(page) = ASSETS.iter().find(|asset| asset.path == PAGE) else { return };
        let text = std::str::from_utf8(page.plain.bytes).unwrap();
        let named: Vec<&str> =
            text.split('"').filter(|part| part.starts_with('/') && !part.contains('>')).collect();
        assert!(2 < named.len(), "{named:?}");
        for path in named {
            let asset = ASSETS.iter().find(|asset| asset.path == path).unwrap_or_else(|| panic!("{path}"));
            let headers = answer(asset, &HeaderMap::new()).headers().clone();
            assert!(headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"), "{path}");
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own_that_the_policy_would_forbid() {
        let Some(page) = ASSETS.iter().find(|asset| asset.path == PAGE) else { return };
        let text = std::str::from_utf8(page.plain.bytes).unwrap();
        for forbidden in ["<style", "style=", "onclick=", "onload=", "<script>"] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }
}
