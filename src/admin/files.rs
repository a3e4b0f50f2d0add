//! The dashboard, which is part of the program.

use bytes::Bytes;
use http::Response;

use crate::static_files::{self, StaticFile, static_files};

/// The dashboard needs nothing but itself and its server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static FILES: &[StaticFile] = static_files![
    "../../web/admin":
    "/" HTML "index.html",
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
        static_files::assert_complete(FILES, "web/admin");
    }
}
