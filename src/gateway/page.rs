//! The page for browsers, and the module that it and other pages use. Both are part of the program.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue,
    REFERRER_POLICY,
};
use http::{Method, Response, StatusCode};

use super::refusal::Rejection;
use super::response::{bad_method, no_content, text, with_body};
use crate::access::Access;
use crate::shard::refusal::Refusal;
use crate::websocket::HttpRequest;

/// The page needs nothing but itself and its server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TYPES: &str = "application/typescript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// How the paths of the module and of its types begin.
const MODULE: &str = "/mles.";

/// A file of the page.
#[derive(Debug)]
struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! files {
    ($($path:literal $content_type:ident $name:literal,)*) => {
        &[$(File {
            path: $path,
            content_type: $content_type,
            content: include_str!(concat!("../../web/", $name)),
        },)*]
    };
}

static FILES: &[File] = files![
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

/// Returns the file at `path`.
fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

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
        _ if request.path == "/" || find(request.path).is_some() => Ok(bad_method()),
        _ => Ok(not_found()),
    }
}

/// Returns the response to a request for `path`. Without the page `/` is still good for health checks.
fn response(path: &str, is_served: bool) -> Response<Bytes> {
    let Some(file) = find(path).filter(|_| is_served) else {
        if path == "/" {
            return no_content();
        }
        return not_found();
    };
    let mut response = with_body(StatusCode::OK, file.content_type, file.content);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the server has other files.
        (CACHE_CONTROL, "no-cache"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
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

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .expect("the folder is part of the project")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| format!("/{name}").replace("/index.html", "/"))
            .collect();
        names.sort();
        let mut served: Vec<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        served.sort();
        assert_eq!(served, names);
    }
}
