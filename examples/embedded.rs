//! A broker inside this program, and clients of it: `cargo run --example embedded`

use std::net::TcpListener;

use mles::client::Client;
use mles::{Broker, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let broker = Broker::start_on(Settings::default(), [listener])?;
    let server = broker.local_addrs()[0].to_string();

    let mut reader = Client::new(&server, "reader").join_blocking("room")?;
    let mut writer = Client::new(&server, "writer").join_blocking("room")?;
    writer.publish("hello")?;
    while let Some(message) = reader.recv()? {
        // An empty message announces that someone has joined.
        if !message.is_announcement() {
            println!("{}: {}", message.uid(), message.text());
            break;
        }
    }
    println!("{}", broker.stop()?);
    Ok(())
}
