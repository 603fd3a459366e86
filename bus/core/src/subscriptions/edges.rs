//! The children of the nodes: one arena of small tables.
//!
//! A table takes a block of 2, 4, 8, .. 256 words, and is a *span*, one word per byte from the first to the last (digits,
//! dense bytes), or a *list*, the bytes packed into the first quarter of the block and the children behind them.
//! Whichever is smaller: at most 16 bytes per child when there are two, about 6 when there are many, so that nobody
//! can choose topics that make the arena explode.

/// The children of one node, each with the byte by which it starts. The tables themselves are in [`Edges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    None,
    One {
        byte: u8,
        child: u32,
    },
    List {
        len: u8,
        log: u8,
        at: u32,
    },
    /// No child has number 0: that is the root.
    Span {
        first: u8,
        log: u8,
        at: u32,
    },
}

/// Blocks have at most `1 << MAX_LOG` words.
const MAX_LOG: u8 = 8;
/// More children than in a list of 64 words are in a span.
const MAX_LIST: usize = 48;
const MIN_LIST_LOG: u8 = 3;
const NO_BLOCK: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Edges {
    words: Vec<u32>,
    /// Per size the first free block; its first word is the next.
    free: [u32; MAX_LOG as usize + 1],
    scratch: Vec<(u8, u32)>,
}

impl Edges {
    pub(super) fn new() -> Self {
        Self { words: Vec::new(), free: [NO_BLOCK; MAX_LOG as usize + 1], scratch: Vec::new() }
    }

    /// The child that starts with `byte`.
    #[inline]
    pub(super) fn get(&self, children: Children, byte: u8) -> Option<u32> {
        // Not a `match`: the jump through a table costs more than these comparisons.
        if let Children::Span { first, log, at } = children {
            let n = usize::from(byte.wrapping_sub(first));
            let child = if n >> log == 0 { self.words.get(at as usize + n).copied() } else { None };
            child.filter(|&child| child != 0)
        } else if let Children::One { byte: own, child } = children {
            (own == byte).then_some(child)
        } else if let Children::List { len, log, at } = children {
            find(self.block(at, log), len, byte)
        } else {
            None
        }
    }

    /// Gives `byte` the child, in the place of the one before; `children` is no longer valid.
    pub(super) fn set(&mut self, children: Children, byte: u8, child: u32) -> Children {
        self.collect(children);
        match self.scratch.iter_mut().find(|(own, _)| *own == byte) {
            Some(edge) => edge.1 = child,
            None => self.scratch.push((byte, child)),
        }
        self.write(children)
    }

    /// Takes the child of `byte` away; `children` is no longer valid.
    pub(super) fn remove(&mut self, children: Children, byte: u8) -> Children {
        self.collect(children);
        self.scratch.retain(|&(own, _)| own != byte);
        self.write(children)
    }

    fn block(&self, at: u32, log: u8) -> &[u32] {
        let at = at as usize;
        self.words.get(at..at + (1 << log)).unwrap_or_default()
    }

    fn collect(&mut self, children: Children) {
        let mut edges = std::mem::take(&mut self.scratch);
        edges.clear();
        match children {
            Children::None => {}
            Children::One { byte, child } => edges.push((byte, child)),
            Children::List { len, log, at } => {
                let (keys, ids) = self.block(at, log).split_at(1 << log >> 2);
                let bytes = keys.iter().flat_map(|word| word.to_le_bytes());
                edges.extend(bytes.zip(ids.iter().copied()).take(len.into()));
            }
            Children::Span { first, log, at } => {
                let all =
                    (0..=u8::MAX).map(|n| first.wrapping_add(n)).zip(self.block(at, log).iter().copied());
                edges.extend(all.filter(|&(_, child)| child != 0));
            }
        }
        self.scratch = edges;
    }

    /// Writes what is in the scratch space, in the old block if it fits exactly.
    fn write(&mut self, old: Children) -> Children {
        let edges = std::mem::take(&mut self.scratch);
        let shape = shape(&edges);
        let had = match old {
            Children::List { log, at, .. } | Children::Span { log, at, .. } => Some((log, at)),
            _ => None,
        };
        let wants = match shape {
            Children::List { log, .. } | Children::Span { log, .. } => Some(log),
            _ => None,
        };
        let block = match (had, wants) {
            (Some((had, at)), Some(wants)) if had == wants => at,
            (_, wants) => {
                if let Some((log, at)) = had {
                    self.release(at, log);
                }
                wants.map_or(NO_BLOCK, |log| self.take(log))
            }
        };
        let words = self.words.get_mut(block as usize..).unwrap_or_default();
        let children = match shape {
            Children::List { len, log, .. } => {
                let (keys, ids) = words.split_at_mut(1 << log >> 2);
                keys.fill(0);
                for (n, &(byte, child)) in edges.iter().enumerate() {
                    keys[n / 4] |= u32::from(byte) << (n % 4 * 8);
                    ids[n] = child;
                }
                Children::List { len, log, at: block }
            }
            Children::Span { first, log, .. } => {
                words[..1 << log].fill(0);
                for &(byte, child) in &edges {
                    words[usize::from(byte - first)] = child;
                }
                Children::Span { first, log, at: block }
            }
            few => few,
        };
        self.scratch = edges;
        children
    }

