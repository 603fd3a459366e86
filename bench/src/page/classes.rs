//! How each contender looks: the same everywhere.

use super::record::Record;

/// So many peers have a colour of their own; as many again share it but are dashed; then it begins anew.
const PEERS: [&str; 16] = [
    "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c1 again", "c2 again", "c3 again", "c4 again",
    "c5 again", "c6 again", "c7 again", "c8 again",
];

/// The contenders in their order of appearance; the first of ours stands out.
pub(super) struct Classes<'a> {
    ours: Vec<&'a str>,
    peers: Vec<&'a str>,
}

impl<'a> Classes<'a> {
    pub(super) fn of(records: &'a [Record]) -> Self {
        let names = |wanted: &dyn Fn(&Record) -> bool| {
            let mut names: Vec<&str> = Vec::new();
            for record in records.iter().filter(|record| wanted(record)) {
                if !names.contains(&&*record.contender) {
                    names.push(&record.contender);
                }
            }
            names
        };
        let ours = names(&Record::is_ours);
        Classes { ours, peers: names(&|record| !record.is_ours() && !record.is_base()) }
    }

    /// Its class in the style sheet.
    pub(super) fn class(&self, record: &Record) -> &'static str {
        let place = |names: &[&str]| names.iter().position(|name| **name == *record.contender);
        match place(&self.ours) {
            Some(0) => "ours",
            Some(_) => "ours second",
            None => place(&self.peers).map_or("base", |at| PEERS[at % PEERS.len()]),
        }
    }
}

/// Ours first, then the peers, then the machine.
pub(super) fn in_order<'r>(records: &[&'r Record]) -> Vec<&'r Record> {
    let mut records = records.to_vec();
    records.sort_by_key(|record| (!record.is_ours(), record.is_base()));
    records
}
