//! A network that misbehaves: a TCP proxy in front of one port. All that it does by chance comes from its seed.

use multiplane_tests::clock::measure_over;
use multiplane_tests::random::Random;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They pass late: some milliseconds a piece.
    Delay,
    /// They pass in pieces of one to seven bytes.
    Dribble,
    /// They vanish, and nobody is told: a half-open connection.
    Silence,
    /// One of them is changed now and then.
    Corrupt,
    /// After some thousand of them the connection is reset.
    Cut,
    /// After some thousand of them one direction ends and the other goes on.
    HalfClose,
    /// Those who come are let through in another order.
    Reorder,
}

pub const BAD: [Weather; 6] =
    [Weather::Delay, Weather::Dribble, Weather::Corrupt, Weather::Cut, Weather::HalfClose, Weather::Reorder];

pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    weather: AtomicU8,
    random: Mutex<Random>,
    /// Both ends of all connections.
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    ended: AtomicU8,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn is(&self, weather: Weather) -> bool {
        self.weather.load(SeqCst) == weather as u8
    }

    fn below(&self, limit: u64) -> u64 {
        lock(&self.random).below(limit)
    }
}

impl Proxy {
    /// In front of a loopback port.
    pub fn start(target: u16, random: Random) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            weather: AtomicU8::new(Weather::Fair as u8),
            random: Mutex::new(random),
            open: Mutex::default(),
            ended: AtomicU8::new(0),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            let mut held: Option<TcpStream> = None;
            for near in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(SeqCst) > 0 {
                    return;
                }
                // The second goes first.
                if accepting.is(Weather::Reorder) && held.is_none() {
                    held = Some(near);
                    continue;
                }
                accepting.join(near, target);
                if let Some(near) = held.take() {
                    accepting.join(near, target);
                }
            }
        });
        Self { shared, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.store(weather as u8, SeqCst);
    }

    /// Resets all connections.
    pub fn cut(&self) {
        for (near, far) in lock(&self.shared.open).drain(..) {
            reset(&near);
            reset(&far);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(1, SeqCst);
        self.cut();
        // So that it looks.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

impl Shared {
    fn join(self: &Arc<Self>, near: TcpStream, target: u16) {
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
        let pair = || Some((near.try_clone().ok()?, far.try_clone().ok()?));
        let (Some(kept), Some(up), Some(down)) = (pair(), pair(), pair()) else { return };
        lock(&self.open).push(kept);
        for (from, to) in [up, (down.1, down.0)] {
            let shared = self.clone();
            thread::spawn(move || shared.carry(from, to));
        }
    }

    /// Until one of them ends.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        let mut left = 2000 + self.below(50_000);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = &mut buffer[..count];
            if self.is(Weather::Silence) {
                continue;
            }
            if self.is(Weather::Delay) {
                measure_over(Duration::from_millis(1 + self.below(5)));
            }
            if self.is(Weather::Corrupt) && self.below(20) == 0 {
                bytes[self.below(count as u64) as usize] ^= 1 << self.below(8);
            }
            left = left.saturating_sub(count as u64);
            if left == 0 && self.is(Weather::Cut) {
                reset(&from);
                return reset(&to);
            }
            if left == 0 && self.is(Weather::HalfClose) {
                break;
            }
            let piece = if self.is(Weather::Dribble) { 1 + self.below(7) as usize } else { count };
            if bytes.chunks(piece).any(|piece| to.write_all(piece).is_err()) {
                let _ = from.shutdown(Shutdown::Read);
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
