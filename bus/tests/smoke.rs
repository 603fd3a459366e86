//! A component with itself.
use multiplane_bus::{Backplane, Bus, RoutingSpec};
use std::time::Duration;

#[test]
fn echo_through_a_backplane() {
    let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).start().unwrap();
    let routing = RoutingSpec::builder().backplane(backplane.route().topics(["echo"])).build().unwrap();
    let bus = Bus::builder("hello").routing(routing).start().unwrap();
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("echo", Duration::from_secs(5)).unwrap();
    for n in 0..100_000u32 {
        publisher.publish("echo", &n).unwrap();
        if n % 1000 == 999 {
            for k in 0..1000 {
                assert_eq!(subscriber.recv().unwrap().decode::<u32>().unwrap(), n - 999 + k);
            }
        }
    }
    println!("{:#?} {:#?}", bus.stats(), backplane.stats());
    println!("{:?}", bus.close(Duration::from_secs(1)).unsent);
}
