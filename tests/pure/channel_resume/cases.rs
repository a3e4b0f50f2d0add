//! Members that ask for positions, in cases with names.

use super::*;

fn drop_oldest(queue_bytes: usize) -> World {
    let settings = ChannelSettings {
        slow_policy: SlowPolicy::DropOldest,
        queue_bytes,
        ..ChannelSettings::default()
    };
    World::new(settings, false)
}

/// However often something is dropped, three notices are all that tell of it.
#[test]
fn what_is_left_out_is_told_in_three_notices_at_most() {
    let mut world = drop_oldest(3000);
    world.drain().unwrap();
    for n in 0..1000 {
        let frame = world.made.frame(100);
        world.commit(&[frame], n % 3 == 0);
        world.enforce().unwrap();
        assert!(world.outbox_len() <= 3000);
    }
    let queued = world.queued();
    let (mut at, mut notices) = (0, Vec::new());
    while queued[at] == NOTICE_MAGIC {
        let len = frame_len(&queued[at..]).unwrap();
        notices.push(Notice::decode(&queued[at..at + len]).unwrap());
        at += len;
    }
    assert!(
        matches!(
            notices[..],
            [
                Notice::Gap { .. },
                Notice::Receipt { .. },
                Notice::Gap { .. },
                ..
            ] | [Notice::Gap { .. }, Notice::Receipt { .. }, ..]
        ),
        "{notices:?}"
    );
    assert!(notices.len() <= 4, "{notices:?}");
    world.drain().unwrap();
    assert_eq!(world.missed, world.dropped);
}

/// A welcome is never dropped: nothing else says where to begin to count.
#[test]
fn the_welcome_of_a_slow_member_stays() {
    let mut world = drop_oldest(500);
    for _ in 0..50 {
        let frame = world.made.frame(100);
        world.commit(&[frame], false);
    }
    world.come_back(false).unwrap();
    for _ in 0..50 {
        let frame = world.made.frame(100);
        world.commit(&[frame], false);
    }
    world.enforce().unwrap();
    assert!(world.dropped >= 90, "{}", world.dropped);
    world.known.offset = 12345;
    world.drain().unwrap();
}

#[test]
fn members_that_have_not_asked_get_no_notice() {
    let mut world = drop_oldest(usize::MAX);
    let (frames, own) = (world.made.frames(&[8; 3]), world.made.frame(8));
    world.commit(&frames, false);
    world.commit(&[own], true);
    let (_, other) = world
        .channel
        .local
        .iter()
        .find(|(_, member)| member.session == OTHER)
        .unwrap();
    // Of two runs one was its own, and of notices there are none.
    let expected = [&hint()[..], &world.log[3].frame].concat();
    let mut slices = [IoSlice::new(&[]); 4];
    let count = other.outbox.slices(&mut slices);
    let queued = slices[..count]
        .iter()
        .flat_map(|slice| slice.iter().copied());
    assert_eq!(queued.collect::<Vec<_>>(), expected);
}

#[test]
fn a_publisher_is_remembered_while_it_has_a_session_and_after() {
    let mut world = drop_oldest(usize::MAX);
    let age = world.channel.settings().publishers_age;
    let frame = world.made.frame(8);
    world.commit(&[frame], true);
    world.now += age * 2;
    world.channel.trim(world.now);
    world.come_back(true).unwrap();
    assert_eq!(
        world.channel.holder(PublisherId(PUBLISHER)),
        Some((CID, world.session))
    );
    world.channel.leave(CID, world.session, world.now).unwrap();
    assert_eq!(world.channel.holder(PublisherId(PUBLISHER)), None);
    assert!(world.channel.publishers_cost() > 0);
    world.now += age + Duration::from_millis(1);
    world.channel.trim(world.now);
    assert_eq!(world.channel.publishers_cost(), 0);
}

/// What a session has sent before it knows that it is replaced is told from what others send.
#[test]
fn a_session_is_overtaken_until_it_has_ended() {
    let mut world = drop_oldest(usize::MAX);
    let (ghost, other) = (SessionId(1000), SessionId(1001));
    world.channel.overtake(ghost);
    assert!(world.channel.is_overtaken(ghost));
    assert!(!world.channel.is_overtaken(other));
    world.channel.has_ended(other);
    assert!(world.channel.is_overtaken(ghost));
    world.channel.has_ended(ghost);
    assert!(!world.channel.is_overtaken(ghost));
}

#[test]
fn a_run_without_messages_is_no_receipt() {
    let mut world = drop_oldest(usize::MAX);
    world.drain().unwrap();
    world.commit(&[hint()], true);
    assert_eq!(world.outbox_len(), 0);
    assert_eq!(FrameRun::exact(hint(), 1).messages(), 0);
}
