//! A radix tree of prefixes: nodes of a fixed size, known by numbers that do not change while they are in use.

use super::edges::{Children, Edges};

/// Bytes of a prefix in one node, so that a node is half a cache line; longer stretches take a chain of nodes.
const LABEL: usize = 15;

pub(super) const ROOT: u32 = 0;
const NO_NODE: u32 = u32::MAX;

/// More nodes than memory has room for; few enough that the words of [`Edges`] can be counted with 32 bits.
const MOST_NODES: usize = 1 << 26;

/// Who subscribes to the prefix that ends at a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held<W> {
    Nobody,
    /// By far the most frequent case: one. The count is [`Trie::hold`].
    One(W),
    /// The number of a list.
    Many(u32),
}

/// One subscription of one subscriber.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hold {
    /// How often it was made.
    pub(super) count: u32,
    /// Where it is in the list of what this subscriber holds.
    pub(super) at: u32,
}

/// What matching reads.
#[derive(Debug)]
struct Node<W> {
    label: [u8; LABEL],
    len: u8,
    children: Children,
    held: Held<W>,
}

/// What only changes read.
#[derive(Debug)]
struct Rest {
    /// Of a free node: the next free one.
    parent: u32,
    hold: Hold,
}

#[derive(Debug)]
pub(super) struct Trie<W> {
    nodes: Vec<Node<W>>,
    rest: Vec<Rest>,
    free: u32,
    used: usize,
    limit: usize,
    edges: Edges,
}

impl<W> Node<W> {
    fn label(&self) -> &[u8] {
        self.label.get(..self.len.into()).unwrap_or_default()
    }

    fn set_label(&mut self, label: &[u8]) {
        self.label[..label.len()].copy_from_slice(label);
        self.len = label.len() as u8;
    }
}

impl<W: Copy> Trie<W> {
    /// At most so many nodes.
    pub(super) fn with_limit(limit: usize) -> Self {
        let mut trie = Self {
            nodes: Vec::new(),
            rest: Vec::new(),
            free: NO_NODE,
            used: 0,
            limit: limit.min(MOST_NODES),
            edges: Edges::new(),
        };
        trie.take(&[], NO_NODE);
        trie
    }

    pub(super) fn held(&self, id: u32) -> &Held<W> {
        self.nodes.get(id as usize).map_or(&Held::Nobody, |node| &node.held)
    }

    pub(super) fn set_held(&mut self, id: u32, held: Held<W>) {
        self.nodes[id as usize].held = held;
    }

    pub(super) fn hold(&mut self, id: u32) -> &mut Hold {
        &mut self.rest[id as usize].hold
    }

    /// Visits the prefixes of `topic` that somebody holds, from the shortest, until `visit` wants no more.
    #[inline]
    pub(super) fn walk<'a>(&'a self, topic: &[u8], mut visit: impl FnMut(&'a Held<W>) -> bool) {
        let (mut id, mut rest) = (ROOT, topic);
        while let Some(node) = self.nodes.get(id as usize) {
            let Some((text, beyond)) = rest.split_at_checked(node.len.into()) else { return };
            // The first byte led here.
            if node.len > 1 && !same(node.label(), text) {
                return;
            }
            if !matches!(node.held, Held::Nobody) && !visit(&node.held) {
                return;
            }
            let Some(&byte) = beyond.first() else { return };
            let Some(child) = self.edges.get(node.children, byte) else { return };
            (id, rest) = (child, beyond);
        }
    }

    /// The node at which exactly this prefix ends.
    pub(super) fn find(&self, prefix: &[u8]) -> Option<u32> {
        let (id, rest, _) = self.descend(prefix);
        rest.is_empty().then_some(id)
    }

    /// The same; makes it if need be. It is for the caller to give it a holder. `None`: there is no room.
    pub(super) fn insert(&mut self, prefix: &[u8]) -> Option<u32> {
        let (id, rest, split) = self.descend(prefix);
        let new_nodes =
            usize::from(split.is_some()) + (rest.len() - split.map_or(0, |(_, at)| at)).div_ceil(LABEL);
        if self.used + new_nodes > self.limit {
            return None;
        }
        Some(match split {
            Some((child, at)) => {
                let upper = self.split(child, at);
                self.append(upper, &rest[at..])
            }
            None => self.append(id, rest),
        })
    }

