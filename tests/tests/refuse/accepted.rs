// All that the others do, done right: if this does not compile, their errors mean nothing.
use multiplane_bus::{Backplane, Bus, OwnedMessage, Publisher, RoutingSpec, Subscriber};
use std::sync::mpsc::channel;
use std::time::Duration;

fn is_send_and_sync<T: Send + Sync>() {}

pub fn right(routing: RoutingSpec) {
    is_send_and_sync::<(Bus, Publisher, Subscriber, Backplane, OwnedMessage)>();
    let bus = Bus::builder("right").routing(routing).start().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    let (tell, told) = channel();
    let mut count = 0;
    bus.run(move |message, outbox| {
        count += 1;
        outbox.publish(&publisher, "length", &(count, message.topic().len()))?;
        tell.send(message.payload_bytes().to_vec())?;
        Ok(())
    })
    .unwrap();
    println!("{:?} {:?}", told.iter().count(), bus.stats());
    let report = bus.close(Duration::from_secs(1));
    println!("{:?}", report.unsent);
}
