//! Says hello and prints what others say, without a runtime: `cargo run --example blocking news`

use mles::client::{Client, Error};

fn main() -> Result<(), Error> {
    let channel = std::env::args().nth(1).unwrap_or("news".into());
    let key = std::env::var("MLES_KEY").unwrap_or_default();
    let mut session = Client::new("localhost", "blocking")
        .shared_key(key)
        .join_blocking(&channel)?;
    session.publish("hello")?;
    for message in session.messages() {
        let message = message?;
        // An empty message announces that someone has joined.
        if !message.is_announcement() {
            println!("{}: {}", message.uid(), message.text());
        }
    }
    Ok(())
}
