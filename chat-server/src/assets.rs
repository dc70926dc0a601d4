//! The files the server hands out: the page, and the official Socket.IO client.
//!
//! All of them are part of the binary; `build.rs` gathers them. A browser asks each time whether its copy is still good, so that a new version
//! of the server never meets an old page. What the page does is in `page/`.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

struct Asset {
    path: &'static str,
    content_type: &'static str,
    /// With its quotation marks.
    etag: &'static str,
    body: &'static [u8],
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The page's address of the official client.
const CLIENT: &str = "/socket.io/socket.io.js";

const MISSING_CLIENT: &str = "This chat-server was built without the official Socket.IO client, so its page cannot connect. \
To get it: install Node.js with npm on the machine that builds the server, then run `cargo build --release -p chat-server` again. \
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
    if !has_client() {
        let explain = || async { (StatusCode::SERVICE_UNAVAILABLE, plain(), MISSING_CLIENT) };
        router = router.route(CLIENT, get(explain));
    }
    router
}

/// Whether the official client was there when the server was built.
pub(crate) fn has_client() -> bool {
    ASSETS.iter().any(|asset| asset.path == CLIENT)
}

fn answer(asset: &Asset, request: &HeaderMap) -> Response {
    let headers = [
        (header::ETAG, HeaderValue::from_static(asset.etag)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if knows(request, asset.etag) {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, asset.body).into_response()
    }
}

fn plain() -> [(HeaderName, &'static str); 2] {
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")]
}

/// Whether the browser already has the version named by `etag`. A proxy that compresses marks the tag as weak: still the same version.
fn knows(request: &HeaderMap, etag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> &'static Asset {
        ASSETS.iter().find(|asset| asset.path == "/").expect("the page is always there")
    }

    fn asking_with(tag: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap())])
    }

    #[test]
    fn a_browser_that_has_the_page_is_not_sent_it_again() {
        for known in [
            page().etag.to_owned(),
            format!("W/{}", page().etag),
            format!("\"older\", {}", page().etag),
            "*".to_owned(),
        ] {
            let response = answer(page(), &asking_with(&known));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(response.headers()[header::ETAG], page().etag);
        }
    }

    #[test]
    fn a_browser_with_an_older_page_is_sent_the_new_one() {
        let response = answer(page(), &asking_with("\"older\""));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
    }

    #[test]
    fn every_file_the_page_names_is_handed_out() {
        let text = std::str::from_utf8(page().body).unwrap();
        let named: Vec<&str> = text.split('"').filter(|part| part.starts_with('/')).collect();
        assert!(named.len() > 5, "{named:?}");
        for path in named {
            assert!(path == CLIENT || ASSETS.iter().any(|asset| asset.path == path), "{path}");
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own_that_the_policy_would_forbid() {
        let text = std::str::from_utf8(page().body).unwrap();
        for forbidden in ["<style", "style=", "onclick=", "onload=", "<script>"] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn the_official_client_is_complete_or_absent() {
        let count = ASSETS.iter().filter(|asset| asset.path.starts_with("/socket.io/")).count();
        assert_eq!(count, if has_client() { 6 } else { 0 });
    }
}
