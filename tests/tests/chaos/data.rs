//! Rows about what is in messages, topics and files.

use crate::ends::{Honest, TOPIC};
use crate::trial::{Ran, System, Trial};
use crate::wire;
use multiplane_bus::codec::{Limits, View};
use multiplane_bus::{Bus, Route, RoutingSpec, Trailer};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::foreign::plain::Plain;
use multiplane_tests::hub::{Around, Hub};
use multiplane_tests::random::Random;
use multiplane_tests::spec;
use std::io::{BufReader, Write};
use std::time::Duration;

/// T15. A publisher by hand whose numbers jump, repeat and stand in the wrong order, and who is born again.
pub fn sequence_gaps(trial: &mut Trial) -> Ran {
    let hub = trial.hub();
    let bus = crate::ends::component(
        System::Native,
        "receives",
        Route { publisher_port: None, ..hub.route([TOPIC]) },
    );
    let subscriber = bus.subscriber().unwrap();
    let mut publisher = wire::peer(hub.publisher_port(), "PUB").unwrap();
    let mut send = |publisher_id: u64, sequence: u64| {
        let trailer = Trailer { publisher: publisher_id, sequence, sent_at: 0 }.encode();
        publisher.write_all(&wire::message(&[TOPIC.as_bytes(), b"\xc0", &trailer])).unwrap();
    };
    let (mut sent, mut missed, mut late) = (0_u64, 0_u64, 0_u64);
    for life in 1..=10 {
        // The first number of a life may be any: what came before it is nobody's loss.
        let mut next = 1 + trial.random.below(1000);
        send(life, next);
        sent += 1;
        for _ in 0..300 {
            match trial.random.below(4) {
                0 => {
                    let gap = 1 + trial.random.below(50);
                    (next, missed) = (next + gap, missed + gap);
                }
                1 => {
                    send(life, next - trial.random.below(next.min(5)));
                    (sent, late) = (sent + 1, late + 1);
                }
                _ => {}
            }
            next += 1;
            send(life, next);
            sent += 1;
        }
    }
    for _ in 0..sent {
        subscriber.recv_timeout(DEADLINE).expect("each of them");
    }
    let stats = &bus.stats()[0];
    trial.note(format!("{missed} left out, {} reported; {late} late, {} reported", stats.missed, stats.late));
    trial.must("gaps are reported exactly", stats.missed == missed);
    trial.must("what is late is reported exactly", stats.late == late);
    Ok(())
}

/// T16. One publisher and one subscriber that are linked to two backplanes.
pub fn two_backplanes(trial: &mut Trial) -> Ran {
    const MESSAGES: u64 = 400;
    let (first, second) = (trial.hub(), Hub::start(trial.system.kind(), "BP2"));
    let mut times = vec![0; MESSAGES as usize];
    if trial.system == System::Plain {
        let publishers = [&first, &second].map(|hub| Plain::publisher(hub.publisher_port()));
        let subscribers = [&first, &second].map(|hub| Plain::subscriber(hub.subscriber_port(), &[b"t"]));
        for publisher in &publishers {
            assert!(publisher.await_wanted(b"t", DEADLINE));
        }
        for n in 0..MESSAGES {
            publishers.iter().for_each(|publisher| publisher.send(&[b"t", &n.to_be_bytes()]));
            for got in subscribers.iter().filter_map(|subscriber| subscriber.recv(DEADLINE)) {
                times[u64::from_be_bytes(got[1][..].try_into().unwrap()) as usize] += 1;
            }
        }
    } else {
        let routes = [first.route(["t"]), second.route(["t"])];
        let builder = Bus::builder("both").engine(trial.system.engine()).routing(spec(routes));
        let bus = builder.start_deadline(DEADLINE).start().unwrap();
        for backplane in ["BP1", "BP2"] {
            bus.publisher(backplane).unwrap().wait_for_subscriber("t", DEADLINE).unwrap();
        }
        let subscriber = bus.subscriber().unwrap();
        for n in 0..MESSAGES {
            bus.broadcast("t", &n).unwrap();
        }
        for _ in 0..2 * MESSAGES {
            times[subscriber.recv_timeout(DEADLINE).unwrap().decode::<u64>().unwrap() as usize] += 1;
        }
        trial.must("and no more", subscriber.try_recv().is_err());
    }
    trial.must("each comes twice", times.iter().all(|&times| times == 2));
    trial.note("each twice; there is no window that would leave one out");
    Ok(())
}

