//! Nothing is allocated per message once a component is warm. Counts what Rust allocates; libzmq has an allocator of
//! its own and is not counted.
#![allow(unsafe_code)] // A global allocator cannot be written without.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests; the counts are shown with --nocapture.

use multiplane_bus::{Backplane, Bus, OnSlow};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::component;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The system's allocator, with a count of what is asked for.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to `System` unchanged, which keeps the contract; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout, because all of ours do.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as for `dealloc`, and `size` is the caller's to keep within bounds.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The count is of the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const MESSAGES: u64 = 50_000;

/// How much is allocated per message, when `exchange` moves that many messages and has done it before.
fn per_message(what: &str, mut exchange: impl FnMut(u64)) -> f64 {
    exchange(MESSAGES);
    let before = ALLOCATIONS.load(Relaxed);
    exchange(MESSAGES);
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    println!("{what}: {allocations} allocations for {MESSAGES} messages");
    allocations as f64 / MESSAGES as f64
}

fn backplane() -> Backplane {
    Backplane::builder("BP1").publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block).start().unwrap()
}

/// A component whose handler counts what it gets on `topic`, and answers each with `reply` if that is wanted.
fn counting_component(backplane: &Backplane, topic: &str, answers: bool) -> (Arc<Bus>, Arc<AtomicU64>) {
    let bus = Arc::new(component("counts", [backplane.route().topics([topic])]));
    let handled = Arc::new(AtomicU64::new(0));
    let (running, count) = (bus.clone(), handled.clone());
    std::thread::spawn(move || {
        running
            .run(move |message, outbox| {
                if answers {
                    outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
                }
                count.fetch_add(1, Relaxed);
                Ok(())
            })
            .unwrap();
    });
    (bus, handled)
}

/// Less than one in a hundred: nothing per message. What a thread needs once when it first waits is forgiven, and the
/// chunks of the backplane, which is in this process, too: one for some hundreds of messages.
const NOTHING: f64 = 0.01;

/// From `Publisher::publish` to a handler on another component, borrowed all the way.
#[test]
fn publishing_and_handling_allocate_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let backplane = backplane();
    let (receiving, handled) = counting_component(&backplane, "load", false);
    let sending = component("sends", [backplane.route()]);
    let publisher = sending.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("load", DEADLINE).unwrap();
    let rate = per_message("publish, handle", |messages| {
        let start = handled.load(Relaxed);
        for number in 0..messages {
            publisher.publish("load", &(number, "some text", [1.5; 4])).unwrap();
        }
        eventually("all are handled", || handled.load(Relaxed) == start + messages);
    });
    assert!(rate < NOTHING, "{rate} per message");
    receiving.stop_handle().stop();
}

/// A handler that publishes: receive, outbox, send.
#[test]
fn answering_in_a_handler_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let backplane = backplane();
    let (answering, _) = counting_component(&backplane, "ask", true);
    let (receiving, answers) = counting_component(&backplane, "reply", false);
    let sending = component("sends", [backplane.route()]);
    let publisher = sending.publisher("BP1").unwrap();
    for topic in ["ask", "reply"] {
        publisher.wait_for_subscriber(topic, DEADLINE).unwrap();
    }
    eventually("the whole way works", || {
        publisher.publish_raw("ask", &[0xc0]).unwrap();
        answers.load(Relaxed) > 0
    });
    eventually("nothing is on its way", || answers.load(Relaxed) == sending.stats()[0].accepted);
    let rate = per_message("publish, handle, answer, handle", |messages| {
        let start = answers.load(Relaxed);
        for _ in 0..messages {
            publisher.publish_raw("ask", b"\x93\x01\x02\x03").unwrap();
        }
        eventually("all are answered", || answers.load(Relaxed) == start + messages);
    });
    assert!(rate < NOTHING, "{rate} per message");
    answering.stop_handle().stop();
    receiving.stop_handle().stop();
}

/// Messages in an inbox are owned; small ones are copied side by side into chunks, one allocation for hundreds.
#[test]
fn an_inbox_allocates_once_for_many() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let backplane = backplane();
    let receiving = component("receives", [backplane.route().topics(["load"])]);
    let subscriber = receiving.subscriber().unwrap();
    let sending = component("sends", [backplane.route()]);
    let publisher = sending.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("load", DEADLINE).unwrap();
    let rate = per_message("publish, inbox", |messages| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..messages).for_each(|number| publisher.publish("load", &(number, [1.5; 8])).unwrap())
            });
            for number in 0..messages {
                let message = subscriber.recv_timeout(DEADLINE).unwrap();
                assert_eq!(message.payload().unwrap().index(0).unwrap().as_u64(), Some(number));
            }
        });
    });
    assert!(rate < 0.1, "{rate} per message");
}
