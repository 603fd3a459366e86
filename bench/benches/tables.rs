//! What is decided per message: which backplane a name means, and who wants a topic.
//!
//! `routing`: a backplane of a specification by its name. `subscriptions`: a topic matched against 1, 1,000 and 100,000
//! prefixes of 16 subscribers; `hit` is wanted by one of them, `miss` by nobody.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_core::{Route, RoutingSpec, Subscriptions};
use std::hint::black_box;
use std::time::Duration;

/// Topics in turn, so that no answer can be remembered from the one before.
const TOPICS: usize = 1024;

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    for backplanes in [1, 16, 64] {
        let names: Vec<String> = (0..backplanes).map(|n| format!("backplane_{n}")).collect();
        let spec = names.iter().fold(RoutingSpec::builder(), |spec, name| {
            spec.backplane(Route::new(name, "127.0.0.1").subscriber_port(43125).topics(["echo"]))
        });
        let spec = spec.build().unwrap();
        let mut turn = names.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(backplanes), |bencher| {
            bencher.iter(|| spec.get(black_box(turn.next().unwrap())).unwrap().subscriber_port);
        });
    }
    group.finish();
}

fn subscriptions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("subscriptions");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    for prefixes in [1, 1000, 100_000] {
        let mut table = Subscriptions::with_limit(prefixes);
        for n in 0..prefixes {
            table.add(format!("site/{}/sensor_{n}/", n % 10).as_bytes(), (n % 16) as u16).unwrap();
        }
        let spread = (0..TOPICS).map(|n| n * prefixes / TOPICS);
        let wanted = spread.clone().map(|n| format!("site/{}/sensor_{n}/temperature", n % 10));
        let unwanted = spread.map(|n| format!("site/{}/sensor_{n}x/temperature", n % 10));
        for (what, topics, count) in [("hit", wanted.collect::<Vec<_>>(), 1), ("miss", unwanted.collect(), 0)]
        {
            let mut found = 0;
            topics.iter().for_each(|topic| table.for_each_match(topic.as_bytes(), |_| found += 1));
            assert_eq!(found, count * TOPICS, "what is measured is a {what}");
            let mut turn = topics.iter().cycle();
            group.bench_function(BenchmarkId::new(what, prefixes), |bencher| {
                bencher.iter(|| {
                    let mut last = None;
                    let topic = black_box(turn.next().unwrap());
                    table.for_each_match(topic.as_bytes(), |who| last = Some(who));
                    last
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, routing, subscriptions);
criterion_main!(benches);
