//! Local backplanes: names, lives, order, lag, waiting.

use multiplane_bus::local::{
    Backplane, Carried, Ended, LocalError, Message, OnLag, PublishError, PublishTo, RecvTimeoutError,
    SubscribeTo, TryRecvError,
};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// What is there now, as text.
fn texts(subscriber: &mut SubscribeTo) -> Vec<String> {
    let text = |message: Message| String::from_utf8_lossy(message.payload()).into_owned();
    subscriber.drain().map(text).collect()
}

#[test]
fn a_name_belongs_to_one_backplane_at_a_time() {
    let first = Backplane::new("local-name").unwrap();
    let taken = Backplane::new("local-name").unwrap_err();
    assert_eq!(taken, LocalError::Taken { name: "local-name".into() });
    drop(first);
    assert_eq!(Backplane::new("local-name").unwrap().name(), "local-name");
}

#[test]
fn an_unknown_name_is_told_with_those_there_are() {
    let _known = Backplane::new("local-known").unwrap();
    let error = SubscribeTo::new("local-unknown").unwrap_err();
    let LocalError::Unknown { name, known } = &error else { panic!("{error}") };
    assert_eq!(name, "local-unknown");
    assert!(known.names().any(|name| name == "local-known"), "{error}");
    let error = PublishTo::wait("local-unknown", Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, LocalError::NotInTime { .. }), "{error}");
}

#[test]
fn who_waits_for_a_name_finds_it_when_it_comes() {
    let (waits, waiting) = mpsc::channel();
    let late = thread::spawn(move || {
        waits.send(()).unwrap();
        SubscribeTo::wait("local-late", LONG).unwrap().recv()
    });
    waiting.recv().unwrap();
    let backplane = Backplane::new("local-late").unwrap();
    while backplane.stats().subscribers == 0 {
        thread::yield_now();
    }
    backplane.publisher().publish("hello").unwrap();
    assert_eq!(late.join().unwrap().unwrap().payload(), "hello");
}

#[test]
fn a_name_leads_to_one_type() {
    #[derive(Clone)]
    struct Tick;
    impl Carried for Tick {}
    let _ticks = Backplane::builder("local-type").carrying::<Tick>().start().unwrap();
    let error = PublishTo::new("local-type").unwrap_err();
    assert!(error.to_string().contains("Tick"), "{error}");
}

#[test]
fn bounds_of_nothing_are_refused() {
    let error = Backplane::builder("local-zero").capacity(0).start().unwrap_err();
    assert_eq!(error, LocalError::Zero { name: "local-zero".into(), bound: "capacity" });
    assert!(Backplane::builder("local-zero").bytes(0).start().is_err());
}

