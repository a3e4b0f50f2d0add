//! Views: what there is to see, as JSON. Every field is described in `docs/OPERATIONS.md`.

mod server;

pub(super) use server::server;