/// Bytes that would exhaust a decoder that believes them, or its stack.
fn bomb(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => [&[0xdd][..], &[0xff; 4]].concat(),
        1 => [&[0xdf][..], &[0xff; 4]].concat(),
        2 => [&[0xc6][..], &[0xff; 4], b"x"].concat(),
        3 => [&[0xdb][..], &[0xff; 4], b"x"].concat(),
        4 => vec![0x91; 100_000],
        5 => b"\xc1".to_vec(),
        6 => b"\x80\x80".to_vec(),
        _ => [0x81, 0xa1, b'a'].repeat(201 + random.below(300) as usize),
    }
}

/// T17.
pub fn bombs(trial: &mut Trial) -> Ran {
    const BOMBS: usize = 400;
    let mut hub = trial.hub_as(Around { before: "", flags: &["--guard"] });
    let honest = Honest::new(System::Native, &hub);
    let mut hostile = wire::peer(hub.publisher_port(), "PUB").unwrap();
    let before = hub.process().resident();
    let mut refused = 0;
    for _ in 0..BOMBS {
        let bomb = bomb(&mut trial.random);
        let read = View::parse(&bomb, &Limits::default());
        refused += usize::from(read.is_err());
        hostile.write_all(&wire::message(&[TOPIC.as_bytes(), &bomb])).unwrap();
        honest.exchange(trial, 1, |_| {});
    }
    trial.must(format!("the decoder refuses all, but {refused} of {BOMBS}"), refused == BOMBS);
    honest.exchange(trial, 100, |_| {});
    trial.all_delivered();
    trial.grown("memory", before, hub.process().resident(), 5);
    hub.process().interrupt();
    let _ = hub.process().exit();
    let stopped = format!("stopped by the guard {BOMBS}");
    let told = hub.process().output().iter().any(|line| line.contains(&stopped));
    trial.must("the guard stops and counts all", told);
    trial.note(stopped);
    Ok(())
}

/// T18. By hand, so that each byte is seen; then subscriptions of the lengths at which libzmq has lost some.
pub fn topics(trial: &mut Trial) -> Ran {
    let hub = trial.hub();
    let mut watcher = BufReader::new(wire::subscriber(hub.subscriber_port(), b"").unwrap());
    let mut publisher = wire::peer(hub.publisher_port(), "PUB").unwrap();
    eventually("the watcher is heard", || {
        publisher.write_all(&wire::message(&[b"probe", b""])).unwrap();
        rustix::io::ioctl_fionread(watcher.get_ref()).unwrap() > 0
    });
    let mut topics = vec![vec![], vec![0], b"\xff\xfe".to_vec(), b"a\0b".to_vec(), "\u{1f98a}".into()];
    topics.extend((0..200).map(|_| {
        let length = trial.random.below(300);
        trial.random.bytes(length)
    }));
    for topic in &topics {
        publisher.write_all(&wire::message(&[topic, b"payload"])).unwrap();
    }
    let mut got = std::iter::from_fn(|| wire::recv(&mut watcher)).filter(|frames| frames[0] != b"probe");
    let exact = topics
        .iter()
        .filter(|topic| got.next().is_some_and(|frames| frames == [&topic[..], b"payload"]))
        .count();
    trial.must(format!("exact bytes, but {exact} of {}", topics.len()), exact == topics.len());
    if trial.system.is_ours() {
        // What is not wanted any more does not come.
        let mut fickle = wire::subscriber(hub.subscriber_port(), b"goes").unwrap();
        fickle.write_all(&[wire::subscription(b"stays"), wire::frame(0, b"\0goes")].concat()).unwrap();
        trial.must("a change of mind is taken", wire::is_answered(&mut fickle));
        for topic in [b"goes ", b"stays"] {
            publisher.write_all(&wire::message(&[topic, b"payload"])).unwrap();
        }
        let first = wire::recv(&mut fickle).unwrap_or_default();
        trial.must(
            "nothing comes that is not wanted any more",
            first.first().is_some_and(|topic| topic == b"stays"),
        );
    }
    let lengths = [1, 200, 245, 246, 250, 255, 256, 300, 1000];
    let deaf = lengths_that_are_deaf(trial.system, &hub, &lengths);
    trial.note(format!("{} lengths up to 1000 bytes", lengths.len()));
    trial.must(format!("subscriptions of all lengths work, but not {deaf:?}"), deaf.is_empty());
    Ok(())
}

