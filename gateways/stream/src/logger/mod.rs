//! A backplane's lines in a file.

mod file;

use crate::StreamError;
use crate::count::Count;
use file::{LineFile, Rotation};
use mio::Waker;
use mio::event::Event;
use multiplane_bridge::{RateLimit, Running, Setup, Turn, Work, spawn};
use multiplane_bus::local::{LocalError, SubscribeTo, TryRecvError};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a line may wait to be written, unless told otherwise.
const FLUSH: Duration = Duration::from_millis(200);
/// Bytes that may wait while the disk takes nothing, unless told otherwise.
const WAITING: usize = 1024 * 1024;

/// Appends everything that is published on a backplane to a file, a line each. Runs on a thread of its own until it is
/// closed or dropped, or the backplane is gone.
///
/// The file ends with a whole line, whatever happens. While the disk is full the log says so, a bounded number of lines
/// waits, those beyond are counted as dropped, and logging goes on as soon as there is room.
///
/// ```
/// use multiplane_bus::local::{Backplane, PublishTo};
/// use multiplane_stream::LineLogger;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("log.data");
/// let _log = Backplane::new("LOGGED")?;
/// let logger = LineLogger::builder("LOGGED", &path).start()?;
/// PublishTo::new("LOGGED")?.publish("a line")?;
/// logger.control().sync()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "a line\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LineLogger {
    control: LogControl,
    counters: Arc<Counters>,
    running: Running<Logger>,
}

/// How a [`LineLogger`] is to be.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct LoggerBuilder {
    backplane: String,
    path: PathBuf,
    flush: Duration,
    waiting: usize,
    sync: bool,
    rotation: Option<Rotation>,
}

/// What a [`LineLogger`] counted. The books close: what came is `written + dropped + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggerStats {
    /// Lines that the file has.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines lost because the disk took nothing for too long.
    pub dropped: u64,
    /// Lines that wait to be written.
    pub waiting: u64,
    /// Lines never seen, because the backplane skips who lags.
    pub missed: u64,
    /// Files begun because the former one was full.
    pub rotations: u64,
}

/// A log could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggerError {
    /// The file cannot be opened.
    #[error("cannot append to {}: {error}; choose a file in a folder that you may write to", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// The backplane cannot be found, or the system has no thread left.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<io::Error> for LoggerError {
    fn from(error: io::Error) -> Self {
        StreamError::System(error).into()
    }
}

impl From<LocalError> for LoggerError {
    fn from(error: LocalError) -> Self {
        StreamError::Backplane(error).into()
    }
}

/// Reaches a [`LineLogger`] from any thread, as one that waits for signals.
#[derive(Clone, Debug)]
pub struct LogControl {
    waker: Arc<Waker>,
    asked: Arc<Asked>,
}

#[derive(Debug)]
struct Asked {
    reopen: AtomicBool,
    /// `None`: the log has ended, and nobody would answer.
    syncs: Mutex<Option<Vec<Sender<io::Result<()>>>>>,
}

#[derive(Debug, Default)]
struct Counters {
    written: Count,
    bytes: Count,
    dropped: Count,
    waiting: Count,
    missed: Count,
    rotations: Count,
}

impl LineLogger {
    /// Begins a log of this backplane in this file, which is appended to or made.
    pub fn builder(backplane: &str, path: impl AsRef<Path>) -> LoggerBuilder {
        LoggerBuilder {
            backplane: backplane.to_owned(),
            path: path.as_ref().to_owned(),
            flush: FLUSH,
            waiting: WAITING,
            sync: false,
            rotation: None,
        }
    }

    /// To ask things of it.
    #[must_use]
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> LoggerStats {
        self.counters.read()
    }

    /// Writes what was published and ends, within `patience`. What could not be written then is counted as dropped.
    pub fn close(self, patience: Duration) -> LoggerStats {
        drop(self.running.stop(patience));
        self.counters.read()
    }
}

impl LogControl {
    /// Opens the file anew under its name, after whoever rotates logs has moved it.
    pub fn reopen(&self) {
        self.asked.reopen.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }

    /// Returns when everything that was published before is on the disk.
    ///
    /// # Errors
    /// What the system says about the disk, or that the log has ended.
    pub fn sync(&self) -> io::Result<()> {
        let (answer, answered) = channel();
        match &mut *self.asked.syncs() {
            Some(syncs) => syncs.push(answer),
            // Then nobody holds the other end.
            None => drop(answer),
        }
        let _ = self.waker.wake();
        answered
            .recv()
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::BrokenPipe, "the log has ended")))
    }
}

impl Asked {
    fn new() -> Self {
        Self { reopen: AtomicBool::new(false), syncs: Mutex::new(Some(Vec::new())) }
    }

    fn syncs(&self) -> MutexGuard<'_, Option<Vec<Sender<io::Result<()>>>>> {
        self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn read(&self) -> LoggerStats {
        LoggerStats {
            written: self.written.get(),
            bytes: self.bytes.get(),
            dropped: self.dropped.get(),
            waiting: self.waiting.get(),
            missed: self.missed.get(),
            rotations: self.rotations.get(),
        }
    }
}

