/// How much a frame may ask of its reader. The defaults fit every honest peer seen; raise them per port, not
/// in general.
///
/// ```
/// use multiplane_codec::{DecodeError, Limits, View};
///
/// let shallow = Limits { depth: 2, ..Limits::default() };
/// assert!(View::parse(&[0x91, 0x91, 0x01], &shallow).is_ok());
/// assert!(matches!(View::parse(&[0x91, 0x91, 0x90], &shallow), Err(DecodeError::TooDeep { at: 2, .. })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and maps inside one another; an empty one counts. Default 128: Python's decoders stop at 511 or
    /// 1024, and no payload of a known component goes past 10. More than [`Limits::MAX_DEPTH`] counts as
    /// that.
    pub depth: usize,
    /// Values in the frame, keys and containers included. Default 1,000,000: an owned [`Value`](crate::Value)
    /// takes 32 bytes each, so a frame of one-byte values costs some 32 MB as one, twice that while it is
    /// built. Bulk data belongs in `bin`, which counts as one.
    pub items: usize,
    /// Bytes in the frame. Default 64 MiB.
    pub bytes: usize,
}

impl Limits {
    /// What bounds every recursion over a [`Value`](crate::Value), such as dropping it, however generous
    /// `depth` is.
    pub const MAX_DEPTH: usize = 1024;

    /// The defaults, usable in a `const`.
    pub const DEFAULT: Limits = Limits { depth: 128, items: 1_000_000, bytes: 64 << 20 };

    pub(crate) fn capped_depth(&self) -> usize {
        self.depth.min(Self::MAX_DEPTH)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
