//! Files for browsers that are part of the program: the page, and the dashboard of the admin listener.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use http::{Response, StatusCode};

use crate::response::with_body;

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(crate) const TYPES: &str = "application/typescript; charset=utf-8";
pub(crate) const STYLE: &str = "text/css; charset=utf-8";
pub(crate) const IMAGE: &str = "image/svg+xml";

/// A file that is part of the program.
#[derive(Debug)]
pub(crate) struct StaticFile {
    /// The path at which it is served.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) content: &'static str,
}

/// Makes a list of [`StaticFile`]s out of rows: the path at which a file is served, its type, and where it is, from the
/// file of source on.
macro_rules! static_files {
    ($folder:literal: $($path:literal $content_type:ident $name:literal,)*) => {
        &[$($crate::static_files::StaticFile {
            path: $path,
            content_type: $crate::static_files::$content_type,
            content: include_str!(concat!($folder, "/", $name)),
        },)*]
    };
}
pub(crate) use static_files;

/// Returns the file at `path`.
pub(crate) fn find(files: &'static [StaticFile], path: &str) -> Option<&'static StaticFile> {
    files.iter().find(|file| file.path == path)
}

impl StaticFile {
    /// Returns the response that holds the file. `policy` says what it may load.
    pub(crate) fn response(&self, policy: &'static str) -> Response<Bytes> {
        let mut response = with_body(StatusCode::OK, self.content_type, self.content);
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, policy),
            (REFERRER_POLICY, "no-referrer"),
            // Another version of the server has other files.
            (CACHE_CONTROL, "no-cache"),
        ] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Asserts that every file in a folder of the project is served at a path that begins with `prefix`, and nothing else there.
#[cfg(test)]
pub(crate) fn assert_complete(files: &[StaticFile], folder: &str, prefix: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder is part of the project");
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_file = entry.file_type().ok()?.is_file();
            is_file.then(|| entry.file_name().into_string().ok())?
        })
        .map(|name| match name.as_str() {
            "index.html" => "/".to_owned(),
            _ => format!("{prefix}{name}"),
        })
        .collect();
    names.sort();
    let mut served: Vec<_> = files
        .iter()
        .map(|file| file.path.to_owned())
        .filter(|path| path == "/" || path.starts_with(prefix))
        .collect();
    served.sort();
    assert_eq!(served, names);
}
