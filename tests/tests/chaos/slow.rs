//! Rows in which somebody does not keep up.

use crate::ends::{Honest, TOPIC};
use crate::trial::{Ran, Trial};
use crate::wire;
use multiplane_bus::{Backplane, Budget, OnSlow};
use multiplane_tests::clock::{eventually, now};
use rustix::io::ioctl_fionread;
use std::io::{BufReader, Write};
use std::time::Duration;

/// T3. One reads nothing, one stops in the middle of a message, and two go on.
pub fn stalled_peers(trial: &mut Trial) -> Ran {
    const MESSAGES: u64 = 30_000;
    let mut hub = trial.hub();
    let honest = Honest::of_size(trial.system, &hub, 1000);
    let stalled = wire::subscriber(hub.subscriber_port(), TOPIC.as_bytes()).unwrap();
    let mut half = wire::peer(hub.publisher_port(), "PUB").unwrap();
    half.write_all(&wire::message(&[b"honest", &[7; 1000]])[..500]).unwrap();
    honest.exchange(trial, 100, |_| {});
    let before = hub.process().resident();
    // It is stalled from the moment when its system takes nothing more for it.
    let (mut waiting, mut since, mut named) = (0, now(), None);
    honest.exchange(trial, MESSAGES - 100, |trial| {
        let waits = ioctl_fionread(&stalled).unwrap();
        if waits != waiting {
            (waiting, since) = (waits, now());
        }
        if named.is_none() && hub.process().has_said(|line| line.contains("too slow")).is_some() {
            named = Some((since.elapsed(), trial.tally.sent));
        }
    });
    let after = hub.process().resident();
    match named {
        None => trial.must("the stalled one is named", false),
        Some((took, at)) => {
            trial.note(format!("at message {at}"));
            trial.within("named after it stalled", took, Duration::from_secs(1));
        }
    }
    trial.grown("memory", before, after, 16);
    trial.all_delivered();
    Ok(())
}

/// T4. As fast as it goes, and nobody waits for anybody.
pub fn burst(trial: &mut Trial) -> Ran {
    let hub = trial.hub();
    let honest = Honest::of_size(trial.system, &hub, 187);
    honest.exchange(trial, 1, |_| {});
    honest.pour(&mut trial.tally, 200_000, || {});
    honest.close_books(trial);
    trial.books_close();
    Ok(())
}

/// T5. A subscriber that reads nothing until all is sent, behind queues of different lengths.
pub fn exact_counters(trial: &mut Trial) -> Ran {
    const MESSAGES: u64 = 9000;
    for high_water_mark in [1, 2, 3, 10, 1 + trial.random.below(999) as usize, 1000] {
        for on_slow in [OnSlow::DropOldest, OnSlow::DropNewest] {
            let budget = Budget { high_water_mark, ..Budget::default() };
            let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).budget(budget);
            let backplane = backplane.on_slow(on_slow).start().unwrap();
            let stalled = wire::subscriber(backplane.subscriber_port(), b"t").unwrap();
            eventually("it is heard", || backplane.stats().subscriptions == 1);
            let mut publisher = wire::peer(backplane.publisher_port(), "PUB").unwrap();
            let first = trial.tally.sent;
            for n in 0..MESSAGES {
                let body = [&(first + n).to_be_bytes()[..], &[7; 2000]].concat();
                publisher.write_all(&wire::message(&[b"t", &body])).unwrap();
            }
            trial.tally.sent += MESSAGES;
            eventually("all is taken", || backplane.stats().received == MESSAGES);
            // Its end is handled after all that it sent.
            wire::half_close(&publisher);
            eventually("the publisher has gone", || backplane.stats().publishers == 0);
            let dropped = backplane.stats().dropped;
            trial.must("something is dropped", dropped > 0);
            let mut reader = BufReader::new(&stalled);
            for _ in 0..MESSAGES - dropped {
                let got = wire::recv(&mut reader).expect("what was not dropped arrives");
                trial.tally.receive(u64::from_be_bytes(got[1][..8].try_into().unwrap()));
            }
            trial.tally.reported += dropped;
            trial.must("nothing more comes", !wire_has_more(&stalled));
        }
    }
    trial.books_close();
    Ok(())
}

fn wire_has_more(stream: &std::net::TcpStream) -> bool {
    ioctl_fionread(stream).unwrap() > 0
}
