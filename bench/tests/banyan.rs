//! The ends of Python Banyan count for themselves, in Python: what they count must be what our own tally counts.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bench::clock;
use multiplane_bench::stamp::Stamp;
use multiplane_bench::tally::{Seen, Tally};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const SIZE: usize = 20;

/// Notes a payload in hexadecimal digits per line.
const COUNT: &str = "
import json, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import banyan
tally = banyan.Tally(2, int(sys.argv[2]), sys.argv[3] == 'true')
for line in sys.stdin:
    tally.note(bytes.fromhex(line))
print(json.dumps(tally.answer()['Seen']))
";

fn in_python(payloads: &[Vec<u8>], latency: bool) -> Seen {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let mut python = Command::new("python3");
    python.args(["-c", COUNT]).arg(peers).args([SIZE.to_string(), latency.to_string()]);
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let digits = |payload: &Vec<u8>| payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines = payloads.iter().map(|payload| digits(payload) + "\n").collect::<String>();
    python.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn in_rust(payloads: &[Vec<u8>]) -> Seen {
    let mut tally = Tally::new(2, SIZE, false).unwrap();
    for payload in payloads {
        tally.note(payload);
    }
    tally.seen()
}

fn payload(publisher: u16, sequence: u64, due: u64) -> Vec<u8> {
    let mut payload = vec![0; SIZE];
    Stamp { publisher, sequence, due }.write(&mut payload);
    payload
}

/// What both count alike; the moments are their own.
fn counts(seen: &Seen) -> (u64, &[u64], [u64; 4]) {
    (seen.received, &seen.distinct, [seen.reordered, seen.duplicates, seen.foreign, seen.between])
}

#[track_caller]
fn alike(payloads: &[Vec<u8>]) -> Seen {
    let (theirs, ours) = (in_python(payloads, false), in_rust(payloads));
    assert_eq!(counts(&theirs), counts(&ours));
    theirs
}

fn from_one(numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|number| payload(0, number, 0)).collect()
}

#[test]
#[ignore = "needs python3: tests/run"]
fn loss_order_and_repetition_are_counted() {
    let whole = alike(&from_one(0..1000));
    assert_eq!((whole.received, whole.lost(&[1000]), whole.reordered, whole.duplicates), (1000, 0, 0, 0));

    let lossy = alike(&from_one((0..1000).filter(|number| number % 100 != 7)));
    assert_eq!((lossy.lost(&[1000]), lossy.reordered, lossy.duplicates), (10, 0, 0));
    let ends_early = alike(&from_one(0..990));
    assert_eq!(ends_early.lost(&[1000]), 10);

    let swapped = alike(&from_one((0..500).chain([501, 500]).chain(502..1000)));
    assert_eq!((swapped.lost(&[1000]), swapped.reordered, swapped.duplicates), (0, 1, 0));

    let repeated = alike(&from_one((0..1000).chain([500, 999])));
    assert_eq!((repeated.received, repeated.lost(&[1000]), repeated.duplicates), (1002, 0, 2));
}

#[test]
#[ignore = "needs python3: tests/run"]
fn publishers_are_counted_apart_and_strangers_not_at_all() {
    let mut payloads: Vec<_> = (0..500).flat_map(|n| [payload(0, n, 0), payload(1, n, 0)]).collect();
    payloads.remove(700);
    payloads.push(payload(2, 0, 0));
    payloads.push(vec![0; SIZE + 1]);
    payloads.push({
        let mut probe = vec![0; SIZE];
        Stamp::probe(1, 0).write(&mut probe);
        probe
    });
    let seen = alike(&payloads);
    assert_eq!((seen.lost(&[500, 500]), seen.reordered, seen.foreign), (1, 0, 2));
}

/// Anything at once, in any order.
#[test]
#[ignore = "needs python3: tests/run"]
fn whatever_happens_both_count_the_same() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut payloads: Vec<_> = (0..20_000).map(|n| payload((n % 2) as u16, n / 2, 0)).collect();
    for _ in 0..2000 {
        let at = below(payloads.len() as u64) as usize;
        match below(3) {
            0 => drop(payloads.remove(at)),
            1 => payloads.insert(at, payloads[at / 2].clone()),
            _ => payloads.swap(at, at * 3 / 4),
        }
    }
    let seen = alike(&payloads);
    assert!(seen.reordered > 100 && seen.duplicates > 100 && seen.lost(&[10_000, 10_000]) > 100);
}

#[test]
#[ignore = "needs python3: tests/run"]
fn what_was_due_long_ago_is_late_by_all_of_it() {
    let stall = 50_000_000;
    let due = clock::now() - stall;
    let seen = in_python(&[payload(0, 0, due), payload(0, 1, due)], true);
    let until = clock::now() - due;
    assert_eq!(seen.latencies.iter().map(|(_, count)| count).sum::<u64>(), 2);
    for (latency, _) in seen.latencies {
        // Three digits are kept.
        assert!((stall..=until + until / 500).contains(&latency), "{latency} of {until}");
    }
}
