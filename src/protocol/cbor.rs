//! The one module that knows serde_cbor.
