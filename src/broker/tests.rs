use super::*;
use crate::shard::ShardId;

/// A broker without listeners whose shards begin with `setup`.
fn broker(setup: fn(&Rc<Shard>) -> io::Result<()>) -> Broker {
    let settings = Settings {
        pin: false,
        ..Settings::default()
    };
    let (common, seeds) = seeds(settings, None, 3, None, None);
    let threads = seeds
        .into_iter()
        .map(|seed| spawn(common.clone(), seed, setup).unwrap());
    Broker {
        threads: threads.collect(),
        _watchdog: Watchdog::start(common.clone()).unwrap(),
        common,
        addresses: Vec::new(),
        listeners: Vec::new(),
        changeable: Arc::new(Mutex::new(Changeable::new(Vec::new(), 0, None, None))),
        admin: None,
        store: None,
        fleet: None,
        reload: Arc::default(),
    }
}

#[test]
fn a_task_that_panics_ends_the_whole_broker() {
    let broker = broker(|shard| {
        if shard.id == ShardId(1) {
            shard.spawn(async { panic!("meant by the test") });
        }
        Ok(())
    });
    assert!(matches!(broker.wait(), Err(BrokerError::Panicked)));
}

#[test]
fn a_thread_that_panics_ends_the_whole_broker() {
    let broker = broker(|shard| {
        assert_ne!(shard.id, ShardId(1), "meant by the test");
        Ok(())
    });
    assert!(matches!(broker.wait(), Err(BrokerError::Panicked)));
}

#[test]
fn a_shard_that_cannot_run_ends_the_whole_broker() {
    let broker = broker(|shard| match shard.id {
        ShardId(1) => Err(io::Error::other("meant by the test")),
        _ => Ok(()),
    });
    assert!(matches!(broker.wait(), Err(BrokerError::Shard(_))));
}
