//! The dashboard, which is part of the program.

use bytes::Bytes;
use http::Response;

use crate::static_files::{self, StaticFile, static_files};

/// The dashboard needs nothing but itself and its server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files, at their places in `web`, but for the first: what the page for clients has too is shared with it.
static FILES: &[StaticFile] = static_files![
    "../../web":
    "/" HTML "admin/index.html",
    "/admin/admin.css" STYLE "admin/admin.css",
    "/admin/api.js" SCRIPT "admin/api.js",
    "/admin/app.js" SCRIPT "admin/app.js",
    "/admin/bans.js" SCRIPT "admin/bans.js",
    "/admin/channels.js" SCRIPT "admin/channels.js",
    "/admin/columns.js" SCRIPT "admin/columns.js",
    "/admin/confirm.js" SCRIPT "admin/confirm.js",
    "/admin/dom.js" SCRIPT "admin/dom.js",
    "/admin/format.js" SCRIPT "admin/format.js",
    "/admin/links.js" SCRIPT "admin/links.js",
    "/admin/overview.js" SCRIPT "admin/overview.js",
    "/admin/plot.js" SCRIPT "admin/plot.js",
    "/admin/samples.js" SCRIPT "admin/samples.js",
    "/admin/sessions.js" SCRIPT "admin/sessions.js",
    "/admin/table.js" SCRIPT "admin/table.js",
    "/elements.js" SCRIPT "elements.js",
    "/input.js" SCRIPT "input.js",
    "/logo.svg" IMAGE "logo.svg",
    "/side.css" STYLE "side.css",
    "/store.js" SCRIPT "store.js",
    "/style.css" STYLE "style.css",
    "/theme.js" SCRIPT "theme.js",
];

/// Returns the file at `path`.
pub(super) fn find(path: &str) -> Option<&'static StaticFile> {
    static_files::find(FILES, path)
}

/// Returns the response that holds a file.
pub(super) fn response(file: &StaticFile) -> Response<Bytes> {
    file.response(POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_dashboard_is_served() {
        static_files::assert_complete(FILES, "web/admin", "/admin/");
    }
}