/// The lengths of subscriptions, all of one subscriber, for which nothing comes.
fn lengths_that_are_deaf(system: System, hub: &Hub, lengths: &[usize]) -> Vec<usize> {
    let topics: Vec<String> =
        lengths.iter().map(|length| format!("{length:04}{}", "x".repeat(length.max(&4) - 4))).collect();
    let mut publisher = wire::peer(hub.publisher_port(), "PUB").unwrap();
    let mut hears = |topic: &str, next: &mut dyn FnMut(Duration) -> Option<Vec<u8>>| {
        // Ours always does, however busy the machine is.
        (0..if system == System::Plain { 20 } else { 600 }).any(|_| {
            publisher.write_all(&wire::message(&[topic.as_bytes(), b"\xc0"])).unwrap();
            next(Duration::from_millis(50)).is_some_and(|got| got == topic.as_bytes())
        })
    };
    let mut deaf = Vec::new();
    let mut try_all = |next: &mut dyn FnMut(Duration) -> Option<Vec<u8>>| {
        for (topic, length) in topics.iter().zip(lengths) {
            // What was sent again is passed over.
            while next(Duration::ZERO).is_some() {}
            if !hears(topic, next) {
                deaf.push(*length);
            }
        }
    };
    if system == System::Plain {
        let wanted: Vec<&[u8]> = topics.iter().map(String::as_bytes).collect();
        let socket = Plain::subscriber(hub.subscriber_port(), &wanted);
        try_all(&mut |timeout| Some(socket.recv(timeout)?.swap_remove(0)));
    } else {
        let route = Route { publisher_port: None, ..hub.route(topics.iter().map(String::as_str)) };
        let bus = crate::ends::component(system, "receives", route);
        let subscriber = bus.subscriber().unwrap();
        try_all(&mut |timeout| Some(subscriber.recv_timeout(timeout).ok()?.topic().as_bytes().to_vec()));
    }
    deaf
}

const HEADER: &str = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n";

/// T19. Each file with what is to become of it, then thousands that are mutated.
pub fn routing_files(trial: &mut Trial) -> Ran {
    let good = format!("{HEADER}BP1,10.0.0.1,43125,\"[a,b]\",43124\n");
    let cases = [
        (good.clone(), true),
        (format!("\u{feff}{good}"), false),
        (good.replace('\n', "\r\n"), true),
        (good.replace("43124", "0"), false),
        (good.replace("43124", "65536"), false),
        (good.replace("43124", "many"), false),
        (format!("{good}BP1,10.0.0.1,1,[a],2\n"), false),
        (good.replace("]\"", "]"), false),
        (HEADER.to_owned(), false),
        (String::new(), false),
    ];
    for (text, is_good) in &cases {
        let read = RoutingSpec::parse(text, "spec.csv");
        trial.must(format!("the right verdict on {text:?}: {read:?}"), read.is_ok() == *is_good);
    }
    let (mut refused, mut unplaced) = (0, 0);
    const SPICE: [&str; 10] = ["\"", ",", "\n", "\r", "[", "]", "\0", "65536", "\u{feff}", "\u{1f98a}"];
    for _ in 0..3000 {
        let mut text = good.clone();
        for _ in 0..1 + trial.random.below(4) {
            let at = trial.random.below(text.len() as u64 + 1) as usize;
            let at = (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            match trial.random.below(2) {
                0 => text.insert_str(at, SPICE[trial.random.below(10) as usize]),
                _ => text.truncate(at),
            }
        }
        if let Err(error) = RoutingSpec::parse(&text, "spec.csv") {
            refused += 1;
            let placed = error.problems().iter().all(|problem| problem.place.is_some());
            // Of a file that has no line there is no place.
            unplaced += usize::from(!placed && !text.trim().is_empty());
        }
    }
    trial.note(format!("{refused} of 3,000 mutated files refused, {unplaced} of them without a place"));
    Ok(())
}
