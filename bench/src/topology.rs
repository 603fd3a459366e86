//! A component linked to many backplanes in one process, and the processor time of its worker: what the criterion
//! benches of the receive loop and of publishing share.

use multiplane_bus::{Backplane, Bus, OnSlow, Publisher, RoutingSpec};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// A component with a counting handler, linked to so many backplanes, and a publisher on the first of them. All
/// sockets are real; the backplanes and both components share this process.
#[derive(Debug)]
pub struct Topology {
    /// Publishes on the one busy backplane.
    pub publisher: Publisher,
    received: Arc<Received>,
    worker: u32,
    stop: multiplane_bus::StopHandle,
    running: Option<JoinHandle<()>>,
    _talker: Bus,
    _backplanes: Vec<Backplane>,
}

#[derive(Debug)]
struct Received {
    count: AtomicU64,
    goal: AtomicU64,
    waiter: Thread,
}

impl Topology {
    /// Starts everything on free loopback ports, with back-pressure from end to end, so that nothing is lost.
    ///
    /// # Panics
    /// When anything cannot start: there is nothing to measure then.
    #[must_use]
    pub fn start(backplanes: usize) -> Self {
        let backplanes: Vec<_> = (0..backplanes)
            .map(|n| {
                let backplane = Backplane::builder(format!("BP{n}")).publisher_port(0).subscriber_port(0);
                backplane.on_slow(OnSlow::Block).start().expect("a backplane")
            })
            .collect();
        let routing = backplanes.iter().fold(RoutingSpec::builder(), |spec, backplane| {
            spec.backplane(backplane.route().topics(["bench"]))
        });
        let before = workers();
        let bus = Bus::builder("receiver").routing(routing.build().expect("a routing specification"));
        let bus = bus.start_deadline(Duration::from_secs(60)).start().expect("the receiver");
        let worker = workers().into_iter().find(|id| !before.contains(id)).expect("the receiver's worker");
        let received = Arc::new(Received {
            count: AtomicU64::new(0),
            goal: AtomicU64::new(u64::MAX),
            waiter: thread::current(),
        });
        let (stop, counting) = (bus.stop_handle(), received.clone());
        let running = thread::spawn(move || {
            let ended = bus.run(move |_, _| {
                let count = counting.count.load(Ordering::Relaxed) + 1;
                counting.count.store(count, Ordering::Release);
                if count == counting.goal.load(Ordering::Acquire) {
                    counting.waiter.unpark();
                }
                Ok(())
            });
            ended.expect("the handler");
        });
        let busy = RoutingSpec::builder().backplane(backplanes[0].route()).build().expect("a route");
        let talker = Bus::builder("publisher").routing(busy).start().expect("the publisher");
        let publisher = talker.publisher("BP0").expect("BP0");
        publisher.wait_for_subscriber("bench", Duration::from_secs(60)).expect("the receiver's subscription");
        Self {
            publisher,
            received,
            worker,
            stop,
            running: Some(running),
            _talker: talker,
            _backplanes: backplanes,
        }
    }

    /// Publishes so many messages of `payload` and waits until the handler has seen them all.
    ///
    /// # Panics
    /// When the bus closes meanwhile.
    pub fn pump(&self, messages: u64, payload: &[u8]) {
        let goal = self.received.count.load(Ordering::Acquire) + messages;
        self.received.goal.store(goal, Ordering::Release);
        for _ in 0..messages {
            self.publisher.publish_raw("bench", payload).expect("an open bus");
        }
        while self.received.count.load(Ordering::Acquire) < goal {
            thread::park();
        }
    }

    /// Processor time that the receiving worker has used so far.
    #[must_use]
    pub fn worker_cpu(&self) -> Duration {
        let stat =
            fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.worker)).unwrap_or_default();
        Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.stop.stop();
        self.running.take().map(JoinHandle::join);
    }
}

/// The worker threads of this process.
fn workers() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("bus-worker"))
        })
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}