    fn take(&mut self, log: u8) -> u32 {
        let free = &mut self.free[usize::from(log)];
        let at = *free as usize;
        if let Some(&next) = self.words.get(at) {
            return std::mem::replace(free, next);
        }
        let (at, size) = (self.words.len(), 1 << log);
        super::trie::grow(&mut self.words, size);
        self.words.resize(at + size, 0);
        at as u32
    }

    fn release(&mut self, at: u32, log: u8) {
        self.words[at as usize] = std::mem::replace(&mut self.free[usize::from(log)], at);
    }
}

/// How these edges are best kept; the block is not known yet.
fn shape(edges: &[(u8, u32)]) -> Children {
    let bytes = || edges.iter().map(|&(byte, _)| byte);
    let (Some(first), Some(last)) = (bytes().min(), bytes().max()) else { return Children::None };
    if let [(byte, child)] = *edges {
        return Children::One { byte, child };
    }
    let span_log = ceil_log(usize::from(last - first) + 1);
    let list_log = ceil_log(edges.len().div_ceil(3) * 4).max(MIN_LIST_LOG);
    if span_log <= list_log || edges.len() > MAX_LIST {
        Children::Span { first, log: span_log, at: NO_BLOCK }
    } else {
        Children::List { len: edges.len() as u8, log: list_log, at: NO_BLOCK }
    }
}

fn ceil_log(size: usize) -> u8 {
    size.next_power_of_two().trailing_zeros() as u8
}

/// Looks for `byte` in a list, eight bytes at a time.
#[inline]
fn find(block: &[u32], len: u8, byte: u8) -> Option<u32> {
    const LOWS: u64 = 0x0101_0101_0101_0101;
    let (keys, ids) = block.split_at(block.len() / 4);
    for (n, pair) in keys.chunks_exact(2).enumerate() {
        let differs = (u64::from(pair[0]) | u64::from(pair[1]) << 32) ^ (u64::from(byte) * LOWS);
        // The lowest bit that is set is that of the first zero byte, if any.
        let zeros = differs.wrapping_sub(LOWS) & !differs & (LOWS << 7);
        if zeros != 0 {
            let n = n * 8 + zeros.trailing_zeros() as usize / 8;
            return if n < usize::from(len) { ids.get(n).copied() } else { None };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Words that are in no free block.
    fn used(edges: &Edges) -> usize {
        let mut free = 0;
        for (log, &first) in edges.free.iter().enumerate() {
            let mut at = first;
            while let Some(&next) = edges.words.get(at as usize) {
                free += 1 << log;
                at = next;
            }
        }
        edges.words.len() - free
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_of_bytes(
            steps in proptest::collection::vec((any::<bool>(), 0usize..2, any::<u8>(), 1u32..1000), 0..600),
            mask in prop_oneof![Just(0xff), Just(0x0f), Just(0xf0), Just(0x81)],
        ) {
            let mut edges = Edges::new();
            let (mut tables, mut models) = ([Children::None; 2], [BTreeMap::new(), BTreeMap::new()]);
            for (add, which, byte, child) in steps {
                let (table, model) = (&mut tables[which], &mut models[which]);
                let byte = byte & mask;
                if add {
                    *table = edges.set(*table, byte, child);
                    model.insert(byte, child);
                } else {
                    *table = edges.remove(*table, byte);
                    model.remove(&byte);
                }
                for (table, model) in tables.iter().zip(&models) {
                    for byte in 0..=255 {
                        prop_assert_eq!(edges.get(*table, byte), model.get(&byte).copied());
                    }
                    match *table {
                        Children::None => prop_assert_eq!(model.len(), 0),
                        Children::One { .. } => prop_assert_eq!(model.len(), 1),
                        Children::List { log, .. } | Children::Span { log, .. } => {
                            prop_assert!(model.len() > 1 && 1 << log <= model.len() * 6, "{table:?} for {}", model.len());
                        }
                    }
                }
            }
            for (table, model) in tables.iter_mut().zip(&models) {
                for &byte in model.keys() {
                    *table = edges.remove(*table, byte);
                }
            }
            prop_assert_eq!(tables, [Children::None; 2]);
            prop_assert_eq!(used(&edges), 0, "no block is lost");
        }
    }
}
