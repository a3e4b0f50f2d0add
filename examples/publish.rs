//! Publishes one message: `cargo run --example publish news 'hello'`

use std::time::Duration;

use mles::client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let channel = std::env::args().nth(1).unwrap_or("news".into());
    let message = std::env::args().nth(2).unwrap_or("hello".into());
    let key = std::env::var("MLES_KEY").unwrap_or_default();
    let mut session = Client::new("localhost", "writer")
        .shared_key(key)
        .join(&channel)
        .await?;
    session.publish(message).await?;
    session.close(Duration::from_millis(200)).await
}
