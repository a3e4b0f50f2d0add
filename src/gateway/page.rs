//! The page for browsers, and the module that it and other pages use. Both are part of the program.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue};
use http::{Method, Response, StatusCode};

use super::refusal::Rejection;
use super::response::{bad_method, no_content, text};
use crate::access::Access;
use crate::shard::refusal::Refusal;
use crate::static_files::{StaticFile, find, static_files};
use crate::websocket::HttpRequest;

/// The page needs nothing but itself and its server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Prefix of the paths of the module and of its types.
const MODULE: &str = "/mles.";

static FILES: &[StaticFile] = static_files![
    "../../web":
    "/" HTML "index.html",
    "/app.js" SCRIPT "app.js",
    "/elements.js" SCRIPT "elements.js",
    "/input.js" SCRIPT "input.js",
    "/invitation.js" SCRIPT "invitation.js",
    "/links.js" SCRIPT "links.js",
    "/log.js" SCRIPT "log.js",
    "/mles.d.ts" TYPES "mles.d.ts",
    "/mles.js" SCRIPT "mles.js",
    "/room.js" SCRIPT "room.js",
    "/store.js" SCRIPT "store.js",
    "/text.js" SCRIPT "text.js",
    "/theme.js" SCRIPT "theme.js",
    "/room.css" STYLE "room.css",
    "/side.css" STYLE "side.css",
    "/style.css" STYLE "style.css",
    "/logo.svg" IMAGE "logo.svg",
];

/// Answers a request that has no other route.
pub(super) fn answer(
    access: &Access,
    is_served: bool,
    request: &HttpRequest<'_>,
) -> Result<Response<Bytes>, Rejection> {
    match request.method {
        Method::OPTIONS => Ok(no_content()),
        Method::GET | Method::HEAD => {
            access.check_host(request.host).map_err(Refusal::from)?;
            Ok(response(request.path, is_served))
        }
        _ if request.path == "/" || find(FILES, request.path).is_some() => Ok(bad_method()),
        _ => Ok(not_found()),
    }
}

/// Returns the response to a request for `path`. Without the page `/` is still good for health checks.
fn response(path: &str, is_served: bool) -> Response<Bytes> {
    let Some(file) = find(FILES, path).filter(|_| is_served) else {
        if path == "/" {
            return no_content();
        }
        return not_found();
    };
    let mut response = file.response(POLICY);
    if path.starts_with(MODULE) {
        // Pages of others import it. It holds no secret: every server has the same.
        let anyone = HeaderValue::from_static("*");
        response
            .headers_mut()
            .insert(ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
    }
    response
}

fn not_found() -> Response<Bytes> {
    text(StatusCode::NOT_FOUND, "there is nothing here but WebSocket")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::static_files::assert_complete;

    #[test]
    fn every_file_of_the_page_is_served() {
        assert_complete(FILES, "web", "/");
    }
}
