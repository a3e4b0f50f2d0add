//! stub
use std::fmt;
pub(crate) struct Escaped<'a>(pub(crate) &'a str);
impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}
