//! The file: whole lines only, whatever the disk does.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Written at once when so much has gathered, even before the flush interval is over.
const WRITE: usize = 64 * 1024;

/// When to begin a new file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// A file is not to be longer than this, but for one line of any length.
    pub(super) bytes: u64,
    /// Old files kept: FILE.1 is the youngest.
    pub(super) keep: u32,
}

/// What lines are written to, besides [`Write`].
pub(super) trait Sink: Write + Sized {
    /// Opens it for appending, and says how long it is.
    fn open(path: &Path) -> io::Result<(Self, u64)>;
    /// Cuts it off there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Returns when the disk has it.
    fn sync(&mut self) -> io::Result<()>;
}

/// Of a file that can be read; what is none, or empty, does not.
fn ends_amid_a_line(path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(b'\n');
        }
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last).map(|()| last[0])
    };
    last().is_ok_and(|last: u8| last != b'\n')
}

impl Sink for File {
    fn open(path: &Path) -> io::Result<(Self, u64)> {
        // Logs are for their owner, and for those who may read logs.
        let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        // Whoever was killed amid a line has left a part of it, behind which no other line may begin.
        if ends_amid_a_line(path) {
            file.write_all(b"\n")?;
        }
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.sync_data() {
            // A device or a pipe has nothing to be synced.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }
}

/// Gathers lines and writes them. The books close: lines appended = written + dropped + those that wait.
#[derive(Debug)]
pub(super) struct LineFile<S> {
    path: PathBuf,
    /// `None`: it could not be opened again.
    sink: Option<S>,
    length: u64,
    rotation: Option<Rotation>,
    /// Most bytes that wait while they cannot be written.
    limit: usize,
    buffer: Vec<u8>,
    /// Of the lines in the buffer.
    lengths: VecDeque<usize>,
    pub(super) written: u64,
    pub(super) written_bytes: u64,
    pub(super) dropped: u64,
    pub(super) rotations: u64,
    /// The last attempt to write failed.
    failing: bool,
    /// What was written must also be on the disk.
    pub(super) syncs: bool,
}

impl<S: Sink> LineFile<S> {
    pub(super) fn open(path: &Path, rotation: Option<Rotation>, limit: usize) -> io::Result<Self> {
        let (sink, length) = S::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            sink: Some(sink),
            length,
            rotation,
            limit,
            buffer: Vec::new(),
            lengths: VecDeque::new(),
            written: 0,
            written_bytes: 0,
            dropped: 0,
            rotations: 0,
            failing: false,
            syncs: false,
        })
    }

