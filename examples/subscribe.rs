//! Prints the history and the live messages of a channel: `cargo run --example subscribe news`

use mles::client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let channel = std::env::args().nth(1).unwrap_or("news".into());
    let key = std::env::var("MLES_KEY").unwrap_or_default();
    let mut session = Client::new("localhost", "reader")
        .shared_key(key)
        .join(&channel)
        .await?;
    while let Some(message) = session.recv().await? {
        // An empty message announces that someone has joined.
        if !message.is_announcement() {
            println!("{}: {}", message.uid(), message.text());
        }
    }
    Ok(())
}
