//! How messages leave: into the queues of those who want them, by the policy where there is no room, and out.

use super::chunk::Source;
use super::connection::Side;
use super::forwarder::Forwarder;
use crate::backplane::OnSlow;
use std::io::{Read, Write};
use std::ops::Range;
use std::time::Instant;

impl<S: Read + Write> Forwarder<S> {
    /// Queues a run of whole messages for everybody who wants it; what came by a joint is for our own subscribers.
    pub(super) fn deliver(
        &mut self,
        joint: bool,
        source: Source<'_>,
        range: Range<usize>,
        messages: usize,
        now: Instant,
    ) {
        if messages == 0 {
            return;
        }
        let counters = &self.counters;
        if !joint {
            counters.received.add(messages as u64);
            counters.received_bytes.add(range.len() as u64);
            if self.router.targets.is_empty() {
                counters.unwanted.add(messages as u64);
                return;
            }
        }
        let mut arrives = !joint;
        let mut run = source.run(range, messages);
        for &id in &self.router.targets {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if peer.joint && joint {
                continue;
            }
            if !peer.joint {
                arrives = true;
                counters.copies.add(messages as u64);
            }
            let mut has_room = peer.queue.has_room(messages, run.bytes.len());
            if !has_room && peer.writable {
                // It is not slow: nothing was written in this turn yet. An error shows itself again in `write`.
                peer.writable = peer.queue.write_to(&mut peer.stream).unwrap_or(true);
                has_room = peer.queue.has_room(messages, run.bytes.len());
            }
            if has_room {
                peer.push(&mut run);
            } else {
                let (dropped, held) = (peer.dropped, peer.holds);
                let policy = if peer.joint { OnSlow::Block } else { self.on_slow };
                peer.overrun(policy, &mut run);
                *(if peer.joint { &mut self.full_joints } else { &mut self.holding }) +=
                    usize::from(peer.holds && !held);
                if policy == OnSlow::Disconnect {
                    self.condemned.push(id);
                }
                counters.dropped.add(peer.dropped - dropped);
                peer.complain_of_slowness(&self.name, now);
            }
            counters.forwarded.add(peer.take_forwarded());
            self.peers.mark_dirty(id);
        }
        if !arrives {
            // Who wanted it has gone, or changed his mind, while it was on its way to us.
            counters.copies.add(messages as u64);
            counters.lost.add(messages as u64);
        }
        while let Some(id) = self.condemned.pop() {
            self.disconnect(id, now, "too slow");
        }
    }

    /// Writes to everybody who has something to get.
    pub(super) fn write(&mut self, now: Instant) {
        let limit = self.control_limit(Side::Publisher);
        while let Some(id) = self.peers.take_dirty() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if peer.writable {
                match peer.queue.write_to(&mut peer.stream) {
                    Ok(more) => peer.writable = more,
                    Err(_) => {
                        self.disconnect(id, now, "");
                        continue;
                    }
                }
            }
            if !peer.writable {
                peer.queue.settle();
            }
            self.counters.forwarded.add(peer.take_forwarded());
            if peer.holds && peer.queue.is_half_empty() {
                peer.holds = false;
                *(if peer.joint { &mut self.full_joints } else { &mut self.holding }) -= 1;
            }
            if peer.side == Side::Publisher && peer.queue.control() > limit {
                self.disconnect(id, now, "it does not read what is wanted of it");
            }
        }
    }
}