    /// Takes a line; it is written now or later, or dropped and counted if the disk takes nothing and too much waits.
    ///
    /// # Errors
    /// Writing what waited failed; the line may wait still.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let newline: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
        let length = line.len() + newline.len();
        let mut outcome = Ok(());
        if self.must_rotate(length) {
            outcome = self.settle().and_then(|()| self.rotate());
        }
        if self.failing && self.buffer.len() + length > self.limit {
            self.dropped += 1;
            return outcome;
        }
        self.buffer.extend_from_slice(line);
        self.buffer.extend_from_slice(newline);
        self.lengths.push_back(length);
        if self.buffer.len() >= WRITE && !self.failing {
            outcome = outcome.and(self.flush());
        }
        outcome
    }

    fn must_rotate(&self, length: usize) -> bool {
        let filled = self.length + self.buffer.len() as u64;
        let full = |rotation: Rotation| filled > 0 && filled + length as u64 > rotation.bytes;
        !self.failing && self.rotation.is_some_and(full)
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The system's; then whole lines were written, or none, and the others wait.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let written = self.write();
        self.failing = written.is_err();
        written
    }

    fn write(&mut self) -> io::Result<()> {
        if self.sink.is_none() {
            self.reopen()?;
        }
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let mut taken = 0;
        let mut failure = Ok(());
        while taken < self.buffer.len() {
            match sink.write(&self.buffer[taken..]) {
                Ok(0) => failure = Err(ErrorKind::WriteZero.into()),
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => failure = Err(error),
            }
            if failure.is_err() {
                break;
            }
        }
        // Whole lines only: the rest of one that the disk took in part is taken back, and written again with it.
        let mut whole = 0;
        while let Some(length) = self.lengths.front()
            && whole + length <= taken
        {
            whole += length;
            self.lengths.pop_front();
            self.written += 1;
        }
        self.length += whole as u64;
        self.written_bytes += whole as u64;
        if whole < taken && sink.truncate(self.length).is_err() {
            // It is torn, then; what can be done is to go on with its rest.
            self.length += (taken - whole) as u64;
            self.written_bytes += (taken - whole) as u64;
            if let Some(torn) = self.lengths.front_mut() {
                *torn -= taken - whole;
            }
            whole = taken;
        }
        self.buffer.drain(..whole);
        failure
    }

    /// Opens the file anew under its name: somebody else has moved it.
    ///
    /// # Errors
    /// It cannot be opened; what comes now waits until it can.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.sink = None;
        self.failing = true;
        let (sink, length) = S::open(&self.path)?;
        (self.sink, self.length, self.failing) = (Some(sink), length, false);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Some(rotation) = self.rotation else { return Ok(()) };
        let old = |number: u32| {
            let mut name = OsString::from(&self.path);
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..rotation.keep).rev() {
            match std::fs::rename(old(number), old(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if rotation.keep > 0 {
            std::fs::rename(&self.path, old(1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.rotations += 1;
        self.reopen()
    }

    /// Writes what waits, and waits for the disk if that is wished.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.syncs { self.sync() } else { self.flush() }
    }

    /// Writes what waits, and returns when the disk has it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sink.as_mut().map_or(Ok(()), S::sync)
    }

    /// Lines that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// At the end: what waits still is dropped.
    pub(super) fn give_up(&mut self) {
        self.dropped += self.waiting();
        self.lengths.clear();
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    #[derive(Debug, Default)]
    struct Disk {
        holds: Vec<u8>,
        room: usize,
        /// So much of it outlives a power cut.
        keeps: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let left = self.room - self.holds.len();
            if left == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let took = bytes.len().min(left);
            self.holds.extend_from_slice(&bytes[..took]);
            Ok(took)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {
        fn open(_: &Path) -> io::Result<(Self, u64)> {
            Ok((Self::default(), 0))
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.holds.truncate(length as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.keeps = self.holds.len();
            Ok(())
        }
    }

    #[test]
    fn who_syncs_has_on_the_disk_what_is_settled() {
        for syncs in [false, true] {
            let mut file = LineFile::<Disk>::open(Path::new("disk"), None, 100).unwrap();
            (file.syncs, file.sink.as_mut().unwrap().room) = (syncs, 100);
            file.append(b"a line").unwrap();
            file.settle().unwrap();
            let disk = file.sink.as_ref().unwrap();
            assert_eq!((disk.holds.len(), disk.keeps), (7, if syncs { 7 } else { 0 }));
        }
    }

    #[test]
    fn a_full_disk_never_holds_half_a_line_and_nothing_is_lost_in_silence() {
        let mut file = LineFile::<Disk>::open(Path::new("disk"), None, 100).unwrap();
        let lines: Vec<String> = (0..40).map(|n| format!("line {n:02}\n")).collect();
        // Rooms that end within a line, and at its end.
        for room in [0, 3, 8, 12, 16, 29, 1000] {
            file.sink.as_mut().unwrap().room = room;
            assert_eq!(file.flush().is_err(), room < 1000 && !file.lengths.is_empty());
            for line in lines.iter().filter(|_| room == 0) {
                let _ = file.append(line.as_bytes());
            }
            if room == 0 {
                assert!(file.flush().is_err());
                // Those that came while nothing had failed yet wait, however many; the disk is asked once they are written.
                continue;
            }
            let disk = &file.sink.as_ref().unwrap().holds;
            assert!(disk.len() <= room && disk.len().is_multiple_of(8), "{room}: {disk:?}");
        }
        let disk = file.sink.as_ref().unwrap().holds.clone();
        assert_eq!(disk, lines.concat().into_bytes());
        assert_eq!((file.written, file.dropped, file.waiting()), (40, 0, 0));
    }

    #[test]
    fn while_the_disk_is_full_so_much_waits_and_the_rest_is_counted() {
        let mut file = LineFile::<Disk>::open(Path::new("disk"), None, 100).unwrap();
        file.append(b"first").unwrap();
        assert!(file.flush().is_err());
        for _ in 0..100 {
            file.append(b"012345678").unwrap();
        }
        assert_eq!((file.waiting(), file.dropped), (1 + 9, 91));
        file.sink.as_mut().unwrap().room = 1000;
        file.flush().unwrap();
        file.append(b"again").unwrap();
        file.flush().unwrap();
        let expected = format!("first\n{}again\n", "012345678\n".repeat(9));
        assert_eq!(String::from_utf8_lossy(&file.sink.as_ref().unwrap().holds), expected);
        assert_eq!((file.written, file.dropped), (11, 91));
    }

    #[test]
    fn files_are_rotated_between_lines_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "old.\n").unwrap();
        let rotation = Some(Rotation { bytes: 10, keep: 2 });
        let mut file = LineFile::<File>::open(&path, rotation, 100).unwrap();
        for line in ["one.", "two.", "three", "four", "longer than one file may be", "last"] {
            file.append(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("log"), "last\n");
        assert_eq!(read("log.1"), "longer than one file may be\n");
        assert_eq!(read("log.2"), "four\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        assert_eq!((file.rotations, file.written), (5, 6));
    }
}