#[test]
fn each_gets_what_came_after_it() {
    let backplane = Backplane::new("local-after").unwrap();
    let publisher = backplane.publisher();
    publisher.publish("nobody hears this").unwrap();
    let mut first = backplane.subscriber();
    publisher.publish("one").unwrap();
    let mut second = SubscribeTo::new("local-after").unwrap();
    publisher.publish(Message::on("topic", "two")).unwrap();
    assert_eq!(texts(&mut first), ["one", "two"]);
    assert_eq!(second.recv().unwrap().topic(), Some("topic"));
    assert_eq!(second.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(second.recv_timeout(Duration::from_millis(1)).unwrap_err(), RecvTimeoutError::Timeout);
    assert_eq!(backplane.stats().published, 3);
}

#[test]
fn the_end_comes_after_what_is_there() {
    let backplane = Backplane::new("local-end").unwrap();
    let (publisher, mut subscriber) = (backplane.publisher(), backplane.subscriber());
    publisher.publish("last").unwrap();
    drop(backplane);
    assert!(
        matches!(publisher.publish("late"), Err(PublishError::Closed(message)) if message.payload() == "late")
    );
    assert_eq!(subscriber.recv().unwrap().payload(), "last");
    assert_eq!(subscriber.recv().unwrap_err(), Ended);
    assert_eq!(subscriber.try_recv().unwrap_err(), TryRecvError::Ended);
    assert_eq!(subscriber.recv_timeout(LONG).unwrap_err(), RecvTimeoutError::Ended);
}

#[test]
fn a_sleeper_hears_the_end() {
    let backplane = Backplane::new("local-sleeper").unwrap();
    let mut subscriber = backplane.subscriber();
    let sleeper = thread::spawn(move || subscriber.recv());
    drop(backplane);
    assert_eq!(sleeper.join().unwrap().unwrap_err(), Ended);
}

#[test]
fn the_slowest_holds_the_publisher() {
    let backplane = Backplane::builder("local-block").capacity(4).start().unwrap();
    let (publisher, mut slow, mut fast) =
        (backplane.publisher(), backplane.subscriber(), backplane.subscriber());
    for text in ["1", "2", "3", "4"] {
        publisher.try_publish(text).unwrap();
    }
    assert_eq!(texts(&mut fast), ["1", "2", "3", "4"]);
    assert!(matches!(publisher.try_publish("5"), Err(PublishError::Full(_))));
    assert!(matches!(publisher.publish_timeout("5", Duration::from_millis(1)), Err(PublishError::Full(_))));
    let waiting = thread::spawn(move || publisher.publish("5"));
    assert_eq!(slow.recv().unwrap().payload(), "1");
    waiting.join().unwrap().unwrap();
    assert_eq!(texts(&mut slow), ["2", "3", "4", "5"]);
    assert_eq!((slow.received(), slow.missed()), (5, 0));
}

#[test]
fn who_detaches_holds_nobody_any_longer() {
    let backplane = Backplane::builder("local-detach").capacity(1).start().unwrap();
    let (publisher, gone) = (backplane.publisher(), backplane.subscriber());
    publisher.publish("1").unwrap();
    let waiting = thread::spawn(move || publisher.publish("2"));
    drop(gone);
    waiting.join().unwrap().unwrap();
}

#[test]
fn the_end_frees_a_publisher_that_waits() {
    let backplane = Backplane::builder("local-freed").capacity(1).start().unwrap();
    let (publisher, _slow) = (backplane.publisher(), backplane.subscriber());
    publisher.publish("1").unwrap();
    let waiting = thread::spawn(move || publisher.publish("2"));
    drop(backplane);
    assert!(matches!(waiting.join().unwrap(), Err(PublishError::Closed(_))));
}

#[test]
fn who_lags_is_told_how_much_it_missed() {
    let backplane = Backplane::builder("local-skip").capacity(4).on_lag(OnLag::Skip).start().unwrap();
    let (publisher, mut slow) = (backplane.publisher(), backplane.subscriber());
    publisher.publish("0").unwrap();
    assert_eq!(slow.recv().unwrap().payload(), "0");
    for number in 1..=10 {
        publisher.publish(number.to_string()).unwrap();
    }
    assert_eq!(slow.len(), 10);
    assert_eq!(slow.missed(), 0, "not yet");
    let first = slow.recv().unwrap();
    assert_eq!(slow.missed(), 6);
    assert_eq!(first.payload(), "7");
    assert_eq!(texts(&mut slow), ["8", "9", "10"]);
    assert_eq!((slow.received(), slow.missed()), (5, 6));
}

#[test]
fn large_messages_are_bounded_in_bytes() {
    let backplane = Backplane::builder("local-bytes").capacity(64).bytes(1000).start().unwrap();
    let (publisher, mut subscriber) = (backplane.publisher(), backplane.subscriber());
    // One of any size.
    publisher.try_publish(vec![0; 5000]).unwrap();
    assert!(matches!(publisher.try_publish(vec![0; 500]), Err(PublishError::Full(_))));
    assert_eq!(subscriber.recv().unwrap().payload().len(), 5000);
    publisher.try_publish(vec![0; 500]).unwrap();
    let mut taken = 0;
    while publisher.try_publish(vec![0; 500]).is_ok() {
        taken += 1;
    }
    assert!(taken < 3, "{taken}");
}

#[test]
fn a_hook_is_called_once_for_each_arming() {
    let backplane = Backplane::new("local-hook").unwrap();
    let (publisher, mut subscriber) = (backplane.publisher(), backplane.subscriber());
    let (calls, called) = mpsc::channel();
    let calls = std::sync::Mutex::new(calls);
    subscriber.on_ready(move || calls.lock().unwrap().send(()).unwrap());
    publisher.publish("1").unwrap();
    assert!(!subscriber.arm(), "there is something");
    assert_eq!(subscriber.try_for_each(|_| ()), Ok(1));
    assert!(subscriber.arm());
    publisher.publish("2").unwrap();
    publisher.publish("3").unwrap();
    assert_eq!(called.try_iter().count(), 1);
    assert_eq!(subscriber.for_each(|_| ()), Ok(2));
    assert!(subscriber.arm());
    drop(backplane);
    assert_eq!(called.try_iter().count(), 1);
}

#[test]
fn several_publishers_each_keep_their_order() {
    let backplane = Backplane::builder("local-several").capacity(16).start().unwrap();
    let mut subscribers: Vec<_> = (0..3).map(|_| backplane.subscriber()).collect();
    let publishers: Vec<_> = (0..3u8)
        .map(|who| {
            let publisher = backplane.publisher();
            thread::spawn(move || {
                for number in 0..1000u32 {
                    let mut payload = vec![who];
                    payload.extend(number.to_le_bytes());
                    publisher.publish(payload).unwrap();
                }
            })
        })
        .collect();
    thread::scope(|scope| {
        for subscriber in &mut subscribers {
            scope.spawn(move || {
                let mut next = [0u32; 3];
                for message in subscriber.into_iter().take(3000) {
                    let (who, number) = message.payload().split_first().unwrap();
                    let number = u32::from_le_bytes(number.try_into().unwrap());
                    assert_eq!(number, next[usize::from(*who)]);
                    next[usize::from(*who)] += 1;
                }
                assert_eq!(next, [1000; 3]);
            });
        }
    });
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}