    /// Takes away what is not needed any more: call it when the node has lost its last holder.
    pub(super) fn prune(&mut self, mut id: u32) {
        while id != ROOT && matches!(self.held(id), Held::Nobody) {
            let (children, parent) = (self.nodes[id as usize].children, self.rest[id as usize].parent);
            let first = self.nodes[id as usize].label[0];
            match children {
                Children::None => {
                    let siblings = self.nodes[parent as usize].children;
                    self.nodes[parent as usize].children = self.edges.remove(siblings, first);
                    self.release(id);
                    id = parent;
                }
                Children::One { child, .. } => {
                    let label =
                        [self.nodes[id as usize].label(), self.nodes[child as usize].label()].concat();
                    if label.len() <= LABEL {
                        self.nodes[child as usize].set_label(&label);
                        self.link(parent, child);
                        self.release(id);
                    }
                    return;
                }
                _ => return,
            }
        }
        if self.used == 1 && matches!(self.held(ROOT), Held::Nobody) {
            // Whoever filled the table has left: the memory goes back.
            *self = Self::with_limit(self.limit);
        }
    }

    /// The prefix that ends at this node.
    pub(super) fn prefix(&self, mut id: u32) -> Vec<u8> {
        let mut prefix = Vec::new();
        while let Some(node) = self.nodes.get(id as usize) {
            prefix.extend(node.label().iter().rev());
            id = self.rest[id as usize].parent;
        }
        prefix.reverse();
        prefix
    }

    /// The nodes at which a prefix ends.
    pub(super) fn ends(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.nodes).filter(|(_, node)| !matches!(node.held, Held::Nobody)).map(|(id, _)| id)
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.used
    }

    /// The last node of which all of the label is in `prefix`, what of `prefix` lies beyond it, and the child that
    /// shares so many bytes with that, but not all of its own.
    fn descend<'p>(&self, prefix: &'p [u8]) -> (u32, &'p [u8], Option<(u32, usize)>) {
        let (mut id, mut rest) = (ROOT, prefix);
        while let Some(&byte) = rest.first()
            && let Some(child) = self.edges.get(self.nodes[id as usize].children, byte)
        {
            let label = self.nodes[child as usize].label();
            let common = label.iter().zip(rest).take_while(|(ours, theirs)| ours == theirs).count();
            if common < label.len() {
                return (id, rest, Some((child, common)));
            }
            (id, rest) = (child, &rest[common..]);
        }
        (id, rest, None)
    }

    /// Puts a node above `child` that takes the first `at` bytes of its label.
    fn split(&mut self, child: u32, at: usize) -> u32 {
        let (node, parent) = (&self.nodes[child as usize], self.rest[child as usize].parent);
        let label = node.label().to_vec();
        let upper = self.take(&label[..at], parent);
        self.link(parent, upper);
        self.nodes[child as usize].set_label(&label[at..]);
        self.link(upper, child);
        upper
    }

    /// Puts a chain of nodes with this text below `id`; its end.
    fn append(&mut self, mut id: u32, text: &[u8]) -> u32 {
        for label in text.chunks(LABEL) {
            let child = self.take(label, id);
            self.link(id, child);
            id = child;
        }
        id
    }

    /// Makes `child` the one that `parent` has for the first byte of its label.
    fn link(&mut self, parent: u32, child: u32) {
        self.rest[child as usize].parent = parent;
        let first = self.nodes[child as usize].label[0];
        let siblings = self.nodes[parent as usize].children;
        self.nodes[parent as usize].children = self.edges.set(siblings, first, child);
    }

    fn take(&mut self, label: &[u8], parent: u32) -> u32 {
        let mut node = Node { label: [0; LABEL], len: 0, children: Children::None, held: Held::Nobody };
        node.set_label(label);
        let rest = Rest { parent, hold: Hold::default() };
        self.used += 1;
        let id = self.free;
        if let Some(free) = self.nodes.get_mut(id as usize) {
            *free = node;
            self.free = std::mem::replace(&mut self.rest[id as usize], rest).parent;
            return id;
        }
        let id = self.nodes.len() as u32;
        grow(&mut self.nodes, 1);
        grow(&mut self.rest, 1);
        self.nodes.push(node);
        self.rest.push(rest);
        id
    }

    fn release(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        (node.len, node.children) = (0, Children::None);
        self.rest[id as usize].parent = std::mem::replace(&mut self.free, id);
        self.used -= 1;
    }
}

/// Whether they are the same; both have at most [`LABEL`] bytes, too few for a call of `memcmp` to pay.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if let (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) =
        (a.first_chunk::<8>(), b.first_chunk(), a.last_chunk::<8>(), b.last_chunk())
    {
        a_first == b_first && a_last == b_last
    } else if let (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) =
        (a.first_chunk::<4>(), b.first_chunk(), a.last_chunk::<4>(), b.last_chunk())
    {
        a_first == b_first && a_last == b_last
    } else {
        a.iter().zip(b).all(|(a, b)| a == b)
    }
}

/// Room for so many more: an eighth at a time and not twice as much, for this is most of the memory.
pub(super) fn grow<T>(items: &mut Vec<T>, more: usize) {
    if items.capacity() - items.len() < more {
        items.reserve_exact(more.max(items.len() / 8));
    }
}