impl LoggerBuilder {
    /// How long a line may wait to be written; 0.2 seconds by default.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush = interval;
        self
    }

    /// Bytes that may wait while the disk takes nothing. 1 MiB by default.
    pub fn waiting_bytes(mut self, bytes: usize) -> Self {
        self.waiting = bytes;
        self
    }

    /// Has the disk keep what is written: each time that lines are written because of the flush interval, and before a file
    /// is left, it waits until they are there. `false` by default; see [`LogControl::sync`] for now and then.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Begins a new file before one gets longer than so many bytes, and keeps so many old ones: FILE.1 is the youngest.
    pub fn rotate(mut self, bytes: u64, keep: u32) -> Self {
        self.rotation = Some(Rotation { bytes, keep });
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`LoggerError`].
    pub fn start(self) -> Result<LineLogger, LoggerError> {
        let (counters, asked) = (Arc::new(Counters::default()), Arc::new(Asked::new()));
        let mut waker = None;
        let running = spawn("line-logger", |setup: Setup| {
            waker = Some(setup.waker.clone());
            let mut subscription = SubscribeTo::new(&self.backplane)?;
            subscription.on_ready(move || drop(setup.waker.wake()));
            let mut file = LineFile::open(&self.path, self.rotation, self.waiting)
                .map_err(|error| LoggerError::Open { path: self.path.clone(), error })?;
            file.syncs = self.sync;
            Ok::<_, LoggerError>(Logger {
                subscription,
                file,
                path: self.path,
                flush: self.flush,
                flush_at: None,
                counters: counters.clone(),
                asked: asked.clone(),
                failed: false,
                stopping: false,
                complaint: RateLimit::default(),
            })
        })?;
        let waker = waker.ok_or_else(|| io::Error::other("it was never set up"))?;
        Ok(LineLogger { control: LogControl { waker, asked }, counters, running })
    }
}

#[derive(Debug)]
struct Logger {
    subscription: SubscribeTo,
    file: LineFile<File>,
    path: PathBuf,
    flush: Duration,
    flush_at: Option<Instant>,
    counters: Arc<Counters>,
    asked: Arc<Asked>,
    failed: bool,
    stopping: bool,
    complaint: RateLimit,
}

impl Work for Logger {
    fn ready(&mut self, _: &Event, _: Instant) {}

    fn turn(&mut self, now: Instant) -> Turn {
        // What was published before these were asked for is there now.
        let syncs = self.asked.syncs().as_mut().map(std::mem::take).unwrap_or_default();
        if self.asked.reopen.swap(false, Ordering::Acquire) {
            // What the old file cannot take goes to the new one.
            let flushed = self.file.settle();
            let reopened = self.file.reopen();
            self.judge(flushed.and(reopened), now);
        }
        let (file, mut outcome) = (&mut self.file, Ok(()));
        let taken = self.subscription.try_for_each(|message| {
            if let Err(error) = file.append(message.payload()) {
                outcome = Err(error);
            }
        });
        if outcome.is_err() {
            self.judge(outcome, now);
        }
        for sync in syncs {
            let synced = self.file.sync();
            let _ = sync.send(synced.as_ref().copied().map_err(again));
            self.judge(synced, now);
        }
        let ends = taken == Err(TryRecvError::Ended) || self.stopping && taken == Err(TryRecvError::Empty);
        if ends || self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            let flushed = self.file.settle();
            self.judge(flushed, now);
        }
        if ends {
            self.file.give_up();
            *self.asked.syncs() = None;
        } else if self.file.waiting() > 0 || self.file.syncs && taken.is_ok() {
            self.flush_at.get_or_insert(now + self.flush);
        }
        self.count();
        if ends {
            Turn::Done
        } else if taken.is_ok() || !self.subscription.arm() {
            Turn::Again
        } else {
            Turn::first(self.flush_at)
        }
    }

    fn stop(&mut self, _: Instant) {
        self.stopping = true;
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        *self.asked.syncs() = None;
        self.file.give_up();
        self.count();
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl Logger {
    /// Says when the disk takes nothing, and when it does again.
    fn judge(&mut self, outcome: io::Result<()>, now: Instant) {
        let (path, waiting, dropped) = (self.path.display(), self.file.waiting(), self.file.dropped);
        match outcome {
            Err(error) => {
                self.failed = true;
                self.complaint.complain(now, |_| {
                    tracing::error!(%path, %error, waiting, dropped, "cannot write the log: make room");
                });
            }
            Ok(()) if std::mem::take(&mut self.failed) => {
                tracing::warn!(%path, dropped, "the log is written again");
            }
            Ok(()) => {}
        }
    }

    fn count(&self) {
        let (file, counters) = (&self.file, &self.counters);
        counters.written.set(file.written);
        counters.bytes.set(file.written_bytes);
        counters.dropped.set(file.dropped);
        counters.waiting.set(file.waiting());
        counters.missed.set(self.subscription.missed());
        counters.rotations.set(file.rotations);
    }
}
