//! Provisional: enough of `mles serve` to be driven by tools until the real one lands.
use mles::{Broker, Settings, protocol::Keyring};

pub(crate) fn run() {
    let mut settings = Settings::default();
    let (mut key, mut addr_key) = (None, None);
    let mut args = std::env::args().skip(2);
    while let Some(name) = args.next() {
        let value = || args.next().expect("value");
        let mut value = value;
        match name.as_str() {
            "--listen" => settings.listen = vec![value().parse().expect("address")],
            "--key" => key = Some(value()),
            "--addr-key" => addr_key = Some(value()),
            "--shards" => settings.shards = Some(value().parse().expect("number")),
            "--history-limit" => {
                settings.channels.default.history_frames = value().parse().expect("number");
            }
            "--spread-threshold" => settings.spread_threshold = value().parse().expect("number"),
            other => panic!("{other}"),
        }
    }
    settings.keyring = Keyring::new(key, addr_key);
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let broker = Broker::start(settings).expect("start");
    eprintln!("listening on {}", broker.local_addrs()[0]);
    broker.wait().expect("ran");
}
