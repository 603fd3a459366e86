//! One thread with one `mio` poll, which waits for the bus, for foreign sockets and for time alike.
//!
//! A gateway is a [`Work`]: [`spawn`] gives it a thread. Each turn hands it the sources that are ready, and then lets it do
//! all that can be done without waiting; it answers with when it has to come again. Other threads wake it with the
//! [`Waker`] of its [`Setup`]; the bus does, through its hooks. Nothing sleeps, and an idle gateway uses no processor
//! time.

use mio::event::Event;
use mio::{Events, Poll, Registry, Token, Waker};
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The wake-up's own token; all others are the gateway's.
const WAKE: Token = Token(usize::MAX);
/// Ready sources taken in one turn.
const EVENTS: usize = 1024;

/// What a gateway does with its turns.
pub trait Work: Send + 'static {
    /// A registered source is ready: edge-triggered, so whoever is not drained now must be remembered.
    fn ready(&mut self, event: &Event, now: Instant);

    /// Do all that can be done without waiting, and say when to come again.
    fn turn(&mut self, now: Instant) -> Turn;

    /// Somebody wants an end: take nothing new, put in order what is there, and then answer [`Turn::Done`]. Turns go on
    /// until then, or until the time given for it is over. Called once.
    fn stop(&mut self, now: Instant);
}

/// When the next turn has to come, besides when something is ready or the waker is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once: something was left to do.
    Again,
    /// No later than then.
    Until(Instant),
    /// Nothing is due.
    Idle,
    /// Never: the work is done and the thread ends.
    Done,
}

impl Turn {
    /// [`Turn::Until`] the first of these, or [`Turn::Idle`] if there is none.
    pub fn first(due: impl IntoIterator<Item = Instant>) -> Self {
        due.into_iter().min().map_or(Turn::Idle, Turn::Until)
    }
}

/// What a gateway is made with.
#[derive(Debug)]
pub struct Setup {
    /// Where it registers its sources, with any token but `usize::MAX`.
    pub registry: Registry,
    /// Wakes its thread, from any other one.
    pub waker: Arc<Waker>,
    /// The time.
    pub now: Instant,
}

/// A gateway at work. Dropped, it stops at once.
#[derive(Debug)]
pub struct Running<W> {
    control: Arc<Control>,
    thread: Option<JoinHandle<W>>,
}

#[derive(Debug)]
struct Control {
    waker: Arc<Waker>,
    /// How long the end may take, once somebody asked for it.
    stop: OnceLock<Duration>,
}

/// Makes a gateway, on the caller's thread so that what fails is told there, and gives it a thread of this name.
///
/// # Errors
/// What `make` says, and what the system says when there is no descriptor or thread left.
pub fn spawn<W: Work, E: From<io::Error>>(
    name: &str,
    make: impl FnOnce(Setup) -> Result<W, E>,
) -> Result<Running<W>, E> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let control = Arc::new(Control { waker: waker.clone(), stop: OnceLock::new() });
    let work = make(Setup { registry: poll.registry().try_clone()?, waker, now: now() })?;
    let watched = control.clone();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || run(poll, &watched, work))?;
    Ok(Running { control, thread: Some(thread) })
}

fn run<W: Work>(mut poll: Poll, control: &Control, mut work: W) -> W {
    let mut events = Events::with_capacity(EVENTS);
    let mut sleep = Some(Duration::ZERO);
    let mut end = None;
    let mut complaint = crate::RateLimit::default();
    loop {
        let polled = poll.poll(&mut events, sleep);
        let now = now();
        if let Err(error) = polled
            && error.kind() != io::ErrorKind::Interrupted
        {
            complaint.complain(now, |before| tracing::error!(%error, before, "a gateway cannot poll"));
        }
        for event in events.iter().filter(|event| event.token() != WAKE) {
            work.ready(event, now);
        }
        if end.is_none()
            && let Some(patience) = control.stop.get()
        {
            end = Some(now + *patience);
            work.stop(now);
        }
        let turn = work.turn(now);
        if turn == Turn::Done || end.is_some_and(|end| end <= now) {
            return work;
        }
        let due = match turn {
            Turn::Again => Some(now),
            Turn::Until(due) => Some(due),
            Turn::Idle | Turn::Done => None,
        };
        let now = self::now();
        sleep = due.into_iter().chain(end).min().map(|due| due.saturating_duration_since(now));
    }
}

impl<W> Running<W> {
    /// Wakes it, after something that it looks at was changed.
    pub fn wake(&self) {
        // The only failure is that it is being woken already.
        let _ = self.control.waker.wake();
    }

    /// Whether it has ended, by itself or because it was asked to.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it ends by itself, and gives back the work.
    #[must_use]
    pub fn join(mut self) -> Option<W> {
        self.thread.take()?.join().ok()
    }

    /// Ends it in order within `patience`, and gives back the work; `None` if it had panicked.
    #[must_use]
    pub fn stop(mut self, patience: Duration) -> Option<W> {
        self.end(patience)
    }

    fn end(&mut self, patience: Duration) -> Option<W> {
        let thread = self.thread.take()?;
        let _ = self.control.stop.set(patience);
        self.wake();
        thread.join().ok()
    }
}

impl<W> Drop for Running<W> {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// The one place that reads the clock.
#[allow(clippy::disallowed_methods, reason = "a loop is where time enters; all else takes it as an argument")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Told {
        turns: Sender<&'static str>,
        stopped: Option<Turn>,
    }

    impl Work for Told {
        fn ready(&mut self, _: &Event, _: Instant) {}

        fn turn(&mut self, _: Instant) -> Turn {
            let _ = self.turns.send("turn");
            self.stopped.unwrap_or(Turn::Idle)
        }

        fn stop(&mut self, _: Instant) {
            let _ = self.turns.send("stop");
            self.stopped = Some(self.stopped.unwrap_or(Turn::Done));
        }
    }

    #[test]
    fn sleeps_until_it_is_woken_and_ends_when_it_is_done() {
        let (turns, told) = channel();
        let running = spawn("told", |_| io::Result::Ok(Told { turns, stopped: None })).unwrap();
        assert_eq!(told.recv(), Ok("turn"));
        running.wake();
        assert_eq!(told.recv(), Ok("turn"));
        assert!(!running.is_done());
        assert!(running.stop(Duration::from_secs(60)).is_some());
        assert_eq!(told.iter().collect::<Vec<_>>(), ["stop", "turn"]);
    }

    #[test]
    fn ends_in_time_whatever_there_is_to_do() {
        let (turns, told) = channel();
        let work = Told { turns, stopped: Some(Turn::Idle) };
        let running = spawn("busy", |_| io::Result::Ok(work)).unwrap();
        assert!(running.stop(Duration::from_millis(1)).is_some());
        drop(told);
    }

    #[test]
    fn what_fails_is_told_to_the_caller() {
        let failed = spawn::<Told, _>("never", |_| Err(io::Error::other("no")));
        assert_eq!(failed.err().map(|error| error.to_string()), Some("no".to_owned()));
    }
}
